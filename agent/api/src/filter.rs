//! Which flows are wanted, and in which order. Applied by the gateway where it reads the flow table,
//! so that only what is wanted is converted and sent.

use std::cmp::Reverse;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use datapath_abi::flow::FlowKey;
use serde::{Deserialize, Serialize};

use super::message::Flow;
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
    /// Either end has this port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// IP protocol number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<u8>,
    /// Name of the site.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
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
    /// Whether the flow between `ends`, to the site named `site`, is wanted.
    pub fn matches(&self, ends: &FlowEnds, site: &str) -> bool {
        self.protocol.is_none_or(|number| number == ends.protocol)
            && self
                .port
                .is_none_or(|port| port == ends.local_port || port == ends.remote_port)
            && self
                .address
                .is_none_or(|prefix| prefix.contains(ends.local) || prefix.contains(ends.remote))
            && self.site.as_deref().is_none_or(|name| name == site)
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
    /// Most bytes per second in both directions first.
    Rate,
    /// Oldest first.
    Age,
}

impl FlowSort {
    /// Puts the first `top` of this order in front, sorted, and drops the rest.
    pub fn keep_top(self, flows: &mut Vec<Flow>, top: Option<usize>) {
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
            Self::Rate => flow
                .to_site_bytes_per_second
                .saturating_add(flow.from_site_bytes_per_second),
            Self::Age => flow.age_seconds,
        }
    }
}

/// A prefix as text in messages.
mod as_text {
    use serde::{Deserialize, Deserializer, Serializer, de};

    use super::{FromStr, Prefix};

    #[expect(clippy::ref_option, reason = "serde's signature")]
    pub(super) fn serialize<S: Serializer>(
        prefix: &Option<Prefix>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match prefix {
            Some(prefix) => serializer.collect_str(prefix),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Prefix>, D::Error> {
        Option::<String>::deserialize(deserializer)?
            .map(|text| Prefix::from_str(&text).map_err(de::Error::custom))
            .transpose()
    }
}

impl fmt::Display for FlowFilter {
    /// As on the command line: `--port 443 --site paris`; empty if nothing is set.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [
            self.address.map(|prefix| format!("--address {prefix}")),
            self.port.map(|port| format!("--port {port}")),
            self.protocol
                .map(|number| format!("--protocol {}", super::protocol::name(number))),
            self.site.as_ref().map(|site| format!("--site {site}")),
        ];
        let words: Vec<String> = words.into_iter().flatten().collect();
        f.write_str(&words.join(" "))
    }
}

#[cfg(test)]
mod tests;
