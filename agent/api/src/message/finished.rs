//! Finished flows: `flows --finished`, and the lines of the file that `[flows]` names.

use std::net::IpAddr;

use datapath_abi::flow::{FlowCounters, FlowKey};
use serde::{Deserialize, Serialize};

use super::FlowPolicy;
use crate::filter::{FlowEnds, FlowView, PolicyOfFlow};
use crate::protocol;

const NANOSECONDS_PER_MILLISECOND: u64 = 1_000_000;

/// Which records are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinishedRequest {
    /// The last so many at most; all that are kept without it.
    #[serde(default)]
    pub last: Option<usize>,
    /// Go on with each new record as it comes.
    #[serde(default)]
    pub follow: bool,
    /// The site of those that the reader will keep: refused where there is none of this name and no record of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
}

/// Answer of `flows --finished`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinishedReply {
    /// The records, oldest first.
    pub records: Vec<FinishedRecord>,
    /// Records that were discarded before they were read.
    pub missed: u64,
    /// Number of the record that comes next.
    pub next_sequence: u64,
}

/// What is known of packets whose flow has left the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "record", rename_all = "kebab-case")]
pub enum FinishedRecord {
    /// A conversation, with all that was counted for it.
    Flow(Box<FinishedFlow>),
    /// Conversations that the kernel evicted from a full table: what they counted, together.
    Evicted(EvictedFlows),
}

/// A conversation that is over, both directions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FinishedFlow {
    /// Why it is over.
    pub end: EndReason,
    /// As of a [`Flow`](super::Flow).
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
    /// The link that carried the site's flows when this one left the table; several where they share, none where
    /// no link is up.
    pub links: Vec<String>,
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
    /// Time of the first packet since the Unix epoch.
    pub first_seen_unix_milliseconds: u64,
    /// Time of the last packet.
    pub last_seen_unix_milliseconds: u64,
    /// As of a [`Flow`](super::Flow).
    pub tcp_flags: String,
    /// What the policy said of it last.
    #[serde(flatten)]
    pub policy: FlowPolicy,
}

/// Why a flow has left the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum EndReason {
    /// Silence.
    Idle,
    /// TCP was reset, or closed from both sides.
    Closed,
    /// The table was filling up, and this flow had been silent for long.
    Pressure,
    /// The gateway has stopped.
    Stopped,
}

impl EndReason {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Closed => "closed",
            Self::Pressure => "pressure",
            Self::Stopped => "stopped",
        }
    }
}

/// What the kernel evicted since the last such record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct EvictedFlows {
    /// Time of the record since the Unix epoch.
    pub unix_milliseconds: u64,
    /// Flows.
    pub flows: u64,
    /// Packets both ways.
    pub packets: u64,
    /// Bytes both ways.
    pub bytes: u64,
}

/// How CLOCK_MONOTONIC is told in time since the epoch.
#[derive(Clone, Copy, Debug)]
pub struct WallClock {
    /// CLOCK_MONOTONIC now.
    pub now_ns: u64,
    /// Milliseconds since the epoch now.
    pub unix_milliseconds: u64,
}

impl WallClock {
    /// The time of `then_ns`, a moment of CLOCK_MONOTONIC, in milliseconds since the epoch.
    pub fn at(self, then_ns: u64) -> u64 {
        let ago = self.now_ns.saturating_sub(then_ns) / NANOSECONDS_PER_MILLISECOND;
        self.unix_milliseconds.saturating_sub(ago)
    }
}

impl FinishedFlow {
    /// The record of an entry that was taken out of the table. What the policy says of it is for others to know.
    pub fn new(
        (key, counters): (&FlowKey, &FlowCounters),
        end: EndReason,
        (site, links): (&str, &[String]),
        clock: WallClock,
    ) -> Self {
        let ends = FlowEnds::from(key);
        Self {
            end,
            protocol: protocol::name(key.protocol),
            protocol_number: key.protocol,
            local: ends.local,
            local_port: ends.local_port,
            remote: ends.remote,
            remote_port: ends.remote_port,
            site: site.to_owned(),
            links: links.to_vec(),
            vnet: "default".to_owned(),
            to_site_packets: counters.to_site_packets,
            to_site_bytes: counters.to_site_bytes,
            from_site_packets: counters.from_site_packets,
            from_site_bytes: counters.from_site_bytes,
            first_seen_unix_milliseconds: clock.at(counters.first_seen_ns),
            last_seen_unix_milliseconds: clock.at(counters.last_seen_ns),
            tcp_flags: protocol::flags_of_flow(key, counters),
            policy: FlowPolicy::default(),
        }
    }

    /// As a filter looks at it.
    pub fn view(&self) -> FlowView<'_> {
        let lived = self
            .last_seen_unix_milliseconds
            .saturating_sub(self.first_seen_unix_milliseconds);
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
            age_seconds: lived / 1000,
            policy: PolicyOfFlow::from(&self.policy),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::TCP;

    #[test]
    fn a_record_is_one_object_with_times_of_the_wall_clock() {
        let key = FlowKey {
            local_port: 40_000_u16.to_be_bytes(),
            protocol: TCP,
            family: 6,
            ..FlowKey::default()
        };
        let counters = FlowCounters {
            to_site_packets: 3,
            first_seen_ns: 1_000_000_000,
            last_seen_ns: 8_500_000_000,
            tcp_flags_to_site: 0x02,
            ..FlowCounters::default()
        };
        let clock = WallClock {
            now_ns: 9_000_000_000,
            unix_milliseconds: 1_800_000_000_000,
        };
        let links = ["paris-1".to_owned()];
        let flow = FinishedFlow::new((&key, &counters), EndReason::Idle, ("paris", &links), clock);
        assert_eq!(flow.first_seen_unix_milliseconds, 1_799_999_992_000);
        assert_eq!(flow.last_seen_unix_milliseconds, 1_799_999_999_500);
        assert_eq!(
            (flow.view().age_seconds, flow.tcp_flags.as_str()),
            (7, "S/")
        );
        let record = FinishedRecord::Flow(Box::new(flow));
        let line = serde_json::to_string(&record).unwrap();
        assert!(
            line.starts_with(r#"{"record":"flow","end":"idle","protocol":"tcp""#),
            "{line}"
        );
        assert_eq!(
            serde_json::from_str::<FinishedRecord>(&line).unwrap(),
            record
        );
    }
}
