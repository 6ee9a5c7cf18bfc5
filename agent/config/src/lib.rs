//! The configuration file as types in which a wrong set-up cannot be written.
//!
//! [`Config::load`] reads a file (`read.rs`): each section is read by its own file as far as it can
//! be (`gateway.rs`, `interface.rs`, `health.rs`, `vrrp.rs`, `metrics.rs`, `site.rs`, `mapping.rs`, `policy.rs`), then the rules between sections are checked (`rules.rs`) and
//! the key files looked at (`key_files.rs`). Every finding is a [`Diagnostic`] with its line; all are told
//! at once. A [`Config`] can be written out again (`write.rs`).

mod diagnostic;
mod discovery;
mod dscp;
pub mod endpoint;
mod engine;
mod flows;
mod gateway;
mod health;
mod interface;
mod key_file;
mod key_files;
mod liveness;
mod mapping;
mod metrics;
mod name;
mod new;
mod path_mtu;
mod policy;
mod read;
mod remote;
mod restart;
mod rules;
mod section;
mod site;
mod vrrp;
mod write;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

pub use self::diagnostic::{Diagnostic, Severity};
pub use self::discovery::Discovery;
pub use self::flows::{Collector, FlowExport, FlowFile};
pub use self::health::{HealthKind, HealthTarget};
pub use self::key_file::KeyFile;
pub use self::metrics::{Metrics, MetricsDoor, MetricsTls};
pub use self::path_mtu::PathMtuMode;
pub use self::read::{Accepted, Files, Rejected};
pub use crossway_liveness::settings::{BfdAddresses, Liveness, LivenessMode};
use crossway_liveness::vrrp::Interval;
pub use crossway_policy::Policy;
use crossway_types::address::Family;
use crossway_types::engine::Engine;
pub use crossway_types::interface::{InterfaceAddress, Lan, OnDown, Wan, XdpChoice};
use crossway_types::mapping::Mapping;
pub use crossway_types::marks::DscpModel;
pub use crossway_types::nearest;
use crossway_types::prefix::Prefix;

/// A whole configuration file, validated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// This gateway.
    pub gateway: Gateway,
    /// `[metrics]`; without it, nobody can read them.
    pub metrics: Option<Metrics>,
    /// The remote sites, in the order of the file.
    pub sites: Vec<Site>,
    /// `[flows]`.
    pub flows: FlowExport,
    /// `[discovery]`; without it, no service is entered anywhere.
    pub discovery: Option<Discovery>,
    /// Who may reach what.
    pub policy: Policy,
}

/// `[gateway]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// Names the pins, the socket and the TUN; letters, digits, `-`, `_`, `.`; at most 32.
    pub name: String,
    /// File that holds the private key in WireGuard's base64 form.
    pub private_key_file: KeyFile,
    /// UDP address of lane 0; `[::]` takes IPv4 as well.
    pub listen: SocketAddr,
    /// Addresses of this gateway on the TUN, each with its prefix length.
    pub tunnel_addresses: Vec<InterfaceAddress>,
    /// What runs the sessions of the gateways that name no engine themselves.
    pub engine: Engine,
    /// How the class of inner packets shows outside.
    pub dscp: DscpModel,
    /// Lanes to run.
    pub lanes: Lanes,
    /// The most that the MTU inside the tunnel may be; without it, what the WANs leave.
    pub mtu: Option<u16>,
    /// What decides how large packets are on a link.
    pub path_mtu: PathMtuMode,
    /// Flows of IPv4 that the flow table holds; see [`datapath_abi::maps::DEFAULT_FLOWS`].
    pub flows: usize,
    /// Whether the eBPF programs are attached; without them the kernel stack forwards, more slowly.
    pub fast_path: bool,
    /// MiB that the history of sites and links takes at most; 0 for none.
    pub history_mib: u32,
    /// Whether system calls are filtered once the gateway forwards.
    pub seccomp: bool,
    /// Group whose members may use the control socket; without it, `crossway` if there is such a group.
    pub control_group: Option<String>,
    /// `[[gateway.lan]]`, at least one.
    pub lan: Vec<Lan>,
    /// `[[gateway.wan]]`, at least one.
    pub wan: Vec<Wan>,
    /// `[[gateway.health]]`.
    pub health: Vec<HealthTarget>,
    /// `[[gateway.vrrp]]`, one for each family of a table.
    pub vrrp: Vec<VirtualRouter>,
    /// `[[gateway.replica]]`: the other gateways on the same LANs, with which flows are kept in step. Each has
    /// one link.
    pub replicas: Vec<RemoteGateway>,
}

impl Gateway {
    /// Name of the tunnel device: `cw-` and the first 12 characters of the gateway's name, which
    /// together are the 15 that Linux allows.
    pub fn tun_name(&self) -> String {
        tun_name(&self.name)
    }
}

fn tun_name(gateway: &str) -> String {
    format!("cw-{}", gateway.chars().take(12).collect::<String>())
}

/// Most lanes of a gateway.
pub const MAX_LANES: u16 = datapath_abi::site::MAX_LANES as u16;

/// `lanes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lanes {
    /// As many as the far gateway with the most lanes has, but no more than this machine has cores.
    Auto,
    /// That many.
    Count(u16),
}

impl Gateway {
    /// Lanes to run on a machine with `cores`, for these sites.
    pub fn lanes_to_run(&self, sites: &[Site], cores: usize) -> u16 {
        match self.lanes {
            Lanes::Count(lanes) => lanes,
            Lanes::Auto => {
                let far = sites
                    .iter()
                    .flat_map(|site| &site.gateways)
                    .map(|gateway| gateway.lanes);
                far.max()
                    .unwrap_or(1)
                    .min(u16::try_from(cores).unwrap_or(MAX_LANES))
                    .max(1)
            }
        }
    }
}

/// `[[gateway.vrrp]]`: the addresses of one family that the hosts of a LAN have as their router, shared
/// with other gateways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualRouter {
    /// The LAN interface.
    pub interface: String,
    /// Virtual router id, one for each family and interface.
    pub id: u8,
    /// Of all its addresses.
    pub family: Family,
    /// At least one; of IPv6, the first is link-local.
    pub addresses: Vec<IpAddr>,
    /// 255 for the one that is always master; else the highest is.
    pub priority: u8,
    /// Taken off the priority while no site can be reached; `None` if it does not follow the sites.
    pub track_weight: Option<u8>,
    /// Time between advertisements.
    pub advertisement_interval: Interval,
    /// Whether to take over from a working master of lower priority.
    pub preempt: bool,
}

/// `[[site]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Unique name.
    pub name: String,
    /// Virtual network of its routes.
    pub vnet: String,
    /// Prefixes behind it as they are shown here, unique and of one site each within a vnet.
    pub routes: Vec<Prefix>,
    /// Those of them that the site really has under others; they overlap none of the rest.
    pub maps: Vec<Mapping>,
    /// Words by which rules mean it, beside its name.
    pub tags: Vec<String>,
    /// What becomes of packets to it while no link is up.
    pub on_down: OnDown,
    /// `[[site.gateway]]`, at least one.
    pub gateways: Vec<RemoteGateway>,
    /// How long a link that came back must stay up before it takes flows from one that is up.
    pub hold_down: Duration,
}

/// `[[site.gateway]]` or `[[gateway.replica]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteGateway {
    /// Unique name.
    pub name: String,
    /// WireGuard public key.
    pub public_key: [u8; 32],
    /// File that holds a pre-shared key in WireGuard's base64 form.
    pub preshared_key_file: Option<KeyFile>,
    /// What runs its sessions.
    pub engine: Engine,
    /// Parallel sessions; 1 for any stock WireGuard peer.
    pub lanes: u16,
    /// Seconds between keepalives; without it, those of `gateway::links::DEFAULT_KEEPALIVE`.
    pub persistent_keepalive: Option<u16>,
    /// `[[site.gateway.link]]`, or the one link of a gateway that lists none.
    pub links: Vec<Link>,
}

/// `[[site.gateway.link]]`: one path to a remote gateway, with a session of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Unique in its gateway; `None` for the link of a gateway that lists none.
    pub name: Option<String>,
    /// Where it is dialled, in turn until one answers; empty where only the far gateway dials. A link
    /// with a name has at most one.
    pub endpoints: Vec<Endpoint>,
    /// Interface of ours that it leaves by; without it, that of the kernel's route.
    pub wan: Option<String>,
    /// Links of the highest priority that are up carry the site's flows.
    pub priority: u32,
    /// How it is watched.
    pub liveness: Liveness,
}

/// Where a remote gateway is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A fixed address.
    Address(SocketAddr),
    /// A host name, resolved at start and again when the gateway does not answer.
    Name {
        /// Host name.
        host: String,
        /// UDP port.
        port: u16,
    },
}

impl fmt::Display for Endpoint {
    /// As in the file: `203.0.113.7:51820`, `[2001:db8::7]:51820`, `vpn.example.net:51820`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
        }
    }
}
