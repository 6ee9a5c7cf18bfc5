//! What a policy asks about a packet. By the same readers as the programs, so that both judge alike.

use datapath_abi::address::{self, Address};
use datapath_abi::headers::{self, Family, Headers, Opening, Ports, Upper};
use datapath_abi::packet::{Packet as _, Slot};
use datapath_abi::policy::{Icmp, Opener, Question};
use datapath_abi::settings::DEFAULT_VNET;

use super::table::{End, Key};
use crossway_types::packet::write::ICMP_HEADER;
use crossway_types::protocol::{ICMP, ICMPV6};

/// Who talks to whom, and what kind of packet it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) headers: Headers,
    /// What an ICMP error is about, if its receiver can have sent that.
    pub(super) quoted: Option<Quoted>,
}

/// The packet that an ICMP error quotes, of the same family.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quoted {
    family: Family,
    source: Address,
    destination: Address,
    protocol: u8,
    ports: Option<Ports>,
}

impl Seen {
    /// Reads a packet; `None` for one that is damaged.
    pub(super) fn read(packet: &[u8]) -> Option<Self> {
        let headers = Headers::read_bare(packet, packet.len() as u32).ok()?;
        let is_error = headers.opening.is_error();
        let quoted = is_error.then(|| Quoted::of(packet, &headers)).flatten();
        Some(Self { headers, quoted })
    }

    /// What the packet says of who opened its flow.
    pub(super) fn opening(&self) -> Opening {
        self.headers.opening
    }

    /// What is asked about it where `opener` has opened its flow.
    pub(super) fn question(&self, opener: Opener) -> Question<'_> {
        Question {
            vnet: DEFAULT_VNET,
            family: self.headers.family,
            source: &self.headers.source,
            destination: &self.headers.destination,
            protocol: self.headers.protocol,
            ports: self.ports(),
            opener,
        }
    }

    /// The key of its flow, and which end has sent it.
    pub(super) fn key(&self) -> (Key, End) {
        let headers = &self.headers;
        let (source, destination) = (headers.source, headers.destination);
        Key::of(source, destination, headers.protocol, self.ports())
    }

    /// Its ports, which a fragment behind the first does not have.
    pub(super) fn ports(&self) -> Option<Ports> {
        let has_ports = !self.headers.opening.is_later_fragment();
        has_ports.then_some(self.headers.ports)
    }
}

impl Quoted {
    /// Eight bytes behind the quoted IP header may be all there is (RFC 792).
    fn of(error: &[u8], headers: &Headers) -> Option<Self> {
        let packet = error.get(headers.header_length as usize + ICMP_HEADER..)?;
        let family = headers.family;
        let (upper, source, destination) = network_header(packet, family)?;
        let transport = packet.get(upper.offset..)?;
        // An error tells the sender of the packet that it is about, and is not about an error (RFC 1122, 3.2.2; RFC 4443,
        // 2.4).
        let is_error = !upper.later_fragment && is_error(transport, family, upper.protocol);
        if is_error || source != headers.destination {
            return None;
        }
        // Without its ports nobody knows what it was: no ports would be any.
        let ports = if upper.later_fragment {
            None
        } else {
            Some(ports_of(transport, upper.protocol)?)
        };
        Some(Self {
            family,
            source,
            destination,
            protocol: upper.protocol,
            ports,
        })
    }

    /// What is asked about it: whichever end opened its flow.
    pub(super) fn question(&self) -> Question<'_> {
        Question {
            vnet: DEFAULT_VNET,
            family: self.family,
            source: &self.source,
            destination: &self.destination,
            protocol: self.protocol,
            ports: self.ports,
            opener: Opener::Either,
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

fn is_error(transport: &[u8], family: Family, protocol: u8) -> bool {
    let icmp = matches!(
        (family, protocol),
        (Family::V4, ICMP) | (Family::V6, ICMPV6)
    );
    let kind = transport.first();
    icmp && kind.is_none_or(|kind| Icmp::of(family, *kind) == Icmp::Error)
}

/// The ports at the start of a quoted transport header, unless too little is quoted. Rules know none of other protocols.
fn ports_of(transport: &[u8], protocol: u8) -> Option<Ports> {
    if !headers::has_ports(protocol) {
        return Some(Ports::of_word(0));
    }
    let bytes = transport.get(..4)?.try_into().ok()?;
    Some(Ports::of_word(u32::from_ne_bytes(bytes)))
}
