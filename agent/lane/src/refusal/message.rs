//! What a sender is answered: a reset of TCP (RFC 9293, 3.10.7.1), or "communication administratively prohibited" (RFC 1812,
//! 5.2.7.1: type 3, code 13; RFC 4443, 3.1: type 1, code 1).

use std::net::IpAddr;

use datapath_abi::headers;
use datapath_abi::packet::{Packet as _, Slot};

use super::{TTL, sum_of_tcp};
use crate::too_big::message::may_be_told;
use crossway_types::checksum;
use crossway_types::packet::tcp_flags::{ACK, FIN, RST, SYN};
use crossway_types::packet::write::{ICMP_HEADER, IPV4, IPV6, Ip};
use crossway_types::packet::{self, TCP};

/// Bytes of a TCP header without options.
const TCP_HEADER: usize = 20;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A whole packet, as if from the host that was asked: nobody else's reset counts.
    Reset {
        /// Who has asked.
        receiver: IpAddr,
        /// The packet.
        packet: Vec<u8>,
    },
    /// From a gateway.
    Prohibited {
        /// Who has asked.
        receiver: IpAddr,
        /// The message without its IP header.
        message: Vec<u8>,
    },
}

impl Answer {
    /// To the packet with this head; `None` where nobody may be answered (RFC 1122, 3.2.2; RFC 4443, 2.4).
    pub fn to(head: &[u8]) -> Option<Self> {
        let (sender, destination) = packet::addresses(head)?;
        let to_all = destination.is_multicast() || destination.is_unspecified();
        if to_all || sender.is_multicast() || !may_be_told(head, sender, destination) {
            return None;
        }
        let (at, protocol) = transport(head)?;
        if protocol == TCP {
            return reset(head, at);
        }
        Some(Self::Prohibited {
            receiver: sender,
            message: prohibited(head, sender.is_ipv4()),
        })
    }

    /// Who gets it.
    pub fn receiver(&self) -> IpAddr {
        match self {
            Self::Reset { receiver, .. } | Self::Prohibited { receiver, .. } => *receiver,
        }
    }
}

/// Where the transport header of a packet is and its protocol, unless it is a fragment behind the first.
fn transport(head: &[u8]) -> Option<(usize, u8)> {
    let upper = if head[0] >> 4 == 4 {
        let mut slot = Slot::new();
        headers::upper_of_ipv4(head.read(0, &mut slot)?, 0)
    } else {
        let mut slot = Slot::new();
        headers::upper_of_ipv6(head, head.read(0, &mut slot)?, 0)
    };
    let upper = upper.ok().filter(|upper| !upper.later_fragment)?;
    Some((upper.offset, upper.protocol))
}

fn reset(head: &[u8], at: usize) -> Option<Answer> {
    let (sender, destination) = packet::addresses(head)?;
    let tcp = head.get(at..at + TCP_HEADER)?;
    let flags = tcp[13];
    // Nothing is ever sent in answer to a reset.
    if flags & RST != 0 {
        return None;
    }
    let mut segment = [0; TCP_HEADER];
    segment[..2].copy_from_slice(&tcp[2..4]);
    segment[2..4].copy_from_slice(&tcp[..2]);
    segment[12] = (TCP_HEADER as u8 / 4) << 4;
    if flags & ACK != 0 {
        segment[4..8].copy_from_slice(&tcp[8..12]);
        segment[13] = RST;
    } else {
        let headers = at + usize::from(tcp[12] >> 4) * 4;
        let payload = packet::stated_length(head)?.checked_sub(headers)?;
        // SYN and FIN are counted as a byte each.
        let controls = u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
        let sequence = u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]);
        let acknowledged = sequence.wrapping_add(payload as u32).wrapping_add(controls);
        segment[8..12].copy_from_slice(&acknowledged.to_be_bytes());
        segment[13] = RST | ACK;
    }
    let ip = Ip {
        source: destination,
        destination: sender,
        class: 0,
        dont_fragment: true,
        ttl: TTL,
        protocol: TCP,
    };
    let mut packet = vec![0; ip.header_len() + TCP_HEADER];
    ip.write(&segment, &mut packet);
    let (header, segment) = packet.split_at_mut(ip.header_len());
    let addresses = if sender.is_ipv4() {
        &header[12..20]
    } else {
        &header[8..40]
    };
    let sum = sum_of_tcp(addresses, segment);
    segment[16..18].copy_from_slice(&sum.to_be_bytes());
    Some(Answer::Reset {
        receiver: sender,
        packet,
    })
}

/// The message with as much of the packet as there is.
fn prohibited(head: &[u8], ipv4: bool) -> Vec<u8> {
    // RFC 1812, 4.3.2.3; RFC 4443, 2.4.
    let longest = if ipv4 {
        576 - IPV4 - ICMP_HEADER
    } else {
        1280 - IPV6 - ICMP_HEADER
    };
    let mut message = vec![0; ICMP_HEADER];
    message.extend_from_slice(&head[..head.len().min(longest)]);
    if ipv4 {
        message[..2].copy_from_slice(&[3, 13]);
        let sum = checksum::finish(0, &message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
    } else {
        // The kernel sums ICMPv6 up itself, and so does who puts an IP header in front.
        message[..2].copy_from_slice(&[1, 1]);
    }
    message
}
