//! A session on its way from one process to the next of the same system.

use super::packet::{Diagnostic, State};
use super::{Pace, Remote, Session};
use crossway_types::codec::{Damaged, Reader, Writer};

impl Session {
    /// For the process that takes over.
    pub fn export(&self, to: &mut Writer) {
        to.duration(self.pace.interval);
        to.u16(self.pace.multiplier.into());
        write_state(to, self.state, self.diagnostic);
        to.u32(self.local_discriminator);
        to.u32(self.remote_discriminator);
        write_state(to, self.remote.state, self.remote.diagnostic);
        to.duration(self.remote.desired_min_tx);
        to.duration(self.remote.required_min_rx);
        to.u16(self.remote.multiplier.into());
        for flag in [self.standby, self.polling, self.final_due] {
            to.bool(flag);
        }
        to.option(self.next_transmit, Writer::instant);
        to.option(self.dead_at, Writer::instant);
    }

    /// What [`Self::export`] wrote, under the same discriminator. The far end is asked to confirm a pace
    /// that has become another.
    pub fn import(&mut self, from: &mut Reader<'_>) -> Result<(), Damaged> {
        let now = from.now();
        let wanted = self.pace;
        let mut next = self.clone();
        next.pace = Pace {
            interval: from.duration()?,
            multiplier: read_byte(from)?,
        };
        (next.state, next.diagnostic) = read_state(from)?;
        if from.u32()? != self.local_discriminator {
            return Err(Damaged);
        }
        next.remote_discriminator = from.u32()?;
        let (state, diagnostic) = read_state(from)?;
        next.remote = Remote {
            state,
            diagnostic,
            desired_min_tx: from.duration()?,
            required_min_rx: from.duration()?,
            multiplier: read_byte(from)?,
        };
        (next.standby, next.polling, next.final_due) = (from.bool()?, from.bool()?, from.bool()?);
        next.next_transmit = from.option(Reader::instant)?;
        next.dead_at = from.option(Reader::instant)?;
        next.set_pace(wanted, now);
        *self = next;
        Ok(())
    }
}

fn write_state(to: &mut Writer, state: State, diagnostic: Diagnostic) {
    to.bytes(&[state as u8, diagnostic as u8]);
}

fn read_state(from: &mut Reader<'_>) -> Result<(State, Diagnostic), Damaged> {
    let [state, diagnostic] = from.array()?;
    Ok((State::from_bits(state), Diagnostic::from_bits(diagnostic)))
}

fn read_byte(from: &mut Reader<'_>) -> Result<u8, Damaged> {
    from.u16()?.try_into().map_err(|_| Damaged)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crossway_sys::clock;

    #[test]
    fn a_session_that_is_up_stays_up_and_the_far_end_sees_no_change() {
        let start = clock::now();
        let pace = Pace::default();
        let mut ends = [1, 2].map(|number| Session::new(pace, number, number, start));
        let mut now = start;
        let mut changes = Vec::new();
        for step in 0..600_u64 {
            now = start + Duration::from_millis(step * 10);
            for at in [0, 1] {
                changes.extend(ends[at].handle_timeout(now));
                if let Some(packet) = ends[at].poll_transmit(now) {
                    changes.extend(ends[1 - at].handle_packet(&packet, now));
                }
            }
            if step == 300 {
                assert_eq!(ends.each_ref().map(Session::state), [State::Up; 2]);
                changes.clear();
            }
            if step % 50 == 49 && step > 300 {
                ends[0] = handed_over(&ends[0], pace, now);
            }
        }
        assert_eq!(changes, []);
        // Another pace is agreed on without a break.
        let slower = Pace {
            interval: Duration::from_millis(300),
            ..pace
        };
        ends[0] = handed_over(&ends[0], slower, now);
        for step in 0..300_u64 {
            let now = now + Duration::from_millis(step * 10);
            for at in [0, 1] {
                changes.extend(ends[at].handle_timeout(now));
                if let Some(packet) = ends[at].poll_transmit(now) {
                    changes.extend(ends[1 - at].handle_packet(&packet, now));
                }
            }
        }
        assert_eq!(changes, []);
        let detection = ends[1].detection_time();
        assert_eq!(detection, Some(Duration::from_millis(900)));
    }

    fn handed_over(before: &Session, pace: Pace, now: std::time::Instant) -> Session {
        let mut writer = Writer::new(now);
        before.export(&mut writer);
        let bytes = writer.finish();
        let mut after = Session::new(pace, before.discriminator(), 7, now);
        after.import(&mut Reader::new(&bytes, now)).unwrap();
        after
    }
}
