//! What a sender is told: ICMP "fragmentation needed" (RFC 1191, 4) and ICMPv6 "packet too big" (RFC 4443, 3.2).

use std::net::IpAddr;

use crossway_types::checksum;
use crossway_types::packet;
use crossway_types::packet::write::{ICMP_HEADER, IPV4, IPV6};
use crossway_types::protocol::{ICMP, ICMPV6};

/// Longest message with its IP header (RFC 1812, 4.3.2.3; RFC 4443, 2.4).
const LONGEST_V4: usize = 576;
const LONGEST_V6: usize = 1280;

/// Whom to tell, and the message without its IP header; `None` where nobody may be told (RFC 1122, 3.2.2; RFC 4443, 2.4).
pub(crate) fn too_big(packet: &[u8], largest: usize, mtu: usize) -> Option<(IpAddr, Vec<u8>)> {
    let (source, destination) = packet::addresses(packet)?;
    if !may_be_told(packet, source, destination) {
        return None;
    }
    let mtu = u16::try_from(mtu).unwrap_or(u16::MAX);
    let mut message = vec![0; ICMP_HEADER];
    message[6..8].copy_from_slice(&mtu.to_be_bytes());
    let quoted = packet.len().min(largest);
    match source {
        IpAddr::V4(_) => {
            message[..2].copy_from_slice(&[3, 4]);
            message.extend_from_slice(&packet[..quoted.min(LONGEST_V4 - IPV4 - ICMP_HEADER)]);
            // Of a super-packet, one of those that it stands for.
            let header = &mut message[ICMP_HEADER..];
            let end = (usize::from(header[0] & 0xf) * 4).clamp(IPV4, header.len());
            header[2..4].copy_from_slice(&(quoted as u16).to_be_bytes());
            header[10..12].fill(0);
            let sum = checksum::finish(0, &header[..end]);
            header[10..12].copy_from_slice(&sum.to_be_bytes());
            let sum = checksum::finish(0, &message);
            message[2..4].copy_from_slice(&sum.to_be_bytes());
        }
        IpAddr::V6(_) => {
            message[0] = 2;
            message.extend_from_slice(&packet[..quoted.min(LONGEST_V6 - IPV6 - ICMP_HEADER)]);
            let stated = (quoted.saturating_sub(IPV6)) as u16;
            message[ICMP_HEADER + 4..ICMP_HEADER + 6].copy_from_slice(&stated.to_be_bytes());
            // The kernel sums ICMPv6 up itself.
        }
    }
    Some((source, message))
}

/// Whether the sender of a packet may be told of it by an error.
pub(crate) fn may_be_told(packet: &[u8], source: IpAddr, destination: IpAddr) -> bool {
    let nobody = match source {
        IpAddr::V4(source) => source.is_broadcast(),
        IpAddr::V6(_) => false,
    };
    if nobody || source.is_unspecified() || source.is_multicast() || source.is_loopback() {
        return false;
    }
    match destination {
        IpAddr::V4(destination) => {
            let later_fragment = u16::from_be_bytes([packet[6], packet[7]]) & 0x1fff != 0;
            let header = usize::from(packet[0] & 0xf) * 4;
            let kind = packet.get(header).copied().unwrap_or_default();
            let error = packet[9] == ICMP && matches!(kind, 3 | 4 | 5 | 11 | 12);
            !(later_fragment || error || destination.is_multicast() || destination.is_broadcast())
        }
        // Here a sender of multicast is told as well.
        IpAddr::V6(_) => {
            let kind = packet.get(IPV6).copied().unwrap_or_default();
            !(packet[6] == ICMPV6 && kind < 128)
        }
    }
}
