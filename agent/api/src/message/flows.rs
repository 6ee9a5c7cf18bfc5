//! The flow table: `flows`.

use std::net::IpAddr;

use datapath_abi::flow::{FlowCounters, FlowKey, NOT_SEEN_HERE};
use serde::{Deserialize, Serialize};

use super::FlowPolicy;
use crate::filter::{FlowEnds, FlowFilter, FlowSort, FlowView, PolicyOfFlow};
use crate::protocol;

const NANOSECONDS_PER_SECOND: u64 = 1_000_000_000;

/// What of the flow table is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FlowsRequest {
    /// Which flows.
    #[serde(default)]
    pub filter: FlowFilter,
    /// In which order.
    #[serde(default)]
    pub sort: FlowSort,
    /// At most that many, and never more than [`MAX_PAGE`].
    #[serde(default)]
    pub top: Option<usize>,
    /// Those that come behind a page: its [`FlowsReply::next`], with the same filter and order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Do not wait to learn rates; they are 0 then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub without_rates: bool,
}

/// Flows of one answer, two megabytes of JSON.
pub const MAX_PAGE: usize = 4096;

/// Answer of `flows`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FlowsReply {
    /// The flows asked for, in the order asked for.
    pub flows: Vec<Flow>,
    /// Flows that match the filter, shown or not; in the order of the table, those of this page.
    pub matched: u64,
    /// Flows in the table.
    pub present: u64,
    /// Flows that the table takes.
    pub capacity: u64,
    /// Flows that gave way to newer ones since the agent started.
    pub evicted: u64,
    /// Packets that count in the sites' totals but in no flow of the table, because theirs were evicted.
    pub evicted_packets: u64,
    /// Bytes, as `evicted_packets`.
    pub evicted_bytes: u64,
    /// Flows that the agent removed because they were idle.
    pub removed_idle: u64,
    /// The filter that was applied.
    pub filter: FlowFilter,
    /// What to ask for as `after` to get the next page, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A conversation through the tunnel, both directions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Flow {
    /// Name of the IP protocol, or its number where it has no name here.
    pub protocol: String,
    /// IP protocol number.
    pub protocol_number: u8,
    /// Address on this gateway's side.
    pub local: IpAddr,
    /// Port there; of ICMP echo the identifier; 0 where the protocol has none.
    pub local_port: u16,
    /// Address on the site's side.
    pub remote: IpAddr,
    /// As `local_port`.
    pub remote_port: u16,
    /// Site.
    pub site: String,
    /// Virtual network.
    pub vnet: String,
    /// Packets towards the site.
    pub to_site_packets: u64,
    /// Bytes towards the site.
    pub to_site_bytes: u64,
    /// Packets from the site.
    pub from_site_packets: u64,
    /// Bytes from the site.
    pub from_site_bytes: u64,
    /// Bytes towards the site since the last look, by time.
    pub to_site_bytes_per_second: u64,
    /// Bytes from the site since the last look, by time.
    pub from_site_bytes_per_second: u64,
    /// Seconds since the first packet.
    pub age_seconds: u64,
    /// Seconds since the last packet.
    pub idle_seconds: u64,
    /// TCP flags seen towards the site and from it, such as `SAP/SA`; empty for other protocols.
    pub tcp_flags: String,
    /// Whether this gateway has seen the flow; else it knows it from its replica alone, and all numbers are
    /// the replica's.
    #[serde(default)]
    pub seen_here: bool,
    /// What the policy says of it.
    #[serde(flatten)]
    pub policy: FlowPolicy,
    /// What hosts really have, where the addresses here stand for others.
    #[serde(flatten)]
    pub real: RealEnds,
}

/// The addresses of the ends of a flow in their own sites.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RealEnds {
    /// What `local` stands for, if it is mapped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_real: Option<IpAddr>,
    /// What `remote` stands for, if it is mapped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_real: Option<IpAddr>,
}

impl Flow {
    /// An entry of the flow table at `now_ns` (CLOCK_MONOTONIC). Rates are 0: they need two looks, see
    /// [`Flow::set_rates`]. What the policy says of it is for others to know.
    pub fn new(
        key: &FlowKey,
        counters: &FlowCounters,
        (site, vnet): (&str, &str),
        now_ns: u64,
    ) -> Self {
        let ends = FlowEnds::from(key);
        let seconds_since = |then_ns| now_ns.saturating_sub(then_ns) / NANOSECONDS_PER_SECOND;
        Self {
            protocol: protocol::name(key.protocol),
            protocol_number: key.protocol,
            local: ends.local,
            local_port: ends.local_port,
            remote: ends.remote,
            remote_port: ends.remote_port,
            site: site.to_owned(),
            vnet: vnet.to_owned(),
            to_site_packets: counters.to_site_packets,
            to_site_bytes: counters.to_site_bytes,
            from_site_packets: counters.from_site_packets,
            from_site_bytes: counters.from_site_bytes,
            to_site_bytes_per_second: 0,
            from_site_bytes_per_second: 0,
            age_seconds: seconds_since(counters.first_seen_ns),
            idle_seconds: seconds_since(counters.last_seen_ns),
            tcp_flags: protocol::flags_of_flow(key, counters),
            seen_here: counters.route_generation != NOT_SEEN_HERE,
            policy: FlowPolicy::default(),
            real: RealEnds::default(),
        }
    }

    /// Both directions together.
    pub fn bytes_per_second(&self) -> u64 {
        self.to_site_bytes_per_second
            .saturating_add(self.from_site_bytes_per_second)
    }

    /// As a filter looks at it.
    pub fn view(&self) -> FlowView<'_> {
        FlowView {
            ends: FlowEnds {
                protocol: self.protocol_number,
                local: self.local,
                local_port: self.local_port,
                remote: self.remote,
                remote_port: self.remote_port,
            },
            site: &self.site,
            to_site_packets: self.to_site_packets,
            from_site_packets: self.from_site_packets,
            age_seconds: self.age_seconds,
            policy: PolicyOfFlow::from(&self.policy),
        }
    }

    /// Sets the rates from the byte counts (to, from the site) of an earlier look `elapsed_ns` ago. What the
    /// replica told in between passed through there.
    pub fn set_rates(&mut self, earlier: (u64, u64), elapsed_ns: u64) {
        if !self.seen_here {
            return;
        }
        let rate = |now: u64, then: u64| {
            let bytes = u128::from(now.saturating_sub(then));
            let per_second =
                bytes * u128::from(NANOSECONDS_PER_SECOND) / u128::from(elapsed_ns.max(1));
            u64::try_from(per_second).unwrap_or(u64::MAX)
        };
        self.to_site_bytes_per_second = rate(self.to_site_bytes, earlier.0);
        self.from_site_bytes_per_second = rate(self.from_site_bytes, earlier.1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::TCP;

    #[test]
    fn an_entry_of_the_table_is_told_in_words_and_seconds() {
        let key = FlowKey {
            local_port: 40_000_u16.to_be_bytes(),
            remote_port: 443_u16.to_be_bytes(),
            protocol: TCP,
            family: 6,
            ..FlowKey::default()
        };
        let counters = FlowCounters {
            to_site_bytes: 5_000,
            first_seen_ns: 1_000_000_000,
            last_seen_ns: 8_500_000_000,
            tcp_flags_to_site: 0x02,
            ..FlowCounters::default()
        };
        let mut flow = Flow::new(&key, &counters, ("paris", "default"), 9_000_000_000);
        assert_eq!(
            (flow.protocol.as_str(), flow.tcp_flags.as_str()),
            ("tcp", "S/")
        );
        assert_eq!((flow.local_port, flow.remote_port), (40_000, 443));
        assert_eq!((flow.age_seconds, flow.idle_seconds), (8, 0));
        flow.set_rates((4_000, 0), 500_000_000);
        assert_eq!(flow.to_site_bytes_per_second, 2_000);
    }
}
