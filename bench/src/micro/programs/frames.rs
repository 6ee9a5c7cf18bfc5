//! Frames for the programs, and the namespace that `tun_ingress` asks for its way.

use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use vm_tests::netns::Netns;

use super::{XDP_DROP, XDP_PASS};
use crate::packets::{self, Flow};

/// Addresses of the gateway: on the WAN, where datagrams come to, on the LAN, in the tunnel and its own.
pub(super) const OWN: [Ipv4Addr; 4] = [
    Ipv4Addr::new(203, 0, 113, 1),
    Ipv4Addr::new(192, 168, 1, 1),
    Ipv4Addr::new(10, 255, 0, 1),
    Ipv4Addr::LOCALHOST,
];
pub(super) const LISTEN_PORT: u16 = 51_820;
/// A receiver index that is ours.
pub(super) const SESSION: u32 = 0x00ab_cd00;
/// Every route has this length.
pub(super) const PREFIX_BITS: u32 = 24;
/// Bytes of an Ethernet and an IPv4 header.
const ETHERNET: usize = 14;
const IP: usize = 20;

const HOST: (Ipv4Addr, u16) = (Ipv4Addr::new(192, 168, 1, 10), 40_000);
/// In the first route, so it leads somewhere however many there are.
const REMOTE: (Ipv4Addr, u16) = (Ipv4Addr::new(16, 0, 0, 10), 5201);
/// The flow that is there.
pub(super) const KNOWN: Flow = Flow {
    source: HOST,
    destination: REMOTE,
};
/// Its way back.
pub(super) const FROM_SITE: Flow = Flow {
    source: REMOTE,
    destination: HOST,
};
/// To where no route leads.
pub(super) const UNROUTED: Flow = Flow {
    source: HOST,
    destination: (Ipv4Addr::new(10, 99, 0, 1), 53),
};

/// A LAN with a host whose link-layer address is known.
pub(super) fn prepare(netns: &Netns) -> Result<()> {
    netns.set_sysctl("net/ipv4/ip_forward", "1")?;
    netns.ip("link add lan0 type veth peer name host0")?;
    netns.ip("address add 192.168.1.1/24 dev lan0")?;
    netns.ip("link set lan0 up")?;
    netns.ip("link set host0 up")?;
    // Sources of the flows: `lan_ingress` asks for the way back to them.
    netns.ip("route add 172.16.0.0/12 dev lan0")?;
    netns.ip("link set lo up")?;
    netns.ip(&format!(
        "neighbour add {} lladdr 02:00:00:00:00:10 dev lan0",
        HOST.0
    ))?;
    Ok(())
}

/// Index of the LAN; the calling thread is in the namespace.
pub(super) fn lan_ifindex() -> Result<u32> {
    // SAFETY: a NUL-terminated literal.
    let index = unsafe { libc::if_nametoindex(c"lan0".as_ptr()) };
    (index != 0).then_some(index).context("no interface lan0")
}

/// Address of route `index` with no host bits, all different: the first is 16.0.0.0, the others are
/// spread over all of 16.0.0.0 to 79.255.255.0 as a full table is.
pub(super) fn prefix(index: usize) -> Ipv4Addr {
    // An odd factor permutes the numbers below a power of two.
    let spread = (index as u32).wrapping_mul(0x9e_3779) & 0x3f_ffff;
    Ipv4Addr::from(0x1000_0000 + (spread << 8))
}

/// Frame `number` of those that belong to no flow yet.
pub(super) fn new_flow(flow: Flow, number: usize) -> Vec<u8> {
    let source = (Ipv4Addr::from(0xac10_0000 + (number as u32 & 0xf_ffff)), 1);
    packets::ethernet(&packets::udp(Flow { source, ..flow }, 128))
}

/// Flows and destinations in an order without pattern.
pub(super) struct Spread {
    pub(super) flows: usize,
    routes: usize,
    frame: Vec<u8>,
    state: u64,
}

impl Spread {
    pub(super) fn new(flows: usize, routes: usize) -> Self {
        Self {
            flows,
            routes,
            frame: packets::ethernet(&packets::udp(KNOWN, 128)),
            state: 0x9e37_79b9_7f4a_7c15,
        }
    }

    /// Flow `index` to the destination of the last call.
    pub(super) fn flow(&mut self, index: usize) -> &[u8] {
        let source = 0xac10_0000 + (index as u32 & 0xf_ffff);
        let port = 1024 + (index >> 20) as u16;
        self.frame[ETHERNET + 12..ETHERNET + 16].copy_from_slice(&source.to_be_bytes());
        self.frame[ETHERNET + IP..ETHERNET + IP + 2].copy_from_slice(&port.to_be_bytes());
        self.sum_up();
        &self.frame
    }

    pub(super) fn next_flow(&mut self) -> Vec<u8> {
        let index = self.random() % self.flows;
        self.flow(index).to_vec()
    }

    /// Flow `index` of as many, each to another route where there are enough.
    pub(super) fn route(&mut self, index: usize) -> &[u8] {
        let route = index * (self.routes / self.flows).max(1) % self.routes;
        self.set_destination(route);
        self.flow(index)
    }

    pub(super) fn next_route(&mut self) -> Vec<u8> {
        let index = self.random() % self.flows;
        self.route(index).to_vec()
    }

    /// The first packet of flow `number`, none of the others, to any route.
    pub(super) fn first_on_route(&mut self, number: usize) -> Vec<u8> {
        let route = self.random() % self.routes;
        self.set_destination(route);
        self.flow((1 << 20) + number).to_vec()
    }

    /// Makes the checksum of the IP header right, without which the stack gets the packet.
    fn sum_up(&mut self) {
        let header = &mut self.frame[ETHERNET..ETHERNET + IP];
        header[10..12].fill(0);
        let words = header.as_chunks::<2>().0.iter();
        let sum: u32 = words.map(|word| u32::from(u16::from_be_bytes(*word))).sum();
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = (sum & 0xffff) + (sum >> 16);
        header[10..12].copy_from_slice(&(!sum as u16).to_be_bytes());
    }

    fn set_destination(&mut self, route: usize) {
        let destination = u32::from(prefix(route)) + 10;
        self.frame[ETHERNET + 16..ETHERNET + 20].copy_from_slice(&destination.to_be_bytes());
    }

    /// xorshift64: fast, and the same in every run.
    fn random(&mut self) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state as usize
    }
}

pub(super) fn arp() -> Vec<u8> {
    let mut frame = vec![0; ETHERNET + 28];
    frame[12..14].copy_from_slice(&[0x08, 0x06]);
    frame
}

/// What arrives on the WAN, and the verdict.
pub(super) fn for_the_wan() -> Vec<(&'static str, Vec<u8>, i32)> {
    let mut data = message(4, 1452);
    let unknown = {
        let mut unknown = data.clone();
        unknown[PAYLOAD + 4..PAYLOAD + 8].copy_from_slice(&0x1234_5600_u32.to_le_bytes());
        unknown
    };
    data[PAYLOAD + 4..PAYLOAD + 8].copy_from_slice(&SESSION.to_le_bytes());
    let other = packets::ethernet(&packets::tcp(Flow::A_TO_B, 1500, 0));
    vec![
        ("data of a session", data, XDP_PASS),
        ("junk: unknown receiver", unknown, XDP_DROP),
        ("junk: no message type", message(0xee, 1452), XDP_DROP),
        ("junk: too short", message(4, 20), XDP_DROP),
        ("not for us", other, XDP_PASS),
    ]
}

/// Where the payload of a datagram starts in a frame.
const PAYLOAD: usize = ETHERNET + IP + 8;

/// A datagram for our port whose payload starts as a WireGuard message of this type.
fn message(kind: u8, payload: usize) -> Vec<u8> {
    let flow = Flow {
        source: (Ipv4Addr::new(203, 0, 113, 2), LISTEN_PORT),
        destination: (OWN[0], LISTEN_PORT),
    };
    let mut frame = packets::ethernet(&packets::udp(flow, IP + 8 + payload));
    frame[PAYLOAD..PAYLOAD + 4].copy_from_slice(&[kind, 0, 0, 0]);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_million_prefixes_are_different_and_the_known_flow_is_in_the_first() {
        let prefixes: HashSet<_> = (0..1_000_000).map(prefix).collect();
        assert_eq!(prefixes.len(), 1_000_000);
        assert!(prefixes.iter().all(|prefix| prefix.octets()[3] == 0));
        assert_eq!(prefix(0).octets()[..3], REMOTE.0.octets()[..3]);
    }
}
