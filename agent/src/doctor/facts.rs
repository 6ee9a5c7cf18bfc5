//! What the checks judge by.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::config::{Accepted, Rejected};
use crate::control::message::{DropsReply, Event, FlowsReply, Link, NotChecked, Status};
use crate::host::addresses::HostAddress;
use crate::host::firewall::Datagrams;
use crate::host::links::Interface;
use crate::host::neighbours::Neighbour;
use crate::host::state::SysctlChange;

/// Everything.
#[derive(Debug, Default)]
pub struct Facts {
    /// Name of the gateway.
    pub gateway: String,
    /// Its file.
    pub file: PathBuf,
    /// The file as it is now; `None` where this user may not read it.
    pub config: Option<Result<Accepted, Rejected>>,
    /// What the gateway answers, if it runs.
    pub running: Option<Running>,
    /// Of the host.
    pub host: HostFacts,
    /// Ways to the far gateways.
    pub ways: Vec<Way>,
    /// What could not be looked at.
    pub not_checked: Vec<NotChecked>,
}

/// What a running gateway answers.
#[derive(Debug, Default)]
pub struct Running {
    /// `status`.
    pub status: Status,
    /// `links`.
    pub links: Vec<Link>,
    /// `flows`, all of them.
    pub flows: FlowsReply,
    /// `drops`.
    pub drops: DropsReply,
    /// `events`.
    pub events: Vec<Event>,
}

/// What is known of the host without asking the gateway.
#[derive(Debug, Default)]
pub struct HostFacts {
    /// Milliseconds since the Unix epoch.
    pub now_unix_milliseconds: u64,
    /// Interfaces.
    pub interfaces: Vec<Interface>,
    /// Their addresses.
    pub addresses: Vec<HostAddress>,
    /// Neighbours.
    pub neighbours: HashMap<IpAddr, Neighbour>,
    /// Sysctls that a running gateway needs otherwise, and that it has not set back by itself.
    pub unmet: Vec<SysctlChange>,
    /// Interfaces of the gateway at which the kernel asks that the way back to a source leads there.
    pub strict: Vec<String>,
    /// Packets that it dropped for that, within a second or some more.
    pub reverse_path_drops: u64,
    /// Where datagrams of the tunnel end in the firewall.
    pub datagrams: Datagrams,
    /// What its FORWARD chains would drop; told by the gateway if that runs.
    pub forward: Vec<String>,
    /// Network cards of LAN and WAN.
    pub cards: Vec<Card>,
    /// Whether something keeps the clock right; `None` where the kernel does not say.
    pub synchronised: Option<bool>,
    /// How far earlier handshakes are dated ahead of the clock.
    pub told_ahead: Duration,
    /// Connections that conntrack follows, and how many it can.
    pub conntrack: Option<(u64, u64)>,
    /// Of the start of a gateway that does not run.
    pub start: Option<StartFacts>,
}

/// What a start would meet.
#[derive(Debug, Default)]
pub struct StartFacts {
    /// What the gateway would be refused for, as it says it.
    pub refusals: Vec<String>,
    /// Names of endpoints that do not resolve, each with the reason.
    pub unresolved: Vec<(String, String)>,
    /// Ports that another program listens on, or why they cannot be had.
    pub ports: Vec<(u16, String)>,
    /// Major and minor number of the kernel.
    pub kernel: Option<(u32, u32)>,
    /// Whether there is `/dev/net/tun`.
    pub tun_device: bool,
    /// Whether `/proc/sys` can be written.
    pub sysctls_writable: bool,
}

/// A network card.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Card {
    /// Name of the interface.
    pub interface: String,
    /// Kind of a virtual interface; `None` for hardware.
    pub kind: Option<String>,
    /// Whether it is a WAN.
    pub wan: bool,
    /// Its features that were asked for.
    pub features: Vec<(&'static str, Feature)>,
}

/// A feature of a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// On.
    On,
    /// Off, and can be switched on.
    Off,
    /// The card does not have it.
    Absent,
}

/// The way to a far gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// The link, or where no gateway runs the far gateway.
    pub link: String,
    /// Where it leads.
    pub endpoint: SocketAddr,
    /// Whether the link is bound to an interface: then the kernel's routes do not choose.
    pub bound: bool,
    /// The interface that the kernel's routes choose; `None` where there is no route.
    pub leaves_by: Option<String>,
    /// The largest datagram that the tunnel sends there, with its IP header.
    pub largest: u32,
    /// What was measured; `None` where the far gateway answers no echo.
    pub measured: Option<Measured>,
}

/// What echoes of the size of full datagrams have shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measured {
    /// The largest packet that arrives in one piece, up to [`Way::largest`].
    pub mtu: u32,
    /// Whether one of full size arrives where it may be fragmented on the way.
    pub fragments_pass: bool,
}
