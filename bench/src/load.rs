//! The kinds of traffic.

use anyhow::{Result, bail};

/// What the hosts send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    /// Streams from host a to host b.
    Tcp(u32),
    /// Four streams each way at once.
    TcpBoth,
    /// Datagrams of one payload size in bytes.
    Udp(usize),
    /// Datagrams of 64, 594 and 1380 bytes of payload, 7 : 4 : 1.
    UdpImix,
    /// A datagram there and back, nothing else on the way.
    LatencyIdle,
    /// The same beside datagrams of 512 bytes at half the highest rate of this contender.
    LatencyHalf,
    /// The same beside datagrams of 512 bytes at a rate that is the same for all contenders.
    LatencyEqual,
}

/// Streams each way of [`Load::TcpBoth`].
const STREAMS_BOTH: u32 = 4;

/// Every load under its name, in the order in which they run: the rates of UDP come before the latency
/// that refers to them.
const NAMED: [(&str, Load); 11] = [
    ("tcp-1", Load::Tcp(1)),
    ("tcp-4", Load::Tcp(4)),
    ("tcp-16", Load::Tcp(16)),
    ("tcp-both", Load::TcpBoth),
    ("udp-64", Load::Udp(64)),
    ("udp-512", Load::Udp(512)),
    ("udp-1380", Load::Udp(1380)),
    ("udp-imix", Load::UdpImix),
    ("latency-idle", Load::LatencyIdle),
    ("latency-half", Load::LatencyHalf),
    ("latency-equal", Load::LatencyEqual),
];

impl Load {
    pub(crate) fn all() -> Vec<Self> {
        NAMED.iter().map(|(_, load)| *load).collect()
    }

    /// What tells the most in the least time.
    pub(crate) fn quick() -> Vec<Self> {
        vec![
            Self::Tcp(1),
            Self::Tcp(4),
            Self::Udp(64),
            Self::Udp(1380),
            Self::LatencyIdle,
        ]
    }

    /// Streams each way of a TCP load.
    pub(crate) fn streams(self) -> u32 {
        match self {
            Self::Tcp(streams) => streams,
            _ => STREAMS_BOTH,
        }
    }

    /// The name in options, the table and the JSON file.
    pub(crate) fn name(self) -> &'static str {
        let named = NAMED.iter().find(|(_, load)| *load == self);
        named.map_or("unnamed", |(name, _)| name)
    }

    pub(crate) fn from_name(name: &str) -> Result<Self> {
        match NAMED.iter().find(|(known, _)| *known == name) {
            Some((_, load)) => Ok(*load),
            None => bail!(
                "there is no load {name:?}: known are {}",
                NAMED.map(|(name, _)| name).join(", ")
            ),
        }
    }
}
