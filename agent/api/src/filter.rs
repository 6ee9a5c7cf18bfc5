//! Which flows are wanted, and in which order. Applied by the gateway where it reads the flow table,
//! so that only what is wanted is converted and sent.

use std::cmp::Reverse;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use datapath_abi::flow::FlowKey;
use serde::{Deserialize, Serialize};

use super::message::{Flow, FlowPolicy, FlowVerdict};
use crate::as_text;
use crossway_types::prefix::Prefix;

/// Which flows are wanted: those that satisfy every field that is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct FlowFilter {
    /// Either end lies in this prefix.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "as_text")]
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub address: Option<Prefix>,
    /// An end in this prefix has sent packets.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "as_text")]
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub source: Option<Prefix>,
    /// Packets were sent to an end in this prefix.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "as_text")]
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub destination: Option<Prefix>,
    /// Either end has this port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// IP protocol number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<u8>,
    /// Name of the site.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// Which ways packets have gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<FlowDirection>,
    /// The first packet came at least so long ago.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_age_seconds: Option<u64>,
    /// The first packet came at most so long ago.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age_seconds: Option<u64>,
    /// At least so many bytes per second, both directions together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_bytes_per_second: Option<u64>,
    /// What the policy has decided. Flows that are denied are not in the flow table: they are another list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<FlowVerdict>,
    /// The name of the rule that allows them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// What the shadow rules would decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow_verdict: Option<FlowVerdict>,
}

/// Which ways the packets of a flow have gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum FlowDirection {
    /// To the site alone.
    ToSite,
    /// From the site alone.
    FromSite,
    /// One way alone, whichever: nobody has answered.
    OneWay,
    /// Both ways.
    Both,
}

impl FlowDirection {
    /// Its word on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ToSite => "to-site",
            Self::FromSite => "from-site",
            Self::OneWay => "one-way",
            Self::Both => "both",
        }
    }

    fn is(self, to_site: bool, from_site: bool) -> bool {
        match self {
            Self::ToSite => to_site && !from_site,
            Self::FromSite => from_site && !to_site,
            Self::OneWay => to_site != from_site,
            Self::Both => to_site && from_site,
        }
    }
}

/// A flow, as far as a filter looks at it. Its rate is apart: it takes two looks.
#[derive(Clone, Copy, Debug)]
pub struct FlowView<'a> {
    /// Between whom.
    pub ends: FlowEnds,
    /// Name of the site.
    pub site: &'a str,
    /// Packets to the site.
    pub to_site_packets: u64,
    /// Packets from the site.
    pub from_site_packets: u64,
    /// Seconds since the first packet.
    pub age_seconds: u64,
    /// What the policy says of it; needed where [`FlowFilter::asks_policy`] alone.
    pub policy: PolicyOfFlow<'a>,
}

/// What the policy says of a flow, as a filter looks at it.
#[derive(Clone, Copy, Debug, Default)]
pub struct PolicyOfFlow<'a> {
    /// Whether it passes.
    pub verdict: FlowVerdict,
    /// The rule that allows it.
    pub rule: Option<&'a str>,
    /// Whether the shadow rules would let it pass.
    pub shadow_verdict: Option<FlowVerdict>,
}

impl<'a> From<&'a FlowPolicy> for PolicyOfFlow<'a> {
    fn from(policy: &'a FlowPolicy) -> Self {
        Self {
            verdict: policy.verdict,
            rule: policy.rule.as_deref(),
            shadow_verdict: policy.shadow_verdict,
        }
    }
}

/// The two ends of a flow, as a filter looks at them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowEnds {
    /// IP protocol number.
    pub protocol: u8,
    /// Address on this gateway's side.
    pub local: IpAddr,
    /// Port there.
    pub local_port: u16,
    /// Address on the site's side.
    pub remote: IpAddr,
    /// Port there.
    pub remote_port: u16,
}

impl From<&FlowKey> for FlowEnds {
    fn from(key: &FlowKey) -> Self {
        // The key's family decides: an IPv6 flow may hold IPv4-mapped addresses of its own.
        let address = |bytes: [u8; 16]| {
            let v6 = Ipv6Addr::from(bytes);
            match v6.to_ipv4_mapped() {
                Some(v4) if key.family == 4 => IpAddr::V4(v4),
                _ => IpAddr::V6(v6),
            }
        };
        Self {
            protocol: key.protocol,
            local: address(key.local),
            local_port: u16::from_be_bytes(key.local_port),
            remote: address(key.remote),
            remote_port: u16::from_be_bytes(key.remote_port),
        }
    }
}

impl FlowFilter {
    /// Whether the flow is wanted, but for its rate.
    pub fn matches(&self, flow: &FlowView<'_>) -> bool {
        let ends = &flow.ends;
        let (to_site, from_site) = (flow.to_site_packets > 0, flow.from_site_packets > 0);
        self.protocol.is_none_or(|number| number == ends.protocol)
            && self
                .port
                .is_none_or(|port| port == ends.local_port || port == ends.remote_port)
            && self
                .address
                .is_none_or(|prefix| prefix.contains(ends.local) || prefix.contains(ends.remote))
            && self.matches_way(ends, to_site, from_site)
            && self.site.as_deref().is_none_or(|name| name == flow.site)
            && self
                .direction
                .is_none_or(|direction| direction.is(to_site, from_site))
            && self
                .min_age_seconds
                .is_none_or(|least| flow.age_seconds >= least)
            && self
                .max_age_seconds
                .is_none_or(|most| flow.age_seconds <= most)
            && self.matches_policy(flow.policy)
    }

    /// Whether what the policy says of a flow matters.
    pub fn asks_policy(&self) -> bool {
        self.verdict.is_some() || self.rule.is_some() || self.shadow_verdict.is_some()
    }

    /// Whether flows are wanted that no rule allows.
    pub fn wants_denied(&self) -> bool {
        self.verdict == Some(FlowVerdict::Denied)
    }

    fn matches_policy(&self, policy: PolicyOfFlow<'_>) -> bool {
        self.verdict.is_none_or(|verdict| verdict == policy.verdict)
            && self
                .rule
                .as_deref()
                .is_none_or(|name| policy.rule == Some(name))
            && self
                .shadow_verdict
                .is_none_or(|verdict| Some(verdict) == policy.shadow_verdict)
    }

    /// Whether packets went from the source to the destination, one way or the other.
    fn matches_way(&self, ends: &FlowEnds, to_site: bool, from_site: bool) -> bool {
        let goes = |from, to| {
            self.source.is_none_or(|prefix| prefix.contains(from))
                && self.destination.is_none_or(|prefix| prefix.contains(to))
        };
        (self.source.is_none() && self.destination.is_none())
            || (to_site && goes(ends.local, ends.remote))
            || (from_site && goes(ends.remote, ends.local))
    }

    /// Whether it is wanted at this rate.
    pub fn matches_rate(&self, bytes_per_second: u64) -> bool {
        self.min_bytes_per_second
            .is_none_or(|least| bytes_per_second >= least)
    }
}

/// Order of the flows shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum FlowSort {
    /// Most bytes in both directions first.
    #[default]
    Bytes,
    /// Most packets in both directions first.
    Packets,
    /// Most bytes per second in both directions first.
    Rate,
    /// Oldest first.
    Age,
    /// Longest silent first.
    Idle,
    /// As they lie in the table: a page of it costs no more than itself.
    Table,
}

impl FlowSort {
    /// Puts the first `top` of this order in front, sorted, and drops the rest.
    pub fn keep_top(self, flows: &mut Vec<Flow>, top: Option<usize>) {
        if self == Self::Table {
            flows.truncate(top.unwrap_or(usize::MAX));
            return;
        }
        let key = |flow: &Flow| Reverse(self.weight(flow));
        if let Some(top) = top.filter(|top| *top < flows.len()) {
            flows.select_nth_unstable_by_key(top, key);
            flows.truncate(top);
        }
        flows.sort_by_key(key);
    }

    fn weight(self, flow: &Flow) -> u64 {
        match self {
            Self::Bytes => flow.to_site_bytes.saturating_add(flow.from_site_bytes),
            Self::Packets => flow.to_site_packets.saturating_add(flow.from_site_packets),
            Self::Rate => flow.bytes_per_second(),
            Self::Age => flow.age_seconds,
            Self::Idle => flow.idle_seconds,
            Self::Table => 0,
        }
    }
}

impl fmt::Display for FlowFilter {
    /// As on the command line: `--port 443 --site paris`; empty if nothing is set.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = |word, prefix: Option<Prefix>| prefix.map(|it| format!("--{word} {it}"));
        let words = [
            prefix("address", self.address),
            prefix("source", self.source),
            prefix("destination", self.destination),
            self.port.map(|port| format!("--port {port}")),
            self.protocol
                .map(|number| format!("--protocol {}", super::protocol::name(number))),
            self.site.as_ref().map(|site| format!("--site {site}")),
            self.direction
                .map(|direction| format!("--direction {}", direction.as_str())),
            self.min_age_seconds.map(|age| format!("--min-age {age}s")),
            self.max_age_seconds.map(|age| format!("--max-age {age}s")),
            self.min_bytes_per_second
                .map(|rate| format!("--min-rate {}", u128::from(rate) * 8)),
            self.verdict
                .map(|verdict| format!("--verdict {}", verdict.as_str())),
            self.rule.as_ref().map(|rule| format!("--rule {rule:?}")),
            self.shadow_verdict
                .map(|verdict| format!("--shadow {}", verdict.as_str())),
        ];
        let words: Vec<String> = words.into_iter().flatten().collect();
        f.write_str(&words.join(" "))
    }
}

#[cfg(test)]
mod tests;
