//! What a policy asks about a packet. By the same readers as the programs, so that both judge alike.

use datapath_abi::address::{self, Address};
use datapath_abi::headers::{self, Family, Headers, Ports, Upper};
use datapath_abi::packet::{Packet as _, Slot};
use datapath_abi::policy::{Icmp, Opener, Question, opener_of_tcp, opens_anew};
use datapath_abi::settings::DEFAULT_VNET;

use crossway_types::packet::write::{ICMP, ICMP_HEADER, ICMPV6};
use crossway_types::packet::{TCP, UDP};

/// Protocols that begin with ports as TCP does: DCCP, SCTP and UDP-Lite.
const DCCP: u8 = 33;
const SCTP: u8 = 132;
const UDP_LITE: u8 = 136;

/// Who talks to whom, and what kind of packet it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) family: Family,
    pub(super) source: Address,
    pub(super) destination: Address,
    pub(super) protocol: u8,
    pub(super) kind: Kind,
}

/// What decides how a packet is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A packet of a flow with these ports; who opened it if nobody knows the flow.
    Flow {
        ports: Ports,
        opener: Opener,
        /// It opens a flow, whoever has opened the one that is known.
        anew: bool,
        /// It is of no flow that can be told from others, so it is judged by itself.
        alone: bool,
        /// Byte 13 of a TCP header.
        tcp_flags: u8,
    },
    /// A fragment behind the first: it has no ports.
    LaterFragment,
    /// An ICMP error; addresses, protocol and ports are those of the packet that it is about.
    About(Option<Ports>),
}

impl Seen {
    /// Reads a packet; `None` for one that cannot be judged: it is damaged, or it is an error about nothing that its
    /// receiver can have sent.
    pub(super) fn read(packet: &[u8]) -> Option<Self> {
        let headers = Headers::read_bare(packet, packet.len() as u32).ok()?;
        let seen = Self {
            family: headers.family,
            source: headers.source,
            destination: headers.destination,
            protocol: headers.protocol,
            kind: Kind::LaterFragment,
        };
        let (upper, ..) = network_header(packet, headers.family)?;
        if upper.later_fragment {
            return Some(seen);
        }
        let icmp = match (headers.family, headers.protocol) {
            (Family::V4, ICMP) | (Family::V6, ICMPV6) => {
                Some(Icmp::of(headers.family, *packet.get(upper.offset)?))
            }
            _ => None,
        };
        let opener = match icmp {
            Some(Icmp::Error) => {
                let about =
                    Self::read_quoted(packet.get(upper.offset + ICMP_HEADER..)?, headers.family)?;
                // An error tells the sender of the packet that it is about.
                return (about.source == headers.destination).then_some(about);
            }
            Some(Icmp::Reply) => Opener::Receiver,
            None if headers.protocol == TCP => opener_of_tcp(headers.tcp_flags),
            Some(Icmp::Other) | None => Opener::Sender,
        };
        Some(Self {
            kind: Kind::Flow {
                ports: headers.ports,
                opener,
                anew: icmp == Some(Icmp::Other)
                    || (headers.protocol == TCP && opens_anew(headers.tcp_flags)),
                // Of ICMP, only echoes have an identifier.
                alone: icmp.is_some() && headers.ports.word() == 0,
                tcp_flags: headers.tcp_flags,
            },
            ..seen
        })
    }

    /// The packet that an error is about, of which eight bytes behind its IP header may be all there is (RFC 792).
    fn read_quoted(packet: &[u8], family: Family) -> Option<Self> {
        let (upper, source, destination) = network_header(packet, family)?;
        let transport = packet.get(upper.offset..)?;
        if !upper.later_fragment && is_error(transport, family, upper.protocol) {
            return None;
        }
        let first = Some(transport).filter(|_| !upper.later_fragment);
        let ports = first.and_then(|transport| quoted_ports(transport, upper.protocol));
        Some(Self {
            family,
            source,
            destination,
            protocol: upper.protocol,
            kind: Kind::About(ports),
        })
    }

    /// What is asked about it where `opener` has opened its flow.
    pub(super) fn question(&self, opener: Opener) -> Question<'_> {
        Question {
            vnet: DEFAULT_VNET,
            family: self.family,
            source: &self.source,
            destination: &self.destination,
            protocol: self.protocol,
            ports: self.ports(),
            opener,
        }
    }

    /// Its ports, if it has any.
    pub(super) fn ports(&self) -> Option<Ports> {
        match self.kind {
            Kind::Flow { ports, .. } => Some(ports),
            Kind::LaterFragment => None,
            Kind::About(ports) => ports,
        }
    }
}

/// What follows the network header of a packet, whose end need not be there, and its two addresses.
fn network_header(packet: &[u8], family: Family) -> Option<(Upper, Address, Address)> {
    match family {
        Family::V4 => {
            let mut slot = Slot::new();
            let header = packet.read(0, &mut slot)?;
            let upper = headers::upper_of_ipv4(header, 0).ok()?;
            let [source, destination] = [header.src_addr, header.dst_addr].map(address::mapped);
            Some((upper, source, destination))
        }
        Family::V6 => {
            let mut slot = Slot::new();
            let header = packet.read(0, &mut slot)?;
            let upper = headers::upper_of_ipv6(packet, header, 0).ok()?;
            let [source, destination] = [header.src_addr, header.dst_addr].map(address::from_bytes);
            Some((upper, source, destination))
        }
    }
}

/// Whether a quoted transport header is that of an error: nobody may send an error about one (RFC 1122, 3.2.2; RFC 4443,
/// 2.4).
fn is_error(transport: &[u8], family: Family, protocol: u8) -> bool {
    let icmp = matches!(
        (family, protocol),
        (Family::V4, ICMP) | (Family::V6, ICMPV6)
    );
    let kind = transport.first();
    icmp && kind.is_none_or(|kind| Icmp::of(family, *kind) == Icmp::Error)
}

/// The ports at the start of a quoted transport header, unless too little is quoted. Rules know none of other protocols.
fn quoted_ports(transport: &[u8], protocol: u8) -> Option<Ports> {
    if !matches!(protocol, TCP | UDP | DCCP | SCTP | UDP_LITE) {
        return Some(Ports::of_word(0));
    }
    let bytes = transport.get(..4)?.try_into().ok()?;
    Some(Ports::of_word(u32::from_ne_bytes(bytes)))
}
