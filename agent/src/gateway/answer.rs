//! What the command line asks, answered from the state of the loop and from the maps themselves.

mod flows;
mod routes;

use std::time::Duration;

use datapath_abi::ABI_VERSION;
use datapath_abi::outcome::{DropReason, StackReason, Tally};

pub(super) use flows::{PendingFlows, Rates};

use super::Gateway;
use super::links::{LinkStatus, Links, site_state};
use super::plan::PlannedSite;
use super::vrrp::warnings_of;
use crate::control::ControlRequest;
use crate::control::message::{
    Attachment, DropCount, DropsReply, Link, LinksReply, Offload, Request, Response, Site,
    SitesReply, StackCount, Status, Tun, Version, WatchedBy,
};
use crate::datapath;
use crate::io::offload;
use crate::keys::public_key_text;
use crate::posture;
use crossway_sys::clock;

impl Gateway {
    /// Answers a request. `flows` is answered a moment later, when its rates are known.
    pub(super) async fn handle_request(&mut self, request: ControlRequest) {
        let response = match request.request {
            Request::Flows(wanted) => {
                self.begin_flows(wanted, request.reply);
                return;
            }
            Request::Status => Response::Status(Box::new(self.status().await)),
            Request::Sites => {
                self.refresh().await;
                Response::Sites(SitesReply {
                    sites: self.sites(),
                })
            }
            Request::Links => {
                self.refresh().await;
                let links = self.sites().into_iter().flat_map(|site| site.links);
                let links = links.chain(self.replica_links()).collect();
                Response::Links(LinksReply { links })
            }
            Request::Routes => self.routes(),
            Request::RouteGet { address } => self.route_get(address).await,
            Request::RoutesOverlaps => self.overlaps(),
            Request::Drops => {
                self.refresh().await;
                match self.drops() {
                    Ok(drops) => Response::Drops(drops),
                    Err(error) => Response::error(format!("{error:#}")),
                }
            }
            Request::OrderLinks { target, order } => {
                self.order_links(&target, order, request.asker)
            }
            Request::Events(wanted) => {
                self.refresh().await;
                Response::Events(self.journal.borrow().last(wanted.last))
            }
            Request::Reload => Response::Reload(self.reload(Some(request.asker)).await),
            Request::Version => Response::Version(Version {
                gateway: self.config.gateway.name.clone(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                abi_version: ABI_VERSION,
            }),
        };
        // The asker may have gone.
        let _ = request.reply.send(response);
    }

    /// As [`Self::refresh_links`]. A lane that has ended is found, and told, by the loop's next tick.
    pub(super) async fn refresh(&mut self) {
        if let Err(error) = self.refresh_links().await {
            tracing::debug!("{error:#}");
        }
    }

    async fn status(&mut self) -> Status {
        self.refresh().await;
        let gateway = &self.config.gateway;
        let sites = self.sites();
        let virtual_routers = self.virtual_routers();
        let mut warnings = self.all_warnings();
        warnings.extend(warnings_of(&virtual_routers));
        Status {
            gateway: gateway.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            abi_version: ABI_VERSION,
            pid: std::process::id(),
            started_unix_seconds: self.started_since_epoch.as_secs(),
            uptime_seconds: seconds_since(self.started),
            config_file: self.path.display().to_string(),
            public_key: public_key_text(&self.identity.public_key()),
            lanes: self.lanes.count(),
            listen: gateway.listen.to_string(),
            tun: Tun {
                name: self.tun.name.clone(),
                mtu_bytes: u32::from(self.tun.mtu.mtu),
                why: self.tun.mtu.reason.clone(),
            },
            fast_path: self.datapath.is_some(),
            pins: self
                .datapath
                .as_ref()
                .map(|datapath| datapath.pin_directory().display().to_string())
                .unwrap_or_default(),
            attachments: self.attachments(),
            offloads: self.offloads(),
            host_changes: self.host.changes(),
            warnings,
            health: self.health.describe(seconds_since),
            totals: flows::total(sites.iter().map(|site| site.traffic)),
            sites,
            virtual_routers,
            replicas: self.replica_links(),
            memory_rss_bytes: resident_bytes(),
            posture: posture::status::current(),
        }
    }

    fn all_warnings(&self) -> Vec<String> {
        let mut warnings = self.warnings.all();
        warnings.extend(self.health.warnings());
        warnings
    }

    pub(super) fn sites(&self) -> Vec<Site> {
        let mut links = self.links.by_site();
        let sites = self.plan.sites.iter();
        sites
            .map(|site| self.site(site, links.remove(&site.id).unwrap_or_default()))
            .collect()
    }

    fn site(&self, site: &PlannedSite, links: Vec<&LinkStatus>) -> Site {
        let seen = self.states.site(site.id);
        let (state, why) = match seen {
            Some(seen) => (seen.state, seen.why.clone()),
            None => site_state(&links),
        };
        Site {
            name: site.config.name.clone(),
            vnet: site.config.vnet.clone(),
            state,
            since_seconds: seen.map_or(0, |seen| seconds_since(seen.since)),
            why,
            on_down: site.config.on_down.as_str().to_owned(),
            routes: site.config.routes.iter().map(ToString::to_string).collect(),
            traffic: self.site_traffic(site.id),
            links: links
                .into_iter()
                .map(|link| describe_link(link, &self.links))
                .collect(),
        }
    }

    fn attachments(&self) -> Vec<Attachment> {
        let Some(datapath) = &self.datapath else {
            return Vec::new();
        };
        datapath
            .attachments()
            .iter()
            .map(|attachment| Attachment {
                interface: attachment.interface.clone(),
                hook: attachment.hook.program().to_owned(),
                mode: match attachment.mode {
                    datapath::Mode::Native => "xdp-native".to_owned(),
                    datapath::Mode::Generic => "xdp-generic".to_owned(),
                    other => other.as_str().to_owned(),
                },
                reason: attachment.reason.clone(),
            })
            .collect()
    }

    fn offloads(&self) -> Vec<Offload> {
        let offloads = self.lanes.offloads();
        offloads
            .map(|(lane, offload)| self.describe_offload(lane, offload))
            .collect()
    }

    fn describe_offload(&self, lane: usize, offload: &offload::Offload) -> Offload {
        let (why, since) = match &offload.off {
            Some(off) => (off.why.clone(), off.since),
            None => ("taken by the kernel at start".to_owned(), self.started),
        };
        Offload {
            name: match lane {
                0 => offload.name.to_owned(),
                lane => format!("{} (lane {lane})", offload.name),
            },
            on: offload.is_on(),
            why,
            since_seconds: seconds_since(since),
        }
    }

    fn drops(&self) -> anyhow::Result<DropsReply> {
        let (by_programs, to_stack) = match &self.datapath {
            Some(datapath) => (datapath.tallies.drops()?, datapath.tallies.to_stack()?),
            None => (Vec::new(), Vec::new()),
        };
        let stack = |(reason, tally): &(StackReason, Tally)| StackCount::new(*reason, *tally);
        Ok(DropsReply {
            drops: self.all_drops(&by_programs),
            to_stack: to_stack.iter().map(stack).collect(),
        })
    }

    /// Every reason, with the sum of what the programs, the lanes and the replicas' part dropped for it.
    fn all_drops(&self, by_programs: &[(DropReason, Tally)]) -> Vec<DropCount> {
        let drops = DropReason::ALL.iter().map(|reason| {
            let by_programs = by_programs.iter().filter(|(other, _)| other == reason);
            let by_programs: Tally = by_programs.map(|(_, tally)| *tally).sum();
            let by_agent = self.lanes.drops(*reason) + self.replicas.drops(*reason);
            DropCount::new(*reason, by_programs + by_agent)
        });
        drops.collect()
    }

    /// What the programs have dropped: it is forgotten when they are detached.
    pub(super) fn dropped_by_programs(&self) -> Vec<(DropReason, Tally)> {
        let tallies = self.datapath.as_ref().map(|datapath| &datapath.tallies);
        tallies
            .and_then(|tallies| tallies.drops().ok())
            .unwrap_or_default()
    }

    /// Logs what was dropped: after a stop nobody can be asked for it.
    pub(super) fn say_last_words(&self, by_programs: &[(DropReason, Tally)]) {
        let drops = self.all_drops(by_programs).into_iter();
        for drop in drops.filter(|drop| drop.packets > 0) {
            let DropCount {
                reason,
                packets,
                bytes,
                ..
            } = drop;
            tracing::info!(reason, packets, bytes, "dropped while it ran");
        }
    }
}

pub(super) fn describe_link(link: &LinkStatus, links: &Links) -> Link {
    let peer = link.peer.as_ref();
    let endpoint = peer.and_then(|peer| peer.endpoint);
    let bfd = peer.and_then(|peer| peer.pulse.bfd);
    let detection = bfd
        .filter(|_| link.is_watched_by_bfd())
        .and_then(|bfd| bfd.detection_time);
    Link {
        site: link.planned.site_name.clone(),
        gateway: link.planned.gateway.name.clone(),
        id: link.planned.id.0,
        lane: link.planned.lane,
        endpoint: endpoint.map(|endpoint| endpoint.remote.to_string()),
        local_address: endpoint.and_then(|endpoint| endpoint.local),
        public_key: public_key_text(&link.planned.gateway.public_key),
        last_handshake_seconds: peer
            .and_then(|peer| peer.handshake_age)
            .map(|age| age.as_secs()),
        state: link.state,
        why: links.why(link, clock::now()),
        rx_packets: peer.map_or(0, |peer| peer.received_packets),
        rx_bytes: peer.map_or(0, |peer| peer.received_bytes),
        tx_packets: peer.map_or(0, |peer| peer.sent_packets),
        tx_bytes: peer.map_or(0, |peer| peer.sent_bytes),
        keepalive_seconds: link.planned.keepalive(),
        priority: link.planned.path.priority,
        link: link.planned.path.name.clone(),
        wan: link.planned.path.wan.clone(),
        since_seconds: seconds_since(link.since),
        carries_flows: links.carries(link),
        watched_by: if link.is_watched_by_bfd() {
            WatchedBy::Bfd
        } else {
            WatchedBy::WireGuard
        },
        probe: link.planned.path.liveness.probe,
        detection_milliseconds: detection.map(|time| time.as_millis() as u64),
        receiver_index: Some(link.planned.receiver_index << 8),
        replica: None,
    }
}

fn seconds_since(then: std::time::Instant) -> u64 {
    clock::now().saturating_duration_since(then).as_secs()
}

/// Resident memory of this process (proc(5), statm); 0 if it cannot be read.
fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|statm| statm.split_whitespace().nth(1)?.parse::<u64>().ok());
    // SAFETY: the call takes no pointer.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    pages.unwrap_or(0) * u64::try_from(page).unwrap_or(0)
}

/// How long `flows` watches before it tells rates.
const RATE_WINDOW: Duration = Duration::from_millis(500);
