//! The tunnel's own datagrams, on an interface that is LAN and WAN at once.

use datapath_abi::{headers::Headers, settings::Settings};
use network_types::ip::IpProto;

use crate::maps;

/// Whether a packet is a datagram of the tunnel: from a far gateway to one of our lanes, or one of ours that came back.
#[inline(always)]
pub(crate) fn is_outer(headers: &Headers, settings: &Settings) -> bool {
    if headers.protocol != IpProto::Udp as u8 {
        return false;
    }
    let is_lane = |port: u16| port.wrapping_sub(settings.listen_port) < settings.lanes;
    is_lane(headers.ports.destination()) && maps::is_local(&headers.destination)
        || is_lane(headers.ports.source()) && maps::is_local(&headers.source)
}
