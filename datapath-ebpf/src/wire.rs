//! What a packet is on the wire, and which way it goes there: a GSO packet is many.

use datapath_abi::headers::Headers;
use network_types::ip::IpProto;

/// Which way a packet goes.
#[derive(Clone, Copy)]
pub(crate) enum Direction {
    ToSite,
    FromSite,
}

/// The wire packets of one packet in the kernel.
pub(crate) struct Wire {
    pub(crate) packets: u64,
    /// Inner IP bytes, headers repeated.
    pub(crate) bytes: u64,
    /// Bytes of the largest IP packet.
    pub(crate) largest: u32,
}

impl Wire {
    /// `gso_segs` is not used: it is 0 for packets from a TUN or a virtual machine, until the kernel
    /// has looked at them (SKB_GSO_DODGY).
    #[inline(always)]
    pub(crate) fn of(headers: &Headers, gso_size: u32) -> Self {
        let length = headers.ip_length;
        if gso_size == 0 {
            return Self {
                packets: 1,
                bytes: length.into(),
                largest: length,
            };
        }
        let header_length = headers.header_length;
        let payload = length - header_length;
        let packets = payload.div_ceil(gso_size).max(1);
        Self {
            packets: packets.into(),
            bytes: u64::from(payload) + u64::from(packets) * u64::from(header_length),
            largest: if has_known_header(headers.protocol) {
                header_length.saturating_add(gso_size)
            } else {
                // Segments of a tunnelled or SCTP packet: how long their headers are is not known
                // here, so no link is wide enough.
                u32::MAX
            },
        }
    }
}

#[inline(always)]
fn has_known_header(protocol: u8) -> bool {
    protocol == IpProto::Tcp as u8 || protocol == IpProto::Udp as u8
}
