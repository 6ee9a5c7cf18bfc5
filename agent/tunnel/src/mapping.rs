//! Mapped prefixes: inside of the tunnel are the addresses that the far site really has, on this side those that its
//! prefixes are shown as ([`crossway_types::mapping`]).

use std::net::IpAddr;

use crossway_types::ids::SiteId;
use crossway_types::packet;

use crate::peer::Peer;
use crate::route_cache::RouteCache;
use crate::{PeerSlot, Tunnel};

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
