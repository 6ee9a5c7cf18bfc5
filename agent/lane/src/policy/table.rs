//! A table that all lanes share: of a fixed size, made once, with a lock for every few entries. Where there is no room, the
//! entry that was used least lately goes.

use std::hash::{BuildHasher as _, RandomState};
use std::iter;
use std::sync::{Mutex, MutexGuard, PoisonError};

use datapath_abi::address::Address;
use datapath_abi::headers::Ports;

/// Entries that share a lock and their room.
const WAYS: usize = 8;

/// Two ends, the same for both directions: lanes need not know which end is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// The smaller end first.
    pub(super) ends: [(Address, u16); 2],
    pub(super) protocol: u8,
    /// Of fragments behind the first, which have no ports.
    pub(super) fragment: bool,
}

/// One of the two ends of a [`Key`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    First,
    Second,
}

impl Key {
    /// The key of a packet, and which end has sent it.
    pub(super) fn of(
        source: Address,
        destination: Address,
        protocol: u8,
        ports: Option<Ports>,
    ) -> (Self, End) {
        let port = |port: fn(Ports) -> u16| ports.map_or(0, port);
        let sender = (source, port(Ports::source));
        let receiver = (destination, port(Ports::destination));
        let (ends, end) = if sender <= receiver {
            ([sender, receiver], End::First)
        } else {
            ([receiver, sender], End::Second)
        };
        let key = Self {
            ends,
            protocol,
            fragment: ports.is_none(),
        };
        (key, end)
    }
}

/// An entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<V> {
    pub(super) key: Key,
    /// When it was used last, in seconds of the table's clock.
    pub(super) last: u32,
    pub(super) value: V,
}

type Ways<V> = [Option<Entry<V>>; WAYS];

/// The table.
pub(super) struct Table<V> {
    sets: Box<[Mutex<Ways<V>>]>,
    /// Seeded, for strangers choose the keys.
    hasher: RandomState,
}

impl<V: Copy> Table<V> {
    /// An empty one with room for `capacity` entries.
    pub(super) fn new(capacity: usize) -> Self {
        let sets = iter::repeat_with(|| Mutex::new([None; WAYS]));
        Self {
            sets: sets.take((capacity / WAYS).max(1)).collect(),
            hasher: RandomState::new(),
        }
    }

    /// The place of a key, locked.
    pub(super) fn place(&self, key: &Key) -> Place<'_, V> {
        let hash = self.hasher.hash_one(key) as usize;
        Place {
            ways: lock(&self.sets[hash % self.sets.len()]),
            key: *key,
        }
    }

    /// Shows every entry.
    pub(super) fn for_each(&self, mut visit: impl FnMut(&Entry<V>)) {
        for set in &self.sets {
            lock(set).iter().flatten().for_each(&mut visit);
        }
    }
}

fn lock<V>(set: &Mutex<Ways<V>>) -> MutexGuard<'_, Ways<V>> {
    set.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where a key is, if it is there.
pub(super) struct Place<'a, V> {
    ways: MutexGuard<'a, Ways<V>>,
    key: Key,
}

impl<V: Copy> Place<'_, V> {
    /// Its entry.
    pub(super) fn entry(&mut self) -> Option<&mut Entry<V>> {
        let key = self.key;
        let mut entries = self.ways.iter_mut().flatten();
        entries.find(|entry| entry.key == key)
    }

    /// Enters it, in the place of the one that was used least lately if there is no room.
    pub(super) fn set(&mut self, last: u32, value: V) {
        let entry = Entry {
            key: self.key,
            last,
            value,
        };
        if let Some(known) = self.entry() {
            *known = entry;
            return;
        }
        let oldest = |way: &&mut Option<Entry<V>>| way.map(|entry| entry.last);
        // An empty place comes before all others.
        if let Some(way) = self.ways.iter_mut().min_by_key(oldest) {
            *way = Some(entry);
        }
    }

    /// Takes it out.
    pub(super) fn remove(&mut self) {
        let key = self.key;
        let mut ways = self.ways.iter_mut();
        if let Some(way) = ways.find(|way| way.is_some_and(|entry| entry.key == key)) {
            *way = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use datapath_abi::address;

    use super::*;

    fn key(host: u16) -> Key {
        let [high, low] = host.to_be_bytes();
        let (source, destination) = ([10, 1, high, low], [10, 2, 0, 1]);
        let ends = [source, destination].map(address::mapped);
        Key::of(ends[0], ends[1], 17, Some(Ports::of_word(0))).0
    }

    #[test]
    fn both_directions_have_one_key() {
        let [a, b] = [[10, 1, 0, 1], [10, 2, 0, 1]].map(address::mapped);
        let ports = Ports::of_word(u32::from_ne_bytes([0x12, 0x34, 0, 53]));
        let (there, sender) = Key::of(a, b, 17, Some(ports));
        let (back, receiver) = Key::of(b, a, 17, Some(ports.swapped()));
        assert_eq!(there, back);
        assert_ne!(sender, receiver);
        assert_ne!(there, Key::of(b, a, 17, Some(ports)).0);
        let no_ports = Key::of(a, b, 17, Some(Ports::of_word(0))).0;
        assert_ne!(no_ports, Key::of(a, b, 17, None).0, "a fragment is no flow");
    }

    #[test]
    fn a_full_table_loses_what_was_used_least_lately() {
        let table = Table::new(WAYS);
        for host in 0..WAYS as u16 {
            table.place(&key(host)).set(u32::from(host), host);
        }
        if let Some(entry) = table.place(&key(0)).entry() {
            entry.last = 100;
        }
        table.place(&key(50)).set(50, 50);
        table.place(&key(51)).set(51, 51);
        let mut left = Vec::new();
        table.for_each(|entry| left.push(entry.value));
        left.sort_unstable();
        assert_eq!(left, [0, 3, 4, 5, 6, 7, 50, 51]);
        table.place(&key(4)).remove();
        assert!(table.place(&key(4)).entry().is_none());
    }
}
