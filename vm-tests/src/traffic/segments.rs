//! What TCP itself counts: packets as the wire has them, also where the sender's device cuts them.

use std::io;
use std::net::TcpStream;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::sys;

/// Bytes of an IP packet's headers with a TCP timestamp option, as every segment but the first has them.
const IPV4_HEADERS: u64 = 20 + 20 + 12;
const IPV6_HEADERS: u64 = 40 + 20 + 12;
/// What the first segment (SYN) has more: 20 bytes of options instead of 12.
const MORE_OF_FIRST: u64 = 8;

/// What one end of a connection has sent, from `TCP_INFO`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segments {
    /// Bytes of content, with those sent again.
    pub content: u64,
    /// Largest content of one segment.
    pub largest: u64,
    /// Segments that were sent again.
    pub sent_again: u64,
}

/// Segments of all connections of a host together: those that answer for a connection which its program has
/// closed are in no connection's `TCP_INFO`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostSegments {
    /// Sent, with those without content and those sent again.
    pub sent: u64,
    /// Received; some that the device or the kernel had joined are one.
    pub received: u64,
}

impl HostSegments {
    /// Reads `/proc/net/snmp`.
    pub fn parse(snmp: &str) -> Result<Self> {
        let mut lines = snmp.lines().filter_map(|line| line.strip_prefix("Tcp: "));
        let (names, values) = lines.next().zip(lines.next()).context("no TCP counters")?;
        let number = |wanted: &str| {
            let mut both = names.split(' ').zip(values.split(' '));
            let (_, value) = both.find(|(name, _)| *name == wanted)?;
            value.parse::<u64>().ok()
        };
        let sent = number("OutSegs").context("no OutSegs")?;
        let received = number("InSegs").context("no InSegs")?;
        Ok(Self { sent, received })
    }

    /// What was added since.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            sent: self.sent - before.sent,
            received: self.received - before.received,
        }
    }

    /// Bytes of the IP packets of one connection whose client has sent them: a client that receives next to
    /// nothing has no gaps to tell of, so the length of its headers is known.
    pub fn bytes_sent(self, segments: &Segments, ipv4: bool) -> u64 {
        let headers = if ipv4 { IPV4_HEADERS } else { IPV6_HEADERS };
        segments.content + self.sent * headers + MORE_OF_FIRST
    }
}

impl Segments {
    /// Those of a connection so far.
    pub fn of(stream: &TcpStream) -> io::Result<Self> {
        let info = sys::tcp_info(stream)?;
        // Offsets in `struct tcp_info` of linux/tcp.h, which only grows.
        let word = |at: usize| {
            let bytes = [info[at], info[at + 1], info[at + 2], info[at + 3]];
            u64::from(u32::from_ne_bytes(bytes))
        };
        let long = |at: usize| word(at) | word(at + 4) << 32;
        Ok(Self {
            content: long(200),
            largest: word(16),
            sent_again: word(100),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener};

    use super::*;

    #[test]
    fn a_short_connection_is_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        client.write_all(b"twelve bytes").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut text = String::new();
        server.read_to_string(&mut text).unwrap();
        drop(server);
        assert_eq!(client.read(&mut [0; 8]).unwrap(), 0);
        let segments = Segments::of(&client).unwrap();
        assert_eq!(segments.content, 12);
        assert_eq!(segments.sent_again, 0);
        assert!(segments.largest > 500, "{segments:?}");
        let host = HostSegments {
            sent: 4,
            received: 3,
        };
        assert_eq!(host.bytes_sent(&segments, true), 12 + 4 * 52 + 8);
    }

    #[test]
    fn the_counters_of_a_host_are_found_by_their_names() {
        let text =
            "Ip: Forwarding\nIp: 1\nTcp: RtoAlgorithm InSegs OutSegs RetransSegs\nTcp: 1 20 30 4\n";
        let found = HostSegments::parse(text).unwrap();
        assert_eq!((found.sent, found.received), (30, 20));
    }
}
