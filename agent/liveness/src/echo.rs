//! A host in the far LAN that is asked for an echo over a link, for far ends that know no BFD. A pure state
//! machine with its packets (RFC 792, RFC 4443).

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crossway_types::packet;
use crossway_types::packet::write::{ICMP_HEADER, IPV4, IPV6, Ip};
use crossway_types::protocol::{ICMP, ICMPV6};

/// Between two requests.
const INTERVAL: Duration = Duration::from_secs(1);
/// Requests in a row without a reply after which the target counts as dead.
const FAILURES: u32 = 3;
/// Bytes of the longest request: IPv6 and ICMP headers, no data.
pub const LONGEST: usize = IPV6 + ICMP_HEADER;

const TTL: u8 = 64;
/// Protocol number, request and reply of each family.
const V4: (u8, u8, u8) = (ICMP, 8, 0);
const V6: (u8, u8, u8) = (ICMPV6, 128, 129);

/// Asks one host.
#[derive(Clone, Debug)]
pub struct Echo {
    source: IpAddr,
    target: IpAddr,
    identifier: u16,
    sequence: u16,
    alive: bool,
    unanswered: u32,
    next: Instant,
}

impl Echo {
    /// A target that is to be asked at once. Both addresses are of one family.
    pub fn new(source: IpAddr, target: IpAddr, identifier: u16, now: Instant) -> Self {
        Self {
            source,
            target,
            identifier,
            sequence: 0,
            alive: false,
            unanswered: 0,
            next: now,
        }
    }

    /// Whether the target answers.
    pub fn is_alive(&self) -> bool {
        self.alive
    }

    /// Who is asked.
    pub fn target(&self) -> IpAddr {
        self.target
    }

    /// When [`Self::poll_transmit`] has something to do.
    pub fn next_timeout(&self) -> Instant {
        self.next
    }

    /// Asks at the next opportunity.
    pub fn transmit_now(&mut self, now: Instant) {
        self.next = now;
    }

    /// Takes an inner packet, if it is the reply to one of our requests; whether it was.
    pub fn handle_packet(&mut self, inner: &[u8]) -> bool {
        let (header, (protocol, _, reply)) = self.form();
        let at = if header == IPV4 { 9 } else { 6 };
        let is_ours = inner.len() >= header + ICMP_HEADER
            && inner[0] >> 4 == if header == IPV4 { 4 } else { 6 }
            && (header == IPV6 || inner[0] == 0x45)
            && inner[at] == protocol
            && inner[header] == reply
            && inner[header + 4..header + 6] == self.identifier.to_be_bytes()
            && packet::addresses(inner) == Some((self.target, self.source));
        if is_ours {
            self.alive = true;
            self.unanswered = 0;
        }
        is_ours
    }

    /// Writes the request that is due to the start of `to`; its length. A target that has let too many pass is
    /// dead from then on.
    pub fn poll_transmit(&mut self, now: Instant, to: &mut [u8; LONGEST]) -> Option<usize> {
        if now < self.next {
            return None;
        }
        self.next = now + INTERVAL;
        self.alive &= self.unanswered < FAILURES;
        self.unanswered = self.unanswered.saturating_add(1);
        self.sequence = self.sequence.wrapping_add(1);
        Some(self.write(to))
    }

    fn write(&self, to: &mut [u8; LONGEST]) -> usize {
        let (_, (protocol, request, _)) = self.form();
        let mut message = [0; ICMP_HEADER];
        message[0] = request;
        message[4..6].copy_from_slice(&self.identifier.to_be_bytes());
        message[6..8].copy_from_slice(&self.sequence.to_be_bytes());
        let ip = Ip {
            source: self.source,
            destination: self.target,
            class: 0,
            dont_fragment: false,
            ttl: TTL,
            protocol,
        };
        ip.write_icmp(&message, to)
    }

    /// Bytes of the IP header, and the ICMP numbers.
    fn form(&self) -> (usize, (u8, u8, u8)) {
        if self.target.is_ipv4() {
            (IPV4, V4)
        } else {
            (IPV6, V6)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossway_types::checksum;

    fn echo(source: &str, target: &str) -> (Echo, Instant) {
        let now = crossway_sys::clock::now();
        let echo = Echo::new(source.parse().unwrap(), target.parse().unwrap(), 7, now);
        (echo, now)
    }

    /// What the target makes of a request.
    fn reply(request: &[u8]) -> Vec<u8> {
        let mut reply = request.to_vec();
        let (header, at, half, kind) = match request[0] >> 4 {
            4 => (IPV4, 12, 4, V4.2),
            _ => (IPV6, 8, 16, V6.2),
        };
        let (from, to) = (at..at + half, at + half..at + 2 * half);
        reply[from.clone()].copy_from_slice(&request[to.clone()]);
        reply[to].copy_from_slice(&request[from]);
        reply[header] = kind;
        reply
    }

    const ENDS: [(&str, &str); 2] = [
        ("10.255.0.1", "10.2.0.10"),
        ("2001:db8:1::1", "2001:db8:2::10"),
    ];

    #[test]
    fn a_target_lives_from_its_first_reply_until_three_requests_are_lost() {
        for (source, target) in ENDS {
            let (mut echo, start) = echo(source, target);
            let mut request = [0; LONGEST];
            assert!(!echo.is_alive());
            let length = echo.poll_transmit(start, &mut request).unwrap();
            assert!(echo.handle_packet(&reply(&request[..length])));
            assert!(echo.is_alive());
            for lost in 1..=FAILURES {
                let now = start + INTERVAL * lost;
                assert_eq!(
                    echo.poll_transmit(start + INTERVAL * (lost - 1), &mut request),
                    None
                );
                assert!(echo.poll_transmit(now, &mut request).is_some());
                assert!(echo.is_alive(), "{lost} are on their way");
            }
            echo.poll_transmit(start + INTERVAL * (FAILURES + 1), &mut request);
            assert!(!echo.is_alive());
        }
    }

    #[test]
    fn requests_sum_up_and_nothing_but_their_replies_is_taken() {
        for (source, target) in ENDS {
            let (mut echo, now) = echo(source, target);
            let mut request = [0; LONGEST];
            let length = echo.poll_transmit(now, &mut request).unwrap();
            let request = &request[..length];
            assert_eq!(packet::stated_length(request), Some(length));
            let header = length - ICMP_HEADER;
            let pseudo = if header == IPV4 {
                assert_eq!(checksum::finish(0, &request[..IPV4]), 0);
                0
            } else {
                checksum::pseudo_header(&request[8..40], V6.0, ICMP_HEADER)
            };
            assert_eq!(checksum::finish(pseudo, &request[header..]), 0);
            let good = reply(request);
            assert!(!echo.handle_packet(request), "its own request");
            for cut in 0..length {
                assert!(!echo.handle_packet(&good[..cut]));
            }
            for at in [0, header, header + 5, header - 1] {
                let mut bad = good.clone();
                bad[at] ^= 0x11;
                assert!(!echo.handle_packet(&bad), "byte {at}");
            }
            assert!(!echo.is_alive());
        }
    }
}
