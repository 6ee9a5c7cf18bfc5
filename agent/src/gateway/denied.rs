//! Flows that no rule allows. They are in no flow table, so that none of those gives way to them; programs and lanes each
//! keep a list of the last ones. Here they are as entries of a table would be.

use anyhow::Result;
use datapath_abi::flow::{FlowCounters, FlowKey, OpenedBy};
use datapath_abi::policy::Denied;

use super::Gateway;

impl Gateway {
    /// All that are known.
    pub(super) fn denied(&self) -> Result<Vec<(FlowKey, FlowCounters)>> {
        let by_programs = match &self.forwarding.datapath {
            Some(datapath) => datapath.policy.denied()?,
            None => Vec::new(),
        };
        let entries = by_programs.iter();
        Ok(entries
            .map(|(key, denied)| (*key, counters(denied)))
            .collect())
    }
}

/// What was denied, as an entry of the flow table.
pub(super) fn counters(denied: &Denied) -> FlowCounters {
    let one_way = FlowCounters {
        first_seen_ns: denied.first_seen_ns,
        last_seen_ns: denied.last_seen_ns,
        site: denied.site,
        opened_by: denied.opened_by,
        ..FlowCounters::default()
    };
    let (packets, bytes) = (denied.packets, denied.bytes);
    if denied.opened_by == OpenedBy::Remote as u8 {
        FlowCounters {
            from_site_packets: packets,
            from_site_bytes: bytes,
            ..one_way
        }
    } else {
        FlowCounters {
            to_site_packets: packets,
            to_site_bytes: bytes,
            ..one_way
        }
    }
}
