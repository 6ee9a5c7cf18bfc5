//! Mapped prefixes: inside of the tunnel are the addresses that the far site really has, on this side those that its
//! prefixes are shown as ([`crossway_types::mapping`]).

use std::net::IpAddr;
use std::time::Instant;

use crossway_types::ids::SiteId;
use crossway_types::packet;
use datapath_abi::outcome::DropReason;

use crate::peer::Peer;
use crate::route_cache::RouteCache;
use crate::transmit::Transmits;
use crate::{PeerSlot, Sealed, Tunnel};

impl Tunnel {
    /// Maps a packet for a peer to the addresses of its site, once all that is to be said of it here has been said.
    /// `unfinished` is where a checksum is that holds the sum of the pseudo header only.
    #[inline]
    pub fn map_outbound(&self, slot: PeerSlot, packet: &mut [u8], unfinished: Option<usize>) {
        if let Some(maps) = self.routes.maps()
            && let Some(site) = self.peers[slot.0].as_ref().and_then(Peer::site)
        {
            maps.outbound(site).apply(packet, unfinished);
        }
    }

    /// Sends a packet of the gateway's own, with the addresses of this side, to the site that has its destination.
    pub fn send_own(&mut self, packet: &mut [u8], now: Instant, out: &mut Transmits) -> Sealed {
        let to = packet::addresses(packet).map(|(_, to)| to);
        let Some(slot) = to.and_then(|to| self.peer_for(to, packet)) else {
            return Sealed::Dropped(DropReason::NoRoute);
        };
        self.map_outbound(slot, packet, None);
        match self.sealer(slot, now) {
            Some(mut sealer) => sealer.seal(packet, out),
            None => Sealed::Dropped(DropReason::NoRoute),
        }
    }
}

/// Maps a packet of a site, before its source is looked at, which is `source` without a mapping; its source then.
#[inline]
pub(super) fn map_inbound(
    routes: &RouteCache,
    site: SiteId,
    packet: &mut [u8],
    source: IpAddr,
) -> IpAddr {
    let Some(maps) = routes.maps() else {
        return source;
    };
    maps.inbound(site).apply(packet, None);
    packet::addresses(packet).map_or(source, |(source, _)| source)
}
