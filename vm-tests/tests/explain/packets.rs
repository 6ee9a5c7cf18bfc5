//! Random packets of both families: whole ones and fragments, with options and without, of all sizes and TTLs, from hosts
//! of the site and from those that are none.

use std::net::IpAddr;

use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use vm_tests::api::WhichFragment;
use vm_tests::topology::Family;
use vm_tests::traffic::wire;

use super::ask::Question;
use super::lab::{ALIASES, Lab, NOWHERE, OUTSIDE};

/// What is drawn from.
pub(crate) struct Material {
    families: [OfFamily; 2],
}

struct OfFamily {
    sources: Vec<IpAddr>,
    odd_sources: Vec<IpAddr>,
    far: IpAddr,
    destinations: Vec<IpAddr>,
}

impl Material {
    pub(crate) fn of(lab: &Lab) -> Self {
        let [a, b] = [&lab.topology.sites[0], &lab.topology.sites[1]];
        let families = Family::ALL.map(|family| {
            let number = usize::from(family == Family::V6);
            let address = |text: &&str| text.parse::<IpAddr>().unwrap();
            let odd: &[&str] = match family {
                Family::V4 => &[
                    "10.1.0.1",
                    "10.2.0.99",
                    "192.168.77.7",
                    "127.0.0.5",
                    "224.0.0.5",
                    "0.0.0.0",
                    "198.18.1.5",
                    "255.255.255.255",
                    "169.254.3.3",
                    "10.1.0.255",
                ],
                Family::V6 => &[
                    "2001:db8:1::1",
                    "2001:db8:2::99",
                    "2001:db8:77::7",
                    "::1",
                    "ff02::5",
                    "::",
                    "2001:db8:f1::5",
                    "fe80::77",
                ],
            };
            let others: &[&str] = match family {
                Family::V4 => &[
                    "203.0.113.77",
                    "224.0.0.1",
                    "239.1.2.3",
                    "127.0.0.1",
                    "10.1.0.255",
                    "255.255.255.255",
                    "8.8.8.8",
                    "169.254.1.1",
                    "240.0.0.1",
                ],
                Family::V6 => &["ff02::1", "ff05::2", "::1", "2600::1", "ff01::1"],
            };
            let mut destinations = vec![
                a.gateway_address(family),
                a.tunnel_address(family),
                b.gateway_address(family),
                b.tunnel_address(family),
                a.host_address(family),
            ];
            destinations.extend(OUTSIDE.get(number).map(address));
            destinations.extend(NOWHERE[number].iter().map(address));
            destinations.extend(others.iter().map(address));
            OfFamily {
                sources: vec![a.host_address(family), address(&ALIASES[number])],
                odd_sources: [odd, &OUTSIDE[number..=number]]
                    .concat()
                    .iter()
                    .map(address)
                    .collect(),
                far: b.host_address(family),
                destinations,
            }
        });
        Self { families }
    }

    /// A packet to ask about.
    pub(crate) fn draw(&self, random: &mut StdRng) -> Question {
        let family = &self.families[usize::from(random.random_bool(0.4))];
        let source = if random.random_bool(0.8) {
            &family.sources
        } else {
            &family.odd_sources
        };
        let source = *source.choose(random).unwrap();
        let destination = if random.random_bool(0.55) {
            family.far
        } else {
            *family.destinations.choose(random).unwrap()
        };
        let echo = if source.is_ipv4() { 1 } else { 58 };
        let mut question = Question::udp(source, destination).from("lan0");
        let request = &mut question.0;
        request.protocol = *[17, 17, 6, echo, 132, 47].choose(random).unwrap();
        request.source_port = random.random_range(20_000..40_000);
        request.destination_port = random.random_range(1..1000);
        request.dont_fragment = random.random_bool(0.5);
        request.ttl = *[64, 64, 64, 64, 255, 3, 2, 2, 1, 0].choose(random).unwrap();
        request.options = random.random_bool(0.1);
        request.size = match random.random_range(0..4) {
            0 => None,
            1 => Some(random.random_range(1400..1440)),
            _ => Some(random.random_range(120..=1500)),
        };
        request.fragment = *[
            None,
            None,
            None,
            None,
            None,
            None,
            Some(WhichFragment::First),
            Some(WhichFragment::Later),
        ]
        .choose(random)
        .unwrap();
        question
    }
}

/// The packet itself, with its number in the identification of IPv4 or the flow label of IPv6.
pub(crate) fn packet(question: &Question, number: u16) -> Vec<u8> {
    let mut packet = question.0.sample().packet().unwrap();
    let [high, low] = number.to_be_bytes();
    if packet[0] >> 4 == 4 {
        packet[4..6].copy_from_slice(&[high, low]);
        wire::fix_header_checksum(&mut packet);
    } else {
        packet[2..4].copy_from_slice(&[high, low]);
    }
    packet
}

/// The number in a packet, or in what an ICMP error quotes, with the type and code of that.
pub(crate) fn number_of(packet: &[u8]) -> Option<(u16, Ends, Option<ErrorCode>)> {
    let (number, ends, start, protocol) = head_of(packet)?;
    let icmp = packet.get(start..)?;
    let is_error = match (protocol, packet[0] >> 4) {
        (1, 4) => matches!(icmp.first()?, 3 | 4 | 5 | 11 | 12),
        (58, 6) => matches!(icmp.first()?, 1..=4),
        _ => false,
    };
    if !is_error {
        return Some((number, ends, None));
    }
    let (number, ends, ..) = head_of(icmp.get(8..)?)?;
    Some((number, ends, Some((icmp[0], icmp[1]))))
}

/// Type and code of an ICMP error.
pub(crate) type ErrorCode = (u8, u8);

/// Source and destination.
pub(crate) type Ends = (IpAddr, IpAddr);

/// Bits of the fragment offset, beside the flags.
const FRAGMENT_OFFSET: u16 = 0x1fff;

fn head_of(packet: &[u8]) -> Option<(u16, Ends, usize, u8)> {
    let ends = crossway_types::packet::addresses(packet)?;
    let number = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
    match packet[0] >> 4 {
        4 => {
            let first = number(6) & FRAGMENT_OFFSET == 0;
            let start = usize::from(packet[0] & 0xf) * 4;
            // A later fragment has no ICMP header.
            let protocol = if first { packet[9] } else { 0 };
            Some((number(4), ends, start, protocol))
        }
        _ => Some((number(2), ends, 40, packet[6])),
    }
}
