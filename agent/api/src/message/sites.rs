//! Sites, the links that reach them, and the routes that lead to them.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::Traffic;
use crossway_types::engine::Engine;

/// Answer of `sites`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SitesReply {
    /// In the order of the configuration.
    pub sites: Vec<Site>,
}

/// A remote site.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Site {
    /// Name.
    pub name: String,
    /// Its number, as in the SITES map.
    #[serde(default)]
    pub id: u32,
    /// Virtual network.
    pub vnet: String,
    /// Whether traffic passes.
    pub state: SiteState,
    /// Seconds that it has been in this state.
    pub since_seconds: u64,
    /// Why it is in this state.
    pub why: String,
    /// What becomes of packets to it while it is down: `unreachable`, `drop` or `next-shorter`.
    pub on_down: String,
    /// Its prefixes as they are shown here.
    pub routes: Vec<String>,
    /// Those of them that the site itself has under others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub maps: Vec<MappedPrefix>,
    /// What passed. Never loses what the flow table evicted.
    #[serde(flatten)]
    pub traffic: Traffic,
    /// Links that reach it, as in `links`.
    pub links: Vec<Link>,
}

/// A prefix that stands for another one of the same length.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MappedPrefix {
    /// What it is here.
    pub shown: String,
    /// What the site itself has.
    pub real: String,
}

/// Whether a site can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum SiteState {
    /// Every link is up.
    Active,
    /// Some link is down, traffic passes.
    Degraded,
    /// No link is up.
    Down,
}

impl SiteState {
    /// The word of `--json`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "Active",
            Self::Degraded => "Degraded",
            Self::Down => "Down",
        }
    }
}

/// Answer of `links`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LinksReply {
    /// Links of all sites, in the order of the configuration, and then those to replicas.
    pub links: Vec<Link>,
}

/// One local socket, one remote gateway, one WireGuard session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Link {
    /// Site that it reaches; empty where a replica of this gateway is at its far end.
    pub site: String,
    /// Remote gateway.
    pub gateway: String,
    /// What runs its session.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "String"))]
    pub engine: Engine,
    /// Its number, as in the SESSIONS map.
    pub id: u32,
    /// Lane that carries it.
    pub lane: u16,
    /// Address and port that packets go to; null until one is known.
    pub endpoint: Option<String>,
    /// Local address that packets leave from; null until one is known.
    pub local_address: Option<IpAddr>,
    /// The remote gateway's WireGuard public key.
    pub public_key: String,
    /// Seconds since the last completed handshake; null if there was none.
    pub last_handshake_seconds: Option<u64>,
    /// Whether it can carry traffic.
    pub state: LinkState,
    /// Why it is in this state.
    pub why: String,
    /// Tunnel datagrams received.
    pub rx_packets: u64,
    /// Their UDP payload.
    pub rx_bytes: u64,
    /// Tunnel datagrams sent.
    pub tx_packets: u64,
    /// Their UDP payload.
    pub tx_bytes: u64,
    /// Seconds between keepalives; null if there are none.
    pub keepalive_seconds: Option<u16>,
    /// Links of the highest priority that are up carry the site's flows.
    pub priority: u32,
    /// Name of the link in its gateway; null for the link of a gateway that lists none.
    pub link: Option<String>,
    /// Interface that it is bound to; null where the kernel's routes choose.
    pub wan: Option<String>,
    /// Seconds that it has been in this state.
    pub since_seconds: u64,
    /// Whether it carries flows of its site now; else it is a spare.
    pub carries_flows: bool,
    /// What says whether it is up.
    pub watched_by: WatchedBy,
    /// Host in the far LAN that must answer as well; null where none is asked.
    pub probe: Option<IpAddr>,
    /// Milliseconds of silence after which BFD takes it for dead; null until it is known, and without BFD.
    pub detection_milliseconds: Option<u64>,
    /// Receiver index of the session, whose upper 24 bits are the key of the SESSIONS map.
    pub receiver_index: Option<u32>,
    /// What it and the replica told each other; null of a link to a site.
    #[serde(default)]
    pub replica: Option<ReplicaFlows>,
    /// Handshakes that gave a session since the link was made, whoever began them.
    #[serde(default)]
    pub handshakes: u64,
    /// Data messages towards this gateway.
    #[serde(default)]
    pub messages: Messages,
    /// Time to the far gateway and back, as it was measured last: by BFD while that is up, else by handshakes; null
    /// until it was.
    #[serde(default)]
    pub round_trip_microseconds: Option<u64>,
    /// State of its BFD session: `Up`, `Down`, `Init` or `AdminDown`; null without one.
    #[serde(default)]
    pub bfd_state: Option<String>,
    /// How large packets are on its path; null of a link to a replica, and until the lane has said it.
    #[serde(default)]
    pub path_mtu: Option<PathMtu>,
}

/// The path MTU of a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PathMtu {
    /// Largest inner packet that is sent over it.
    pub mtu_bytes: u16,
    /// How that is known.
    pub state: PathMtuState,
    /// Largest inner packet that the far end sends, by its own word; null where it has not said it.
    pub far_mtu_bytes: Option<u16>,
    /// Times that packets which had passed by their size did not pass any more.
    pub black_holes: u64,
    /// Probes sent to find a size, or to confirm it.
    pub probes: u64,
}

/// How the path MTU of a link is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum PathMtuState {
    /// The path is not looked at: the WAN or the configuration says it.
    Fixed,
    /// The far end answers no probe, as a stock WireGuard: the WAN or the configuration says it.
    Unanswered,
    /// The limit is being looked for.
    Searching,
    /// The limit was found.
    Found,
}

impl PathMtuState {
    /// The word of `--json`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::Unanswered => "unanswered",
            Self::Searching => "searching",
            Self::Found => "found",
        }
    }
}

/// Data messages of WireGuard that came over a link, by the counter that its far end gives each. Keepalives and BFD are
/// among them. What was received and what is missing make up all that the far end is known to have sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Messages {
    /// Came, authentic and new.
    pub received: u64,
    /// Have not come, or not yet, though later ones have.
    pub missing: u64,
    /// Of those received, came behind one that was sent later.
    pub reordered: u64,
    /// Came once more, and were dropped.
    pub duplicate: u64,
    /// Came so late that nobody knows whether they had come before, and were dropped.
    pub outdated: u64,
}

/// Flows that two replicas of a gateway told each other; they carry no traffic for each other. A flow counts
/// each time it is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ReplicaFlows {
    /// Flows told to it.
    pub flows_sent: u64,
    /// Flows that it told.
    pub flows_received: u64,
    /// Those of them that were not in the table here.
    pub flows_entered: u64,
    /// Those of them that were in the table and were brought up to date.
    pub flows_updated: u64,
}

/// Whether a link can carry traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum LinkState {
    /// There is a session.
    Up,
    /// A handshake is under way, or waits for traffic.
    Connecting,
    /// The remote gateway does not answer.
    Down,
    /// A person has taken it out of service.
    Drained,
}

/// What says whether a link is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum WatchedBy {
    /// Bidirectional Forwarding Detection (RFC 5880).
    Bfd,
    /// Handshakes, and silence while we send.
    WireGuard,
}

impl WatchedBy {
    /// The word of `--json`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bfd => "bfd",
            Self::WireGuard => "wireguard",
        }
    }
}

/// What a person orders of links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum LinkOrder {
    /// Take out of service: flows leave it, both ways, before anything is lost.
    Drain,
    /// Put back into service.
    Undrain,
    /// Rank above all that are not preferred, while it is up.
    Prefer,
    /// Rank by its priority again.
    Unprefer,
    /// Rank above all others at once, until it goes down.
    Promote,
}

impl LinkOrder {
    /// The word of the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Undrain => "undrain",
            Self::Prefer => "prefer",
            Self::Unprefer => "unprefer",
            Self::Promote => "promote",
        }
    }
}

impl LinkState {
    /// The word of `--json`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Up => "Up",
            Self::Connecting => "Connecting",
            Self::Down => "Down",
            Self::Drained => "Drained",
        }
    }
}

/// Answer of `routes list`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RoutesReply {
    /// By virtual network and prefix.
    pub routes: Vec<Route>,
}

/// A prefix of the route tables.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Route {
    /// Prefix.
    pub prefix: String,
    /// Virtual network.
    pub vnet: String,
    /// Whose it is.
    pub kind: RouteKind,
    /// Site that it leads to; null for [`RouteKind::Kernel`].
    pub site: Option<String>,
    /// The agent's number for it; 0 for [`RouteKind::Kernel`].
    pub route_id: u32,
    /// The prefix that the site itself has, where this one stands for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub real: Option<String>,
}

/// Who forwards packets to a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum RouteKind {
    /// The tunnel, to a site.
    Site,
    /// The kernel: a local or connected network, or somebody's more specific route.
    Kernel,
}

impl RouteKind {
    /// The word of `--json`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Site => "site",
            Self::Kernel => "kernel",
        }
    }
}

/// Answer of `routes get`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RouteAnswer {
    /// Address that was asked for.
    pub address: IpAddr,
    /// The address of the host in its own site, where this one stands for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub real: Option<IpAddr>,
    /// Virtual network in which it was looked up.
    pub vnet: String,
    /// Longest prefix that holds it; null if none does.
    pub prefix: Option<String>,
    /// Whose the prefix is; null if there is none.
    pub kind: Option<RouteKind>,
    /// Site that packets go to; null if they do not go to one.
    pub site: Option<String>,
    /// Remote gateway of the link that carries them; null if no link does.
    pub link: Option<String>,
    /// What the kernel's own routing does with the address, such as `dev cw-berlin-1 src 10.1.0.1`.
    pub kernel: String,
    /// The whole decision in a sentence.
    pub why: String,
}

/// Answer of `routes overlaps`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct OverlapsReply {
    /// By outer, then inner prefix.
    pub overlaps: Vec<Overlap>,
}

/// Two prefixes of one virtual network, one within the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Overlap {
    /// Virtual network.
    pub vnet: String,
    /// The shorter prefix.
    pub outer: String,
    /// Its site.
    pub outer_site: String,
    /// The longer prefix.
    pub inner: String,
    /// Its site.
    pub inner_site: String,
    /// What the sites themselves have, where one of the prefixes stands for another: the outer one's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outer_real: Option<String>,
    /// The inner one's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inner_real: Option<String>,
    /// What that means for packets.
    pub effect: String,
}
