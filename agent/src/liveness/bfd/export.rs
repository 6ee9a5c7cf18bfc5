//! A session on its way from one process to the next of the same system.

use super::packet::{Diagnostic, State};
use super::{Pace, Remote, Session};
use crate::handover::codec::{Damaged, Reader, Writer};

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
