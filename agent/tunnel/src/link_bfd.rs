//! The BFD session of a link: what it says of the link, and the packets it travels in.

mod export;

use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crossway_liveness::bfd::encapsulation::{LONGEST, Path};
use crossway_liveness::bfd::packet::{Diagnostic, Packet, State};
use crossway_liveness::bfd::{self, encapsulation};
use crossway_liveness::settings::{Liveness, LivenessMode};

/// Packets to a far end that has never answered, before they become rare: it is a stock peer, likely.
const EAGER: u32 = 10;
/// Between two packets to such a far end.
const RARELY: Duration = Duration::from_secs(10);
/// Detection times for which data stands in for missing control packets: then what sends them is dead,
/// though the path is not.
const STANDS_IN_FOR: u32 = 3;
/// A far end that has answered once, and not for so long when it begins a new WireGuard session, is
/// another program now.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(30);

/// What a gateway says of itself on its links.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LanRole {
    /// It serves its LAN.
    #[default]
    Active,
    /// Another gateway of its site serves the LAN; it can, if need be.
    Standby,
    /// The LAN behind it cannot be reached.
    LanDown,
    /// A person takes the link out of service.
    Drained,
}

/// What is known of a link from its BFD session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bfd {
    /// Our state.
    pub state: State,
    /// Why it is not up.
    pub diagnostic: Diagnostic,
    /// What the far end said last of its own state, and why.
    pub remote: (State, Diagnostic),
    /// Whether it decides if the link is up.
    pub decides: bool,
    /// How long the far end may be silent; `None` until it has been heard.
    pub detection_time: Option<Duration>,
}

/// What is known of a link from what it is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkLiveness {
    /// What BFD says; `None` where it has none.
    pub bfd: Option<Bfd>,
    /// Whether the host behind it that is asked for an echo answers; `None` where none is asked.
    pub echo: Option<bool>,
}

/// A session and where its packets go.
pub(super) struct LinkBfd {
    session: bfd::Session,
    path: Path,
    mode: LivenessMode,
    /// The far end has answered once: from then on the session decides.
    answered: bool,
    /// Packets sent to a far end that has never answered.
    unanswered: u32,
    /// When a control packet came last.
    heard: Option<Instant>,
    /// No packet before this time.
    not_before: Option<Instant>,
}

impl LinkBfd {
    /// The session of a link; `None` where it is to have none. The discriminator is not 0, and not that
    /// of another link.
    pub(super) fn new(
        liveness: &Liveness,
        own_key: &[u8; 32],
        peer_key: &[u8; 32],
        discriminator: u32,
        now: Instant,
    ) -> Option<Self> {
        if liveness.mode == LivenessMode::WireGuard {
            return None;
        }
        let (local, remote) = match liveness.addresses {
            Some(addresses) => (addresses.local, addresses.remote),
            None => (link_local(own_key).into(), link_local(peer_key).into()),
        };
        Some(Self {
            session: bfd::Session::new(liveness.pace, discriminator, discriminator, now),
            path: Path {
                local,
                remote,
                source_port: 0xc000 | discriminator as u16,
            },
            mode: liveness.mode,
            answered: false,
            unanswered: 0,
            heard: None,
            not_before: None,
        })
    }

    /// Whether the link can carry traffic, as far as the session decides.
    pub(super) fn is_alive(&self) -> bool {
        !self.decides() || self.session.state() == State::Up
    }

    /// What is known.
    pub(super) fn bfd(&self) -> Bfd {
        Bfd {
            state: self.session.state(),
            diagnostic: self.session.diagnostic(),
            remote: self.session.remote(),
            decides: self.decides(),
            detection_time: self.session.detection_time(),
        }
    }

    /// When it has something to do.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let next = self.session.next_timeout()?;
        Some(
            self.not_before
                .map_or(next, |not_before| next.max(not_before)),
        )
    }

    /// Whether a control packet with these inner addresses is for this session.
    pub(super) fn is_for(&self, addresses: (IpAddr, IpAddr)) -> bool {
        addresses == (self.path.remote, self.path.local)
    }

    /// Takes a control packet.
    pub(super) fn handle_packet(&mut self, packet: &Packet, now: Instant) -> bool {
        if !self.session.is_for_us(packet) {
            return false;
        }
        self.session.handle_packet(packet, now);
        self.heard = Some(now);
        self.not_before = None;
        self.answered |= self.session.state() == State::Up;
        true
    }

    /// Looks at the clock. `received` is when the link delivered its last inner packet: the far end that sent
    /// it was alive.
    pub(super) fn handle_timeout(&mut self, received: Option<Instant>, now: Instant) {
        let detection = self.session.detection_time().unwrap_or_default();
        let stands_in = |received: &Instant| {
            self.heard
                .is_some_and(|heard| *received < heard + detection * STANDS_IN_FOR)
        };
        if let Some(received) = received.filter(stands_in) {
            self.session.on_heard(received);
        }
        self.session.handle_timeout(now);
    }

    /// Writes the inner packet that is due; its length.
    pub(super) fn poll_transmit(&mut self, now: Instant, to: &mut [u8; LONGEST]) -> Option<usize> {
        if self.not_before.is_some_and(|not_before| now < not_before) {
            return None;
        }
        let packet = self.session.poll_transmit(now)?;
        if !self.answered && self.mode == LivenessMode::Auto {
            self.unanswered = self.unanswered.saturating_add(1);
            self.not_before = (self.unanswered >= EAGER).then(|| now + RARELY);
        }
        Some(encapsulation::write(&packet, &self.path, to))
    }

    /// There is a new WireGuard session: the far end may have begun anew.
    pub(super) fn on_session(&mut self, now: Instant) {
        self.answered &= self
            .heard
            .is_some_and(|heard| now < heard + FORGOTTEN_AFTER);
        self.unanswered = 0;
        self.not_before = None;
        self.session.transmit_now(now);
    }

    /// The path is known to be dead.
    pub(super) fn on_path_down(&mut self, now: Instant) {
        self.session.on_path_down(now);
    }

    /// Tells the far end how we serve our LAN.
    pub(super) fn set_lan_role(&mut self, service: LanRole, now: Instant) {
        let down = match service {
            LanRole::Active | LanRole::Standby => None,
            LanRole::LanDown => Some(Diagnostic::ConcatenatedPathDown),
            LanRole::Drained => Some(Diagnostic::AdministrativelyDown),
        };
        self.session.set_admin_down(down, now);
        self.session.set_standby(service == LanRole::Standby, now);
    }

    /// Takes another pace.
    pub(super) fn set_pace(&mut self, pace: bfd::Pace, now: Instant) {
        self.session.set_pace(pace, now);
    }

    fn decides(&self) -> bool {
        self.answered || self.mode == LivenessMode::Bfd
    }
}

/// The inner address of the gateway that has this public key: link-local, with the key's first eight
/// bytes as interface identifier. Both ends know both keys, so nothing has to be configured.
pub(crate) fn link_local(key: &[u8; 32]) -> Ipv6Addr {
    let mut octets = [0; 16];
    octets[..2].copy_from_slice(&[0xfe, 0x80]);
    octets[8..].copy_from_slice(&key[..8]);
    Ipv6Addr::from(octets)
}

#[cfg(test)]
mod tests;
