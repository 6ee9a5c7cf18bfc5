//! The gateway's numbers for whoever reads the metrics, and the place where they are read.

use std::os::fd::OwnedFd;
use std::time::Instant;

use datapath_abi::ABI_VERSION;
use datapath_abi::maps::{MAX_SESSIONS, MAX_SITES, ROUTE_ENTRIES};
use tokio::sync::oneshot;

use super::Gateway;
use super::answer::resident_bytes;
use super::warnings::Source;
use crate::clock;
use crate::metrics::{MapUse, Reading, Told};

impl Gateway {
    /// Has the metrics be read where the file says. What keeps them from it is a warning, and is tried again.
    pub(super) fn open_metrics(&mut self) {
        let wanted = self.desired.config.metrics.as_ref();
        let is_open = self.exporter.told().is_some();
        let warnings = match wanted {
            // What has changed in the files is for a reload.
            Some(_) if is_open => return,
            wanted => match self.exporter.set(wanted) {
                Ok(_) => Vec::new(),
                Err(error) => vec![format!("metrics cannot be read: {error:#}")],
            },
        };
        self.warnings.replace(Source::Metrics, warnings);
    }

    /// Has the metrics be read where the configuration in force says, whatever a reload had tried.
    pub(super) fn metrics_as_desired(&mut self) {
        let wanted = self.desired.config.metrics.as_ref();
        if let Err(error) = self.exporter.set(wanted) {
            let warning = format!("metrics cannot be read: {error:#}");
            self.warnings.replace(Source::Metrics, vec![warning]);
        }
    }

    /// Goes on where they were read at the agent before.
    pub(super) fn take_over_metrics(&mut self, before: Option<(Told, OwnedFd)>) {
        if let (Some(wanted), Some((told, listener))) = (&self.desired.config.metrics, before)
            && let Err(error) = self.exporter.take_over(wanted, &told, listener)
        {
            tracing::debug!("the metrics' socket of the agent before is not used: {error:#}");
        }
    }

    pub(super) async fn answer_reading(&mut self, reply: oneshot::Sender<Reading>, now: Instant) {
        self.look_at_links(now).await;
        // Whoever asked may have gone.
        let _ = reply.send(self.reading(now));
    }

    fn reading(&self, now: Instant) -> Reading {
        let lanes = &self.forwarding.lanes;
        let since = |then| now.saturating_duration_since(then).as_secs();
        let offloads = lanes.offloads();
        let datapath = self.forwarding.datapath.as_ref();
        let flows = datapath.and_then(|datapath| datapath.flows.entered_and_removed().ok());
        Reading {
            gateway: self.desired.config.gateway.name.clone(),
            version: (env!("CARGO_PKG_VERSION"), ABI_VERSION),
            started_unix_seconds: self.process.started_since_epoch.as_secs(),
            fast_path: datapath.is_some(),
            warnings: self.all_warnings().len(),
            health: self.lan.health.describe(since),
            sites: self.sites(now),
            replicas: self.replicas.describe(&self.forwarding.links, now),
            virtual_routers: self.lan.vrrp.describe(now),
            drops: self.drops().unwrap_or_default(),
            lanes_busy: lanes.busy().map(|busy| busy.as_secs_f64()).collect(),
            offloads: offloads
                .map(|(lane, offload)| (lane, offload.name, offload.is_on()))
                .collect(),
            maps: self.maps(),
            flows: flows.unwrap_or_default(),
            process: (clock::of_processor().as_secs_f64(), resident_bytes()),
        }
    }

    fn maps(&self) -> Vec<MapUse> {
        let Some(datapath) = &self.forwarding.datapath else {
            return Vec::new();
        };
        let plan = &self.desired.plan;
        let [v4, v6] = datapath.routes.count();
        // A map that cannot be read is left out.
        let flows = datapath.flows.present().ok();
        let uses = [
            ("flows", flows, datapath.flows.capacity()),
            ("routes_ipv4", Some(v4 as u64), ROUTE_ENTRIES as u64),
            ("routes_ipv6", Some(v6 as u64), ROUTE_ENTRIES as u64),
            (
                "sessions",
                Some(plan.links.len() as u64),
                MAX_SESSIONS as u64,
            ),
            ("sites", Some(plan.sites.len() as u64), MAX_SITES as u64),
        ];
        let uses = uses.into_iter().filter_map(|(map, entries, capacity)| {
            Some(MapUse {
                map,
                entries: entries?,
                capacity,
            })
        });
        uses.collect()
    }
}
