//! The tunnel's own datagrams that come out of the TUN: the host's routes lead to a far gateway through the tunnel, for
//! instance since a more specific route to its endpoint is gone, or since it has moved to an address that its own site
//! covers. Sealed, each would come back once more, for ever. They are dropped, and control is told to whom they were.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use crossway_sys::own_address;
use crossway_tunnel::Tunnel;
use crossway_types::ids::LinkId;
use crossway_types::packet;

/// How long a verdict holds: a loop turns in some 10 µs, a look at the kernel and at all peers takes about as long.
const VERDICT_HOLDS: Duration = Duration::from_millis(50);
/// Verdicts of one kind that are kept: more conversations with the tunnel's own ports are rare.
const VERDICTS: usize = 8;
/// Endpoints that control is told of.
const MOST_TOLD: usize = 16;
/// How long control is told of an endpoint after the last datagram: longer than a silent link waits to dial again.
const TOLD_FOR: Duration = Duration::from_secs(12);

/// IPv6 next header: fragment (RFC 8200, 4.5).
const FRAGMENT: u8 = 44;
const FRAGMENT_HEADER: usize = 8;

/// An endpoint whose datagrams were led into the tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Swallowed {
    /// The far gateway's address.
    pub endpoint: IpAddr,
    /// The link there; `None` if it is one of another lane.
    pub link: Option<LinkId>,
    /// When the last one came.
    last: Instant,
}

/// Tells the tunnel's own datagrams from all others.
pub(super) struct OwnDatagrams {
    /// The address that all lanes listen on; unspecified for any.
    listen: IpAddr,
    /// The port of this lane.
    port: u16,
    /// Those of all lanes: a datagram of one may come out of the queue of another.
    ports: RangeInclusive<u16>,
    /// Whether these sources are addresses of this host.
    sources: Verdicts<IpAddr>,
    /// Whether datagrams between these ends are ours.
    datagrams: Verdicts<Ends>,
    swallowed: Vec<Swallowed>,
}

/// Whose datagram it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ends {
    source: IpAddr,
    destination: IpAddr,
    /// Source and destination port; `None` in a fragment that is not the first.
    ports: Option<(u16, u16)>,
}

impl OwnDatagrams {
    /// For the lane of a socket, until it knows the others.
    pub(super) fn of(listen: SocketAddr) -> Self {
        Self {
            listen: listen.ip(),
            port: listen.port(),
            ports: listen.port()..=listen.port(),
            sources: Verdicts::new(),
            datagrams: Verdicts::new(),
            swallowed: Vec::with_capacity(MOST_TOLD),
        }
    }

    /// This lane is number `number` of `count`, which listen on ports in a row.
    pub(super) fn seat(&mut self, number: u16, count: u16) {
        let first = self.port.saturating_sub(number);
        self.ports = first..=first.saturating_add(count - 1);
    }

    /// Whether `packet`, which came out of the TUN, is one of our own.
    #[inline]
    pub(super) fn contain(&mut self, packet: &[u8], tunnel: &Tunnel, now: Instant) -> bool {
        ends_of_udp(packet).is_some_and(|ends| {
            let may_be = match ends.ports {
                Some((from, _)) => self.ports.contains(&from),
                // The first fragment comes first, and by the same queue.
                None => self.told_of(ends.destination),
            };
            may_be && self.judge(ends, tunnel, now)
        })
    }

    #[cold]
    fn judge(&mut self, ends: Ends, tunnel: &Tunnel, now: Instant) -> bool {
        let from_here = self.listen.is_unspecified() || self.listen == ends.source;
        if !from_here
            || !self
                .sources
                .of(ends.source, now, || own_address::is_own(ends.source))
        {
            return false;
        }
        let mut link = None;
        // What this lane sends goes to one of its peers; a host behind masquerading may have the same port.
        let of_another_lane = ends.ports.is_some_and(|(from, _)| from != self.port);
        let mut fresh = false;
        let own = self.datagrams.of(ends, now, || {
            fresh = true;
            link = tunnel.link_at(ends.destination, ends.ports.map(|(_, to)| to));
            link.is_some() || of_another_lane
        });
        if own && fresh {
            self.remember(ends.destination, link, now);
        }
        own
    }

    fn told_of(&self, endpoint: IpAddr) -> bool {
        let mut told = self.swallowed.iter();
        told.any(|known| known.endpoint == endpoint)
    }

    fn remember(&mut self, endpoint: IpAddr, link: Option<LinkId>, now: Instant) {
        let known = self.swallowed.iter_mut();
        let mut known = known.filter(|known| known.endpoint == endpoint);
        if let Some(known) = known.next() {
            known.link = link.or(known.link);
            known.last = now;
            return;
        }
        self.swallowed.retain(|known| now < known.last + TOLD_FOR);
        if self.swallowed.len() < MOST_TOLD {
            self.swallowed.push(Swallowed {
                endpoint,
                link,
                last: now,
            });
        }
    }

    /// The endpoints whose datagrams were led into the tunnel of late.
    pub(super) fn swallowed(&self, now: Instant) -> Vec<Swallowed> {
        let all = self.swallowed.iter();
        all.filter(|known| now < known.last + TOLD_FOR)
            .copied()
            .collect()
    }
}

/// Verdicts of the last moments.
struct Verdicts<K> {
    entries: [Option<(K, bool, Instant)>; VERDICTS],
    /// The one that is replaced next.
    oldest: usize,
}

impl<K: Copy + PartialEq> Verdicts<K> {
    fn new() -> Self {
        Self {
            entries: [None; VERDICTS],
            oldest: 0,
        }
    }

    /// The verdict on `key`: that of before while it holds.
    fn of(&mut self, key: K, now: Instant, judge: impl FnOnce() -> bool) -> bool {
        let entries = self.entries.iter().flatten();
        let mut holds = entries.filter(|(of, _, until)| *of == key && now < *until);
        if let Some((_, verdict, _)) = holds.next() {
            return *verdict;
        }
        let verdict = judge();
        self.entries[self.oldest] = Some((key, verdict, now + VERDICT_HOLDS));
        self.oldest = (self.oldest + 1) % VERDICTS;
        verdict
    }
}

/// The ends of a UDP datagram, or of a fragment of one.
#[inline]
fn ends_of_udp(bytes: &[u8]) -> Option<Ends> {
    let word = |at: usize| Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]));
    let (protocol, at, offset) = match bytes.first()? >> 4 {
        4 => {
            let header = usize::from(bytes[0] & 0xf) * 4;
            (*bytes.get(9)?, header, word(6)? & 0x1fff)
        }
        6 => match *bytes.get(6)? {
            FRAGMENT => (*bytes.get(40)?, 40 + FRAGMENT_HEADER, word(42)? >> 3),
            protocol => (protocol, 40, 0),
        },
        _ => return None,
    };
    if protocol != packet::UDP {
        return None;
    }
    let ports = match offset {
        0 => Some((word(at)?, word(at + 2)?)),
        _ => None,
    };
    let (source, destination) = packet::addresses(bytes)?;
    Some(Ends {
        source,
        destination,
        ports,
    })
}

#[cfg(test)]
mod tests;
