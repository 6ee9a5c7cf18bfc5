//! Many entries of a hash map in one system call (`BPF_MAP_LOOKUP_BATCH`, kernel 5.6), or one that is taken out.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use aya::Pod;
use aya::maps::{MapData, MapType};

/// From `enum bpf_cmd` of linux/bpf.h.
const BPF_MAP_LOOKUP_BATCH: libc::c_long = 24;

/// The kernel's own number, from linux/errno.h.
const ENOTSUPP: i32 = 524;
const BPF_MAP_LOOKUP_AND_DELETE_ELEM: libc::c_long = 21;

/// The member of `union bpf_attr` for commands about one element.
#[repr(C)]
struct ElementAttributes {
    map_fd: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// The `batch` member of `union bpf_attr`.
#[repr(C)]
struct BatchAttributes {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// Where a walk over a hash map goes on: a bucket, so that it stays right while entries come and go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cursor(pub(crate) u32);

/// Reads a hash map with keys `K` and values `V`.
#[derive(Debug)]
pub(crate) struct BatchReader<K, V> {
    map: OwnedFd,
    keys: Vec<K>,
    values: Vec<V>,
    entries: PhantomData<(K, V)>,
}

impl<K: Pod + Default, V: Pod + Default> BatchReader<K, V> {
    /// A reader of `size` entries at a time. Refuses a map that is no hash of `K` and `V`.
    pub(crate) fn new(map: &MapData, size: usize) -> anyhow::Result<Self> {
        let info = map.info()?;
        let is_hash = matches!(info.map_type()?, MapType::Hash | MapType::LruHash);
        anyhow::ensure!(
            is_hash
                && info.key_size() as usize == size_of::<K>()
                && info.value_size() as usize == size_of::<V>(),
            "expected a hash of {} byte keys and {} byte values, found {info:?}",
            size_of::<K>(),
            size_of::<V>(),
        );
        Ok(Self {
            map: map.fd().as_fd().try_clone_to_owned()?,
            keys: vec![K::default(); size],
            values: vec![V::default(); size],
            entries: PhantomData,
        })
    }

    /// Reads `count` of the entries behind `cursor` (from the start without one), at most as many as the reader
    /// reads at a time. Returns them and where to go on, which is `None` behind the last.
    pub(crate) fn read(
        &mut self,
        cursor: Option<Cursor>,
        count: usize,
    ) -> io::Result<(impl Iterator<Item = (K, V)>, Option<Cursor>)> {
        let start = cursor.map_or(0, |cursor| cursor.0);
        let mut next = 0_u32;
        let mut attributes = BatchAttributes {
            in_batch: if cursor.is_some() {
                &raw const start as u64
            } else {
                0
            },
            out_batch: &raw mut next as u64,
            keys: self.keys.as_mut_ptr() as u64,
            values: self.values.as_mut_ptr() as u64,
            count: count.min(self.keys.len()) as u32,
            map_fd: self.map.as_raw_fd() as u32,
            elem_flags: 0,
            flags: 0,
        };
        // SAFETY: `new` has checked that the map is a hash with keys and values of exactly these
        // sizes, so the kernel writes at most `count` of each into the two vectors, which have that
        // length, and one `u32`, the position of a hash map, into `next`. All of them live through
        // the call. What is written is valid because `K` and `V` are `Pod`.
        let result = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                BPF_MAP_LOOKUP_BATCH,
                &raw mut attributes,
                size_of::<BatchAttributes>(),
            )
        };
        let next = if result == 0 {
            Some(Cursor(next))
        } else {
            let error = io::Error::last_os_error();
            // The end of the map; `count` entries were still written.
            if error.raw_os_error() != Some(libc::ENOENT) {
                return Err(error);
            }
            None
        };
        let count = attributes.count as usize;
        let keys = self.keys.iter().take(count).copied();
        Ok((keys.zip(self.values.iter().copied()), next))
    }

    /// Removes an entry and returns its value, in one step for everybody else (kernel 5.14 for hashes).
    pub(crate) fn take(&mut self, key: &K) -> io::Result<Option<V>> {
        let mut value = V::default();
        let mut attributes = ElementAttributes {
            map_fd: self.map.as_raw_fd() as u32,
            padding: 0,
            key: std::ptr::from_ref(key) as u64,
            value: &raw mut value as u64,
            flags: 0,
        };
        // SAFETY: `new` has checked that the map is a hash with keys and values of exactly these sizes, so the kernel
        // reads one key and writes one value. Both live through the call. What is written is valid because `V` is
        // `Pod`.
        let result = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                BPF_MAP_LOOKUP_AND_DELETE_ELEM,
                &raw mut attributes,
                size_of::<ElementAttributes>(),
            )
        };
        if result == 0 {
            return Ok(Some(value));
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::ENOENT) => Ok(None),
            _ => Err(error),
        }
    }
}

/// Whether that error of [`BatchReader::take`] says that this kernel cannot do it with hashes.
pub(crate) fn cannot_take(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(ENOTSUPP | libc::EINVAL))
}
