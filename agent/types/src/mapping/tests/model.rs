//! Packets of all kinds, each made from nothing for the addresses that it is to have.

use std::net::IpAddr;

use rand::Rng as _;
use rand::rngs::StdRng;

use crate::checksum;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Tcp,
    Udp,
    UdpLite,
    Dccp,
    Sctp,
    Esp,
    Gre,
    Echo,
    /// An ICMP error; the payload is what it quotes.
    Error(u8),
}

impl Transport {
    pub(super) fn is_udp(self) -> bool {
        matches!(self, Self::Udp | Self::UdpLite)
    }
}

#[derive(Clone, Debug)]
pub(super) struct Spec {
    ipv4: bool,
    pub(super) transport: Transport,
    /// UDP without a checksum.
    pub(super) without_sum: bool,
    /// IPv4 options or IPv6 extension headers.
    options: bool,
    /// Cut here, a multiple of 8.
    pub(super) fragment_at: Option<usize>,
    /// Transport header and what follows, checksum not filled in.
    payload: Vec<u8>,
}

impl Spec {
    pub(super) fn random(ipv4: bool, random: &mut StdRng) -> Self {
        let all = [
            Transport::Tcp,
            Transport::Udp,
            Transport::UdpLite,
            Transport::Dccp,
            Transport::Sctp,
            Transport::Esp,
            Transport::Gre,
            Transport::Echo,
        ];
        let mut spec = Self::plain(all[random.random_range(0..all.len())], ipv4);
        spec.without_sum = spec.transport == Transport::Udp && random.random_bool(0.2);
        spec.options = random.random_bool(0.2);
        spec.payload.resize(random.random_range(32..90), 0);
        random.fill(&mut spec.payload[8..]);
        if random.random_bool(0.05) {
            // Sums of next to nothing are where the two forms of zero meet.
            spec.payload[8..].fill([0, 0xff][random.random_range(0..2)]);
        }
        if random.random_bool(0.2) {
            // Every checksum is in the first one.
            spec.fragment_at = Some(24);
        }
        spec
    }

    pub(super) fn plain(transport: Transport, ipv4: bool) -> Self {
        let mut payload = vec![0; 32];
        payload[..4].copy_from_slice(&[0x12, 0x34, 0, 53]);
        if transport == Transport::Echo {
            payload[..4].copy_from_slice(&[if ipv4 { 8 } else { 128 }, 0, 0, 0]);
        }
        Self {
            ipv4,
            transport,
            without_sum: false,
            options: false,
            fragment_at: None,
            payload,
        }
    }

    /// An error that quotes a packet of the family.
    pub(super) fn error(kind: usize, quoted: &[u8]) -> Self {
        let ipv4 = quoted.first().is_none_or(|first| first >> 4 == 4);
        let kind = if ipv4 {
            [3, 11, 12, 4][kind]
        } else {
            [1, 2, 3, 4][kind]
        };
        let mut spec = Self::plain(Transport::Error(kind), ipv4);
        spec.payload = [&[kind, 0, 0, 0, 0, 0, 5, 220][..], quoted].concat();
        spec
    }

    fn protocol(&self) -> u8 {
        match self.transport {
            Transport::Tcp => 6,
            Transport::Udp => 17,
            Transport::UdpLite => 136,
            Transport::Dccp => 33,
            Transport::Sctp => 132,
            Transport::Esp => 50,
            Transport::Gre => 47,
            Transport::Echo | Transport::Error(_) if self.ipv4 => 1,
            Transport::Echo | Transport::Error(_) => 58,
        }
    }

    pub(super) fn place_of_sum(&self) -> Option<usize> {
        match self.transport {
            Transport::Tcp => Some(16),
            Transport::Udp | Transport::UdpLite | Transport::Dccp => Some(6),
            Transport::Echo | Transport::Error(_) => Some(2),
            Transport::Sctp | Transport::Esp | Transport::Gre => None,
        }
    }

    /// The sum of the pseudo header; none of ICMP over IPv4.
    fn pseudo(&self, source: IpAddr, destination: IpAddr) -> u64 {
        if self.protocol() == 1 {
            return 0;
        }
        let addresses = [octets(source), octets(destination)].concat();
        checksum::pseudo_header(&addresses, self.protocol(), self.payload.len())
    }

    /// The packet, or its two fragments.
    pub(super) fn packets(&self, source: IpAddr, destination: IpAddr) -> Vec<Vec<u8>> {
        let mut payload = self.payload.clone();
        if let Some(at) = self.place_of_sum()
            && !self.without_sum
        {
            payload[at..at + 2].fill(0);
            let mut sum = checksum::finish(self.pseudo(source, destination), &payload);
            if sum == 0 && self.transport.is_udp() {
                sum = 0xffff;
            }
            payload[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        } else if let Some(at) = self.place_of_sum() {
            payload[at..at + 2].fill(0);
        }
        match self.fragment_at {
            None => vec![self.wrap(&payload, None, source, destination)],
            Some(at) => vec![
                self.wrap(&payload[..at], Some((0, true)), source, destination),
                self.wrap(&payload[at..], Some((at, false)), source, destination),
            ],
        }
    }

    /// The packet with the sum of its pseudo header only, and where that is.
    pub(super) fn unfinished(
        &self,
        source: IpAddr,
        destination: IpAddr,
    ) -> Option<(Vec<u8>, usize)> {
        let place = self.place_of_sum()?;
        let mut packet = self.packets(source, destination).remove(0);
        let at = packet.len() - self.payload.len() + place;
        let sum = checksum::fold(self.pseudo(source, destination));
        packet[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        Some((packet, at))
    }

    fn wrap(
        &self,
        payload: &[u8],
        fragment: Option<(usize, bool)>,
        source: IpAddr,
        destination: IpAddr,
    ) -> Vec<u8> {
        let (offset, more) = fragment.unwrap_or_default();
        if self.ipv4 {
            let options = if self.options { vec![1; 8] } else { Vec::new() };
            let length = 20 + options.len();
            let mut packet = vec![0x40 | (length / 4) as u8, 0];
            packet.extend(((length + payload.len()) as u16).to_be_bytes());
            packet.extend([0x77, 0x88]);
            packet.extend((u16::from(more) << 13 | (offset / 8) as u16).to_be_bytes());
            packet.extend([64, self.protocol(), 0, 0]);
            packet.extend(octets(source));
            packet.extend(octets(destination));
            packet.extend(options);
            let sum = checksum::finish(0, &packet);
            packet[10..12].copy_from_slice(&sum.to_be_bytes());
            packet.extend(payload);
            return packet;
        }
        let mut extensions = Vec::new();
        let mut next = self.protocol();
        if fragment.is_some() {
            let field = ((offset / 8) as u16) << 3 | u16::from(more);
            extensions = [&[next, 0][..], &field.to_be_bytes(), &[0, 0, 0, 9]].concat();
            next = 44;
        }
        if self.options {
            extensions = [&[next, 0, 1, 4, 0, 0, 0, 0][..], &extensions].concat();
            next = 60;
        }
        let mut packet = vec![0x60, 0, 0, 0];
        packet.extend(((extensions.len() + payload.len()) as u16).to_be_bytes());
        packet.extend([next, 64]);
        packet.extend(octets(source));
        packet.extend(octets(destination));
        packet.extend(extensions);
        packet.extend(payload);
        packet
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}
