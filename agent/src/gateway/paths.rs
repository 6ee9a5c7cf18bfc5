//! What follows from a change of a link: who carries the flows, what far gateways are told, which
//! interfaces links leave by.

use std::num::NonZeroU32;
use std::time::Instant;

use anyhow::Result;

use super::Gateway;
use super::links::Ranks;
use crate::control::message::{EventKind, LinkOrder, LinkState, LinksReply};
use crate::control::{Asker, Response};
use crate::ids::{LinkId, SiteId};
use crate::journal::Change;
use crate::lane::Command;
use crate::tunnel::LinkChange;
use crate::tunnel::heartbeat::Service;
use crossway_sys::clock;

impl Gateway {
    /// BFD says something of links. The lane has already left those that have died.
    pub(super) fn on_link_changes(
        &mut self,
        changes: impl Iterator<Item = LinkChange>,
    ) -> Result<()> {
        let now = clock::now();
        for change in changes {
            self.links.on_change(change, now);
        }
        self.follow_links(now)?;
        self.dial_due(now)
    }

    /// Tells the lanes which links carry flows now, the far ends how they are served, and the programs
    /// which lanes they may use. To be called after whatever may have changed a link.
    pub(super) fn follow_links(&mut self, now: Instant) -> Result<()> {
        for Ranks { lane, site, links } in self.links.poll_ranks(now) {
            self.record_carriers(site, lane, &links);
            self.lanes.send(lane, Command::SetRanks(site, links))?;
        }
        // After the ranks: flows have left a link before its far end is told that it is drained.
        for (link, lane, service) in self.links.poll_services(self.service) {
            self.lanes.send(lane, Command::SetService(link, service))?;
        }
        self.record_states();
        self.feed_vrrp_health();
        self.write_sites()
    }

    /// Notes who carries a site's flows, where that has changed.
    fn record_carriers(&mut self, site: SiteId, lane: u16, ranks: &[Vec<LinkId>]) {
        let first = ranks.first().cloned().unwrap_or_default();
        let up = |id: &LinkId| {
            let link = self.links.get(*id)?;
            (link.state == LinkState::Up).then(|| link.planned.name())
        };
        let names: Vec<String> = first.iter().filter_map(up).collect();
        let now = names.join(", ");
        let key = (site, lane);
        let before = self.carriers.get(&key).cloned().unwrap_or_default();
        // While no link is up, there is nobody to name; the states of site and links say so.
        if now.is_empty() || now == before {
            return;
        }
        self.carriers.insert(key, now.clone());
        if let Some(site) = self.plan.site(site).filter(|_| !before.is_empty()) {
            let subject = site.config.name.clone();
            self.record(Change {
                kind: EventKind::Site,
                subject,
                from: Some(format!("by {before}")),
                to: format!("by {now}"),
                cause: "the links that carry its flows".to_owned(),
            });
        }
    }

    /// Tells the far gateways how this one serves its LAN, where that has changed.
    pub(super) fn follow_service(&mut self) -> Result<()> {
        let service = if !self.lan_health().alive {
            Service::LanDown
        } else if self.is_standby() {
            Service::Standby
        } else {
            Service::Active
        };
        if service == self.service {
            return Ok(());
        }
        self.set_service(service)
    }

    /// How this gateway serves its LAN now; its far gateways are told.
    pub(super) fn set_service(&mut self, service: Service) -> Result<()> {
        self.service = service;
        self.follow_links(clock::now())
    }

    /// Interfaces may have come, gone, or lost their carrier.
    pub(super) async fn follow_wans(&mut self) -> Result<()> {
        let mut wans = Vec::new();
        let names = self.config.gateway.wan.iter().map(|wan| &wan.interface);
        for name in names {
            let interface = self.host.interface(name).await.ok();
            let carrier = interface.as_ref().is_some_and(|wan| wan.up && wan.carrier);
            let index = interface.and_then(|wan| NonZeroU32::new(wan.index.0));
            wans.push((name.clone(), carrier, index));
        }
        for (link, lane, index) in self.links.poll_interfaces(&wans) {
            self.lanes.send(lane, Command::SetInterface(link, index))?;
        }
        let carriers: Vec<_> = wans
            .into_iter()
            .map(|(name, carrier, _)| (name, carrier))
            .collect();
        let now = clock::now();
        for link in self.links.on_carriers(&carriers, now) {
            if let Some(link) = self.links.get(link) {
                let (id, lane) = (link.planned.id, link.planned.lane);
                self.lanes.send(lane, Command::PathDown(id))?;
            }
        }
        self.follow_links(now)?;
        self.dial_due(now)?;
        Ok(())
    }

    /// Carries out an order of a person's.
    pub(super) fn order_links(&mut self, target: &str, order: LinkOrder, asker: Asker) -> Response {
        let ids = self.links.named(target);
        if ids.is_empty() {
            return Response::error(format!(
                "{target:?} is no link of this gateway: name a site, or one of {}",
                self.links.names().join(", ")
            ));
        }
        let now = clock::now();
        if order == LinkOrder::Promote {
            self.links.promote(&ids);
        }
        for id in &ids {
            self.links.order(*id, order, now);
        }
        self.record(Change {
            kind: EventKind::Link,
            subject: target.to_owned(),
            from: None,
            to: format!("{} ordered", order.as_str()),
            cause: format!("by the command line ({asker})"),
        });
        if let Err(error) = self.follow_links(now) {
            return Response::error(format!("{error:#}"));
        }
        let links = self.sites().into_iter().flat_map(|site| site.links);
        Response::Links(LinksReply {
            links: links
                .filter(|link| ids.contains(&LinkId(link.id)))
                .collect(),
        })
    }
}
