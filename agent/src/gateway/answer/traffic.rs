//! Counters of sites, with rates: they need two looks, of which there is one at each tick.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use datapath_abi::site::SiteCounters;

use crate::control::message::Traffic;
use crate::gateway::forwarding::Forwarding;
use crate::gateway::plan::Plan;
use crate::ids::SiteId;

/// Counters of the sites at the last two ticks.
#[derive(Default)]
pub(in crate::gateway) struct Rates {
    looked: Option<Instant>,
    sites: HashMap<SiteId, (SiteCounters, Traffic)>,
}

impl Rates {
    /// A site's number was given to another.
    pub(in crate::gateway) fn forget(&mut self, site: SiteId) {
        self.sites.remove(&site);
    }

    /// Looks at the sites' counters, for their rates.
    pub(in crate::gateway) fn sample(
        &mut self,
        forwarding: &Forwarding,
        plan: &Plan,
        now: Instant,
    ) {
        let Some(datapath) = &forwarding.datapath else {
            return;
        };
        let elapsed = self.looked.map_or(Duration::ZERO, |then| now - then);
        for site in &plan.sites {
            let Ok(counters) = datapath.sites.counters(site.id) else {
                continue;
            };
            let before = self
                .sites
                .get(&site.id)
                .map_or(counters, |(before, _)| *before);
            let mut traffic = to_traffic(counters);
            traffic.to_site_bytes_per_second =
                per_second(counters.to_site_bytes, before.to_site_bytes, elapsed);
            traffic.from_site_bytes_per_second =
                per_second(counters.from_site_bytes, before.from_site_bytes, elapsed);
            self.sites.insert(site.id, (counters, traffic));
        }
        self.looked = Some(now);
    }

    /// Counters of a site now; without the fast path, those of its links.
    pub(in crate::gateway) fn traffic(&self, forwarding: &Forwarding, site: SiteId) -> Traffic {
        let Some(datapath) = &forwarding.datapath else {
            let links = forwarding.links.of_site(site);
            let peers = links.iter().filter_map(|link| link.peer.as_ref());
            return peers.fold(Traffic::default(), |sum, peer| Traffic {
                to_site_packets: sum.to_site_packets + peer.sent_packets,
                to_site_bytes: sum.to_site_bytes + peer.sent_bytes,
                from_site_packets: sum.from_site_packets + peer.received_packets,
                from_site_bytes: sum.from_site_bytes + peer.received_bytes,
                ..sum
            });
        };
        let sampled = self
            .sites
            .get(&site)
            .map(|(_, traffic)| *traffic)
            .unwrap_or_default();
        Traffic {
            to_site_bytes_per_second: sampled.to_site_bytes_per_second,
            from_site_bytes_per_second: sampled.from_site_bytes_per_second,
            ..datapath.sites.counters(site).map_or(sampled, to_traffic)
        }
    }
}

/// The sum of all.
pub(in crate::gateway) fn total(all: impl Iterator<Item = Traffic>) -> Traffic {
    all.fold(Traffic::default(), |sum, one| Traffic {
        to_site_packets: sum.to_site_packets + one.to_site_packets,
        to_site_bytes: sum.to_site_bytes + one.to_site_bytes,
        from_site_packets: sum.from_site_packets + one.from_site_packets,
        from_site_bytes: sum.from_site_bytes + one.from_site_bytes,
        to_site_bytes_per_second: sum.to_site_bytes_per_second + one.to_site_bytes_per_second,
        from_site_bytes_per_second: sum.from_site_bytes_per_second + one.from_site_bytes_per_second,
    })
}

fn to_traffic(counters: SiteCounters) -> Traffic {
    Traffic {
        to_site_packets: counters.to_site_packets,
        to_site_bytes: counters.to_site_bytes,
        from_site_packets: counters.from_site_packets,
        from_site_bytes: counters.from_site_bytes,
        ..Traffic::default()
    }
}

fn per_second(now: u64, before: u64, elapsed: Duration) -> u64 {
    if elapsed.is_zero() {
        return 0;
    }
    (now.saturating_sub(before) as f64 / elapsed.as_secs_f64()) as u64
}
