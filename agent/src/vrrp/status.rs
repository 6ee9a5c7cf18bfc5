//! What a virtual router is to be, how it stands, and what has happened to it: what the control task and
//! an [`instance`](super::instance) tell each other.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::router::{Change, Heard, State};
use crossway_liveness::vrrp::Interval;
use crossway_types::address::{Family, Mac};
use crossway_types::ids::IfIndex;

/// How long what was wrong with a mate's advertisement is shown after the last one.
pub(super) const NOTE_LASTS: Duration = Duration::from_secs(10);
/// How long it is shown that a silent mate was there all the same.
const SILENT_MATE_IS_SHOWN: Duration = Duration::from_mins(1);

/// What tells virtual routers apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    /// LAN interface.
    pub interface: String,
    /// Virtual router id.
    pub id: u8,
    /// IPv4 or IPv6.
    pub family: Family,
}

/// What a virtual router is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    /// Which.
    pub key: Key,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Priority while every site can be reached.
    pub priority: u8,
    /// What is taken off while none can be; `None` for a priority that stays.
    pub track_weight: Option<u8>,
    /// Time between advertisements.
    pub interval: Interval,
    /// Whether to take over from a working master of lower priority.
    pub preempt: bool,
    /// Where it runs, or why it cannot.
    pub place: Result<Place, String>,
}

/// Where a virtual router runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The LAN interface.
    pub lan: IfIndex,
    /// The device with the virtual MAC, which is down and has no address.
    pub device: IfIndex,
    /// Our primary address on the LAN.
    pub local: IpAddr,
    /// The interface's own MAC; without one it has no frames to send.
    pub mac: Option<Mac>,
}

/// Something to keep track of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Which virtual router.
    pub key: Key,
    /// What happened.
    pub what: What,
    /// When.
    pub at: Instant,
}

/// What happened to a virtual router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Its state changed.
    Changed(Change),
    /// While it is master here, another said the same of itself.
    Split(Heard),
    /// We took over from a master that fell silent and yet answers on the LAN.
    SilentMate(IpAddr),
}

/// How it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// What it is to be.
    pub setup: Setup,
    /// State.
    pub state: State,
    /// Since when.
    pub since: Instant,
    /// Why.
    pub why: String,
    /// Priority in force.
    pub priority: u8,
    /// The last advertisement of another router.
    pub heard: Option<Heard>,
    /// One that came while we were master.
    pub rival: Option<Heard>,
    /// What is not as it should be, and when it was last so.
    pub(super) notes: Vec<(Instant, String)>,
    /// What failed on this host, until it works again.
    pub(super) trouble: Option<String>,
    /// The master that fell silent and answers all the same.
    pub(super) silent_mate: Option<(Instant, IpAddr)>,
}

impl Status {
    pub(super) fn new(setup: Setup, now: Instant) -> Self {
        Self {
            state: State::Initialize,
            since: now,
            why: "starting".to_owned(),
            priority: setup.priority,
            heard: None,
            rival: None,
            notes: Vec::new(),
            trouble: None,
            silent_mate: None,
            setup,
        }
    }

    /// The master, if it is another.
    pub fn other_master(&self, now: Instant) -> Option<&Heard> {
        self.heard.as_ref().filter(|heard| heard.is_master(now))
    }

    /// What a person should look at.
    pub fn warnings(&self, now: Instant) -> Vec<String> {
        let mut warnings: Vec<String> = self.trouble.iter().cloned().collect();
        let rival = self.rival.as_ref().filter(|rival| rival.is_rival(now));
        warnings.extend(rival.map(|rival| split(rival, now)));
        if let Some((at, mate)) = self.silent_mate
            && now.saturating_duration_since(at) < SILENT_MATE_IS_SHOWN
        {
            warnings.push(silent_mate(mate));
        }
        let fresh = |(at, _): &&(Instant, String)| now.saturating_duration_since(*at) < NOTE_LASTS;
        let notes = self.notes.iter().filter(fresh);
        warnings.extend(notes.map(|(_, text)| text.clone()));
        warnings
    }
}

fn silent_mate(mate: IpAddr) -> String {
    format!(
        "{mate} answers on the LAN, but its advertisements do not arrive: either its VRRP has stopped, or the LAN or a firewall drops them (IP protocol 112 to 224.0.0.18 and ff02::12) and both are master"
    )
}

fn split(rival: &Heard, now: Instant) -> String {
    let ago = now.saturating_duration_since(rival.at).as_secs();
    format!(
        "split brain: {} with priority {} was also master {ago} s ago: the LAN was cut between the two, or still passes advertisements in one direction only",
        rival.address, rival.priority
    )
}
