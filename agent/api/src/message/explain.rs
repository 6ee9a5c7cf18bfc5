//! The way of one packet: `explain`.

use std::net::IpAddr;

use crossway_types::packet::sample::{Fragment, Sample};
use serde::{Deserialize, Serialize};

use super::FlowPolicy;

/// A packet to be explained. What is left out is as the command line has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainRequest {
    /// Who sends it.
    pub source: IpAddr,
    /// Who is to get it, of the same family.
    pub destination: IpAddr,
    /// IP protocol number.
    pub protocol: u8,
    /// Port, where the protocol has some; the identifier of an echo request.
    #[serde(default)]
    pub source_port: u16,
    /// Port, where the protocol has some.
    #[serde(default)]
    pub destination_port: u16,
    /// Where it comes from: `lan`, `tunnel`, `host` or the name of an interface; null for what its source says.
    #[serde(default)]
    pub from: Option<String>,
    /// Bytes of the IP packet; null for as few as there can be.
    #[serde(default)]
    pub size: Option<u16>,
    /// Of IPv4: routers may not cut it.
    #[serde(default)]
    pub dont_fragment: bool,
    /// TTL, or hop limit.
    #[serde(default = "usual_ttl")]
    pub ttl: u8,
    /// Bytes of payload in each segment of a super-packet, as a network card joins them; null if it is none.
    #[serde(default)]
    pub segment_size: Option<u16>,
    /// Which fragment it is; null for a whole packet.
    #[serde(default)]
    pub fragment: Option<WhichFragment>,
    /// It has IPv4 options, or a hop-by-hop header of IPv6.
    #[serde(default)]
    pub options: bool,
}

impl ExplainRequest {
    /// The packet that is to be made.
    pub fn sample(&self) -> Sample {
        Sample {
            source: self.source,
            destination: self.destination,
            protocol: self.protocol,
            source_port: self.source_port,
            destination_port: self.destination_port,
            size: self.size.map(usize::from),
            dont_fragment: self.dont_fragment,
            ttl: self.ttl,
            fragment: self.fragment.map(|which| match which {
                WhichFragment::First => Fragment::First,
                WhichFragment::Later => Fragment::Later,
            }),
            options: self.options,
        }
    }
}

/// What most hosts send with.
fn usual_ttl() -> u8 {
    64
}

/// Which fragment of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhichFragment {
    /// The first, with the ports.
    First,
    /// One without.
    Later,
}

/// Answer of `explain`. What does not apply is null.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Explained {
    /// The packet in words.
    pub packet: String,
    /// Where it comes from: `lan`, `tunnel`, `host` or `interface`.
    pub from: String,
    /// The interface by which it comes.
    pub input: Option<String>,
    /// What the fast path does with it.
    pub fast_path: FastPath,
    /// Why the fast path leaves it to the kernel or drops it: a word of `drops`.
    pub reason: Option<String>,
    /// What the policy says of its flow; null where it is not asked.
    #[serde(default)]
    pub policy: Option<FlowPolicy>,
    /// What becomes of it, as far as this gateway decides.
    pub end: End,
    /// The ICMP error that its sender gets, such as `time-exceeded`.
    pub answer: Option<String>,
    /// Prefix of the site that it goes to.
    pub prefix: Option<String>,
    /// The site.
    pub site: Option<String>,
    /// The link that carries it there.
    pub link: Option<String>,
    /// State of that link.
    pub link_state: Option<String>,
    /// The lane.
    pub lane: Option<u16>,
    /// The far gateway's address and port.
    pub endpoint: Option<String>,
    /// The interface by which it leaves.
    pub output: Option<String>,
    /// The neighbour there: a router, or the destination itself.
    pub next_hop: Option<IpAddr>,
    /// The neighbour's link-layer address; null where it is not known yet.
    pub neighbour: Option<String>,
    /// Largest packet that goes that way.
    pub mtu_bytes: Option<u32>,
    /// The kernel cuts it into fragments.
    pub fragmented: bool,
    /// The network of this site's LANs that its source is in, for the far gateway's check of it.
    pub source_network: Option<String>,
    /// The source that the packet has inside of the tunnel, where this gateway maps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mapped_source: Option<IpAddr>,
    /// The destination that the packet has inside of the tunnel, where this gateway maps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mapped_destination: Option<IpAddr>,
    /// The base chains of nftables at the hook FORWARD that see it, in their order.
    pub chains: Vec<String>,
    /// The way, step by step.
    pub steps: Vec<ExplainedStep>,
}

/// What the fast path does with a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum FastPath {
    /// None is there: it is off, or has no program where the packet is.
    #[default]
    None,
    /// Carries it.
    Carries,
    /// Leaves it to the kernel stack.
    Declines,
    /// Drops it.
    Drops,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// Into the tunnel, to a site.
    ToSite,
    /// Out of a LAN interface.
    ToLan,
    /// Out of another interface, by the kernel.
    Elsewhere,
    /// To this host itself.
    ToHost,
    /// It ends here, and its sender is told.
    Answered,
    /// It ends here.
    #[default]
    Dropped,
}

impl End {
    /// The word of `--json`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ToSite => "to-site",
            Self::ToLan => "to-lan",
            Self::Elsewhere => "elsewhere",
            Self::ToHost => "to-host",
            Self::Answered => "answered",
            Self::Dropped => "dropped",
        }
    }
}

/// A step of a packet's way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ExplainedStep {
    /// Where it is: an interface with its program, `kernel`, `lane`, `far side`.
    pub at: String,
    /// What happens there, and by which rule.
    pub what: String,
}
