//! The receiver indices that are ours, so that `wan_guard` knows what to let through.

use std::collections::{HashMap as StdHashMap, HashSet};

use anyhow::{Context, Result};
use aya::Ebpf;
use aya::maps::{Array, HashMap, MapData, MapError};
use datapath_abi::maps::{self, session_bit};

use super::{removed, take};
use crossway_types::ids::LinkId;

/// The maps SESSIONS and SESSION_BITS. A link has one entry: the handshakes of a link are numbered in
/// the low eight bits of the receiver index, the rest stays the same.
pub struct Sessions {
    map: HashMap<MapData, u32, u32>,
    bits: Array<MapData, u64>,
    /// The keys of the map: after a take-over, those of the agent before.
    keys: HashSet<u32>,
    /// How many of them have each bit.
    sharing: StdHashMap<(u32, u64), u32>,
}

impl Sessions {
    pub(super) fn new(programs: &mut Ebpf) -> Result<Self> {
        let mut sessions = Self {
            map: take(programs, maps::SESSIONS)?,
            bits: take(programs, maps::SESSION_BITS)?,
            keys: HashSet::new(),
            sharing: StdHashMap::new(),
        };
        let keys = sessions.map.keys().collect::<Result<_, _>>();
        sessions.keys = keys.context(maps::SESSIONS)?;
        for key in &sessions.keys {
            *sessions.sharing.entry(session_bit(*key)).or_default() += 1;
        }
        Ok(sessions)
    }

    /// Lets messages with this receiver index (all 32 bits, as in the message) through to `link`.
    pub fn insert(&mut self, receiver_index: u32, link: LinkId) -> Result<()> {
        let key = key(receiver_index);
        self.map
            .insert(key, link.0, 0)
            .with_context(|| format!("{}: link {link}", maps::SESSIONS))?;
        if self.keys.insert(key) {
            *self.sharing.entry(session_bit(key)).or_default() += 1;
        }
        self.set_bit(session_bit(key), true)
    }

    /// Stops that; it may have been removed before.
    pub fn remove(&mut self, receiver_index: u32) -> Result<()> {
        let key = key(receiver_index);
        removed(self.map.remove(&key)).context(maps::SESSIONS)?;
        if !self.keys.remove(&key) {
            return Ok(());
        }
        let bit = session_bit(key);
        let sharing = self.sharing.entry(bit).or_default();
        *sharing -= 1;
        if *sharing > 0 {
            return Ok(());
        }
        self.sharing.remove(&bit);
        self.set_bit(bit, false)
    }

    /// The link of a receiver index.
    pub fn get(&self, receiver_index: u32) -> Result<Option<LinkId>> {
        match self.map.get(&key(receiver_index), 0) {
            Ok(link) => Ok(Some(LinkId(link))),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(error).context(maps::SESSIONS),
        }
    }

    /// Removes every session but those of these receiver indices.
    pub fn retain(&mut self, receiver_indices: impl IntoIterator<Item = u32>) -> Result<()> {
        let kept: HashSet<u32> = receiver_indices.into_iter().map(key).collect();
        for key in self.keys.clone() {
            if !kept.contains(&key) {
                self.remove(key << 8)?;
            }
        }
        Ok(())
    }

    /// Removes every session: after a take-over those of the agent before are nobody's.
    pub fn clear(&mut self) -> Result<()> {
        for key in self.keys.clone() {
            self.remove(key << 8)?;
        }
        Ok(())
    }

    fn set_bit(&mut self, (word, bit): (u32, u64), on: bool) -> Result<()> {
        let bits = self.bits.get(&word, 0).context(maps::SESSION_BITS)?;
        let bits = if on { bits | bit } else { bits & !bit };
        self.bits.set(word, bits, 0).context(maps::SESSION_BITS)
    }
}

const fn key(receiver_index: u32) -> u32 {
    receiver_index >> 8
}
