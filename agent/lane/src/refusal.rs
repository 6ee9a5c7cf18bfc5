//! Answers to packets that a policy denies, where the file wants them (`denied = "reject"`): whoever asked need not wait for
//! nothing. One for what lanes and programs deny alike, for together they may be only so many.

mod message;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use crossway_types::checksum;
use crossway_types::packet::write::{IPV6, Ip};
use crossway_types::protocol::{ICMP, ICMPV6};
use socket2::{Domain, Protocol, Socket, Type};

pub use self::message::Answer;
use crate::pace::Pace;
use crate::too_big::{open_v4, open_v6};

/// Answers in a second, to all that ask.
const ANSWERS_PER_SECOND: u32 = 100;
/// Hops that an answer may take, as the kernel's own.
const TTL: u8 = 64;
/// "Anything, and the header is ours", of both families.
const IPPROTO_RAW: i32 = 255;

/// Sends answers to hosts that the kernel reaches by itself, and makes those for the far sites.
#[derive(Debug)]
pub struct Refuser {
    icmp4: Option<Socket>,
    icmp6: Option<Socket>,
    /// For packets with a header of ours.
    raw4: Option<Socket>,
    raw6: Option<Socket>,
    pace: Pace,
}

impl Refuser {
    /// Wants `CAP_NET_RAW`. Without it hosts of the LAN get no answers.
    pub fn open(now: Instant) -> Self {
        let opened = |socket: io::Result<Socket>| {
            let told = |error: &io::Error| {
                tracing::debug!(%error, "denied packets are not answered on the LAN");
            };
            socket.inspect_err(told).ok()
        };
        Self {
            icmp4: opened(open_v4()),
            icmp6: opened(open_v6()),
            raw4: opened(open_raw(Domain::IPV4)),
            raw6: opened(open_raw(Domain::IPV6)),
            pace: Pace::new(ANSWERS_PER_SECOND, now),
        }
    }

    /// The answer to the denied packet with this head, if it may have one and there have not been too many.
    pub fn answer(&mut self, head: &[u8], now: Instant) -> Option<Answer> {
        let answer = Answer::to(head)?;
        self.pace.admits(now).then_some(answer)
    }

    /// Sends an answer by the kernel's routes, from the address that it chooses.
    ///
    /// # Errors
    /// The kernel refused, or there is no socket for it.
    pub fn send(&self, answer: &Answer) -> io::Result<()> {
        let to = answer.receiver();
        let v4 = to.is_ipv4();
        let socket = match answer {
            Answer::Reset { .. } if v4 => &self.raw4,
            Answer::Reset { .. } => &self.raw6,
            Answer::Prohibited { .. } if v4 => &self.icmp4,
            Answer::Prohibited { .. } => &self.icmp6,
        };
        let socket = socket.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        let address = SocketAddr::new(to, 0).into();
        match answer {
            Answer::Reset { packet, .. } => socket.send_to(packet, &address)?,
            Answer::Prohibited { message, .. } => socket.send_to(message, &address)?,
        };
        Ok(())
    }
}

impl Answer {
    /// The whole packet, for the tunnel; `own` is the address that this gateway speaks from.
    pub fn into_packet(self, own: Option<IpAddr>) -> Option<Vec<u8>> {
        let (receiver, mut message) = match self {
            Self::Reset { packet, .. } => return Some(packet),
            Self::Prohibited { receiver, message } => (receiver, message),
        };
        let source = own.filter(|own| own.is_ipv4() == receiver.is_ipv4())?;
        let ip = Ip {
            source,
            destination: receiver,
            class: 0,
            dont_fragment: false,
            ttl: TTL,
            protocol: if receiver.is_ipv4() { ICMP } else { ICMPV6 },
        };
        message[2..4].fill(0);
        let mut packet = vec![0; IPV6 + message.len()];
        let length = ip.write_icmp(&message, &mut packet);
        packet.truncate(length);
        Some(packet)
    }
}

fn open_raw(domain: Domain) -> io::Result<Socket> {
    let kind = Type::RAW.nonblocking().cloexec();
    Socket::new(domain, kind, Some(Protocol::from(IPPROTO_RAW)))
}

/// Sums up a segment of TCP between the addresses of an IP header.
fn sum_of_tcp(addresses: &[u8], segment: &[u8]) -> u16 {
    let pseudo = checksum::pseudo_header(addresses, crossway_types::packet::TCP, segment.len());
    checksum::finish(pseudo, segment)
}

#[cfg(test)]
mod tests;
