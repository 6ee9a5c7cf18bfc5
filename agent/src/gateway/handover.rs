//! What the two agents say to each other. Agents of different versions must understand each other:
//! fields may come, none goes or changes its meaning, and one that is unknown is passed over.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::links::LinkExport;
use crate::control::message::Event;
use crate::datapath::Account;
use crate::io::offload::ToldOff;
use crate::metrics::Told;
use crate::tunnel::link_bfd::LanRole;
use crate::vrrp::status::Key;

/// The next agent's question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// Version of the program, for the log.
    pub version: String,
    /// The state it understands; see [`crate::handover::STATE_VERSION`].
    pub state_version: u32,
    /// The network namespace it is in, where the kernel tells: a number of this boot.
    pub network_namespace: Option<u64>,
}

/// The running agent's answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    /// It is ready.
    Offer(Offer),
    /// It is not.
    Refused {
        /// Why, for people.
        why: String,
    },
}

/// What the next agent must know before it says `Go`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Offer {
    /// Version of the program, for the log.
    pub version: String,
    /// The state it will send.
    pub state_version: u32,
    /// Numbers of sites and links: [`Numbers::export`](crate::gateway::plan::Numbers::export).
    pub numbers: Value,
}

/// The next agent's other words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Word {
    /// Stop the lanes and send.
    Go,
    /// The lanes are mine.
    Taken,
}

/// What goes in front of the state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// CLOCK_MONOTONIC when `Go` arrived.
    pub asked_ns: u64,
    /// CLOCK_MONOTONIC when the first lane had stopped: from here on packets wait.
    pub parked_ns: u64,
    /// CLOCK_MONOTONIC of the state: its times count from here.
    pub state_ns: u64,
    /// Lanes, each with a socket and a TUN queue among the descriptors; which of their offloads are off.
    pub lanes: Vec<Vec<ToldOff>>,
    /// Where the metrics are read, if they are: its socket is the last of the descriptors.
    #[serde(default)]
    pub metrics: Option<Told>,
}

/// What can wait until the lanes run again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GatewayExport {
    /// Time that the gateway has run.
    pub uptime_ms: u64,
    /// Time since the Unix epoch at which it was started.
    pub started_since_epoch_ms: u64,
    /// How the gateway serves its LAN.
    pub service: LanRole,
    /// Each link's state.
    pub links: Vec<LinkExport>,
    /// The journal.
    #[serde(default)]
    pub events: Vec<Event>,
    /// Virtual routers that are masters: their advertisements must go on.
    #[serde(default)]
    pub virtual_routers: Vec<Key>,
    /// The flow table's account, where the fast path is on.
    pub flows: Option<Account>,
}
