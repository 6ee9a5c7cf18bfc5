//! Its state: sites, links, routes, programs, drops.

use crossway::control::message::{
    Attachment, DropCount, DropSite, DropsReply, Health, HealthTarget, Link, LinkState, Messages,
    Offload, PathMtu, PathMtuState, PolicyState, Posture, ReplicaFlows, Route, RouteKind, Site,
    SiteState, StackCount, Status, ThreadPosture, Traffic, Tun, VirtualRouter, Warning, WatchedBy,
};
use crossway::engine::Engine;

pub(super) fn status() -> Status {
    Status {
        gateway: "berlin-1".to_owned(),
        version: "0.1.0".to_owned(),
        abi_version: 1,
        pid: 4242,
        started_unix_seconds: 1_800_000_000,
        uptime_seconds: 8_040,
        config_file: "/etc/crossway/berlin-1.toml".to_owned(),
        public_key: "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=".to_owned(),
        lanes: 1,
        engine: Engine::Crossway,
        listen: "0.0.0.0:51820".to_owned(),
        tun: Tun {
            name: "cw-berlin-1".to_owned(),
            mtu_bytes: 1420,
            why: "1500 of eth0 less 80".to_owned(),
        },
        fast_path: true,
        policy: PolicyState {
            closed: true,
            rules: 3,
            shadow_rules: 1,
            by_programs: true,
        },
        pins: "/sys/fs/bpf/crossway/berlin-1".to_owned(),
        attachments: vec![
            attachment("eth1", "lan_ingress", "tcx", "kernel 6.6 or newer"),
            attachment(
                "eth0",
                "wan_guard",
                "off",
                "auto: XDP on veth costs its peer GSO",
            ),
        ],
        offloads: vec![
            offload("tun-tso4", true, "probed at start", 8_040),
            offload("udp-gso", false, "eth0 answered EIO: resent without", 61),
        ],
        host_changes: vec!["net.ipv4.ip_forward: 0 to 1".to_owned()],
        warnings: vec!["chmod 600 /etc/crossway/berlin-1.key".to_owned()],
        warned: vec![Warning {
            source: "config".to_owned(),
            text: "chmod 600 /etc/crossway/berlin-1.key".to_owned(),
        }],
        health: Health {
            lan_alive: true,
            since_seconds: 8_039,
            why: "1 of 2 health targets down".to_owned(),
            targets: vec![
                target("10.1.0.10", "icmp", "up", "it answers"),
                target("10.1.0.11:443", "tcp", "down", "no answer within 500 ms"),
            ],
        },
        sites: sites(),
        replicas: vec![replica_link()],
        totals: traffic(),
        virtual_routers: vec![virtual_router()],
        memory_rss_bytes: 19_000_000,
        posture: posture(),
    }
}

fn posture() -> Posture {
    let thread = |name: &str, held: &[&str]| ThreadPosture {
        name: name.to_owned(),
        capabilities: held.iter().map(ToString::to_string).collect(),
    };
    let held = ["CAP_BPF", "CAP_NET_ADMIN", "CAP_NET_RAW"];
    Posture {
        capabilities: held.map(str::to_owned).to_vec(),
        no_new_privileges: true,
        seccomp: true,
        dumpable: false,
        threads: vec![thread("crossway", &held), thread("lane-0", &[])],
    }
}

fn target(target: &str, kind: &str, state: &str, why: &str) -> HealthTarget {
    HealthTarget {
        target: target.to_owned(),
        kind: kind.to_owned(),
        interface: "eth1".to_owned(),
        state: state.to_owned(),
        since_seconds: 75,
        why: why.to_owned(),
    }
}

fn attachment(interface: &str, hook: &str, mode: &str, reason: &str) -> Attachment {
    Attachment {
        interface: interface.to_owned(),
        hook: hook.to_owned(),
        mode: mode.to_owned(),
        reason: reason.to_owned(),
    }
}

fn offload(name: &str, on: bool, why: &str, since_seconds: u64) -> Offload {
    Offload {
        name: name.to_owned(),
        on,
        why: why.to_owned(),
        since_seconds,
    }
}

fn traffic() -> Traffic {
    Traffic {
        to_site_packets: 1_000_000,
        to_site_bytes: 1_400_000_000,
        from_site_packets: 500_000,
        from_site_bytes: 26_000_000,
        to_site_bytes_per_second: 12_500_000,
        from_site_bytes_per_second: 0,
    }
}

pub(super) fn sites() -> Vec<Site> {
    vec![
        Site {
            name: "paris".to_owned(),
            id: 0,
            vnet: "default".to_owned(),
            state: SiteState::Active,
            since_seconds: 8_000,
            why: "link paris-1 is up".to_owned(),
            on_down: "unreachable".to_owned(),
            routes: vec!["10.2.0.0/24".to_owned(), "2001:db8:2::/48".to_owned()],
            maps: Vec::new(),
            traffic: traffic(),
            links: links().into_iter().take(1).collect(),
        },
        Site {
            name: "rome".to_owned(),
            id: 1,
            vnet: "default".to_owned(),
            state: SiteState::Down,
            since_seconds: 12,
            why: "rome-1 has no endpoint yet: it must dial".to_owned(),
            on_down: "next-shorter".to_owned(),
            routes: vec!["10.3.0.0/24".to_owned()],
            maps: Vec::new(),
            traffic: Traffic::default(),
            links: links().into_iter().skip(1).collect(),
        },
    ]
}

pub(super) fn links() -> Vec<Link> {
    vec![
        Link {
            site: "paris".to_owned(),
            gateway: "paris-1".to_owned(),
            engine: Engine::Crossway,
            id: 0,
            lane: 0,
            endpoint: Some("203.0.113.7:51820".to_owned()),
            local_address: Some("198.51.100.2".parse().unwrap()),
            public_key: "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=".to_owned(),
            last_handshake_seconds: Some(100),
            state: LinkState::Up,
            why: "session since 100 s".to_owned(),
            rx_packets: 500_010,
            rx_bytes: 42_000_000,
            tx_packets: 1_000_010,
            tx_bytes: 1_432_000_000,
            keepalive_seconds: Some(25),
            priority: 100,
            link: Some("isp-a".to_owned()),
            wan: Some("eth0".to_owned()),
            since_seconds: 98,
            carries_flows: true,
            watched_by: WatchedBy::Bfd,
            probe: Some("10.2.0.10".parse().unwrap()),
            detection_milliseconds: Some(300),
            receiver_index: Some(256),
            replica: None,
            handshakes: 3,
            messages: Messages {
                received: 1_000,
                missing: 2,
                reordered: 1,
                duplicate: 0,
                outdated: 0,
            },
            round_trip_microseconds: Some(1_940),
            bfd_state: None,
            path_mtu: Some(PathMtu {
                mtu_bytes: 1340,
                state: PathMtuState::Found,
                far_mtu_bytes: Some(1420),
                black_holes: 2,
                probes: 37,
            }),
        },
        Link {
            site: "rome".to_owned(),
            gateway: "rome-1".to_owned(),
            engine: Engine::Boringtun,
            id: 1,
            lane: 0,
            endpoint: None,
            local_address: None,
            public_key: "dw9XL3P5LVBwUdFzAoSVNGJhYnQhpZXsQBhPhaRgtFs=".to_owned(),
            last_handshake_seconds: None,
            state: LinkState::Down,
            why: "no endpoint yet: it must dial".to_owned(),
            rx_packets: 0,
            rx_bytes: 0,
            tx_packets: 0,
            tx_bytes: 0,
            keepalive_seconds: None,
            priority: 100,
            link: None,
            wan: None,
            since_seconds: 8_040,
            carries_flows: false,
            watched_by: WatchedBy::WireGuard,
            probe: None,
            detection_milliseconds: None,
            receiver_index: None,
            replica: None,
            handshakes: 3,
            messages: Messages {
                received: 1_000,
                missing: 2,
                reordered: 1,
                duplicate: 0,
                outdated: 0,
            },
            round_trip_microseconds: None,
            bfd_state: None,
            path_mtu: Some(PathMtu {
                mtu_bytes: 1420,
                state: PathMtuState::Unanswered,
                far_mtu_bytes: None,
                black_holes: 0,
                probes: 0,
            }),
        },
    ]
}

/// To another gateway on the same LAN.
pub(super) fn replica_link() -> Link {
    let [paris, _] = &links()[..] else {
        unreachable!("there are two");
    };
    Link {
        site: String::new(),
        gateway: "berlin-2".to_owned(),
        id: 2,
        endpoint: Some("10.1.0.3:51820".to_owned()),
        local_address: Some("10.1.0.2".parse().unwrap()),
        public_key: "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=".to_owned(),
        why: "BFD is up".to_owned(),
        link: None,
        wan: None,
        carries_flows: false,
        probe: None,
        receiver_index: Some(512),
        replica: Some(ReplicaFlows {
            flows_sent: 1_200,
            flows_received: 34,
            flows_entered: 30,
            flows_updated: 4,
        }),
        path_mtu: None,
        ..paris.clone()
    }
}

pub(super) fn routes() -> Vec<Route> {
    let route = |prefix: &str, kind, site: Option<&str>, route_id| Route {
        prefix: prefix.to_owned(),
        vnet: "default".to_owned(),
        kind,
        site: site.map(str::to_owned),
        route_id,
        real: None,
    };
    vec![
        route("10.2.0.0/24", RouteKind::Site, Some("paris"), 1),
        route("10.2.0.128/25", RouteKind::Kernel, None, 0),
    ]
}

pub(super) fn drops() -> DropsReply {
    DropsReply {
        drops: vec![
            DropCount {
                reason: "wan-unknown-receiver".to_owned(),
                dropped_by: DropSite::WanGuard,
                packets: 1_234,
                bytes: 182_632,
            },
            DropCount {
                reason: "no-route".to_owned(),
                dropped_by: DropSite::Agent,
                packets: 0,
                bytes: 0,
            },
        ],
        to_stack: vec![StackCount {
            reason: "ttl-expiring".to_owned(),
            packets: 3,
            bytes: 180,
        }],
    }
}

fn virtual_router() -> VirtualRouter {
    VirtualRouter {
        interface: "eth1".to_owned(),
        id: 51,
        family: "ipv4".to_owned(),
        addresses: vec!["10.1.0.254".parse().unwrap()],
        virtual_mac: "00:00:5e:00:01:33".to_owned(),
        state: "backup".to_owned(),
        since_seconds: 60,
        why: "master 10.1.0.2 with priority 120 takes precedence".to_owned(),
        priority: 75,
        configured_priority: 150,
        advertisement_interval_ms: 200,
        master_address: Some("10.1.0.2".parse().unwrap()),
        master_priority: Some(120),
        warnings: Vec::new(),
    }
}
