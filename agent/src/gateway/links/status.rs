//! One link at run time: whether it can carry traffic, and why.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use super::damping::Damping;
use crate::config::LivenessMode;
use crate::control::message::{EventKind, LinkState};
use crate::gateway::election::Health;
use crate::gateway::plan::PlannedLink;
use crate::journal::Change;
use crate::liveness::bfd::packet::{Diagnostic, State};
use crate::liveness::path_mtu::{self, Bounds, Report};
use crate::tunnel::PeerSnapshot;
use crate::tunnel::link_bfd::{Bfd, LanRole, LinkLiveness};

/// How long a link may look for its far end before it counts as down: three handshake retries
/// (REKEY_TIMEOUT is 5 s, WireGuard whitepaper 6.1).
pub(in crate::gateway) const CONNECTING_FOR: Duration = Duration::from_secs(15);
/// A far end that has a session, but has answered no handshake and sent nothing for so long, is down:
/// two retries.
const SILENT_FOR: Duration = Duration::from_secs(12);

/// One link at run time.
#[derive(Debug)]
pub struct LinkStatus {
    /// What it is.
    pub planned: PlannedLink,
    /// Whether it can carry traffic.
    pub state: LinkState,
    /// Why it is in this state.
    pub why: String,
    /// Since when.
    pub since: Instant,
    /// What the lane said last.
    pub peer: Option<PeerSnapshot>,
    /// What the lane knows of it by asking; `None` until it has said so.
    pub pulse: Option<LinkLiveness>,
    /// A person has taken it out of service.
    pub drained: bool,
    /// What the far end was told last.
    pub(super) service: LanRole,
    /// Index of the interface that it is bound to, as the lane knows it.
    pub(super) interface: Option<NonZeroU32>,
    /// What its path is held to, as the lane knows it.
    pub(super) bounds: Option<Bounds>,
    /// What is known of the address that it speaks from.
    pub(super) known_source: super::sources::Known,
    /// Why its path is known to be dead, such as an interface without a carrier.
    pub path_down: Option<String>,
    /// Where it was dialled or heard last.
    pub(super) remote: Option<IpAddr>,
    /// Why its packets would not leave this host.
    pub(super) swallowed: Option<String>,
    pub(super) next_endpoint: usize,
    pub(super) next_dial: Instant,
    pub(super) damping: Damping,
    /// Inner packets that it had delivered, and when that number was another.
    received: (u64, Instant),
}

/// A state with its cause.
type Verdict = (LinkState, String);

/// A change of a link's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateChange {
    /// Before.
    pub from: LinkState,
    /// Now.
    pub to: LinkState,
}

impl LinkStatus {
    /// A link that is about to be dialled.
    pub(super) fn new(planned: PlannedLink, now: Instant) -> Self {
        let why = if planned.path.endpoints.is_empty() {
            "waits for the far gateway to dial: it has no endpoint here"
        } else {
            "dialling"
        };
        Self {
            state: LinkState::Connecting,
            why: why.to_owned(),
            since: now,
            peer: None,
            pulse: None,
            drained: false,
            service: LanRole::default(),
            interface: None,
            bounds: None,
            known_source: super::sources::Known::default(),
            path_down: None,
            remote: None,
            swallowed: None,
            next_endpoint: 0,
            next_dial: now,
            damping: Damping::default(),
            received: (0, now),
            planned,
        }
    }

    /// What the election needs to know.
    pub fn health(&self) -> Health {
        Health {
            up: self.state == LinkState::Up,
            standby: self.is_standby(),
            drained: self.drained,
        }
    }

    /// Whether BFD decides if the link is up.
    pub fn is_watched_by_bfd(&self) -> bool {
        let mode = self.planned.path.liveness.mode;
        mode == LivenessMode::Bfd || self.bfd().is_some_and(|bfd| bfd.decides)
    }

    fn bfd(&self) -> Option<Bfd> {
        self.pulse?.bfd
    }

    /// Takes what the lane says of it; what has become of its path.
    pub(super) fn on_snapshot(&mut self, peer: PeerSnapshot, now: Instant) -> Option<Change> {
        if self.received.0 != peer.received_packets {
            self.received = (peer.received_packets, now);
        }
        let before = self.peer.replace(peer).and_then(|peer| peer.path)?;
        self.describe_path(before)
    }

    /// What has become of its path since `before`, for the journal: what was found, and what was lost.
    fn describe_path(&self, before: Report) -> Option<Change> {
        let now = self.peer.as_ref()?.path?;
        let lost = now.black_holes > before.black_holes;
        let (from, cause) = if lost {
            (before.mtu, "black hole: larger packets are lost on the way")
        } else if now.state == path_mtu::State::Found && before.state != path_mtu::State::Found {
            (before.mtu, "that is what the path takes")
        } else if now.state == path_mtu::State::Found && now.mtu > before.mtu {
            (before.mtu, "the path takes more than before")
        } else {
            return None;
        };
        Some(Change {
            kind: EventKind::Link,
            subject: self.subject(),
            from: Some(format!("path MTU {from}")),
            to: format!("path MTU {}", now.mtu),
            cause: cause.to_owned(),
        })
    }

    /// Judges anew.
    pub(super) fn assess(&mut self, now: Instant) -> Option<StateChange> {
        let (state, why) = self.damped_verdict(now);
        self.why = why;
        if state == self.state {
            return None;
        }
        match (self.state, state) {
            (_, LinkState::Up) => self.damping.on_up(now),
            (LinkState::Up, LinkState::Down | LinkState::Connecting) => self.damping.on_down(now),
            _ => {}
        }
        self.since = now;
        let from = std::mem::replace(&mut self.state, state);
        Some(StateChange { from, to: state })
    }

    /// Its name in the journal.
    fn subject(&self) -> String {
        let site = match self.planned.site {
            Some(_) => self.planned.site_name.as_str(),
            None => "(replica)",
        };
        let name = self.planned.name();
        match self.planned.lane {
            0 => format!("{site}/{name}"),
            lane => format!("{site}/{name} lane {lane}"),
        }
    }

    /// A change of its state for the journal.
    pub(super) fn describe(&self, change: &StateChange) -> Change {
        Change {
            kind: EventKind::Link,
            subject: self.subject(),
            from: Some(change.from.as_str().to_owned()),
            to: change.to.as_str().to_owned(),
            cause: self.why.clone(),
        }
    }

    /// One that has flapped comes up when it has been held down long enough.
    fn damped_verdict(&self, now: Instant) -> Verdict {
        let (state, why) = self.verdict(now);
        match self.damping.held_for(now) {
            Some(left) if state == LinkState::Up && self.state != LinkState::Up => {
                let seconds = left.as_secs_f64().ceil();
                let why = format!("flapping: held down, {seconds} s more ({why})");
                (LinkState::Down, why)
            }
            _ => (state, why),
        }
    }

    fn verdict(&self, now: Instant) -> Verdict {
        if self.drained {
            return (LinkState::Drained, "drained here".to_owned());
        }
        if let Some(why) = self.path_down.as_ref().or(self.swallowed.as_ref()) {
            return (LinkState::Down, why.clone());
        }
        let verdict = match self.bfd().filter(|_| self.is_watched_by_bfd()) {
            Some(bfd) => self.verdict_of_bfd(bfd, now),
            None => self.verdict_of_wireguard(now),
        };
        match (self.planned.path.liveness.probe, verdict.0) {
            (Some(target), LinkState::Up) => self.verdict_of_probe(target, verdict, now),
            _ => verdict,
        }
    }

    /// Of a link that is up otherwise.
    fn verdict_of_probe(&self, target: IpAddr, (state, why): Verdict, now: Instant) -> Verdict {
        match self.pulse.and_then(|pulse| pulse.echo) {
            Some(true) => (state, why + &format!(", and {target} answers")),
            _ if self.is_connecting(now) => (
                LinkState::Connecting,
                format!("waits for {target} to answer"),
            ),
            _ => (LinkState::Down, format!("{target} does not answer")),
        }
    }

    fn verdict_of_bfd(&self, bfd: Bfd, now: Instant) -> Verdict {
        let down = |why: &str| (LinkState::Down, why.to_owned());
        match (bfd.state, bfd.remote) {
            (State::Up, _) if self.is_standby() => {
                let why = "BFD is up; the far gateway is the standby of its site";
                (LinkState::Up, why.to_owned())
            }
            (State::Up, _) => (LinkState::Up, "BFD is up".to_owned()),
            (State::AdminDown, _) if self.service == LanRole::LanDown => {
                down("out of service: this gateway does not reach its LAN")
            }
            (State::AdminDown, _) => (LinkState::Connecting, "is put back into service".to_owned()),
            (_, (State::AdminDown, Diagnostic::ConcatenatedPathDown)) => {
                down("the far gateway does not reach its LAN")
            }
            (_, (State::AdminDown, _)) => (LinkState::Drained, "drained at the far end".to_owned()),
            _ if self.session_age().is_none() => self.verdict_of_wireguard(now),
            _ if self.is_connecting(now) => {
                (LinkState::Connecting, "BFD has not come up yet".to_owned())
            }
            _ => match bfd.diagnostic {
                Diagnostic::DetectionTimeExpired => {
                    let time = bfd.detection_time.unwrap_or_default().as_millis();
                    down(&format!("BFD heard nothing for {time} ms"))
                }
                Diagnostic::NeighborSignaledDown => down("BFD: the far end does not hear us"),
                _ => down("BFD is down"),
            },
        }
    }

    fn verdict_of_wireguard(&self, now: Instant) -> Verdict {
        let peer = self.peer.as_ref();
        let remote = peer
            .and_then(|peer| peer.endpoint)
            .map(|endpoint| endpoint.remote);
        match (self.session_age(), remote) {
            (Some(_), Some(remote)) if self.is_silent(now) => (
                LinkState::Down,
                format!("{remote} answers no handshake and sends nothing"),
            ),
            (Some(_), Some(remote)) if self.is_unheard() => (
                LinkState::Down,
                format!(
                    "{remote} begins handshakes and gets no answer: what is sent to it does not arrive"
                ),
            ),
            (Some(_), _) => (LinkState::Up, "handshake completed".to_owned()),
            // A session that ended (nothing heard for 180 s) is down at once.
            (None, Some(remote)) => {
                let state = if self.is_connecting(now) {
                    LinkState::Connecting
                } else {
                    LinkState::Down
                };
                (state, format!("no answer from {remote}"))
            }
            (None, None) => (self.state, self.why.clone()),
        }
    }

    fn session_age(&self) -> Option<Duration> {
        self.peer.as_ref()?.handshake_age
    }

    fn is_standby(&self) -> bool {
        let standby = (State::Up, Diagnostic::ConcatenatedPathDown);
        self.bfd().is_some_and(|bfd| bfd.remote == standby)
    }

    fn is_connecting(&self, now: Instant) -> bool {
        let waited = now.saturating_duration_since(self.since);
        match self.state {
            LinkState::Connecting => waited < CONNECTING_FOR,
            LinkState::Drained => true,
            LinkState::Up | LinkState::Down => false,
        }
    }

    /// Whether the far end does not hear us, whatever it sends.
    fn is_unheard(&self) -> bool {
        let unheard = self.peer.as_ref().and_then(|peer| peer.unheard_for);
        unheard.is_some_and(|time| time >= SILENT_FOR)
    }

    fn is_silent(&self, now: Instant) -> bool {
        let unanswered = self.peer.as_ref().and_then(|peer| peer.unanswered_for);
        unanswered.is_some_and(|time| time >= SILENT_FOR) && now >= self.received.1 + SILENT_FOR
    }
}
