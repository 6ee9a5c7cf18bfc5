//! What is known of a path on its way from one process to the next of the same system.

use super::PathMtu;
use crossway_types::codec::{Damaged, Reader, Writer};

impl PathMtu {
    /// For the process that takes over.
    pub fn export(&self, to: &mut Writer) {
        to.u16(self.mtu);
        to.bool(self.proven);
        to.bool(self.answers);
        to.option(self.heard, Writer::instant);
        to.option(self.far_mtu, Writer::u16);
        to.option(self.round_trip, Writer::duration);
        to.u64(self.black_holes);
        to.u64(self.probes);
    }

    /// What [`Self::export`] wrote: within the bounds of now it holds until it has been confirmed, which is done at
    /// once.
    pub fn import(&mut self, from: &mut Reader<'_>) -> Result<(), Damaged> {
        let now = from.now();
        let (mtu, proven, answers) = (from.u16()?, from.bool()?, from.bool()?);
        let heard = from.option(Reader::instant)?;
        let far_mtu = from.option(Reader::u16)?;
        let round_trip = from.option(Reader::duration)?;
        (self.black_holes, self.probes) = (from.u64()?, from.u64()?);
        (self.heard, self.far_mtu, self.round_trip) = (heard, far_mtu, round_trip);
        self.answers = answers;
        if answers && proven && mtu <= self.bounds.most {
            (self.mtu, self.proven) = (mtu, true);
        }
        match (self.bounds.probes, answers) {
            // Whether it is to be looked at is told later.
            (false, _) => {}
            (true, false) => self.greet(now),
            (true, true) => self.look_again(now),
        }
        Ok(())
    }
}
