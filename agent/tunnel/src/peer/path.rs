//! How large a packet may be on the link's path: probes and answers, sent and received over its own session.

use std::time::Instant;

use super::{Peer, PeerSpec, discriminator};
use crate::allowance::{Allowance, Rate};
use crate::link_bfd::link_local;
use crate::transmit::Transmits;
use crossway_liveness::path_mtu::packet::{Ends, is_ours};
use crossway_liveness::path_mtu::{Bounds, PathMtu, Report};

/// Answers to probes: more than a far end of this program asks for in a search, at any round trip.
const ANSWERS: Rate = Rate {
    per_second: 50,
    burst: 50,
};
/// What IPv6 must get through a link (RFC 8200, 5): larger datagrams of its packets may be fragmented.
const LEAST_OF_IPV6: usize = 1280;

/// The path of one link.
pub(super) struct Path {
    /// `None` to a replica of this gateway, which carries no traffic.
    mtu: Option<PathMtu>,
    /// Packets up to this size need no look: one compare stands before each packet.
    gate: usize,
    answers: Allowance,
}

impl Path {
    /// A path that is taken as `mtu` says, until [`Peer::set_path_bounds`].
    pub(super) fn new(spec: &PeerSpec, own_key: &[u8; 32], mtu: usize, now: Instant) -> Self {
        let ends = Ends {
            local: link_local(own_key),
            remote: link_local(&spec.public_key),
        };
        let seed = discriminator(spec.receiver_index);
        let to_site = spec.site.is_some();
        Self {
            mtu: to_site.then(|| PathMtu::new(ends, fixed(mtu), seed, now)),
            gate: mtu,
            answers: Allowance::new(ANSWERS, now),
        }
    }

    pub(super) fn report(&self) -> Option<Report> {
        self.mtu.as_ref().map(PathMtu::report)
    }

    pub(super) fn known(&self) -> Option<&PathMtu> {
        self.mtu.as_ref()
    }
}

fn fixed(mtu: usize) -> Bounds {
    let mtu = u16::try_from(mtu).unwrap_or(u16::MAX);
    Bounds {
        assumed: mtu,
        most: mtu,
        probes: false,
    }
}

impl Peer {
    /// No inner packet is longer from now on, unless the path has bounds of its own.
    pub(crate) fn set_mtu(&mut self, mtu: usize, now: Instant) {
        match &self.path.mtu {
            Some(path) if path.report().state.is_probed() => {}
            Some(_) => self.set_path_bounds(fixed(mtu), now),
            None => (self.mtu, self.path.gate) = (mtu, mtu),
        }
    }

    /// What the path is held to, and whether it is looked at.
    pub(crate) fn set_path_bounds(&mut self, bounds: Bounds, now: Instant) {
        self.on_path(|path| path.set_bounds(bounds, now));
    }

    /// Packets up to this size are sent without a look.
    #[inline]
    pub(crate) fn gate(&self) -> usize {
        self.path.gate
    }

    /// The longest inner packet.
    #[inline]
    pub(crate) fn mtu(&self) -> usize {
        self.mtu
    }

    /// Looks at a packet beyond [`Self::gate`]; the size that would do if it is too big.
    pub(crate) fn judge_size(&mut self, size: usize, ipv4: bool, now: Instant) -> Option<usize> {
        let fits = if ipv4 {
            self.mtu
        } else {
            self.mtu.max(LEAST_OF_IPV6)
        };
        if size > fits {
            return Some(fits);
        }
        self.on_path(|path| path.on_large(now));
        None
    }

    /// Takes a packet of the far end about the path; whether it was one.
    #[inline]
    pub(crate) fn take_path_message(
        &mut self,
        inner: &[u8],
        now: Instant,
        out: &mut Transmits,
    ) -> bool {
        is_ours(inner) && self.handle_path_message(inner, now, out)
    }

    #[cold]
    fn handle_path_message(&mut self, inner: &[u8], now: Instant, out: &mut Transmits) -> bool {
        let path = self.path.mtu.as_ref();
        let Some(message) = path.and_then(|path| path.decode(inner)) else {
            return false;
        };
        let answer = self.on_path(|path| path.handle_message(&message, now));
        if let Some(answer) = answer.flatten()
            && self.path.answers.take(now)
        {
            self.send_control(&answer, out);
        }
        true
    }

    /// When a probe is due.
    pub(super) fn next_probe(&self) -> Option<Instant> {
        self.path.mtu.as_ref().and_then(PathMtu::next_timeout)
    }

    /// Sends the probes that are due. Without a session they are lost.
    pub(super) fn send_probes(&mut self, now: Instant, out: &mut Transmits) {
        while let Some(probe) = self.on_path(|path| path.poll_probe(now)).flatten() {
            let Some(endpoint) = self.endpoint else {
                continue;
            };
            // It is as long as it is to be: padding changes nothing.
            if let Some(length) = self.session.seal(&probe, probe.len(), out.spare()) {
                out.push_probe(length, endpoint);
            }
        }
    }

    /// The path may be another.
    pub(super) fn on_path_moved(&mut self, now: Instant) {
        self.on_path(|path| path.on_moved(now));
    }

    /// There is a new session.
    pub(super) fn on_path_session(&mut self, now: Instant) {
        self.on_path(|path| path.on_session(now));
    }

    /// Tells the path something; what it answers, if there is one. What packets are held to follows.
    pub(super) fn on_path<T>(&mut self, tell: impl FnOnce(&mut PathMtu) -> T) -> Option<T> {
        let path = self.path.mtu.as_mut()?;
        let answer = tell(path);
        self.mtu = path.mtu().into();
        self.path.gate = path.gate().into();
        Some(answer)
    }
}
