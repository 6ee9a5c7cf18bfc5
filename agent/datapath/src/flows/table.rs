//! The flows of one family.

use anyhow::{Context, Result, anyhow};
use aya::maps::{HashMap, Map, MapData, MapError};
use aya::{Ebpf, Pod};
use datapath_abi::flow::{FlowCounters, FlowKey};

use super::super::sys::batch::{self, BatchReader, Cursor};
use datapath_abi::user::removed;

/// Entries read by one system call, about a millisecond's worth.
pub(super) const BATCH: usize = 4096;

/// The kernel reads a bucket as a whole or not at all, and no hash has so many in one.
pub(super) const LEAST: usize = 128;

/// From linux/bpf.h.
const BPF_NOEXIST: u64 = 1;
const BPF_EXIST: u64 = 2;

/// A map from `K` to [`FlowCounters`].
pub(super) struct Table<K: Pod> {
    name: &'static str,
    capacity: u64,
    id: u32,
    map: HashMap<MapData, K, FlowCounters>,
    reader: BatchReader<K, FlowCounters>,
}

impl<K: Pod + Default + Into<FlowKey>> Table<K> {
    /// Takes the map `name` out of the loaded object.
    pub(super) fn take(programs: &mut Ebpf, name: &'static str) -> Result<Self> {
        let map = programs
            .take_map(name)
            .with_context(|| format!("the eBPF object has no map {name}"))?;
        let Map::LruHashMap(data) = &map else {
            return Err(anyhow!("{name}: expected an LRU hash, found {map:?}"));
        };
        let info = data.info().context(name)?;
        Ok(Self {
            name,
            capacity: info.max_entries().into(),
            id: info.id(),
            reader: BatchReader::new(data, BATCH).context(name)?,
            map: map.try_into().context(name)?,
        })
    }

    /// Flows that it takes.
    pub(super) fn capacity(&self) -> u64 {
        self.capacity
    }

    /// The kernel's number of this map, which no other has had since the boot.
    pub(super) fn id(&self) -> u32 {
        self.id
    }

    pub(super) fn get(&self, key: &K) -> Result<Option<FlowCounters>> {
        match self.map.get(key, 0) {
            Ok(counters) => Ok(Some(counters)),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(error).context(self.name),
        }
    }

    /// Writes a flow that is there (`present`) or is not there; says whether it was as expected.
    pub(super) fn set(&mut self, key: &K, counters: &FlowCounters, present: bool) -> Result<bool> {
        let (flag, missed) = if present {
            (BPF_EXIST, libc::ENOENT)
        } else {
            (BPF_NOEXIST, libc::EEXIST)
        };
        match self.map.insert(key, counters, flag) {
            Ok(()) => Ok(true),
            Err(MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(missed) => {
                Ok(false)
            }
            Err(error) => Err(error).context(self.name),
        }
    }

    /// Takes the flow out with what it has counted, if it is there. In one call, so that no packet is counted in
    /// between; kernels before 5.14 need two.
    pub(super) fn take_entry(&mut self, key: &K) -> Result<Option<FlowCounters>> {
        match self.reader.take(key) {
            Err(error) if batch::cannot_take(&error) => {
                let counters = self.get(key)?;
                let removed = removed(self.map.remove(key)).context(self.name)?;
                Ok(counters.filter(|_| removed))
            }
            taken => taken.context(self.name),
        }
    }

    pub(super) fn for_each(
        &mut self,
        mut visit: impl FnMut(&FlowKey, &FlowCounters),
    ) -> Result<()> {
        let mut cursor = None;
        loop {
            cursor = self.read(cursor, BATCH, &mut visit)?;
            if cursor.is_none() {
                return Ok(());
            }
        }
    }

    /// Shows the flows behind `cursor`, about `count` and at most [`BATCH`], from the start without one. Returns
    /// where to go on, which is `None` behind the last.
    pub(super) fn read(
        &mut self,
        cursor: Option<Cursor>,
        count: usize,
        mut visit: impl FnMut(&FlowKey, &FlowCounters),
    ) -> Result<Option<Cursor>> {
        let (entries, next) = self
            .reader
            .read(cursor, count.max(LEAST))
            .context(self.name)?;
        for (key, counters) in entries {
            visit(&key.into(), &counters);
        }
        Ok(next)
    }
}
