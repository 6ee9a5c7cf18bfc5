//! The flow table: `flows`.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::control::filter::{FlowFilter, FlowSort};

/// What of the flow table is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowsRequest {
    /// Which flows.
    #[serde(default)]
    pub filter: FlowFilter,
    /// In which order.
    #[serde(default)]
    pub sort: FlowSort,
    /// At most that many; all without it.
    #[serde(default)]
    pub top: Option<usize>,
}

/// Answer of `flows`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FlowsReply {
    /// The flows asked for, in the order asked for.
    pub flows: Vec<Flow>,
    /// Flows that match the filter, shown or not.
    pub matched: u64,
    /// Flows in the table.
    pub present: u64,
    /// Flows that the table takes.
    pub capacity: u64,
    /// Flows that gave way to newer ones since the agent started.
    pub evicted: u64,
    /// Packets that are in the sites' totals and in no flow of the table any more.
    pub evicted_packets: u64,
    /// Bytes, as `evicted_packets`.
    pub evicted_bytes: u64,
    /// Flows that the agent removed because they were idle.
    pub removed_idle: u64,
    /// The filter that was applied.
    pub filter: FlowFilter,
}

/// A conversation through the tunnel, both directions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
}
