//! Whether the link is alive: BFD and echoes, sent and received over its own session. Probes of its path go with them.

mod told;

use std::net::IpAddr;
use std::time::Instant;

use super::super::link_bfd::{LanRole, LinkBfd, LinkLiveness};
use super::Peer;
use crate::LinkChange;
use crate::transmit::Transmits;
use crossway_liveness::bfd::encapsulation::LONGEST;
use crossway_liveness::bfd::packet::Packet;
use crossway_liveness::echo::{self, Echo};
use crossway_liveness::round_trip::RoundTrip;
use crossway_liveness::settings::Liveness;
pub(super) use told::Told;

impl Peer {
    /// Whether it may be chosen to carry flows.
    pub(crate) fn is_eligible(&self) -> bool {
        !self.benched && self.is_alive()
    }

    /// May be chosen again, once it is alive.
    pub(crate) fn unbench(&mut self) {
        self.benched = false;
    }

    /// Whether a control packet between these inner addresses is for this link.
    pub(crate) fn expects_control(&self, addresses: (IpAddr, IpAddr)) -> bool {
        let bfd = self.bfd.as_ref();
        bfd.is_some_and(|bfd| bfd.is_for(addresses))
    }

    /// Takes a control packet, which may have come over another link of the same gateway; whether it is for
    /// this one's session.
    pub(crate) fn handle_control(&mut self, packet: &Packet, now: Instant) -> bool {
        let bfd = self.bfd.as_mut();
        bfd.is_some_and(|bfd| bfd.handle_packet(packet, now))
    }

    /// Whether an inner packet was the reply to a probe of ours.
    #[inline]
    pub(crate) fn take_echo(&mut self, inner: &[u8]) -> bool {
        self.echo
            .as_mut()
            .is_some_and(|echo| echo.handle_packet(inner))
    }

    /// When there is something to ask or to miss.
    pub(crate) fn next_pulse(&self) -> Option<Instant> {
        let bfd = self.bfd.as_ref().and_then(LinkBfd::next_timeout);
        let echo = self.echo.as_ref().map(Echo::next_timeout);
        [bfd, echo, self.next_probe()].into_iter().flatten().min()
    }

    /// Looks at the clock, and sends the control packet, the echo and the probes that are due.
    pub(crate) fn handle_pulse(
        &mut self,
        (now, heard_until): (Instant, Instant),
        out: &mut Transmits,
    ) {
        if let Some(bfd) = &mut self.bfd {
            bfd.handle_timeout(self.received_at, heard_until);
            let mut inner = [0; LONGEST];
            if let Some(length) = bfd.poll_transmit(now, &mut inner) {
                self.send_control(&inner[..length], out);
            }
        }
        let mut inner = [0; echo::LONGEST];
        let echo = self.echo.as_mut();
        if let Some(length) = echo.and_then(|echo| echo.poll_transmit(now, &mut inner)) {
            self.send_control(&inner[..length], out);
        }
        self.send_probes(now, out);
    }

    /// The inner packet of a control packet that is due, to be sent over another link.
    pub(crate) fn poll_control(&mut self, now: Instant, to: &mut [u8; LONGEST]) -> Option<usize> {
        self.bfd.as_mut()?.poll_transmit(now, to)
    }

    /// Sends an inner packet that is no traffic. Without a session it is lost, which is told: the next
    /// one will do.
    pub(crate) fn send_control(&mut self, inner: &[u8], out: &mut Transmits) -> bool {
        let Some(endpoint) = self.endpoint else {
            return false;
        };
        let Some(length) = self.session.seal(inner, self.mtu, out.spare()) else {
            return false;
        };
        out.push(length, endpoint);
        true
    }

    /// The path is known to be dead.
    pub(crate) fn on_path_down(&mut self, now: Instant) {
        if let Some(bfd) = &mut self.bfd {
            bfd.on_path_down(now);
        }
    }

    /// Tells the far end how we serve our LAN.
    pub(crate) fn set_lan_role(&mut self, service: LanRole, now: Instant) {
        if let Some(bfd) = &mut self.bfd {
            bfd.set_lan_role(service, now);
        }
    }

    /// Watches the link otherwise from now on; its probe is asked from `source`.
    pub(crate) fn set_liveness(
        &mut self,
        liveness: &Liveness,
        source: Option<IpAddr>,
        own_key: &[u8; 32],
        now: Instant,
    ) {
        let old = std::mem::replace(&mut self.spec.liveness, liveness.clone());
        let old_source = std::mem::replace(&mut self.spec.probe_source, source);
        let same_packets = (old.mode, old.addresses) == (liveness.mode, liveness.addresses);
        match &mut self.bfd {
            Some(bfd) if same_packets => bfd.set_pace(liveness.pace, now),
            _ => self.bfd = super::link_bfd_of(&self.spec, own_key, now),
        }
        if (old.probe, old_source) != (liveness.probe, source) {
            self.echo = super::echo_of(&self.spec, now);
        }
    }

    /// What is known of the link.
    pub(crate) fn pulse(&self) -> LinkLiveness {
        LinkLiveness {
            bfd: self.bfd.as_ref().map(LinkBfd::bfd),
            echo: self.echo.as_ref().map(Echo::is_alive),
        }
    }

    /// The round trip to the far end. A handshake's has two key agreements in it, BFD's has none.
    pub(super) fn round_trip(&self) -> RoundTrip {
        let by_bfd = self.bfd.as_ref().and_then(LinkBfd::round_trip);
        let by_handshake = self.session.round_trip();
        // Whoever looks for another count sees every measurement of either.
        by_bfd.map_or(by_handshake, |measured| RoundTrip {
            count: measured.count + by_handshake.count,
            ..measured
        })
    }

    /// Whether anything has changed since this was asked last. A link that has died is benched.
    pub(crate) fn look(&mut self) -> bool {
        let alive = self.is_alive();
        let altered = self.told.look(self.pulse(), alive);
        self.benched |= altered && !alive;
        altered
    }

    /// What control is to be told now.
    pub(crate) fn poll_change(&mut self, now: Instant) -> Option<LinkChange> {
        let pulse = self.told.poll(now)?;
        Some(LinkChange {
            link: self.spec.link,
            pulse,
        })
    }

    /// When control is to be told of what it was not told yet.
    pub(crate) fn tells_at(&self, now: Instant) -> Option<Instant> {
        self.told.next(now)
    }

    fn is_alive(&self) -> bool {
        self.bfd.as_ref().is_none_or(LinkBfd::is_alive)
            && self.echo.as_ref().is_none_or(Echo::is_alive)
    }

    pub(super) fn on_session(&mut self, now: Instant) {
        if let Some(bfd) = &mut self.bfd {
            bfd.on_session(now);
        }
        if let Some(echo) = &mut self.echo {
            echo.transmit_now(now);
        }
        self.on_path_session(now);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::noise::Identity;
    use crate::peer::PeerSpec;
    use crate::session::Local;
    use crate::tai64n::Calendar;
    use crossway_sys::clock;
    use crossway_types::engine::Engine;
    use crossway_types::ids::LinkId;

    fn peer(now: Instant) -> Peer {
        let spec = PeerSpec {
            link: LinkId(1),
            site: None,
            engine: Engine::Crossway,
            receiver_index: 1,
            public_key: Identity::new([2; 32]).public_key(),
            preshared_key: None,
            keepalive: None,
            endpoint: None,
            interface: None,
            liveness: Liveness::default(),
            probe_source: None,
        };
        let local = Local {
            identity: Identity::new([1; 32]),
            calendar: Calendar::new(now, Duration::ZERO),
            mtu: 1420,
        };
        Peer::new(spec, &local, now)
    }

    #[test]
    fn what_may_not_be_told_yet_has_its_time() {
        let now = clock::now();
        let mut peer = peer(now);
        assert_eq!(peer.tells_at(now), None);
        let mut told = 0;
        for turn in 0..21 {
            let echo = Some(turn % 2 == 0);
            peer.told.look(LinkLiveness { bfd: None, echo }, true);
            told += u32::from(peer.poll_change(now).is_some());
        }
        let later = now + Duration::from_millis(200);
        assert_eq!((told, peer.tells_at(now)), (10, Some(later)));
        let last = peer.poll_change(later).unwrap();
        assert_eq!((last.pulse.echo, peer.tells_at(later)), (Some(true), None));
    }
}
