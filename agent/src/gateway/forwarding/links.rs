//! Links: the lanes' peers, which interface they leave by, who carries the flows, and what far ends are
//! told.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::Forwarding;
use crate::config::{Config, Liveness};
use crate::control::message::{EventKind, LinkState};
use crate::disk;
use crate::gateway::desired::Desired;
use crate::gateway::links::sources::{Source, Way};
use crate::gateway::links::{Dial, Links, PathLimits, Ranks, Wan};
use crate::gateway::plan::{LinkChanges, Plan, PlannedLink};
use crate::ids::{LinkId, SiteId};
use crate::io::udp::Endpoint;
use crate::journal::Change;
use crate::lane::Command;
use crate::tunnel::link_bfd::LanRole;
use crate::tunnel::{LinkChange, PeerSpec};

impl Forwarding {
    /// Lets the far ends of the plan's links through to the lanes, and no others.
    pub(in crate::gateway) fn set_sessions(&mut self, plan: &Plan) -> Result<()> {
        let Some(datapath) = &mut self.datapath else {
            return Ok(());
        };
        let indices = plan.links.iter().map(|link| link.receiver_index << 8);
        datapath.sessions.retain(indices)?;
        plan.links.iter().try_for_each(|link| {
            let index = link.receiver_index << 8;
            datapath.sessions.insert(index, link.id)
        })
    }

    /// Gives the lanes the links of the plan. A link that cannot be made leaves the others as they should be.
    pub(in crate::gateway) fn set_links(&mut self, desired: &Desired, now: Instant) -> Result<()> {
        let Desired { config, plan, .. } = desired;
        self.lanes.set_dscp(config.gateway.dscp)?;
        let changes = LinkChanges::between(&self.links.planned(), &plan.links);
        for link in &changes.removed {
            self.links.remove(link.id);
            self.lanes.send(link.lane, Command::RemovePeer(link.id))?;
        }
        let mut failures = Vec::new();
        for link in &changes.added {
            match spec_of(link, config) {
                Ok(spec) => {
                    self.links
                        .insert(link.clone(), plan.hold_down(link.site), now);
                    self.lanes
                        .send(link.lane, Command::AddPeer(Box::new(spec)))?;
                }
                Err(error) => failures.push(format!("{error:#}")),
            }
        }
        for link in &changes.moved {
            self.tune_link(link, desired, now)?;
            self.links.redial(link.id, now);
        }
        for link in &changes.tuned {
            self.tune_link(link, desired, now)?;
        }
        self.links.keep_names(&plan.links);
        for site in &plan.sites {
            self.links.set_hold_down(site.id, site.config.hold_down);
        }
        ensure!(failures.is_empty(), "{}", failures.join("; "));
        Ok(())
    }

    /// Ranks and watches a link as the file says now.
    fn tune_link(&mut self, link: &PlannedLink, desired: &Desired, now: Instant) -> Result<()> {
        let hold_down = desired.plan.hold_down(link.site);
        self.links.replan(link.clone(), hold_down, now);
        let liveness = Box::new(liveness_of(link));
        let source = probe_source(link, &desired.config);
        self.lanes
            .send(link.lane, Command::SetLiveness(link.id, liveness, source))
    }

    /// Takes what the lanes say of BFD. They have already left the links that have died.
    pub(in crate::gateway) fn on_link_changes(&mut self, changes: Vec<LinkChange>, now: Instant) {
        for change in changes {
            self.links.on_change(change, now);
        }
    }

    /// Asks the lanes for their state.
    pub(in crate::gateway) async fn look_at_links(&mut self, now: Instant) -> Result<()> {
        let peers = self.lanes.refresh().await?;
        self.links.on_snapshot(peers, now);
        Ok(())
    }

    /// A warning for each endpoint that the host's routes lead to through the tunnel, as of the last look, unless the
    /// guard has found it.
    pub(in crate::gateway) fn swallowed(&self) -> Vec<String> {
        let known = self.lanes.swallowed();
        // Several lanes may tell of one endpoint, and not all know whose it is.
        let mut endpoints: BTreeMap<IpAddr, Option<&PlannedLink>> = BTreeMap::new();
        for swallowed in known {
            let link = swallowed.link.and_then(|link| self.links.get(link));
            let of = endpoints.entry(swallowed.endpoint).or_default();
            *of = of.or(link.map(|link| &link.planned));
        }
        let warnings = endpoints.into_iter();
        let warnings = warnings.filter(|(endpoint, _)| !self.links.is_swallowed(*endpoint));
        warnings
            .map(|(endpoint, link)| swallowed_warning(endpoint, link))
            .collect()
    }

    /// Has links leave by their interfaces as these are now, and be down where their path is.
    pub(in crate::gateway) fn set_wans(&mut self, wans: &[Wan], now: Instant) -> Result<()> {
        for (link, lane, index) in self.links.poll_interfaces(wans) {
            self.lanes.send(lane, Command::SetInterface(link, index))?;
        }
        for link in self.links.on_carriers(wans, now) {
            if let Some(link) = self.links.get(link) {
                let (id, lane) = (link.planned.id, link.planned.lane);
                self.lanes.send(lane, Command::PathDown(id))?;
            }
        }
        Ok(())
    }

    /// Holds the paths of links to what their interfaces leave.
    pub(in crate::gateway) fn set_paths(&mut self, wans: &[Wan], limits: PathLimits) -> Result<()> {
        for (link, lane, bounds) in self.links.poll_paths(wans, limits) {
            self.lanes
                .send(lane, Command::SetPathBounds(link, bounds))?;
        }
        Ok(())
    }

    /// Has a link speak from another address of ours if what comes from its own would leave by a wrong uplink.
    pub(in crate::gateway) fn follow_way(&mut self, source: Source, way: Way) -> Result<()> {
        if self.links.on_way(source, way) {
            let Source {
                link, lane, local, ..
            } = source;
            tracing::debug!(%link, %local, "the way has moved: the kernel chooses the source anew");
            // It forgets the address with what it knows of the interface, which is none.
            self.lanes.send(lane, Command::SetInterface(link, None))?;
        }
        Ok(())
    }

    /// Has links be down whose packets would enter the tunnel, by the address that they go to.
    pub(in crate::gateway) fn set_swallowed(
        &mut self,
        swallowed: HashMap<IpAddr, String>,
        now: Instant,
    ) -> Result<()> {
        let died = self.links.set_swallowed(swallowed, now);
        died.into_iter()
            .try_for_each(|(link, lane)| self.lanes.send(lane, Command::PathDown(link)))
    }

    /// Tells the lanes which links carry flows now, and the far ends how they are served; what has changed of
    /// that, for the journal.
    pub(in crate::gateway) fn tell_ranks(
        &mut self,
        plan: &Plan,
        now: Instant,
    ) -> Result<Vec<Change>> {
        let mut changes = Vec::new();
        for Ranks { lane, site, links } in self.links.poll_ranks(now) {
            let first = links.first().map(Vec::as_slice).unwrap_or_default();
            let names = self.links.names_of_up(first);
            let name = plan.site(site).map(|site| site.config.name.as_str());
            changes.extend(note_carriers(
                &mut self.carriers,
                (site, lane),
                name,
                &names,
            ));
            self.lanes.send(lane, Command::SetRanks(site, links))?;
        }
        // After the ranks: flows have left a link before its far end is told that it is drained.
        for (link, lane, service) in self.links.poll_services(self.service) {
            self.lanes.send(lane, Command::SetLanRole(link, service))?;
        }
        Ok(changes)
    }

    /// Tells the far ends how they are served, at once.
    pub(in crate::gateway) fn tell_service(&mut self, service: LanRole) -> Result<()> {
        self.service = service;
        for (link, lane, service) in self.links.poll_services(service) {
            self.lanes.send(lane, Command::SetLanRole(link, service))?;
        }
        Ok(())
    }

    /// Forgets who carried the flows of sites that are gone.
    pub(super) fn forget_carriers(&mut self, site: SiteId) {
        self.carriers.retain(|(id, _), _| *id != site);
    }

    /// Dials the links whose turn it is, and has their names looked up.
    pub(in crate::gateway) fn dial_due(&mut self, now: Instant) -> Result<()> {
        let due = self.links.handle_timeout(now);
        for question in self.links.resolved.poll_questions() {
            self.lookups.ask(question);
        }
        due.into_iter().try_for_each(|dial| {
            let Dial { link, lane, remote } = dial;
            let endpoint = Endpoint::new(remote);
            self.lanes.send(lane, Command::SetEndpoint(link, endpoint))
        })
    }
}

fn swallowed_warning(endpoint: IpAddr, link: Option<&PlannedLink>) -> String {
    let whose = match link {
        Some(link) if link.site.is_none() => format!("replica {}: ", link.gateway.name),
        Some(link) => format!("site {}: ", link.site_name),
        None => String::new(),
    };
    let length = if endpoint.is_ipv4() { 32 } else { 128 };
    format!(
        "{whose}the host's routes lead the tunnel's own packets to {endpoint} into the tunnel, where they are dropped \
         (own-datagram): add a more specific route to it (ip route add {endpoint}/{length} via the next hop of the \
         uplink), or narrow the site's route that covers it"
    )
}

/// Notes who carries a site's flows on a lane, where that has changed.
fn note_carriers(
    carriers: &mut HashMap<(SiteId, u16), String>,
    key: (SiteId, u16),
    site: Option<&str>,
    names: &[String],
) -> Option<Change> {
    let now = names.join(", ");
    let before = carriers.get(&key).cloned().unwrap_or_default();
    // While no link is up, there is nobody to name; the states of site and links say so.
    if now.is_empty() || now == before {
        return None;
    }
    carriers.insert(key, now.clone());
    let site = site.filter(|_| !before.is_empty())?;
    Some(Change {
        kind: EventKind::Site,
        subject: site.to_owned(),
        from: Some(format!("by {before}")),
        to: format!("by {now}"),
        cause: "the links that carry its flows".to_owned(),
    })
}

/// A link as its lane must know it.
pub(in crate::gateway) fn spec_of(link: &PlannedLink, config: &Config) -> Result<PeerSpec> {
    let file = link.gateway.preshared_key_file.as_ref();
    let preshared_key = file.map(disk::key_of).transpose();
    Ok(PeerSpec {
        link: link.id,
        site: link.site,
        engine: link.gateway.engine,
        receiver_index: link.receiver_index,
        public_key: link.gateway.public_key,
        preshared_key: preshared_key.context("preshared_key_file")?,
        keepalive: link.keepalive(),
        endpoint: None,
        // Told before it is dialled.
        interface: None,
        liveness: liveness_of(link),
        probe_source: probe_source(link, config),
    })
}

/// How a link is watched, in addresses of the far site.
fn liveness_of(link: &PlannedLink) -> Liveness {
    Liveness {
        probe: link.probe,
        ..link.path.liveness.clone()
    }
}

/// Our address inside the tunnel that a link's probe is sent from.
fn probe_source(link: &PlannedLink, config: &Config) -> Option<IpAddr> {
    let probe = link.path.liveness.probe?;
    let own = config.gateway.tunnel_addresses.iter();
    own.map(|own| own.address)
        .find(|own| own.is_ipv4() == probe.is_ipv4())
}

impl Links {
    /// Names of those of the links that are up.
    fn names_of_up(&self, links: &[LinkId]) -> Vec<String> {
        let links = links.iter().filter_map(|id| self.get(*id));
        let up = links.filter(|link| link.state == LinkState::Up);
        up.map(|link| link.planned.name()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_another_carrier_of_a_known_site_is_worth_a_line() {
        let mut carriers = HashMap::new();
        let key = (SiteId(1), 0);
        let mut note = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            note_carriers(&mut carriers, key, Some("paris"), &names)
        };
        assert_eq!(note(&["paris-1"]), None);
        assert_eq!(note(&[]), None);
        assert_eq!(note(&["paris-1"]), None);
        let change = note(&["paris-2"]).unwrap();
        assert_eq!(change.subject, "paris");
        assert_eq!(change.from.as_deref(), Some("by paris-1"));
        assert_eq!(change.to, "by paris-2");
    }
}
