//! A peer's sessions on their way from one agent to the next.

use datapath_abi::outcome::Tally;

use super::super::keypair::Keypairs;
use super::Session;
use super::answers::Answers;
use crossway_types::codec::{Damaged, Reader, Writer};

impl Session {
    /// For the agent that takes over; returns the packets that wait for a session, which stay behind.
    /// So does a handshake under way, for its state cannot be told: the next begins its own.
    pub(crate) fn export(&self, to: &mut Writer) -> Tally {
        to.u32(self.index);
        self.answers.export(to);
        self.timers.export(to);
        self.keypairs.export(to);
        self.waiting()
    }

    /// What [`Self::export`] wrote, for the same peer under the same receiver index. After an error
    /// this session is to be thrown away.
    pub(crate) fn import(&mut self, from: &mut Reader<'_>) -> Result<(), Damaged> {
        let index = from.u32()?;
        if (index ^ self.index) > 0xff {
            return Err(Damaged);
        }
        self.index = index;
        self.answers = Answers::import(from)?;
        self.timers.import(from)?;
        self.keypairs = Keypairs::import(from)?;
        Ok(())
    }
}
