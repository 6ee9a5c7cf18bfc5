//! Flows that the agent writes itself, because a replica told of them.

use anyhow::Result;
use datapath_abi::flow::{FlowCounters, FlowKey};
use datapath_abi::outcome::Tally;

use super::Flows;
use super::account::counted;

/// What became of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It was not in the table, and is now.
    Entered,
    /// It was in the table and says something else now.
    Updated,
    /// It stays as it is.
    Kept,
}

impl Flows {
    /// Writes what `decide` makes of the present entry of a flow, if anything. A packet that the programs
    /// count between the look and the write is lost to the entry, so what they count now is to be left alone.
    pub fn tell(
        &mut self,
        key: &FlowKey,
        decide: impl Fn(Option<&FlowCounters>) -> Option<FlowCounters>,
    ) -> Result<Told> {
        // Twice: the programs may enter or evict it in between.
        for _ in 0..2 {
            let own = self.get(key)?;
            let Some(new) = decide(own.as_ref()) else {
                return Ok(Told::Kept);
            };
            let written = match key.to_v4() {
                Some(key) => self.v4.set(&key, &new, own.is_some())?,
                None => self.v6.set(key, &new, own.is_some())?,
            };
            if written {
                let old = counted(&own.unwrap_or_default());
                let new = counted(&new);
                let by = Tally {
                    packets: new.packets.wrapping_sub(old.packets),
                    bytes: new.bytes.wrapping_sub(old.bytes),
                };
                self.account.on_told(own.is_none(), by);
                return Ok(if own.is_none() {
                    Told::Entered
                } else {
                    Told::Updated
                });
            }
        }
        Ok(Told::Kept)
    }
}
