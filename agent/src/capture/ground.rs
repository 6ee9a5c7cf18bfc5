//! What the gateway says of itself: where its programs sit, and the names of what packets are of.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result};
use crossway_sys::interface;
use datapath_abi::capture::{EndKey, LinkLayer};

use super::choice::words;
use crate::control::message::{Attachment, Link, Status};
use crate::datapath::capture::CapturePoint;
use crate::datapath::{Hook, Mode};
use crate::packet::{flow_hash, share};
use crate::prefix::Prefix;

/// From linux/if_arp.h.
const ARPHRD_ETHER: u16 = 1;
const ARPHRD_LOOPBACK: u16 = 772;

/// What there is.
#[derive(Clone, Debug, Default)]
pub(super) struct Ground {
    /// Name of the gateway.
    pub(super) gateway: String,
    /// Places of the fast path.
    pub(super) points: Vec<CapturePoint>,
    /// Interfaces at which datagrams may pass.
    pub(super) wans: Vec<(u32, LinkLayer)>,
    /// All of these by their index.
    pub(super) interfaces: BTreeMap<u32, Interface>,
    /// Sites by their number.
    pub(super) sites: BTreeMap<u32, Site>,
    /// Port of lane 0.
    listen_port: u16,
}

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Interface {
    /// Name.
    pub(super) name: String,
    /// How its packets begin.
    pub(super) layer: LinkLayer,
}

/// A site.
#[derive(Clone, Debug, Default)]
pub(super) struct Site {
    /// Name.
    pub(super) name: String,
    /// Its prefixes.
    pub(super) routes: Vec<Prefix>,
    /// Links that reach it, by their number.
    pub(super) links: Vec<Link>,
}

impl Ground {
    /// As the gateway and the interfaces are now.
    ///
    /// # Errors
    /// The gateway says what makes no sense: it is of another version.
    pub(super) fn of(status: &Status) -> Result<Self> {
        let listen: SocketAddr = status
            .listen
            .parse()
            .with_context(|| format!("{} is no address to listen at", status.listen))?;
        let mut ground = Self {
            gateway: status.gateway.clone(),
            listen_port: listen.port(),
            sites: status.sites.iter().map(site).collect(),
            ..Self::default()
        };
        for attachment in &status.attachments {
            ground.add_point(attachment);
        }
        ground.find_wans(status);
        Ok(ground)
    }

    fn add_point(&mut self, attachment: &Attachment) {
        let hooks = [Hook::LanIngress, Hook::TunEgress, Hook::TunIngress];
        let hook = hooks
            .into_iter()
            .find(|hook| hook.program() == attachment.hook);
        let mode = [Mode::Tcx, Mode::Clsact]
            .into_iter()
            .find(|mode| mode.as_str() == attachment.mode);
        // One that has just gone is away the next time, too.
        let index = interface::index(&attachment.interface).ok();
        let (Some(hook), Some(mode), Some(index)) = (hook, mode, index) else {
            return;
        };
        let layer = match hook {
            Hook::LanIngress => LinkLayer::Ethernet,
            _ => LinkLayer::None,
        };
        let interface = attachment.interface.clone();
        self.know(index, &interface, layer);
        self.points.push(CapturePoint {
            hook,
            mode,
            interface,
            index,
        });
    }

    /// The interfaces that the gateway has as WANs; where it has none, all but the loopback and the tunnel.
    fn find_wans(&mut self, status: &Status) {
        let of_guard = status
            .attachments
            .iter()
            .filter(|attachment| attachment.hook == Hook::WanGuard.program())
            .map(|attachment| attachment.interface.clone());
        let mut names: Vec<String> = of_guard.collect();
        if names.is_empty() {
            names.extend(interface::names().unwrap_or_default());
            names.retain(|name| *name != status.tun.name);
        }
        for name in names {
            let (Ok(index), Ok(kind)) = (interface::index(&name), interface::hardware_type(&name))
            else {
                continue;
            };
            let layer = match kind {
                ARPHRD_LOOPBACK => continue,
                ARPHRD_ETHER => LinkLayer::Ethernet,
                _ => LinkLayer::None,
            };
            self.know(index, &name, layer);
            self.wans.push((index, layer));
        }
    }

    fn know(&mut self, index: u32, name: &str, layer: LinkLayer) {
        let name = name.to_owned();
        self.interfaces.insert(index, Interface { name, layer });
    }

    /// How the packets of an interface begin.
    pub(super) fn layer(&self, index: u32) -> LinkLayer {
        let known = self.interfaces.get(&index);
        known.map_or(LinkLayer::None, |interface| interface.layer)
    }

    /// What an interface is to the gateway.
    pub(super) fn roles(&self, index: u32) -> &'static str {
        let is_wan = self.wans.iter().any(|(wan, _)| *wan == index);
        let mut hooks = self
            .points
            .iter()
            .filter(|point| point.index == index)
            .map(|point| point.hook);
        match hooks.next() {
            Some(Hook::LanIngress) if is_wan => "LAN and WAN",
            Some(Hook::LanIngress) => "LAN",
            Some(_) => "tunnel",
            None => "WAN",
        }
    }

    /// The outer ends of a link, if its endpoint is known.
    pub(super) fn ends(&self, link: &Link) -> Option<EndKey> {
        let remote: SocketAddr = link.endpoint.as_deref()?.parse().ok()?;
        // What is not bound leaves as the kernel's routes say.
        let local = link.local_address.filter(|_| link.wan.is_some());
        Some(EndKey {
            remote: words(remote.ip()),
            local: local.map(words).unwrap_or_default(),
            remote_port: remote.port().into(),
            local_port: u32::from(self.listen_port) + u32::from(link.lane),
        })
    }

    /// The link with this number.
    pub(super) fn link(&self, id: u32) -> Option<&Link> {
        let mut links = self.sites.values().flat_map(|site| &site.links);
        links.find(|link| link.id == id)
    }

    /// The link that carries a packet to a site on a lane, as the lane chooses among those that carry flows.
    pub(super) fn carrier(&self, site: u32, lane: u16, packet: &[u8]) -> Option<&Link> {
        let links = &self.sites.get(&site)?.links;
        let carrying: Vec<&Link> = links
            .iter()
            .filter(|link| link.carries_flows && link.lane == lane)
            .collect();
        let chosen = share(flow_hash(packet), carrying.len());
        carrying.get(chosen).copied()
    }

    /// The one link of a site on a lane, or on any where that is not known; none where there are several.
    pub(super) fn only_link(&self, site: u32, lane: Option<u16>) -> Option<&Link> {
        let links = &self.sites.get(&site)?.links;
        let mut on_lane = links
            .iter()
            .filter(|link| lane.is_none_or(|lane| link.lane == lane));
        on_lane.next().filter(|_| on_lane.next().is_none())
    }

    /// The site that an address belongs to.
    pub(super) fn site_of(&self, address: IpAddr) -> Option<u32> {
        let routes = self.sites.iter().flat_map(|(id, site)| {
            let routes = site.routes.iter().filter(|route| route.contains(address));
            routes.map(|route| (route.length(), *id))
        });
        routes.max_by_key(|(length, _)| *length).map(|(_, id)| id)
    }
}

fn site(site: &crate::control::message::Site) -> (u32, Site) {
    let mut links = site.links.clone();
    // The order in which a lane has equals.
    links.sort_by_key(|link| link.id);
    let routes = site.routes.iter();
    let site_of = Site {
        name: site.name.clone(),
        routes: routes.filter_map(|route| route.parse().ok()).collect(),
        links,
    };
    (site.id, site_of)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::control::message::{LinkState, WatchedBy};
    use crate::engine::Engine;

    fn link(site: &str, gateway: &str, id: u32, lane: u16, endpoint: Option<&str>) -> Link {
        Link {
            site: site.to_owned(),
            gateway: gateway.to_owned(),
            engine: Engine::default(),
            id,
            lane,
            endpoint: endpoint.map(str::to_owned),
            local_address: None,
            public_key: String::new(),
            last_handshake_seconds: None,
            state: LinkState::Up,
            why: String::new(),
            rx_packets: 0,
            rx_bytes: 0,
            tx_packets: 0,
            tx_bytes: 0,
            keepalive_seconds: None,
            priority: 100,
            link: None,
            wan: None,
            since_seconds: 0,
            carries_flows: true,
            watched_by: WatchedBy::WireGuard,
            probe: None,
            detection_milliseconds: None,
            receiver_index: None,
            replica: None,
            handshakes: 0,
            messages: crate::control::message::Messages::default(),
            round_trip_microseconds: None,
            bfd_state: None,
            path_mtu: None,
        }
    }

    /// A gateway with the sites paris (number 0) and rome (number 4).
    pub(in super::super) fn ground() -> Ground {
        let endpoint = Some("192.0.2.2:51820");
        let site = |name: &str, routes: &[&str], links| Site {
            name: name.to_owned(),
            routes: routes.iter().map(|route| route.parse().unwrap()).collect(),
            links,
        };
        let paris = [link("paris", "paris-1", 7, 0, endpoint)].into();
        let rome = [
            link("rome", "rome-1", 8, 0, Some("[2001:db8::8]:51821")),
            link("rome", "rome-2", 9, 1, None),
        ];
        let interface = |name: &str, layer| Interface {
            name: name.to_owned(),
            layer,
        };
        Ground {
            gateway: "berlin-1".to_owned(),
            sites: BTreeMap::from([
                (0, site("paris", &["10.2.0.0/24", "2001:db8:2::/48"], paris)),
                (4, site("rome", &["10.3.0.0/24"], rome.into())),
            ]),
            interfaces: BTreeMap::from([
                (2, interface("lan0", LinkLayer::Ethernet)),
                (3, interface("wan0", LinkLayer::Ethernet)),
                (4, interface("cw-berlin-1", LinkLayer::None)),
            ]),
            listen_port: 51820,
            ..Ground::default()
        }
    }

    #[test]
    fn the_ends_of_a_link_are_its_endpoint_and_the_port_of_its_lane() {
        let ground = ground();
        let ends = ground.ends(ground.link(7).unwrap()).unwrap();
        assert_eq!(ends.remote, words("192.0.2.2".parse().unwrap()));
        assert_eq!((ends.local, ends.local_port), ([0; 4], 51820));
        assert_eq!(ground.ends(ground.link(9).unwrap()), None, "no endpoint");
        let mut bound = ground.link(8).unwrap().clone();
        bound.local_address = Some("2001:db8::1".parse().unwrap());
        let of = |link: &Link| ground.ends(link).unwrap();
        assert_eq!(of(&bound).local, [0; 4], "the kernel may choose another");
        bound.wan = Some("wan0".to_owned());
        assert_eq!(of(&bound).local, words("2001:db8::1".parse().unwrap()));
        assert_eq!(of(&bound).remote_port, 51821);
    }

    #[test]
    fn a_site_is_found_by_the_longest_prefix_and_a_link_where_there_is_one() {
        let mut ground = ground();
        assert_eq!(ground.site_of("10.2.0.9".parse().unwrap()), Some(0));
        assert_eq!(ground.site_of("10.9.0.9".parse().unwrap()), None);
        let wide = "10.0.0.0/8".parse().unwrap();
        ground.sites.get_mut(&4).unwrap().routes.push(wide);
        assert_eq!(ground.site_of("10.2.0.9".parse().unwrap()), Some(0));
        assert_eq!(ground.site_of("10.9.0.9".parse().unwrap()), Some(4));
        let name = |link: Option<&Link>| link.map(|link| link.gateway.clone());
        assert_eq!(name(ground.only_link(4, None)), None, "two lanes");
        assert_eq!(name(ground.only_link(4, Some(1))), Some("rome-2".into()));
        assert_eq!(name(ground.carrier(4, 0, &[])), Some("rome-1".into()));
        assert_eq!(name(ground.carrier(4, 7, &[])), None);
    }
}
