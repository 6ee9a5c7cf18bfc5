//! The receiver indices that are ours: all of them in a hash, and in front of it bits of which most junk
//! finds none set.

use std::collections::{HashMap as StdHashMap, HashSet};

use aya::maps::{Array, HashMap, MapData, MapError};

use super::removed;
use crate::maps::session_bit;

/// The maps [`crate::maps::SESSIONS`] and [`crate::maps::SESSION_BITS`]. A link has one entry: the handshakes of a link are numbered in
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
    /// Of both maps.
    pub fn new(
        map: HashMap<MapData, u32, u32>,
        bits: Array<MapData, u64>,
    ) -> Result<Self, MapError> {
        let keys: HashSet<u32> = map.keys().collect::<Result<_, _>>()?;
        let mut sharing = StdHashMap::new();
        for key in &keys {
            *sharing.entry(session_bit(*key)).or_default() += 1;
        }
        Ok(Self {
            map,
            bits,
            keys,
            sharing,
        })
    }

    /// Lets messages with this receiver index (all 32 bits, as in the message) through to `link`.
    pub fn insert(&mut self, receiver_index: u32, link: u32) -> Result<(), MapError> {
        let key = key(receiver_index);
        self.map.insert(key, link, 0)?;
        if self.keys.insert(key) {
            *self.sharing.entry(session_bit(key)).or_default() += 1;
        }
        self.set_bit(session_bit(key), true)
    }

    /// Stops that; it may have been removed before.
    pub fn remove(&mut self, receiver_index: u32) -> Result<(), MapError> {
        let key = key(receiver_index);
        removed(self.map.remove(&key))?;
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
    pub fn get(&self, receiver_index: u32) -> Result<Option<u32>, MapError> {
        match self.map.get(&key(receiver_index), 0) {
            Ok(link) => Ok(Some(link)),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes every session but those of these receiver indices.
    pub fn retain(
        &mut self,
        receiver_indices: impl IntoIterator<Item = u32>,
    ) -> Result<(), MapError> {
        let kept: HashSet<u32> = receiver_indices.into_iter().map(key).collect();
        for key in self.keys.clone() {
            if !kept.contains(&key) {
                self.remove(key << 8)?;
            }
        }
        Ok(())
    }

    fn set_bit(&mut self, (word, bit): (u32, u64), on: bool) -> Result<(), MapError> {
        let bits = self.bits.get(&word, 0)?;
        let bits = if on { bits | bit } else { bits & !bit };
        self.bits.set(word, bits, 0)
    }
}

const fn key(receiver_index: u32) -> u32 {
    receiver_index >> 8
}
