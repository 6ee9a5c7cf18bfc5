//! A remote site as the data path sees it.

use crate::{outcome::Tally, pod};

/// State of a site; the value in [`Site::state`].
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SiteState {
    /// No such site: the slot is empty, packets go to the stack.
    Absent = 0,
    /// Packets for the site go into the tunnel.
    Up = 1,
    /// Configured but not served by the fast path: packets go to the stack.
    Down = 2,
}

/// Most lanes of a gateway: bits of [`Site::queue_mask`].
pub const MAX_LANES: u32 = 32;

/// Value of [`crate::maps::SITES`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Site {
    /// A [`SiteState`].
    pub state: u32,
    /// Bit i set: TUN queue (lane) i may carry this site's flows. A flow whose lane may not goes to lane 0.
    pub queue_mask: u32,
    /// Largest inner IP packet, in bytes, that the tunnel to this site takes.
    pub mtu: u32,
    /// Lanes that the site's flows are spread over, 1 to [`MAX_LANES`]; 1 for any stock WireGuard peer.
    pub lanes: u32,
}

/// Value of [`crate::maps::SITE_COUNTERS`], one per CPU: wire packets and inner IP bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SiteCounters {
    /// Wire packets sent towards the site.
    pub to_site_packets: u64,
    /// Inner IP bytes sent towards the site.
    pub to_site_bytes: u64,
    /// Wire packets that came from the site.
    pub from_site_packets: u64,
    /// Inner IP bytes that came from the site.
    pub from_site_bytes: u64,
}

impl SiteCounters {
    /// Both directions together.
    pub fn total(&self) -> Tally {
        Tally {
            packets: self.to_site_packets.wrapping_add(self.from_site_packets),
            bytes: self.to_site_bytes.wrapping_add(self.from_site_bytes),
        }
    }
}

const _: () = assert!(size_of::<Site>() == 16);
const _: () = assert!(size_of::<SiteCounters>() == 32);
pod!(Site, SiteCounters);
