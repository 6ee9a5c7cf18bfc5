//! Where peers are known to be: under load their handshakes need no cookie.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::peer::Peer;

/// How old the list may be. It is made only while a gateway is under load; thousands of peers take 100 µs.
const LIFETIME: Duration = Duration::from_secs(1);

/// The peers' addresses.
#[derive(Debug, Default)]
pub(super) struct Familiar {
    addresses: HashSet<IpAddr>,
    made: Option<Instant>,
}

impl Familiar {
    /// Whether one of `peers` was last heard from at `address`, or is dialled there.
    pub(super) fn contains(
        &mut self,
        address: IpAddr,
        peers: &[Option<Peer>],
        now: Instant,
    ) -> bool {
        if self.made.is_none_or(|made| now >= made + LIFETIME) {
            let peers = peers.iter().flatten();
            self.addresses.clear();
            self.addresses.extend(
                peers
                    .flat_map(Peer::addresses)
                    .map(|known| known.to_canonical()),
            );
            self.made = Some(now);
        }
        self.addresses.contains(&address.to_canonical())
    }
}
