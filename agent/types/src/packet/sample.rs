//! Packets that are made to be asked about, or to see what becomes of them: of either family, of any protocol, size and
//! TTL, whole or a fragment, with options or without.

use std::net::IpAddr;

use thiserror::Error;

use super::tcp_flags::SYN;
use super::write::{ICMP_HEADER, IPV4, IPV6, UDP_HEADER};
use super::{HOP_BY_HOP, TCP, UDP};
use crate::checksum;
use crate::protocol::{ICMP, ICMPV6};

/// Bytes of a TCP header without options.
const TCP_HEADER: usize = 20;
/// Bytes of the header of any other protocol: enough for the ports of those that have some.
const OTHER_HEADER: usize = 8;
/// Types of an echo request (RFC 792; RFC 4443, 4.1).
const ECHO: u8 = 8;
const ECHO6: u8 = 128;
/// IPv6 next header: fragment (RFC 8200, 4.5), and the length of its header.
const FRAGMENT: u8 = 44;
const FRAGMENT_HEADER: usize = 8;
/// Options that ask for nothing: three times "no operation", and the end (RFC 791, 3.1).
const OPTIONS4: [u8; 4] = [1, 1, 1, 0];
/// The same in a hop-by-hop header behind its first two bytes: padding of six bytes (RFC 8200, 4.2).
const OPTIONS6: [u8; 6] = [1, 4, 0, 0, 0, 0];
/// Where a fragment that is not the first begins, in units of 8 bytes: behind 1480.
const LATER: u16 = 185;

/// What a packet is to be like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Who sends it.
    pub source: IpAddr,
    /// Who is to get it, of the same family.
    pub destination: IpAddr,
    /// IP protocol number.
    pub protocol: u8,
    /// Port, where the protocol has some; the identifier of an echo request.
    pub source_port: u16,
    /// Port, where the protocol has some.
    pub destination_port: u16,
    /// Bytes of the IP packet; `None` for as few as there can be.
    pub size: Option<usize>,
    /// Of IPv4: routers may not cut it.
    pub dont_fragment: bool,
    /// TTL, or hop limit.
    pub ttl: u8,
    /// Which fragment it is; `None` for a whole packet.
    pub fragment: Option<Fragment>,
    /// It has IPv4 options, or a hop-by-hop header of IPv6.
    pub options: bool,
}

/// Which fragment of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fragment {
    /// The first, with the ports.
    First,
    /// One without.
    Later,
}

/// Why there is no such packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SampleError {
    /// IPv4 and IPv6.
    #[error("{0} and {1} are of two families: give both as IPv4 or both as IPv6")]
    TwoFamilies(IpAddr, IpAddr),
    /// The headers alone are longer.
    #[error("{size} bytes are too few: the headers alone are {least}")]
    TooShort {
        /// What was asked for.
        size: usize,
        /// Bytes of the headers.
        least: usize,
    },
    /// An IP header cannot say so much.
    #[error("{0} bytes are too many: an IP packet has at most 65535")]
    TooLong(usize),
}

impl Sample {
    /// The packet, with right lengths and checksums.
    ///
    /// # Errors
    /// There is no such packet.
    pub fn packet(&self) -> Result<Vec<u8>, SampleError> {
        if self.source.is_ipv4() != self.destination.is_ipv4() {
            return Err(SampleError::TwoFamilies(self.source, self.destination));
        }
        let least = self.header_length() + self.transport_length();
        let size = self.size.unwrap_or(least);
        if size < least {
            return Err(SampleError::TooShort { size, least });
        }
        if size > usize::from(u16::MAX) {
            return Err(SampleError::TooLong(size));
        }
        let mut packet = self.header(size);
        let start = packet.len();
        packet.resize(size, 0);
        self.write_transport(&mut packet, start);
        Ok(packet)
    }

    /// Bytes of the IP header with all that is in front of the transport header.
    fn header_length(&self) -> usize {
        match (self.source, self.options) {
            (IpAddr::V4(_), false) => IPV4,
            (IpAddr::V4(_), true) => IPV4 + OPTIONS4.len(),
            (IpAddr::V6(_), options) => {
                let options = if options { 2 + OPTIONS6.len() } else { 0 };
                let fragment = self.fragment.map_or(0, |_| FRAGMENT_HEADER);
                IPV6 + options + fragment
            }
        }
    }

    fn transport_length(&self) -> usize {
        match (self.fragment, self.protocol) {
            (Some(Fragment::Later), _) => 0,
            (_, TCP) => TCP_HEADER,
            (_, UDP) => UDP_HEADER,
            (_, ICMP | ICMPV6) => ICMP_HEADER,
            _ => OTHER_HEADER,
        }
    }

    fn header(&self, size: usize) -> Vec<u8> {
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let words = self.header_length() / 4;
                let mut header = vec![0x40 | words as u8, 0];
                header.extend((size as u16).to_be_bytes());
                let more = match self.fragment {
                    None => 0,
                    Some(Fragment::First) => 0x2000,
                    Some(Fragment::Later) => LATER,
                };
                let flags = more | u16::from(self.dont_fragment) << 14;
                header.extend([0, 0]);
                header.extend(flags.to_be_bytes());
                header.extend([self.ttl, self.protocol, 0, 0]);
                header.extend(source.octets());
                header.extend(destination.octets());
                if self.options {
                    header.extend(OPTIONS4);
                }
                let sum = checksum::finish(0, &header);
                header[10..12].copy_from_slice(&sum.to_be_bytes());
                header
            }
            (source, destination) => self.header6(size, source, destination),
        }
    }

    fn header6(&self, size: usize, source: IpAddr, destination: IpAddr) -> Vec<u8> {
        let behind = match self.fragment {
            Some(_) => FRAGMENT,
            None => self.protocol,
        };
        let first = if self.options { HOP_BY_HOP } else { behind };
        let mut header = vec![0x60, 0, 0, 0];
        header.extend(((size - IPV6) as u16).to_be_bytes());
        header.extend([first, self.ttl]);
        for address in [source, destination] {
            if let IpAddr::V6(address) = address {
                header.extend(address.octets());
            }
        }
        if self.options {
            header.extend([behind, 0]);
            header.extend(OPTIONS6);
        }
        if let Some(fragment) = self.fragment {
            let offset = match fragment {
                Fragment::First => 1,
                Fragment::Later => LATER << 3,
            };
            header.extend([self.protocol, 0]);
            header.extend(offset.to_be_bytes());
            header.extend([0, 0, 0, 1]);
        }
        header
    }

    /// Writes the transport header to `start`; what is behind stays zero. Of a fragment nobody knows the checksum.
    fn write_transport(&self, packet: &mut [u8], start: usize) {
        let (network, transport) = packet.split_at_mut(start);
        if self.transport_length() == 0 {
            return;
        }
        let ports = [
            self.source_port.to_be_bytes(),
            self.destination_port.to_be_bytes(),
        ]
        .concat();
        let sum_at = match self.protocol {
            TCP => {
                transport[..4].copy_from_slice(&ports);
                transport[12..14].copy_from_slice(&[(TCP_HEADER as u8 / 4) << 4, SYN]);
                transport[14..16].fill(0xff);
                16
            }
            UDP => {
                transport[..4].copy_from_slice(&ports);
                let length = transport.len() as u16;
                transport[4..6].copy_from_slice(&length.to_be_bytes());
                6
            }
            ICMP | ICMPV6 => {
                transport[0] = if self.protocol == ICMP { ECHO } else { ECHO6 };
                transport[4..6].copy_from_slice(&self.source_port.to_be_bytes());
                2
            }
            _ => {
                transport[..4].copy_from_slice(&ports);
                return;
            }
        };
        if self.fragment.is_some() {
            return;
        }
        let addresses = if self.source.is_ipv4() {
            &network[12..20]
        } else {
            &network[8..40]
        };
        let pseudo = match self.protocol {
            ICMP => 0,
            protocol => checksum::pseudo_header(addresses, protocol, transport.len()),
        };
        let sum = match checksum::finish(pseudo, transport) {
            // Zero means to UDP that there is none (RFC 768).
            0 if self.protocol == UDP => 0xffff,
            sum => sum,
        };
        transport[sum_at..sum_at + 2].copy_from_slice(&sum.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use datapath_abi::headers::{Family, Headers};
    use datapath_abi::outcome::StackReason;

    use super::*;

    fn sample(source: &str, destination: &str, protocol: u8) -> Sample {
        Sample {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            protocol,
            source_port: 40_000,
            destination_port: 443,
            size: None,
            dont_fragment: false,
            ttl: 64,
            fragment: None,
            options: false,
        }
    }

    const ENDS: [(&str, &str); 2] = [
        ("10.1.0.10", "10.2.0.10"),
        ("2001:db8:1::10", "2001:db8:2::10"),
    ];

    #[test]
    fn every_sample_is_what_the_programs_read_of_it() {
        for (source, destination) in ENDS {
            let icmp = if source.contains(':') { ICMPV6 } else { ICMP };
            for protocol in [TCP, UDP, icmp, 132, 47] {
                for fragment in [None, Some(Fragment::First), Some(Fragment::Later)] {
                    for options in [false, true] {
                        for size in [None, Some(100), Some(1420), Some(3500)] {
                            let sample = Sample {
                                size,
                                fragment,
                                options,
                                ..sample(source, destination, protocol)
                            };
                            assert_read_back(&sample);
                        }
                    }
                }
            }
        }
    }

    fn assert_read_back(sample: &Sample) {
        let packet = sample.packet().unwrap();
        assert_eq!(packet.len(), sample.size.unwrap_or(packet.len()));
        let bytes = &packet[..];
        let headers = Headers::read_bare(bytes, packet.len() as u32)
            .unwrap_or_else(|reason| panic!("{sample:?} is {}", reason.as_str()));
        assert_eq!(headers.ip_length as usize, packet.len(), "{sample:?}");
        assert_eq!(headers.protocol, sample.protocol, "{sample:?}");
        assert_eq!(headers.ttl, 64);
        let odd = match (headers.family, sample.options) {
            (_, false) => None,
            (Family::V4, true) => Some(StackReason::IpOptions),
            (Family::V6, true) => Some(StackReason::ExtensionHeader),
        };
        assert_eq!(headers.stack_only, odd, "{sample:?}");
        let ports = (headers.ports.source(), headers.ports.destination());
        let expected = match (sample.fragment, sample.protocol) {
            (Some(Fragment::Later), _) | (_, 47) => (0, 0),
            (_, ICMP | ICMPV6) => (40_000, 40_000),
            _ => (40_000, 443),
        };
        assert_eq!(ports, expected, "{sample:?}");
    }

    #[test]
    fn checksums_are_right_where_there_is_one() {
        for (source, destination) in ENDS {
            let icmp = if source.contains(':') { ICMPV6 } else { ICMP };
            for protocol in [TCP, UDP, icmp] {
                for size in [None, Some(101), Some(1000)] {
                    let sample = Sample {
                        size,
                        ..sample(source, destination, protocol)
                    };
                    let packet = sample.packet().unwrap();
                    let (header, transport) = packet.split_at(sample.header_length());
                    let pseudo = match (protocol, header.len()) {
                        (ICMP, _) => 0,
                        (_, IPV4) => {
                            checksum::pseudo_header(&header[12..20], protocol, transport.len())
                        }
                        _ => checksum::pseudo_header(&header[8..40], protocol, transport.len()),
                    };
                    assert_eq!(checksum::finish(pseudo, transport), 0, "{sample:?}");
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_bounds() {
        let mixed = sample("10.1.0.10", "2001:db8::1", UDP);
        let said = mixed.packet().unwrap_err().to_string();
        assert!(said.contains("two families"), "{said}");
        let short = Sample {
            size: Some(39),
            ..sample("10.1.0.10", "10.2.0.10", TCP)
        };
        let said = short.packet().unwrap_err().to_string();
        assert_eq!(said, "39 bytes are too few: the headers alone are 40");
        let long = Sample {
            size: Some(65_536),
            ..sample("10.1.0.10", "10.2.0.10", TCP)
        };
        let said = long.packet().unwrap_err().to_string();
        assert!(said.contains("at most 65535"), "{said}");
    }

    #[test]
    fn flags_and_offsets_are_where_they_belong() {
        let mut it = sample("10.1.0.10", "10.2.0.10", UDP);
        it.dont_fragment = true;
        assert_eq!(it.packet().unwrap()[6..8], [0x40, 0]);
        it.fragment = Some(Fragment::Later);
        assert_eq!(it.packet().unwrap()[6..8], [0x40, 185]);
        let mut it = sample("2001:db8:1::10", "2001:db8:2::10", UDP);
        it.fragment = Some(Fragment::First);
        assert_eq!(it.packet().unwrap()[40..44], [UDP, 0, 0, 1]);
    }
}
