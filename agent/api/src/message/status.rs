//! The gateway as a whole: `status`, `drops`, `reload`, `version`.

use datapath_abi::outcome::{DropReason, Owner, StackReason, Tally};
use serde::{Deserialize, Serialize};

use super::{Link, Site, VirtualRouter};
use crossway_types::engine::Engine;

/// Answer of `status`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Status {
    /// Name of this gateway.
    pub gateway: String,
    /// Version of the agent.
    pub version: String,
    /// Version of the maps' layout.
    pub abi_version: u32,
    /// Process id of the agent.
    pub pid: u32,
    /// Seconds since the Unix epoch at which the agent started.
    pub started_unix_seconds: u64,
    /// Seconds since then.
    pub uptime_seconds: u64,
    /// Configuration file in force.
    pub config_file: String,
    /// This gateway's WireGuard public key.
    pub public_key: String,
    /// Lanes that run.
    pub lanes: u16,
    /// What runs the sessions of the links that name no engine themselves.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "String"))]
    pub engine: Engine,
    /// UDP address of lane 0.
    pub listen: String,
    /// The tunnel device.
    pub tun: Tun,
    /// Whether the eBPF programs forward; otherwise the kernel stack does, more slowly.
    pub fast_path: bool,
    /// Whether a policy says who may reach what, and who judges by it.
    #[serde(default)]
    pub policy: PolicyState,
    /// Folder of the pinned maps and links.
    pub pins: String,
    /// Where eBPF programs are attached, or why not.
    pub attachments: Vec<Attachment>,
    /// Offloads of the TUN and the sockets.
    pub offloads: Vec<Offload>,
    /// What was changed on the host and will be put back, one line each.
    pub host_changes: Vec<String>,
    /// What a person should look at, one line each.
    pub warnings: Vec<String>,
    /// The same, each with where it comes from.
    #[serde(default)]
    pub warned: Vec<Warning>,
    /// Whether the LAN behind this gateway is alive.
    pub health: Health,
    /// Every site, as in `sites`.
    pub sites: Vec<Site>,
    /// Every virtual router.
    #[serde(default)]
    pub virtual_routers: Vec<VirtualRouter>,
    /// Links to the replicas of this gateway, as in `links`.
    #[serde(default)]
    pub replicas: Vec<Link>,
    /// All sites together.
    pub totals: Traffic,
    /// Memory of the agent's process that is resident.
    pub memory_rss_bytes: u64,
    /// What the agent may do, as the kernel tells it.
    #[serde(default)]
    pub posture: Posture,
}

/// Whether a policy says who may reach what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PolicyState {
    /// Whether what no rule allows is denied; otherwise everything passes.
    pub closed: bool,
    /// Rules that are enforced.
    pub rules: u64,
    /// Rules that are only judged and counted.
    pub shadow_rules: u64,
    /// Whether the eBPF programs judge; otherwise the lanes do.
    pub by_programs: bool,
}

/// What a person should look at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Warning {
    /// Where it comes from: `config`, `host`, `routes`, `names`, `own-packets`, `paths`, `swallowed`, `firewall`,
    /// `fast-path`, `policy`, `virtual-routers`, `posture`, `not-in-force` or `health`.
    pub source: String,
    /// The line.
    pub text: String,
}

/// What the agent may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Posture {
    /// Capabilities that any thread holds, by name.
    pub capabilities: Vec<String>,
    /// Whether no program that it runs could have more rights.
    pub no_new_privileges: bool,
    /// Whether system calls are filtered, on every thread.
    pub seccomp: bool,
    /// Whether a core file or a debugger of its own user may have its memory.
    pub dumpable: bool,
    /// Each thread.
    pub threads: Vec<ThreadPosture>,
}

/// What one thread may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ThreadPosture {
    /// Its name, such as `lane-0`.
    pub name: String,
    /// Capabilities that it holds, by name.
    pub capabilities: Vec<String>,
}

/// Whether the LAN behind this gateway is alive.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Health {
    /// False where no LAN interface has carrier, or every target is down.
    pub lan_alive: bool,
    /// Seconds that it has been so.
    pub since_seconds: u64,
    /// Why it is so.
    pub why: String,
    /// Every target, in the order of the configuration.
    pub targets: Vec<HealthTarget>,
}

/// A host of the LAN that is probed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct HealthTarget {
    /// Address, and port of a TCP target.
    pub target: String,
    /// `icmp` or `tcp`.
    pub kind: String,
    /// LAN interface that it is probed by.
    pub interface: String,
    /// `up`, `down`, or `unknown`.
    pub state: String,
    /// Seconds that it has been in this state.
    pub since_seconds: u64,
    /// What the last probe found.
    pub why: String,
}

/// The tunnel device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Tun {
    /// Interface name.
    pub name: String,
    /// Largest inner packet.
    pub mtu_bytes: u32,
    /// Where that number comes from.
    pub why: String,
}

/// Counters in both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Traffic {
    /// Packets towards the sites.
    pub to_site_packets: u64,
    /// Bytes towards the sites.
    pub to_site_bytes: u64,
    /// Packets from the sites.
    pub from_site_packets: u64,
    /// Bytes from the sites.
    pub from_site_bytes: u64,
    /// Bytes towards the sites in the last second or so.
    pub to_site_bytes_per_second: u64,
    /// Bytes from the sites in the last second or so.
    pub from_site_bytes_per_second: u64,
}

/// One eBPF program at one place.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Attachment {
    /// Interface.
    pub interface: String,
    /// Program, such as `lan_ingress`.
    pub hook: String,
    /// `tcx`, `clsact`, `xdp-native`, `xdp-generic` or `off`.
    pub mode: String,
    /// Why this mode.
    pub reason: String,
}

/// One offload.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Offload {
    /// Such as `tun-tso4` or `udp-gso`.
    pub name: String,
    /// Whether it is in use.
    pub on: bool,
    /// Why it is off, or how it was found to work.
    pub why: String,
    /// Seconds that it has been so.
    pub since_seconds: u64,
}

/// Answer of `drops`. Reasons that never happened are listed with zeros.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DropsReply {
    /// Packets that were dropped.
    pub drops: Vec<DropCount>,
    /// Packets that eBPF left to the kernel stack: forwarded or answered there, not lost.
    pub to_stack: Vec<StackCount>,
}

/// Packets dropped for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DropCount {
    /// Word of `datapath_abi::outcome::DropReason`.
    pub reason: String,
    /// Who dropped them.
    #[serde(rename = "where")]
    pub dropped_by: DropSite,
    /// Packets or datagrams.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl DropCount {
    /// The count of one reason.
    pub fn new(reason: DropReason, tally: Tally) -> Self {
        Self {
            reason: reason.as_str().to_owned(),
            dropped_by: DropSite::of(reason),
            packets: tally.packets,
            bytes: tally.bytes,
        }
    }
}

/// Who dropped a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum DropSite {
    /// The XDP program on a WAN interface.
    WanGuard,
    /// A TC program.
    Tc,
    /// The agent.
    Agent,
    /// An eBPF program and the agent: the count is the sum.
    ProgramsAndAgent,
}

impl DropSite {
    /// Who drops for this reason, as the list of the reasons says.
    pub fn of(reason: DropReason) -> Self {
        let owners = reason.owners();
        if !owners.iter().any(|owner| owner.is_program()) {
            Self::Agent
        } else if !owners.iter().all(|owner| owner.is_program()) {
            Self::ProgramsAndAgent
        } else if owners.contains(&Owner::WanGuard) {
            Self::WanGuard
        } else {
            Self::Tc
        }
    }

    /// The word of `--json`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WanGuard => "wan_guard",
            Self::Tc => "tc",
            Self::Agent => "agent",
            Self::ProgramsAndAgent => "programs_and_agent",
        }
    }
}

/// Packets left to the kernel stack for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct StackCount {
    /// Word of `datapath_abi::outcome::StackReason`.
    pub reason: String,
    /// Wire packets.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl StackCount {
    /// The count of one reason.
    pub fn new(reason: StackReason, tally: Tally) -> Self {
        Self {
            reason: reason.as_str().to_owned(),
            packets: tally.packets,
            bytes: tally.bytes,
        }
    }
}

/// Answer of `reload`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Reload {
    /// What came of it.
    pub outcome: Outcome,
    /// What was changed, one line each.
    pub changes: Vec<String>,
    /// What the file is warned of, one line each.
    pub warnings: Vec<String>,
    /// Why nothing was changed, one line each.
    pub errors: Vec<String>,
}

/// What came of a reload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The changes are in force.
    Applied,
    /// The file says what is already in force.
    #[default]
    Unchanged,
    /// The file is wrong: nothing was changed.
    Rejected,
    /// The file is right but could not be put in force; `errors` says what is and what is not.
    Failed,
}

/// Answer of `version`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Version {
    /// Name of the gateway.
    pub gateway: String,
    /// Version of the agent that runs.
    pub version: String,
    /// Version of the maps' layout.
    pub abi_version: u32,
}
