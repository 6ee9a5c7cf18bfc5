//! The eBPF side of the gateway: loads the programs, attaches them, and gives typed access to the
//! maps they share with the agent.
//!
//! Maps and links are pinned under `/sys/fs/bpf/crossway/<gateway>/`. An agent that dies leaves
//! them, the programs go on, and [`Datapath::load_for`] of the next takes them over: the maps with their
//! content, the links with new programs and no gap. Only [`Datapath::detach`] removes them.
//!
//! All calls are synchronous and short, for a current-thread runtime; longer ones say so. They act
//! in the network namespace of the calling thread.

mod attach;
mod attachment;
pub mod capture;
mod explain;
mod flows;
mod hold;
mod local;
mod log;
mod object;
mod pins;
mod policy;
mod prepared;
mod routes;
mod sessions;
mod settings;
mod shape;
mod sites;
mod sys;
mod tallies;
mod xdp;

use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, ensure};
use aya::maps::{Map, MapError, MapInfo};
use aya::programs::{Program, ProgramError};
use aya::util::KernelVersion;
use aya::{Ebpf, EbpfLoader};
use datapath_abi::explanation::Explanation;
use datapath_abi::maps;
use datapath_abi::policy::Line;
use datapath_abi::settings::Settings;
use tracing::{info, warn};

use self::attach::Attacher;
use self::explain::Answers;
use self::hold::Hold;
use self::pins::Pins;
use self::shape::Shape;
use crossway_sys::bpf_link::Attached;
use crossway_sys::interface;

pub use self::attach::Wanted;
pub use self::attach::clsact::netlink;
pub use self::attachment::{Attachment, Hook, Mode, TcAttach};
pub use self::explain::{MOST_EXPLAINED, Question};
pub use self::flows::{
    Account, FlowEnd, FlowSummary, Flows, IdleLimits, Opening, Swept, Told, Walk, counted,
};
pub use self::hold::{Held, Holder};
pub use self::local::{Local, WanVlan};
pub use self::log::ProgramLog;
pub use self::policy::{Policy, RefusedPackets, RuleCounts, RuleSet};
pub use self::prepared::Prepared;
pub use self::routes::{Entry, RouteChanges, Routes, Target};
pub use self::sessions::Sessions;
pub use self::settings::{SettingsMap, Surroundings};
pub use self::sites::Sites;
pub use self::tallies::Tallies;
pub use self::xdp::{XdpPlan, plan as plan_xdp};

/// The loaded programs and maps of one gateway. Dropping it leaves everything in place, as a
/// killed agent would; [`Self::detach`] removes it.
pub struct Datapath {
    /// Settings and interfaces.
    pub settings: SettingsMap,
    /// Sites and their counters.
    pub sites: Sites,
    /// Routes.
    pub routes: Routes,
    /// Receiver indices.
    pub sessions: Sessions,
    /// The host's addresses.
    pub local: Local,
    /// The flow table.
    pub flows: Flows,
    /// The rules, and what was denied.
    pub policy: Policy,
    /// Drops and what went to the stack.
    pub tallies: Tallies,
    answers: Answers,
    programs: Ebpf,
    attacher: Attacher,
    pins: Pins,
    took_over: bool,
    _hold: Hold,
}

/// Whether the interface cuts TCP super-packets into segments itself; one that does not say does.
pub fn segments_tcp(interface: &str) -> bool {
    interface::segments_tcp(interface).unwrap_or(true)
}

impl Datapath {
    /// Loads programs and maps for `gateway` (a valid name of the configuration), with room for so many
    /// flows of IPv4, and [`maps::flows_of_ipv6`]. Takes over pinned maps, or removes them if they are of
    /// another version or shape. Mounts the BPF file system if it is missing. Attaches nothing yet.
    ///
    /// # Errors
    /// [`Held`] where another agent has the maps, or what keeps them or the programs from being loaded.
    pub fn load_for(gateway: &str, holder: Holder, tc: TcAttach, flows: usize) -> Result<Self> {
        pins::ensure_bpffs()?;
        let pins = Pins::new(gateway);
        pins.refuse_foreign()?;
        pins.create()?;
        let mut hold = pins.hold(holder)?;
        if let Some(misfit) = pins.misfit(flows)? {
            warn!("removing the eBPF maps and links left by another version: {misfit}");
            remove(&pins, gateway)?;
            pins.create()?;
            hold = pins.hold(holder)?;
        }
        let took_over = pins.map(maps::SETTINGS).exists();
        let loaded = load_pinned(&pins, took_over, flows)
            .and_then(|programs| Self::new(programs, pins.clone(), hold, gateway, tc, took_over));
        if loaded.is_err() && !took_over {
            // Whatever kept us from loading, half a set of pins helps nobody.
            let _ = remove(&pins, gateway);
        }
        loaded
    }

    /// Removes what a gateway that is not running left behind, if anything.
    ///
    /// # Errors
    /// [`Held`] where another agent has it, or what cannot be removed.
    pub fn remove_left_behind(gateway: &str, holder: Holder) -> Result<()> {
        let pins = Pins::new(gateway);
        pins.refuse_foreign()?;
        if !pins.directory().exists() {
            return Ok(());
        }
        let _hold = pins.hold(holder)?;
        remove(&pins, gateway)
    }

    /// Attaches what is wanted and is not attached yet, detaches everything else. Call it again
    /// whenever interfaces come, go or change; what stays is not touched.
    pub fn attach(&mut self, wanted: Wanted<'_>) -> Result<()> {
        self.attacher.attach(&mut self.programs, wanted)
    }

    /// The program that says which queue of the TUN takes a packet.
    pub fn steering(&self) -> Result<BorrowedFd<'_>> {
        let name = maps::TUN_STEER;
        let program = self.programs.program(name);
        let program = program.with_context(|| format!("the eBPF object has no program {name}"))?;
        Ok(program.fd()?.as_fd())
    }

    /// What a program would do with a packet. Counts nothing, sends nothing and leaves no flow.
    pub fn explain(&self, question: &Question<'_>) -> Result<Explanation> {
        self.answers.ask(&self.programs, question)
    }

    /// The programs that every packet into and out of the tunnel meets, if they are attached now: somebody may have
    /// detached them.
    pub fn programs_on_tunnel(&self) -> Result<Option<Attached>> {
        self.attacher.on_tunnel()
    }

    /// Whether the programs of [`Self::programs_on_tunnel`] still are. Filters of clsact are looked up, for which no
    /// privilege is needed: some tens of microseconds.
    pub fn are_on_tunnel(&self, programs: &Attached) -> Result<bool> {
        if programs.has_links() {
            return Ok(programs.are_attached());
        }
        Ok(self.programs_on_tunnel()?.is_some())
    }

    /// What is attached where, with what is off and why.
    pub fn attachments(&self) -> &[Attachment] {
        self.attacher.attachments()
    }

    /// XDP that the configuration names and the driver refuses, with the mend, one line each.
    pub fn refusals(&self) -> &[String] {
        self.attacher.refusals()
    }

    /// Whether maps of an agent before us were taken over, with their content.
    pub fn took_over(&self) -> bool {
        self.took_over
    }

    /// The directory with the pins.
    pub fn pin_directory(&self) -> PathBuf {
        self.pins.directory().to_owned()
    }

    /// What the programs say. There is one, and it must be asked for inside a tokio runtime.
    pub fn take_log(&mut self) -> Result<ProgramLog> {
        ProgramLog::new(&mut self.programs)
    }

    /// The packets that the programs deny, some of them. There is one, as [`Self::take_log`].
    pub fn take_refused(&mut self) -> Result<RefusedPackets> {
        RefusedPackets::new(&mut self.programs)
    }

    /// Makes these lines the image of a rule set: see [`Policy::set`].
    pub fn set_policy(&mut self, set: RuleSet, lines: &[Line]) -> Result<()> {
        self.policy.set(set, lines)
    }

    /// Detaches all programs; the maps stay as they are.
    pub fn detach_programs(&mut self) -> Result<()> {
        self.attacher.detach_all()
    }

    /// Detaches all programs and removes all pins: the clean stop.
    pub fn detach(mut self) -> Result<()> {
        self.attacher.detach_all()?;
        self.pins.remove()
    }

    fn new(
        mut programs: Ebpf,
        pins: Pins,
        hold: Hold,
        gateway: &str,
        tc: TcAttach,
        took_over: bool,
    ) -> Result<Self> {
        let mut settings = SettingsMap::new(&mut programs)?;
        if !took_over {
            // Says whose maps these are from the first moment; the rest keeps the programs idle.
            settings.set(Settings::default())?;
        }
        Ok(Self {
            sites: Sites::new(&mut programs)?,
            routes: Routes::new(&mut programs, settings.share())?,
            policy: Policy::new(&mut programs, settings.share())?,
            settings,
            sessions: Sessions::new(&mut programs)?,
            local: Local::new(&mut programs)?,
            flows: Flows::new(&mut programs)?,
            tallies: Tallies::new(&mut programs)?,
            answers: Answers::new(&mut programs)?,
            attacher: Attacher::new(pins.clone(), gateway, tc),
            programs,
            pins,
            took_over,
            _hold: hold,
        })
    }
}

fn load_pinned(pins: &Pins, took_over: bool, flows: usize) -> Result<Ebpf> {
    // An older verifier says only that it does not know an instruction.
    ensure!(
        kernel_at_least(5, 12),
        "the eBPF programs need Linux 5.12 or later"
    );
    let mut loader = EbpfLoader::new();
    // The programs use no type of the kernel's, so its type information need not be read.
    loader.btf(None);
    loader.map_max_entries(maps::FLOWS4, flows as u32);
    loader.map_max_entries(maps::FLOWS6, maps::flows_of_ipv6(flows) as u32);
    for name in maps::ALL {
        loader.map_pin_path(name, pins.map(name));
    }
    for name in maps::CAPTURING_ONLY {
        // The loader makes them all. Those of one entry have no other size, and a ring becomes a page.
        loader.map_max_entries(name, 1);
    }
    let mut programs = loader
        .load(object::OBJECT)
        .context("load the eBPF maps: it needs root (or CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN)")?;
    for name in maps::CAPTURING_ONLY {
        // No program of the agent's has them, so this is the end of them.
        drop(programs.take_map(name));
    }
    check_shapes(pins, flows)?;
    for (name, program) in programs.programs_mut() {
        if maps::CAPTURING_PROGRAMS.contains(&name) {
            continue;
        }
        let loaded = match program {
            Program::SchedClassifier(program) => verified(|| program.load()),
            Program::Xdp(program) => verified(|| program.load()),
            Program::SocketFilter(program) => verified(|| program.load()),
            other => return Err(anyhow!("eBPF program {name} is a {:?}", other.prog_type())),
        };
        loaded.with_context(|| format!("load the eBPF program {name}"))?;
    }
    let directory = pins.directory().display();
    if took_over {
        info!("took over the eBPF maps in {directory}");
    } else {
        info!("loaded the eBPF programs, maps are in {directory}");
    }
    Ok(programs)
}

/// Loads a program. The verifier gives up with EAGAIN when a signal is pending (`bpf_check` in
/// kernel/bpf/verifier.c); libbpf tries five times, too.
fn verified(mut load: impl FnMut() -> Result<(), ProgramError>) -> Result<(), ProgramError> {
    for _ in 0..4 {
        match load() {
            Err(ProgramError::LoadError { io_error, .. })
                if io_error.raw_os_error() == Some(libc::EAGAIN) => {}
            other => return other,
        }
    }
    load()
}

/// The object must have been built from the same shared crate as we.
fn check_shapes(pins: &Pins, flows: usize) -> Result<()> {
    for name in maps::ALL {
        let path = pins.map(name);
        let info = MapInfo::from_pin(&path).with_context(|| {
            format!("the eBPF object has no map {name}: run `cargo xtask build`")
        })?;
        let (expected, found) = (Shape::expected(name, flows), Shape::of(&info));
        if expected != found {
            return Err(anyhow!(
                "map {name} of the eBPF object: expected {expected:?}, found {found:?}: run `cargo xtask build`"
            ));
        }
    }
    Ok(())
}

fn remove(pins: &Pins, gateway: &str) -> Result<()> {
    pins.refuse_foreign()?;
    attach::detach_left_behind(pins, gateway)?;
    pins.remove()
}

fn kernel_at_least(major: u8, minor: u8) -> bool {
    KernelVersion::current().is_ok_and(|kernel| kernel >= KernelVersion::new(major, minor, 0))
}

/// Takes the map `name` out of the loaded object, as what it should be.
fn take<T: TryFrom<Map, Error = MapError>>(programs: &mut Ebpf, name: &str) -> Result<T> {
    let map = programs
        .take_map(name)
        .ok_or_else(|| anyhow!("the eBPF object has no map {name}: run `cargo xtask build`"))?;
    T::try_from(map).with_context(|| format!("map {name}"))
}
