//! What a gateway in the middle of its work answers, every field filled.

use std::time::Duration;

use crossway::control::message::{
    Attachment, DropCount, DropSite, DropsReply, End, EndReason, EventKind, EvictedFlows,
    ExplainRequest, Explained, ExplainedStep, FastPath, FinishedFlow, FinishedRecord, Flow,
    FlowsReply, FlowsRequest, Health, HealthTarget, Link, LinkState, LinksReply, LogFilter,
    LogLevel, LogLine, Messages, Offload, Outcome, OverlapsReply, Posture, Reload, ReplicaFlows,
    Route, RouteAnswer, RouteKind, RoutesReply, Site, SiteState, SitesReply, StackCount, Status,
    ThreadPosture, Traffic, Tun, Version, VirtualRouter, Warning, WatchedBy,
};
use crossway::control::{Request, Response, overlaps};
use crossway::engine::Engine;
use crossway::export::recent::Recent;
use crossway::journal::{Change, Journal};
use crossway::logging::Ring;

/// The answer to `request`.
pub(crate) fn answer(request: &Request) -> Response {
    match request {
        Request::Status => Response::Status(Box::new(status())),
        Request::Sites => Response::Sites(SitesReply { sites: sites() }),
        Request::Links => Response::Links(LinksReply {
            links: links().into_iter().chain([replica_link()]).collect(),
        }),
        Request::Routes => Response::Routes(RoutesReply { routes: routes() }),
        Request::RouteGet { address } => Response::Route(RouteAnswer {
            address: *address,
            vnet: "default".to_owned(),
            prefix: Some("10.2.0.0/24".to_owned()),
            kind: Some(RouteKind::Site),
            site: Some("paris".to_owned()),
            link: Some("paris-1".to_owned()),
            kernel: "dev cw-berlin-1 src 10.1.0.1".to_owned(),
            why: "10.2.0.0/24 is the longest prefix that holds it, site paris is Active".to_owned(),
        }),
        Request::RoutesOverlaps => Response::Overlaps(OverlapsReply {
            overlaps: overlaps(
                "default",
                &[
                    ("10.2.0.0/16".parse().unwrap(), "paris"),
                    ("10.2.9.0/24".parse().unwrap(), "rome"),
                ],
            ),
        }),
        Request::Flows(request) => Response::Flows(flows(request)),
        Request::FinishedFlows(wanted) => Response::FinishedFlows(finished().last(wanted.last)),
        Request::Drops => Response::Drops(drops()),
        Request::Explain(request) => explained(request),
        Request::OrderLinks { target, .. } if target == "paris/paris-1" => {
            let links = links().into_iter().take(1).collect();
            Response::Links(LinksReply { links })
        }
        Request::OrderLinks { target, .. } => {
            Response::usage(format!("{target:?} is no link of this gateway"))
        }
        Request::Events(wanted) => {
            let mut journal = Journal::default();
            fill(&mut journal);
            Response::Events(journal.last(wanted.last))
        }
        Request::Log(wanted) => Response::Log(log().last(wanted)),
        Request::LogFilter { filter } => Response::LogFilter(LogFilter {
            filter: filter.clone().unwrap_or_else(|| "info".to_owned()),
        }),
        Request::Reload => Response::Reload(Reload {
            outcome: Outcome::Applied,
            changes: vec!["site rome: route 10.4.0.0/24 added".to_owned()],
            warnings: Vec::new(),
            errors: Vec::new(),
        }),
        Request::Version => Response::Version(Version {
            gateway: "berlin-1".to_owned(),
            version: "0.1.0".to_owned(),
            abi_version: 1,
        }),
    }
}

/// A log of two lines.
fn log() -> Ring {
    let mut ring = Ring::default();
    for (level, message, fields) in [
        (LogLevel::Warn, "lan0 is away", ("interface", "lan0")),
        (LogLevel::Info, "event", ("subject", "paris/paris-1")),
    ] {
        let (name, value) = fields;
        ring.push(LogLine {
            sequence: 0,
            unix_milliseconds: 1_800_000_000_123,
            level,
            target: "crossway::gateway".to_owned(),
            message: message.to_owned(),
            fields: [(name.to_owned(), value.to_owned())].into(),
        });
    }
    ring
}

/// Puts two events into a journal.
pub(crate) fn fill(journal: &mut Journal) {
    for (kind, subject, cause) in [
        (
            EventKind::Link,
            "rome/rome-1",
            "no answer from 192.0.2.9:51820",
        ),
        (
            EventKind::Site,
            "rome",
            "rome-1: no answer from 192.0.2.9:51820",
        ),
    ] {
        let change = Change {
            kind,
            subject: subject.to_owned(),
            from: (kind == EventKind::Link).then(|| "Connecting".to_owned()),
            to: "Down".to_owned(),
            cause: cause.to_owned(),
        };
        journal.record(Duration::from_millis(1_800_000_000_123), change);
    }
}

fn explained(request: &ExplainRequest) -> Response {
    if request.from.as_deref() == Some("eth9") {
        return Response::usage(
            "there is no interface eth9: say lan, tunnel, host, or an interface such as eth1",
        );
    }
    let step = |at: &str, what: &str| ExplainedStep {
        at: at.to_owned(),
        what: what.to_owned(),
    };
    let declined = request.options;
    let mut steps = vec![
        step(
            "eth1 lan_ingress",
            "redirected into the tunnel; its flow is in the table",
        ),
        step("route", "10.2.0.0/24 to site paris"),
        step(
            "lane 2",
            "link paris/paris-1, Up, to endpoint 192.0.2.7:51822",
        ),
        step("MTU", "1000 bytes of the 1420 that fit"),
    ];
    if declined {
        steps = vec![
            step(
                "eth1 lan_ingress",
                "left to the kernel (ip-options): it has IPv4 options",
            ),
            step(
                "kernel",
                "it ends here, time-exceeded is sent: its TTL of 1 ends here",
            ),
        ];
    }
    let text = |text: &str| (!declined).then(|| text.to_owned());
    Response::Explain(Box::new(Explained {
        packet: format!(
            "protocol {} {}:{} to {}:{}, {:?} bytes, TTL {}, DF {}, fragment {:?}, segments {:?}",
            request.protocol,
            request.source,
            request.source_port,
            request.destination,
            request.destination_port,
            request.size,
            request.ttl,
            request.dont_fragment,
            request.fragment,
            request.segment_size,
        ),
        from: request.from.clone().unwrap_or_else(|| "lan".to_owned()),
        input: Some("eth1".to_owned()),
        fast_path: if declined {
            FastPath::Declines
        } else {
            FastPath::Carries
        },
        reason: declined.then(|| "ip-options".to_owned()),
        end: if declined { End::Answered } else { End::ToSite },
        answer: declined.then(|| "time-exceeded".to_owned()),
        prefix: text("10.2.0.0/24"),
        site: text("paris"),
        link: text("paris-1"),
        link_state: text("Up"),
        lane: (!declined).then_some(2),
        endpoint: text("192.0.2.7:51822"),
        output: text("cw-berlin-1"),
        next_hop: None,
        neighbour: None,
        mtu_bytes: (!declined).then_some(1420),
        fragmented: false,
        source_network: text("10.1.0.0/24"),
        chains: if declined {
            vec!["ip filter FORWARD".to_owned()]
        } else {
            Vec::new()
        },
        steps,
    }))
}

fn status() -> Status {
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

fn sites() -> Vec<Site> {
    vec![
        Site {
            name: "paris".to_owned(),
            vnet: "default".to_owned(),
            state: SiteState::Active,
            since_seconds: 8_000,
            why: "link paris-1 is up".to_owned(),
            on_down: "unreachable".to_owned(),
            routes: vec!["10.2.0.0/24".to_owned(), "2001:db8:2::/48".to_owned()],
            traffic: traffic(),
            links: links().into_iter().take(1).collect(),
        },
        Site {
            name: "rome".to_owned(),
            vnet: "default".to_owned(),
            state: SiteState::Down,
            since_seconds: 12,
            why: "rome-1 has no endpoint yet: it must dial".to_owned(),
            on_down: "next-shorter".to_owned(),
            routes: vec!["10.3.0.0/24".to_owned()],
            traffic: Traffic::default(),
            links: links().into_iter().skip(1).collect(),
        },
    ]
}

fn links() -> Vec<Link> {
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
            bfd_state: None,
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
            bfd_state: None,
        },
    ]
}

/// To another gateway on the same LAN.
fn replica_link() -> Link {
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
        ..paris.clone()
    }
}

fn routes() -> Vec<Route> {
    let route = |prefix: &str, kind, site: Option<&str>, route_id| Route {
        prefix: prefix.to_owned(),
        vnet: "default".to_owned(),
        kind,
        site: site.map(str::to_owned),
        route_id,
    };
    vec![
        route("10.2.0.0/24", RouteKind::Site, Some("paris"), 1),
        route("10.2.0.128/25", RouteKind::Kernel, None, 0),
    ]
}

/// Three flows, filtered, sorted and cut as a gateway does it.
fn flows(request: &FlowsRequest) -> FlowsReply {
    let all = [
        flow(
            6,
            ("10.1.0.2", 40_000),
            ("10.2.0.9", 443),
            "paris",
            1_400_000_000,
        ),
        flow(
            58,
            ("2001:db8:1::2", 7),
            ("2001:db8:2::9", 7),
            "paris",
            6_400,
        ),
        flow(47, ("10.1.0.2", 0), ("10.3.0.9", 0), "rome", 999),
    ];
    let wanted = |flow: &Flow| request.filter.matches(&flow.view());
    let mut flows: Vec<Flow> = all.into_iter().filter(wanted).collect();
    let matched = flows.len() as u64;
    request.sort.keep_top(&mut flows, request.top);
    FlowsReply {
        flows,
        matched,
        present: 3,
        capacity: 262_144,
        evicted: 2,
        evicted_packets: 10,
        evicted_bytes: 14_000,
        removed_idle: 5,
        filter: request.filter.clone(),
        next: None,
    }
}

/// Two flows that are over, and what the kernel evicted.
fn finished() -> Recent {
    let record = |end, protocol: u8, packets| {
        FinishedRecord::Flow(Box::new(FinishedFlow {
            end,
            protocol: crossway::control::protocol::name(protocol),
            protocol_number: protocol,
            local: "10.1.0.2".parse().unwrap(),
            local_port: 40_000,
            remote: "10.2.0.9".parse().unwrap(),
            remote_port: 443,
            site: "paris".to_owned(),
            links: vec!["paris-1".to_owned()],
            vnet: "default".to_owned(),
            to_site_packets: packets,
            to_site_bytes: 1_400 * packets,
            from_site_packets: 1,
            from_site_bytes: 60,
            first_seen_unix_milliseconds: 1_800_000_000_000,
            last_seen_unix_milliseconds: 1_800_000_075_250,
            tcp_flags: if protocol == 6 {
                "SAF/SAF".to_owned()
            } else {
                String::new()
            },
        }))
    };
    let mut recent = Recent::default();
    recent.extend(&[
        record(EndReason::Closed, 6, 1_000),
        record(EndReason::Pressure, 17, 2),
        FinishedRecord::Evicted(EvictedFlows {
            unix_milliseconds: 1_800_000_080_000,
            flows: 3,
            packets: 40,
            bytes: 56_000,
        }),
    ]);
    recent
}

fn flow(protocol: u8, local: (&str, u16), remote: (&str, u16), site: &str, bytes: u64) -> Flow {
    let tcp = protocol == 6;
    Flow {
        protocol: crossway::control::protocol::name(protocol),
        protocol_number: protocol,
        local: local.0.parse().unwrap(),
        local_port: local.1,
        remote: remote.0.parse().unwrap(),
        remote_port: remote.1,
        site: site.to_owned(),
        vnet: "default".to_owned(),
        to_site_packets: bytes / 1_400 + 1,
        to_site_bytes: bytes,
        from_site_packets: 3,
        from_site_bytes: 252,
        to_site_bytes_per_second: if tcp { 12_500_000 } else { 0 },
        from_site_bytes_per_second: 0,
        age_seconds: 75,
        idle_seconds: 0,
        tcp_flags: if tcp {
            "SAP/SA".to_owned()
        } else {
            String::new()
        },
        seen_here: true,
    }
}

fn drops() -> DropsReply {
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
