//! What the command line asks, answered from the state of the loop and from the maps themselves.

mod explain;
mod flows;
mod orders;
mod policy;
mod records;
mod routes;
mod traffic;

use std::time::{Duration, Instant};

use datapath_abi::ABI_VERSION;
use datapath_abi::outcome::{DropReason, StackReason, Tally};
use nix::unistd::{SysconfVar, sysconf};

pub(super) use flows::{PendingFlows, name_in, site_names};
use routes::RouteView;
pub(super) use traffic::Rates;

use super::Gateway;
use super::links::{LinkStatus, Links, site_state};
use super::plan::PlannedSite;
use super::vrrp::warnings_of;
use super::warnings::Source;
use crate::control::message::{
    Attachment, DropCount, DropsReply, Link, LinksReply, MappedPrefix, Messages, Offload, PathMtu,
    PathMtuState, Request, Response, Site, SitesReply, StackCount, Status, Tun, Version, Warning,
    WatchedBy,
};
use crate::control::{ControlRequest, refusal};
use crate::datapath::{self, Datapath};
use crate::io::offload;
use crate::keys::public_key_text;
use crate::liveness::path_mtu::{Report, State};
use crate::posture;
use crate::tunnel::PeerSnapshot;
use crate::tunnel::arrivals::Arrivals;
use crossway_types::mapping::Mapping;

/// How long `flows` watches before it tells rates.
const RATE_WINDOW: Duration = Duration::from_millis(500);

impl Gateway {
    /// Answers a request. `flows` is answered a moment later, when its rates are known.
    pub(super) async fn handle_request(&mut self, request: ControlRequest, now: Instant) {
        let asks_for_links = matches!(
            request.request,
            Request::Status
                | Request::Sites
                | Request::Links
                | Request::Drops
                | Request::Explain(_)
                | Request::Events(_)
                | Request::History(_)
        );
        if asks_for_links {
            self.look_at_links(now).await;
            self.reconcile(now).await;
        }
        let response = match request.request {
            Request::Flows(wanted) => {
                self.begin_flows(wanted, request.reply, now);
                return;
            }
            Request::Services(wanted) => {
                self.ask_services(wanted, request.reply);
                return;
            }
            Request::OrderServices(order) => {
                self.order_services(order, request.asker, request.reply);
                return;
            }
            Request::Status => Response::Status(Box::new(self.status(now))),
            Request::Sites => Response::Sites(SitesReply {
                sites: self.sites(now),
            }),
            Request::Links => {
                let links = self.sites(now).into_iter().flat_map(|site| site.links);
                let links = links
                    .chain(self.replicas.describe(&self.forwarding.links, now))
                    .collect();
                Response::Links(LinksReply { links })
            }
            Request::Routes => self.view_of_routes().all(),
            Request::RouteGet { address } => self.view_of_routes().find(address).await,
            Request::RoutesOverlaps => self.view_of_routes().overlaps(),
            Request::Explain(wanted) => self.explain(&wanted).await,
            Request::FinishedFlows(wanted) => self.finished_flows(&wanted),
            Request::Policy(wanted) => self.policy(&wanted),
            Request::Drops => match self.drops() {
                Ok(drops) => Response::Drops(drops),
                Err(error) => refusal(&error),
            },
            Request::OrderLinks { target, order } => {
                self.order_links(&target, order, request.asker, now).await
            }
            Request::Events(wanted) => Response::Events(self.journal.borrow().last(wanted.last)),
            Request::History(wanted) => self.history_reply(&wanted),
            Request::Log(wanted) => self.log(&wanted),
            Request::LogFilter { filter } => self.log_filter(filter.as_deref(), request.asker),
            Request::Reload => Response::Reload(self.reload(Some(request.asker), now).await),
            Request::Version => Response::Version(Version {
                gateway: self.desired.config.gateway.name.clone(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                abi_version: ABI_VERSION,
            }),
        };
        // The asker may have gone.
        let _ = request.reply.send(response);
    }

    fn view_of_routes(&self) -> RouteView<'_> {
        RouteView {
            plan: &self.desired.plan,
            forwarding: &self.forwarding,
            kernel: &self.host.kernel,
        }
    }

    fn status(&self, now: Instant) -> Status {
        let gateway = &self.desired.config.gateway;
        let datapath = self.forwarding.datapath.as_ref();
        let sites = self.sites(now);
        let virtual_routers = self.lan.vrrp.describe(now);
        let of_routers = warnings_of(&virtual_routers);
        let mut warned = self.all_warnings();
        warned.extend(of_routers.map(|text| Source::VirtualRouters.warning(text)));
        let tun = &self.host.tun;
        Status {
            gateway: gateway.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            abi_version: ABI_VERSION,
            pid: std::process::id(),
            started_unix_seconds: self.process.started_since_epoch.as_secs(),
            uptime_seconds: seconds_between(self.process.started, now),
            config_file: self.process.path.display().to_string(),
            public_key: public_key_text(&self.identity.public_key()),
            lanes: self.forwarding.lanes.count(),
            engine: gateway.engine,
            listen: gateway.listen.to_string(),
            tun: Tun {
                name: tun.name.clone(),
                mtu_bytes: u32::from(tun.mtu.mtu),
                why: tun.mtu.reason.clone(),
            },
            fast_path: datapath.is_some(),
            policy: self.policy_state(),
            pins: datapath
                .map(|datapath| datapath.pin_directory().display().to_string())
                .unwrap_or_default(),
            attachments: datapath.map(attachments).unwrap_or_default(),
            offloads: self.offloads(now),
            host_changes: self.host.kernel.changes(),
            warnings: warned.iter().map(|warning| warning.text.clone()).collect(),
            warned,
            health: self.lan.health.describe(|then| seconds_between(then, now)),
            totals: traffic::total(sites.iter().map(|site| site.traffic)),
            sites,
            virtual_routers,
            replicas: self.replicas.describe(&self.forwarding.links, now),
            memory_rss_bytes: resident_bytes(),
            posture: posture::status::current(),
        }
    }

    pub(super) fn all_warnings(&self) -> Vec<Warning> {
        let steps = self.agenda.warnings().into_iter();
        let health = self.lan.health.warnings();
        self.warnings
            .all()
            .chain(steps.map(|text| Source::NotInForce.warning(text)))
            .chain(health.map(|text| Source::Health.warning(text)))
            .collect()
    }

    pub(super) fn sites(&self, now: Instant) -> Vec<Site> {
        let mut links = self.forwarding.links.by_site();
        let sites = self.desired.plan.sites.iter();
        sites
            .map(|site| self.site(site, links.remove(&site.id).unwrap_or_default(), now))
            .collect()
    }

    fn site(&self, site: &PlannedSite, links: Vec<&LinkStatus>, now: Instant) -> Site {
        let seen = self.states.site(site.id);
        let (state, why) = match seen {
            Some(seen) => (seen.state, seen.why.clone()),
            None => site_state(&links),
        };
        Site {
            name: site.config.name.clone(),
            id: site.id.0,
            vnet: site.config.vnet.clone(),
            state,
            since_seconds: seen.map_or(0, |seen| seconds_between(seen.since, now)),
            why,
            on_down: site.config.on_down.as_str().to_owned(),
            routes: site.config.routes.iter().map(ToString::to_string).collect(),
            maps: site.config.maps.iter().map(mapped).collect(),
            traffic: self.rates.traffic(&self.forwarding, site.id),
            links: links
                .into_iter()
                .map(|link| describe_link(link, &self.forwarding.links, now))
                .collect(),
        }
    }

    fn offloads(&self, now: Instant) -> Vec<Offload> {
        let offloads = self.forwarding.lanes.offloads();
        offloads
            .map(|(lane, offload)| describe_offload(lane, offload, self.process.started, now))
            .collect()
    }

    pub(super) fn drops(&self) -> anyhow::Result<DropsReply> {
        let (by_programs, to_stack) = match &self.forwarding.datapath {
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
            let by_agent = self.forwarding.lanes.drops(*reason) + self.replicas.drops(*reason);
            DropCount::new(*reason, by_programs + by_agent)
        });
        drops.collect()
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

fn mapped(map: &Mapping) -> MappedPrefix {
    MappedPrefix {
        shown: map.shown().to_string(),
        real: map.real().to_string(),
    }
}

fn attachments(datapath: &Datapath) -> Vec<Attachment> {
    let attachments = datapath.attachments().iter();
    attachments
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

fn describe_offload(
    lane: usize,
    offload: &offload::Offload,
    started: Instant,
    now: Instant,
) -> Offload {
    let (why, since) = match &offload.off {
        Some(off) => (off.why.clone(), off.since),
        None => ("accepted by the kernel at start".to_owned(), started),
    };
    Offload {
        name: match lane {
            0 => offload.name.to_owned(),
            lane => format!("{} (lane {lane})", offload.name),
        },
        on: offload.is_on(),
        why,
        since_seconds: seconds_between(since, now),
    }
}

pub(super) fn describe_link(link: &LinkStatus, links: &Links, now: Instant) -> Link {
    let peer = link.peer.as_ref();
    let endpoint = peer.and_then(|peer| peer.endpoint);
    let bfd = peer.and_then(|peer| peer.pulse.bfd);
    let detection = bfd
        .filter(|_| link.is_watched_by_bfd())
        .and_then(|bfd| bfd.detection_time);
    Link {
        site: link.planned.site_name.clone(),
        gateway: link.planned.gateway.name.clone(),
        engine: link.planned.gateway.engine,
        id: link.planned.id.0,
        lane: link.planned.lane,
        endpoint: endpoint.map(|endpoint| endpoint.remote.to_string()),
        local_address: endpoint.and_then(|endpoint| endpoint.local),
        public_key: public_key_text(&link.planned.gateway.public_key),
        last_handshake_seconds: peer
            .and_then(|peer| peer.handshake_age)
            .map(|age| age.as_secs()),
        state: link.state,
        why: links.why(link, now),
        rx_packets: peer.map_or(0, |peer| peer.received_packets),
        rx_bytes: peer.map_or(0, |peer| peer.received_bytes),
        tx_packets: peer.map_or(0, |peer| peer.sent_packets),
        tx_bytes: peer.map_or(0, |peer| peer.sent_bytes),
        keepalive_seconds: link.planned.keepalive(),
        priority: link.planned.path.priority,
        link: link.planned.path.name.clone(),
        wan: link.planned.path.wan.clone(),
        since_seconds: seconds_between(link.since, now),
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
        handshakes: peer.map_or(0, |peer| peer.handshakes),
        messages: peer
            .map(|peer| messages(&peer.arrivals))
            .unwrap_or_default(),
        round_trip_microseconds: peer.and_then(round_trip_of),
        bfd_state: bfd.map(|bfd| bfd.state.as_str().to_owned()),
        path_mtu: peer.and_then(|peer| peer.path).map(path_mtu),
    }
}

fn path_mtu(known: Report) -> PathMtu {
    PathMtu {
        mtu_bytes: known.mtu,
        state: match known.state {
            State::Fixed => PathMtuState::Fixed,
            State::Unanswered => PathMtuState::Unanswered,
            State::Searching => PathMtuState::Searching,
            State::Found => PathMtuState::Found,
        },
        far_mtu_bytes: known.far_mtu,
        black_holes: known.black_holes,
        probes: known.probes,
    }
}

/// What was measured last.
fn round_trip_of(peer: &PeerSnapshot) -> Option<u64> {
    let measured = peer.round_trip;
    (measured.count > 0).then_some(measured.last.as_micros() as u64)
}

fn messages(arrivals: &Arrivals) -> Messages {
    Messages {
        received: arrivals.received,
        missing: arrivals.missing(),
        reordered: arrivals.late,
        duplicate: arrivals.duplicates,
        outdated: arrivals.outdated,
    }
}

fn seconds_between(then: Instant, now: Instant) -> u64 {
    now.saturating_duration_since(then).as_secs()
}

/// Resident memory of this process (proc(5), statm); 0 if it cannot be read.
pub(super) fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|statm| statm.split_whitespace().nth(1)?.parse::<u64>().ok());
    let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten();
    pages.unwrap_or(0) * page.and_then(|page| u64::try_from(page).ok()).unwrap_or(0)
}
