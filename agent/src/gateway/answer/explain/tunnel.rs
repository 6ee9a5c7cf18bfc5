//! The tunnel's side: which site, link, lane and endpoint, and whether sources are taken.

use std::net::IpAddr;

use anyhow::Result;
use datapath_abi::explanation::Explanation;
use datapath_abi::outcome::DropReason;
use datapath_abi::settings::{COUNTED_MARK_MASK, DEFAULT_VNET};

use super::forwarding::LEAST_MTU6;
use super::packet::Packet;
use super::story::Story;
use crate::control::message::{End, FastPath, LinkState};
use crate::gateway::Gateway;
use crate::gateway::links::LinkStatus;
use crate::gateway::plan::PlannedSite;
use crate::ids::{SiteId, VnetId};
use crate::prefix::Prefix;
use crossway_sys::own_address;
use crossway_types::mapping::Mapping;
use crossway_types::packet::{TCP, UDP, flow_hash, share};

impl Gateway {
    /// A program has named site and mark.
    pub(super) async fn enter_tunnel(
        &self,
        packet: &Packet,
        explanation: &Explanation,
        story: &mut Story,
    ) -> Result<()> {
        let lane = (explanation.mark & !COUNTED_MARK_MASK) as u16;
        self.by_lane(packet, Some(SiteId(explanation.target)), lane, story)
            .await
    }

    /// The lane has the packet: to a link of the site.
    pub(super) async fn by_lane(
        &self,
        packet: &Packet,
        site: Option<SiteId>,
        lane: u16,
        story: &mut Story,
    ) -> Result<()> {
        let destination = packet.destination();
        if self.is_own_datagram(packet) {
            let why = "a datagram of the tunnel itself, which a route leads into the tunnel: narrow that route, or add a \
                       more specific one to the endpoint";
            Self::dropped_by_lane(story, DropReason::OwnDatagram, why);
            return Ok(());
        }
        let planned = site.and_then(|site| self.desired.plan.site(site));
        let Some(site) = planned else {
            let why = format!("no site has a route to {destination}: neighbour discovery, say");
            Self::dropped_by_lane(story, DropReason::NoRoute, &why);
            return Ok(());
        };
        self.tell_route(destination, site, story);
        if !self.tell_policy("lane", packet, story)? {
            return Ok(());
        }
        let Some(link) = self.carrier(site, lane, packet) else {
            let why = format!("site {} has no link on lane {lane}", site.config.name);
            Self::dropped_by_lane(story, DropReason::NoRoute, &why);
            return Ok(());
        };
        story.answer.lane = Some(lane);
        story.answer.link = Some(link.planned.name());
        story.answer.link_state = Some(link.state.as_str().to_owned());
        let name = format!("{}/{}", site.config.name, link.planned.name());
        let endpoint = link.peer.as_ref().and_then(|peer| peer.endpoint);
        let Some(endpoint) = endpoint else {
            let why = format!("link {name} knows no endpoint yet: {}", link.why);
            Self::dropped_by_lane(story, DropReason::NoEndpoint, &why);
            return Ok(());
        };
        story.answer.endpoint = Some(endpoint.remote.to_string());
        let state = match link.state {
            LinkState::Up => "Up".to_owned(),
            other => format!(
                "{} ({}): the packet waits for a handshake, and is dropped if none comes",
                other.as_str(),
                link.why
            ),
        };
        story.step(
            &format!("lane {lane}"),
            &format!("link {name}, {state}, to endpoint {}", endpoint.remote),
        );
        if !self.tell_size(packet, link, story) {
            return Ok(());
        }
        let source = self.tell_mapping(packet, site, story);
        self.tell_far_side(packet, link, source, story).await?;
        story.answer.end = End::ToSite;
        Ok(())
    }

    /// Which prefix leads to the site.
    fn tell_route(&self, destination: IpAddr, site: &PlannedSite, story: &mut Story) {
        let prefix = self.prefix_for(destination);
        story.answer.site = Some(site.config.name.clone());
        story.answer.prefix = prefix.map(|prefix| prefix.to_string());
        let prefix = prefix.map_or("its route".to_owned(), |prefix| prefix.to_string());
        story.step("route", &format!("{prefix} to site {}", site.config.name));
    }

    /// The longest of the sites' prefixes that packets to an address go by.
    pub(super) fn prefix_for(&self, address: IpAddr) -> Option<Prefix> {
        match &self.forwarding.datapath {
            Some(datapath) => datapath.routes.prefix_of(VnetId(DEFAULT_VNET), address),
            None => self.planned_route(address).map(|(prefix, _)| prefix),
        }
    }

    /// The site's route to an address, and the site, as the lanes know it.
    pub(super) fn planned_route(&self, address: IpAddr) -> Option<(Prefix, SiteId)> {
        let active = self.forwarding.down.active(&self.desired.plan);
        longest(active.map(|(_, prefix, site)| (prefix, site)), address)
    }

    /// The site from which packets of a source may come: one that is down and stands back for a shorter prefix may still
    /// send.
    pub(super) fn site_that_sends(&self, source: IpAddr) -> Option<(Prefix, SiteId)> {
        let all = self.desired.plan.routes();
        self.planned_route(source)
            .or_else(|| longest(all.map(|(_, prefix, site)| (prefix, site)), source))
    }

    /// The link that carries a flow of a site on a lane, as the lane chooses it.
    fn carrier(&self, site: &PlannedSite, lane: u16, packet: &Packet) -> Option<&LinkStatus> {
        let links = &self.forwarding.links;
        let serving = links.serving(site.id, lane);
        let chosen = share(flow_hash(&packet.bytes), serving.len());
        serving.get(chosen).copied()
    }

    /// Whether the lane takes the packet for one of its own.
    fn is_own_datagram(&self, packet: &Packet) -> bool {
        let listen = self.desired.config.gateway.listen;
        let lanes = self.forwarding.lanes.count();
        let (from, _) = packet.ports();
        packet.request.protocol == UDP
            && (listen.port()..listen.port().saturating_add(lanes)).contains(&from)
            && own_address::is_own(packet.source())
            && self
                .forwarding
                .links
                .endpoints()
                .contains(&packet.destination())
    }

    /// Whether the packet goes on, as it is or made to fit, as the lane decides it.
    fn tell_size(&self, packet: &Packet, link: &LinkStatus, story: &mut Story) -> bool {
        let known = link.peer.as_ref().and_then(|peer| peer.path);
        let mtu = known.map_or(self.host.tun.mtu.mtu, |path| path.mtu);
        // What IPv6 must get through (RFC 8200, 5).
        let mtu = if packet.source().is_ipv4() {
            u32::from(mtu)
        } else {
            u32::from(mtu).max(LEAST_MTU6)
        };
        story.answer.mtu_bytes = Some(mtu);
        if packet.largest > mtu && !story.answer.fragmented {
            return Self::tell_too_big(packet, mtu, story);
        }
        let what = if story.answer.fragmented && mtu < self.host.tun.mtu.mtu.into() {
            format!("the kernel's fragments are fragmented once more, to fit into {mtu} bytes")
        } else if story.answer.fragmented {
            format!("the kernel's fragments fit into {mtu} bytes")
        } else if packet.segment_size > 0 {
            format!(
                "cut into segments of at most {} bytes of the {mtu} that fit",
                packet.largest
            )
        } else {
            format!("{} bytes of the {mtu} that fit", packet.largest)
        };
        story.step("MTU", &what);
        true
    }

    /// Of a packet that is larger than the path of its link takes: whether it can be made to fit.
    fn tell_too_big(packet: &Packet, mtu: u32, story: &mut Story) -> bool {
        let request = &packet.request;
        let why = format!(
            "{} bytes, and the path of the link takes {mtu}",
            packet.largest
        );
        if request.protocol == TCP && request.fragment.is_none() {
            let how = "it is cut into smaller segments, and its sender is told";
            story.step("MTU", &format!("{why}: {how}"));
            return true;
        }
        let ipv4 = packet.source().is_ipv4();
        if ipv4 && !request.dont_fragment && !request.options {
            story.step("MTU", &format!("{why}: it is fragmented"));
            return true;
        }
        Self::dropped_by_lane(story, DropReason::PacketTooBig, &why);
        let answer = if ipv4 {
            "fragmentation-needed"
        } else {
            "packet-too-big"
        };
        packet.tell_sender(story, answer);
        false
    }

    async fn tell_far_side(
        &self,
        packet: &Packet,
        link: &LinkStatus,
        mapped: Option<IpAddr>,
        story: &mut Story,
    ) -> Result<()> {
        let source = mapped.unwrap_or(packet.source());
        let far = &link.planned.gateway.name;
        let known = match self.site_that_sends(source) {
            Some((prefix, site)) if story.answer.from == "tunnel" => {
                let site = self.desired.plan.site(site);
                let site = site.map_or("?", |site| site.config.name.as_str());
                Some((prefix, format!("of site {site}")))
            }
            _ if mapped.is_some() => {
                let own = self.desired.plan.own_maps.iter();
                let mut shown = own
                    .map(Mapping::shown)
                    .filter(|shown| shown.contains(source));
                let whose = "that stands for a LAN".to_owned();
                shown.next().map(|shown| (shown, whose))
            }
            _ => self.own_network(source).await?,
        };
        let what = match &known {
            Some((prefix, whose)) => format!(
                "source {source} is in {prefix} {whose}, as the routes of {far} for this site should say"
            ),
            None => format!(
                "source {source} is in no network of this gateway: {far} drops it (source-not-in-site), unless its routes \
                 for this site hold it; add it there, or look why a host has that address"
            ),
        };
        story.answer.source_network = known.map(|(prefix, _)| prefix.to_string());
        story.step("far side", &what);
        Ok(())
    }

    /// The network of a LAN, or the address of the tunnel, that an address belongs to.
    async fn own_network(&self, address: IpAddr) -> Result<Option<(Prefix, String)>> {
        let own = self.host.kernel.addresses().await?;
        let mut lans = Vec::new();
        for lan in &self.desired.config.gateway.lan {
            lans.extend(self.host.kernel.find(&lan.interface).await?);
        }
        let tun = self.host.tun.index;
        let names = own.iter().filter_map(|own| {
            let lan = lans.iter().find(|lan| lan.index == own.interface);
            let whose = match lan {
                Some(lan) => format!("of {}", lan.name),
                None if own.interface == tun => "of the tunnel".to_owned(),
                None => return None,
            };
            let network = Prefix::containing(own.address.address, own.address.length);
            network.contains(address).then_some((network, whose))
        });
        Ok(names.max_by_key(|(network, _)| network.length()))
    }

    /// Whether the lane takes a packet with this source out of the tunnel.
    pub(super) fn accept_source(&self, packet: &Packet, story: &mut Story) -> bool {
        let source = packet.source();
        let from = self.site_that_sends(source);
        let planned = from.and_then(|(prefix, site)| {
            let site = self.desired.plan.site(site)?;
            Some((prefix, site))
        });
        let Some((prefix, site)) = planned else {
            let why = format!(
                "{source} is in no route of any site, whichever sends it; if it is that of a host there, add its prefix to \
                 the site's routes"
            );
            Self::dropped_by_lane(story, DropReason::SourceNotInSite, &why);
            story.answer.fast_path = FastPath::None;
            return false;
        };
        let name = &site.config.name;
        let links = self.forwarding.links.of_site(site.id);
        let up: Vec<String> = links
            .iter()
            .filter(|link| link.state == LinkState::Up)
            .map(|link| link.planned.name())
            .collect();
        let by = if up.is_empty() {
            "none of whose links is up".to_owned()
        } else {
            format!("by {}", up.join(" or "))
        };
        let mut what = format!("taken from site {name}, {by}: source {source} is in its {prefix}");
        what += &self.tell_mapping_back(packet, site, story);
        story.step("lane", &what);
        true
    }
}

fn longest(
    routes: impl Iterator<Item = (Prefix, SiteId)>,
    address: IpAddr,
) -> Option<(Prefix, SiteId)> {
    routes
        .filter(|(prefix, _)| prefix.contains(address))
        .max_by_key(|(prefix, _)| prefix.length())
}
