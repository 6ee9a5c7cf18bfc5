//! Capturing: programs of their own, loaded and attached by the process that captures, for as long as it does. The
//! agent has no part in it: its programs, maps and links stay as they are, and it may be replaced meanwhile.
//!
//! Nothing is pinned. Where the kernel has tcx, the links go with the process, however that ends; with filters of a
//! clsact qdisc a [`guard`] sees to it.

pub mod guard;
mod points;

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use anyhow::{Context, Result, anyhow, bail};
use aya::maps::{Array, HashMap, MapData, PerCpuArray, RingBuf};
use aya::programs::{Program, SocketFilter};
use aya::{Ebpf, EbpfLoader, Pod};
use datapath_abi::capture::{CaptureCounts, CaptureFilter, Captured, EndKey, LinkLayer};
use datapath_abi::{ABI_VERSION, maps};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};
use tokio::io::unix::AsyncFd;

use self::points::Points;
use super::pins::Pins;
use super::{object, sys, take, verified};

pub use self::points::{CapturePoint, LostPoint};

/// Records that are read in one go, so that who captures gets to other things in between.
const BATCH: usize = 256;

/// A capture that runs until it is dropped.
pub struct Capture {
    points: Points,
    programs: Ebpf,
    filter: Array<MapData, CaptureFilter>,
    ring: AsyncFd<RingBuf<MapData>>,
    counts: PerCpuArray<MapData, CaptureCounts>,
    links: HashMap<MapData, u32, u32>,
    ends: HashMap<MapData, EndKey, u32>,
    wans: HashMap<MapData, u32, u32>,
    _outer: OwnedFd,
    /// Numbers of the maps that the programs read; they go with the agent's.
    reads: Vec<(&'static str, u32)>,
    pins: Pins,
    _alone: Flock<File>,
}

impl Capture {
    /// Loads the programs for the maps of a gateway that runs, and looks for datagrams of the tunnel, of which none is
    /// wanted yet. `buffer` is the least size of the ring in bytes. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// The gateway's maps are not there or are of another version, somebody captures already, or what the kernel says.
    pub fn load(gateway: &str, filter: &CaptureFilter, buffer: u32) -> Result<Self> {
        let pins = Pins::new(gateway);
        pins.refuse_foreign()?;
        let directory = pins.directory().display().to_string();
        if let Some(missing) = maps::ALL.into_iter().find(|name| !pins.map(name).exists()) {
            bail!("the eBPF map {missing} of gateway {gateway} is not in {directory}");
        }
        if let Some(misfit) = pins.version_misfit()? {
            bail!(
                "the eBPF maps in {directory} are of another version ({misfit}; this program has ABI version \
                 {ABI_VERSION}): use the same version of crossway as the gateway"
            );
        }
        let alone = alone(&pins)?;
        let mut programs = load_programs(&pins, buffer)?;
        let mut map: Array<_, CaptureFilter> = take(&mut programs, maps::CAPTURE)?;
        map.set(0, filter, 0)?;
        let ring = take(&mut programs, maps::CAPTURED)?;
        Ok(Self {
            points: Points::new(),
            filter: map,
            ring: sys::ring::watch_records(ring).context("wait for captured packets")?,
            counts: take(&mut programs, maps::CAPTURE_COUNTS)?,
            links: take(&mut programs, maps::CAPTURE_LINKS)?,
            ends: take(&mut programs, maps::CAPTURE_ENDS)?,
            wans: take(&mut programs, maps::CAPTURE_WANS)?,
            _outer: watch_datagrams(&programs)?,
            reads: numbers(&pins)?,
            programs,
            pins,
            _alone: alone,
        })
    }

    /// Changes which packets are wanted.
    pub fn set_filter(&mut self, filter: &CaptureFilter) -> Result<()> {
        self.filter.set(0, filter, 0).context(maps::CAPTURE)
    }

    /// Captures at these places and no others; what stays is not touched. Places that could not be had are returned.
    pub fn attach(&mut self, wanted: &[CapturePoint]) -> Vec<LostPoint> {
        self.points.attach(&mut self.programs, wanted)
    }

    /// Makes these the links whose datagrams are wanted, each by its outer ends if they are known.
    pub fn set_links(&mut self, wanted: &[(u32, Option<EndKey>)]) -> Result<()> {
        let ends: Vec<_> = wanted
            .iter()
            .filter_map(|(link, ends)| Some(((*ends)?, *link)))
            .collect();
        let links: Vec<_> = wanted.iter().map(|(link, _)| (*link, 1)).collect();
        set_all(&mut self.links, &links).context(maps::CAPTURE_LINKS)?;
        set_all(&mut self.ends, &ends).context(maps::CAPTURE_ENDS)
    }

    /// Makes these the interfaces at which datagrams are looked for.
    pub fn set_wans(&mut self, wanted: &[(u32, LinkLayer)]) -> Result<()> {
        let wans: Vec<_> = wanted
            .iter()
            .map(|(index, layer)| (*index, *layer as u32))
            .collect();
        set_all(&mut self.wans, &wans).context(maps::CAPTURE_WANS)
    }

    /// Waits for packets, and hands over those that have come, but no more than a batch. May be cancelled while it
    /// waits.
    ///
    /// # Errors
    /// The ring cannot be waited for.
    pub async fn next(&mut self, on_packet: impl FnMut(&Captured, &[u8])) -> io::Result<()> {
        let mut ready = self.ring.readable_mut().await?;
        if read_batch(ready.get_inner_mut(), on_packet) < BATCH {
            ready.clear_ready();
        }
        Ok(())
    }

    /// Captures nothing any more, and hands over what has come.
    pub fn finish(&mut self, mut on_packet: impl FnMut(&Captured, &[u8])) -> Result<()> {
        self.points.attach(&mut self.programs, &[]);
        self.set_links(&[])?;
        while read_batch(self.ring.get_mut(), &mut on_packet) == BATCH {}
        Ok(())
    }

    /// Packets that were wanted, and those that found no room.
    pub fn counts(&self) -> Result<CaptureCounts> {
        let each = self.counts.get(&0, 0).context(maps::CAPTURE_COUNTS)?;
        let mut sum = CaptureCounts::default();
        for counts in each.iter() {
            sum.wanted += counts.wanted;
            sum.lost += counts.lost;
        }
        Ok(sum)
    }

    /// Whether the programs still read the maps of the gateway: an agent of another version makes new ones.
    pub fn is_current(&self) -> bool {
        numbers(&self.pins).is_ok_and(|numbers| numbers == self.reads)
    }
}

/// Reads so many records, or fewer if there are no more.
fn read_batch(ring: &mut RingBuf<MapData>, mut on_packet: impl FnMut(&Captured, &[u8])) -> usize {
    for read in 0..BATCH {
        let Some(record) = ring.next() else {
            return read;
        };
        if let Some((head, bytes)) = Captured::of_record(&record) {
            on_packet(&head, bytes);
        }
    }
    BATCH
}

/// One capture at a time, by a lock that the kernel lets go with this process.
fn alone(pins: &Pins) -> Result<Flock<File>> {
    let place = pins.links();
    let file = File::open(&place).with_context(|| format!("open {}", place.display()))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(lock),
        Err((_, Errno::EWOULDBLOCK)) => {
            bail!("a capture of this gateway runs already: end that one, or wait for it")
        }
        Err((_, error)) => Err(error).with_context(|| format!("lock {}", place.display())),
    }
}

fn load_programs(pins: &Pins, buffer: u32) -> Result<Ebpf> {
    let mut loader = EbpfLoader::new();
    // As in the agent: no program uses a type of the kernel's.
    loader.btf(None);
    loader.map_max_entries(maps::CAPTURED, buffer.next_power_of_two());
    for name in maps::ALL {
        loader.map_pin_path(name, pins.map(name));
    }
    let mut programs = loader
        .load(object::OBJECT)
        .context("load the eBPF maps: it needs root (or CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN)")?;
    for name in maps::CAPTURING_PROGRAMS {
        let program = programs.program_mut(name).ok_or_else(|| {
            anyhow!("the eBPF object has no program {name}: run `cargo xtask build`")
        })?;
        let loaded = match program {
            Program::SchedClassifier(program) => verified(|| program.load()),
            Program::SocketFilter(program) => verified(|| program.load()),
            other => bail!("eBPF program {name} is a {:?}", other.prog_type()),
        };
        loaded.with_context(|| format!("load the eBPF program {name}"))?;
    }
    Ok(programs)
}

/// A packet socket that gets nothing: its filter puts what is wanted into the ring. What came before the filter was
/// there is never read, and goes with the socket.
fn watch_datagrams(programs: &Ebpf) -> Result<OwnedFd> {
    let every = socket(
        AddressFamily::Packet,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::EthAll,
    );
    let every = every.context("open a packet socket: it needs root (or CAP_NET_RAW)")?;
    let program = programs.program(maps::CAPTURE_WAN);
    let program: &SocketFilter = program.context(maps::CAPTURE_WAN)?.try_into()?;
    program
        .attach(&every)
        .context("filter a packet socket by eBPF")?;
    Ok(every)
}

/// The kernel's number of each pinned map.
fn numbers(pins: &Pins) -> Result<Vec<(&'static str, u32)>> {
    let numbers = maps::ALL.into_iter().map(|name| {
        let info = aya::maps::MapInfo::from_pin(pins.map(name))?;
        Ok((name, info.id()))
    });
    numbers.collect()
}

fn set_all<K: Pod + PartialEq, V: Pod + PartialEq>(
    map: &mut HashMap<MapData, K, V>,
    wanted: &[(K, V)],
) -> Result<()> {
    let present: Vec<(K, V)> = map.iter().collect::<Result<_, _>>()?;
    for (key, _) in &present {
        if wanted.iter().all(|(other, _)| other != key) {
            map.remove(key)?;
        }
    }
    for entry in wanted {
        if !present.contains(entry) {
            map.insert(entry.0, entry.1, 0)?;
        }
    }
    Ok(())
}
