//! What `capture` says of itself at its end.

use serde::{Deserialize, Serialize};

/// A capture that has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CaptureSummary {
    /// Packets in the file.
    pub packets: u64,
    /// Those of them inside the tunnel; a super-packet is one.
    pub inner_packets: u64,
    /// Those of them that are datagrams of the tunnel.
    pub outer_packets: u64,
    /// Packets that were wanted while the buffer was full; a super-packet of either skin is one.
    pub lost_packets: u64,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Milliseconds that it ran.
    pub milliseconds: u64,
    /// What ended it.
    pub ended: CaptureEnd,
}

/// What ended a capture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum CaptureEnd {
    /// As many packets as asked for.
    Count,
    /// As many bytes as asked for.
    Size,
    /// As long as asked for.
    Seconds,
    /// Ctrl-C, or another signal to end.
    #[default]
    Signal,
    /// The reader of standard output has gone.
    Reader,
    /// The gateway has ended, or has left the fast path.
    Gateway,
    /// An agent with other eBPF maps has taken over.
    Replaced,
}

impl CaptureEnd {
    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Count => "as many packets as --count says",
            Self::Size => "as many bytes as --size says",
            Self::Seconds => "as long as --seconds says",
            Self::Signal => "told to by a signal",
            Self::Reader => "the reader of standard output has gone",
            Self::Gateway => "the gateway has ended, or no longer has a fast path",
            Self::Replaced => {
                "an agent with other eBPF maps has taken over the gateway: capture again"
            }
        }
    }
}
