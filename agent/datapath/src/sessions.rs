//! The receiver indices that are ours, so that `wan_guard` knows what to let through.

use anyhow::{Context, Result};
use aya::Ebpf;
use datapath_abi::{maps, user};

use super::take;
use crossway_types::ids::LinkId;

/// The maps SESSIONS and SESSION_BITS. A link has one entry: the handshakes of a link are numbered in
/// the low eight bits of the receiver index, the rest stays the same.
pub struct Sessions(user::Sessions);

impl Sessions {
    pub(super) fn new(programs: &mut Ebpf) -> Result<Self> {
        let map = take(programs, maps::SESSIONS)?;
        let bits = take(programs, maps::SESSION_BITS)?;
        let sessions = user::Sessions::new(map, bits).context(maps::SESSIONS)?;
        Ok(Self(sessions))
    }

    /// Lets messages with this receiver index (all 32 bits, as in the message) through to `link`.
    pub fn insert(&mut self, receiver_index: u32, link: LinkId) -> Result<()> {
        self.0
            .insert(receiver_index, link.0)
            .with_context(|| format!("{}: link {link}", maps::SESSIONS))
    }

    /// Stops that; it may have been removed before.
    pub fn remove(&mut self, receiver_index: u32) -> Result<()> {
        self.0.remove(receiver_index).context(maps::SESSIONS)
    }

    /// The link of a receiver index.
    pub fn get(&self, receiver_index: u32) -> Result<Option<LinkId>> {
        let link = self.0.get(receiver_index).context(maps::SESSIONS)?;
        Ok(link.map(LinkId))
    }

    /// Removes every session but those of these receiver indices.
    pub fn retain(&mut self, receiver_indices: impl IntoIterator<Item = u32>) -> Result<()> {
        self.0.retain(receiver_indices).context(maps::SESSIONS)
    }

    /// Removes every session: after a take-over those of the agent before are nobody's.
    pub fn clear(&mut self) -> Result<()> {
        self.0.retain([]).context(maps::SESSIONS)
    }
}
