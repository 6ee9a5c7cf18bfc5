//! The receiver indices that are ours, so that `wan_guard` knows what to let through.

use anyhow::{Context, Result};
use aya::Ebpf;
use aya::maps::{HashMap, MapData, MapError};
use datapath_abi::maps;

use super::{removed, take};
use crate::ids::LinkId;

/// The map SESSIONS. A link has one entry: the handshakes of a link are numbered in the low eight
/// bits of the receiver index, the rest stays the same.
pub struct Sessions {
    map: HashMap<MapData, u32, u32>,
}

impl Sessions {
    pub(super) fn new(programs: &mut Ebpf) -> Result<Self> {
        Ok(Self {
            map: take(programs, maps::SESSIONS)?,
        })
    }

    /// Lets messages with this receiver index (all 32 bits, as in the message) through to `link`.
    pub fn insert(&mut self, receiver_index: u32, link: LinkId) -> Result<()> {
        self.map
            .insert(key(receiver_index), link.0, 0)
            .with_context(|| format!("{}: link {link}", maps::SESSIONS))
    }

    /// Stops that; it may have been removed before.
    pub fn remove(&mut self, receiver_index: u32) -> Result<()> {
        removed(self.map.remove(&key(receiver_index))).context(maps::SESSIONS)?;
        Ok(())
    }

    /// The link of a receiver index.
    pub fn get(&self, receiver_index: u32) -> Result<Option<LinkId>> {
        match self.map.get(&key(receiver_index), 0) {
            Ok(link) => Ok(Some(LinkId(link))),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(error).context(maps::SESSIONS),
        }
    }

    /// Removes every session: after a take-over those of the agent before are nobody's.
    pub fn clear(&mut self) -> Result<()> {
        let keys: Vec<u32> = self
            .map
            .keys()
            .collect::<Result<_, _>>()
            .context(maps::SESSIONS)?;
        for key in keys {
            removed(self.map.remove(&key)).context(maps::SESSIONS)?;
        }
        Ok(())
    }
}

const fn key(receiver_index: u32) -> u32 {
    receiver_index >> 8
}
