//! What a gateway counted.

use crate::api::{Flow, Traffic};

/// Packets and bytes each way, of a flow or a site.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets towards the site.
    pub to_site_packets: u64,
    /// Their bytes.
    pub to_site_bytes: u64,
    /// Packets from the site.
    pub from_site_packets: u64,
    /// Their bytes.
    pub from_site_bytes: u64,
}

impl Counters {
    /// The same traffic as the gateway at its other end counts it.
    #[must_use]
    pub fn seen_from_afar(self) -> Self {
        Self {
            to_site_packets: self.from_site_packets,
            to_site_bytes: self.from_site_bytes,
            from_site_packets: self.to_site_packets,
            from_site_bytes: self.to_site_bytes,
        }
    }
}

impl From<&Flow> for Counters {
    fn from(flow: &Flow) -> Self {
        Self {
            to_site_packets: flow.to_site_packets,
            to_site_bytes: flow.to_site_bytes,
            from_site_packets: flow.from_site_packets,
            from_site_bytes: flow.from_site_bytes,
        }
    }
}

impl From<&Traffic> for Counters {
    fn from(traffic: &Traffic) -> Self {
        Self {
            to_site_packets: traffic.to_site_packets,
            to_site_bytes: traffic.to_site_bytes,
            from_site_packets: traffic.from_site_packets,
            from_site_bytes: traffic.from_site_bytes,
        }
    }
}
