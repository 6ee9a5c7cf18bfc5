use std::path::Path;
use std::time::Duration;

use super::*;
use crate::config::Config;
use crate::gateway::plan::Numbers;
use crate::ids::IfIndex;
use crate::io::udp;
use crate::tunnel::PeerSnapshot;
use crate::tunnel::arrivals::Arrivals;
use crate::tunnel::link_bfd::LinkLiveness;
use crossway_sys::clock;

const FILE: &str = r#"
[gateway]
name = "berlin-1"
private_key_file = "berlin-1.key"
listen = "0.0.0.0:51820"
lanes = 2
lan = [{ interface = "eth1" }]
wan = [{ interface = "eth0" }]
[[site]]
name = "paris"
routes = ["10.2.0.0/24"]
[[site.gateway]]
name = "paris-1"
lanes = 2
public_key = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo="
endpoints = ["192.0.2.7:51820"]
"#;

/// A site with a link on each of two lanes.
struct Paris {
    plan: Plan,
    links: Links,
    states: States,
    start: Instant,
}

impl Paris {
    fn new() -> Self {
        let config = Config::parse(FILE, Path::new("berlin-1.toml")).unwrap();
        let plan = Numbers::default().plan(&config.config, 2);
        let mut links = Links::new(true);
        let start = clock::now();
        for link in &plan.links {
            links.insert(link.clone(), Duration::ZERO, start);
        }
        let mut paris = Self {
            plan,
            links,
            states: States::default(),
            start,
        };
        assert_eq!(paris.follow(0), [""; 0]);
        paris
    }

    fn follow(&mut self, seconds: u64) -> Vec<String> {
        let now = self.start + Duration::from_secs(seconds);
        let changes = self.states.follow(&self.plan, &mut self.links, now);
        let mut lines: Vec<_> = changes.iter().map(line).collect();
        lines.sort();
        lines
    }

    /// What is recorded when the lanes say which of their links have a session.
    fn sessions(&mut self, seconds: u64, sessions: [bool; 2]) -> Vec<String> {
        let links = self.plan.links.iter().zip(sessions);
        let peers = links.map(|(link, session)| PeerSnapshot {
            link: link.id,
            endpoint: Some(udp::Endpoint::new("192.0.2.7:51820".parse().unwrap())),
            handshake_age: session.then_some(Duration::ZERO),
            unanswered_for: None,
            unheard_for: None,
            pulse: LinkLiveness::default(),
            sent_packets: 0,
            sent_bytes: 0,
            received_packets: 0,
            received_bytes: 0,
            arrivals: Arrivals::default(),
            handshakes: 1,
            path: None,
        });
        let now = self.start + Duration::from_secs(seconds);
        self.links.on_snapshot(peers.collect(), now);
        self.follow(seconds)
    }

    fn is_down(&self) -> bool {
        self.states.site(self.plan.sites[0].id).unwrap().is_down()
    }
}

fn line(change: &Change) -> String {
    format!(
        "{} {}: {} -> {}: {}",
        change.kind.as_str(),
        change.subject,
        change.from.as_deref().unwrap_or("none"),
        change.to,
        change.cause
    )
}

#[test]
fn each_change_of_a_link_and_of_its_site_is_recorded_once() {
    let mut paris = Paris::new();
    assert_eq!(
        paris.sessions(1, [true, false]),
        [
            "link paris/paris-1: Connecting -> Up: handshake completed",
            "site paris: none -> Degraded: paris-1: no answer from 192.0.2.7:51820",
        ]
    );
    assert_eq!(paris.sessions(2, [true, false]), [""; 0]);
    assert_eq!(
        paris.sessions(3, [true, true]),
        [
            "link paris/paris-1 lane 1: Connecting -> Up: handshake completed",
            "site paris: Degraded -> Active: every link is up",
        ]
    );
    assert_eq!(paris.sessions(200, [false, false]).len(), 3);
    let site = paris.states.site(paris.plan.sites[0].id).unwrap();
    assert_eq!(
        (site.state, site.since),
        (SiteState::Down, paris.start + Duration::from_secs(200))
    );
}

#[test]
fn a_new_site_is_not_down_before_it_has_had_its_time() {
    let mut paris = Paris::new();
    assert_eq!(paris.sessions(14, [false, false]), [""; 0]);
    assert!(!paris.is_down());
    let lines = paris.sessions(15, [false, false]);
    assert!(
        lines[2].starts_with("site paris: none -> Down: "),
        "{lines:?}"
    );
    assert!(paris.is_down());
    assert_eq!(paris.sessions(16, [false, false]), [""; 0]);
    paris.sessions(17, [true, false]);
    assert!(!paris.is_down());
}

#[test]
fn a_site_that_was_up_is_down_at_once_unless_a_link_begins_anew() {
    let mut paris = Paris::new();
    paris.sessions(1, [true, true]);
    paris.sessions(200, [true, false]);
    assert!(!paris.is_down());
    // As when the file has a new key for it.
    let link = paris.plan.links[0].clone();
    paris
        .links
        .insert(link, Duration::ZERO, paris.start + Duration::from_secs(201));
    let lines = paris.sessions(201, [false, false]);
    assert_eq!(lines.len(), 1);
    assert!(lines[0].starts_with("site paris: Degraded -> Down: "));
    assert!(!paris.is_down());
    paris.sessions(216, [false, false]);
    assert!(paris.is_down());
    paris.sessions(217, [true, true]);
    paris.sessions(218, [false, false]);
    assert!(paris.is_down());
}

#[test]
fn what_the_file_no_longer_has_is_forgotten() {
    let mut paris = Paris::new();
    paris.sessions(1, [true, true]);
    for link in std::mem::take(&mut paris.plan.links) {
        paris.links.remove(link.id);
    }
    paris.plan.sites.clear();
    assert_eq!(paris.follow(2), [""; 0]);
    assert!(paris.states.sites.is_empty());
}

#[test]
fn a_number_that_went_to_another_site_starts_anew() {
    let mut paris = Paris::new();
    paris.sessions(1, [true, true]);
    paris.plan.sites[0].config.name = "rome".to_owned();
    assert_eq!(
        paris.follow(2),
        ["site rome: none -> Active: every link is up"]
    );
}

#[test]
fn an_interface_that_goes_comes_back_or_changes_is_recorded() {
    let mut states = States::default();
    let eth1 = |index, mtu, carrier| Interface {
        index: IfIndex(index),
        name: "eth1".to_owned(),
        mtu,
        kind: None,
        up: true,
        carrier,
        ethernet: true,
        open_queues: 0,
        group: 0,
        queue_length: 1000,
        address: None,
        vlan: None,
    };
    let mut seen = |found: Option<Interface>| {
        let change = states.follow_interface("eth1", found.as_ref());
        change.as_ref().map(line)
    };
    assert_eq!(seen(Some(eth1(4, 1500, true))), None);
    assert_eq!(seen(Some(eth1(4, 1500, true))), None);
    for (found, expected) in [
        (
            Some(eth1(4, 1500, false)),
            "host eth1: up -> no carrier: its cable or its other end is away",
        ),
        (
            None,
            "host eth1: no carrier -> gone: there is no interface of this name any more",
        ),
        (
            Some(eth1(9, 1400, true)),
            "host eth1: gone -> up: it is set up and has carrier",
        ),
        (
            Some(eth1(9, 1500, true)),
            "host eth1: MTU 1400 -> MTU 1500: it was set",
        ),
        (
            Some(eth1(10, 1500, true)),
            "host eth1: up -> up: another interface has its name now",
        ),
    ] {
        assert_eq!(seen(found).as_deref(), Some(expected));
    }
    states.keep_interfaces(&["eth0"]);
    assert!(states.interfaces.is_empty());
}
