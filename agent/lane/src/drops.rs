//! Drops of a lane, by reason.

use crossway_types::codec::{Damaged, Reader, Writer};
use datapath_abi::outcome::{DropReason, Tally};

use crate::io::udp::Unsent;

/// Counters of one lane; only its thread writes them.
#[derive(Clone, Copy, Debug)]
pub struct Drops([Tally; DropReason::COUNT]);

impl Default for Drops {
    fn default() -> Self {
        Self([Tally::default(); DropReason::COUNT])
    }
}

impl Drops {
    /// Counts one packet of `bytes`.
    pub(super) fn count(&mut self, reason: DropReason, bytes: usize) {
        let tally = &mut self.0[reason.index() as usize];
        tally.packets += 1;
        tally.bytes += bytes as u64;
    }

    /// Counts several packets.
    pub(super) fn add(&mut self, reason: DropReason, more: Tally) {
        self.0[reason.index() as usize] += more;
    }

    /// Counts what could not be sent.
    pub(super) fn add_send(&mut self, unsent: Unsent) {
        self.add(DropReason::SendFailed, unsent.failed);
        self.add(DropReason::SendBufferFull, unsent.no_room);
    }

    /// For the agent that takes over.
    pub(super) fn export(&self, to: &mut Writer) {
        to.u32(DropReason::COUNT as u32);
        for tally in &self.0 {
            to.u64(tally.packets);
            to.u64(tally.bytes);
        }
    }

    /// Adds what [`Self::export`] wrote. Reasons are only ever added, behind the others: an older agent has fewer, and
    /// those of a newer one have no name here.
    pub(super) fn import(&mut self, from: &mut Reader<'_>) -> Result<(), Damaged> {
        for at in 0..from.u32()? {
            let tally = Tally {
                packets: from.u64()?,
                bytes: from.u64()?,
            };
            if let Some(known) = self.0.get_mut(at as usize) {
                *known += tally;
            }
        }
        Ok(())
    }

    /// All of them, by index.
    pub fn tallies(&self) -> [Tally; DropReason::COUNT] {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossway_sys::clock;

    /// As an agent with so many reasons writes it: one packet of the first, two of the second and so on.
    fn written_with(reasons: u64) -> Vec<u8> {
        let mut to = Writer::new(clock::now());
        to.u32(reasons as u32);
        for at in 0..reasons {
            to.u64(at + 1);
            to.u64(100);
        }
        to.finish().to_vec()
    }

    #[test]
    fn drops_come_along_from_agents_with_fewer_reasons_and_with_more() {
        let known = DropReason::COUNT as u64;
        for reasons in [0, 1, known - 3, known, known + 3] {
            let mut drops = Drops::default();
            let bytes = written_with(reasons);
            let mut from = Reader::new(&bytes, clock::now());
            drops.import(&mut from).unwrap();
            let expected = (0..known).map(|at| if at < reasons { at + 1 } else { 0 });
            let packets = drops.0.map(|tally| tally.packets);
            assert_eq!(packets.to_vec(), expected.collect::<Vec<_>>());
        }
        let bytes = written_with(5);
        let mut from = Reader::new(&bytes[..bytes.len() - 1], clock::now());
        assert_eq!(Drops::default().import(&mut from), Err(Damaged));
    }
}
