//! What a gateway in the middle of its work answers, every field filled.

mod flows;
mod gateway;
mod policy;
mod services;

use std::time::Duration;

use crossway::control::message::{
    DropSeries, End, EventKind, ExplainRequest, Explained, ExplainedStep, FastPath, FlowEnd,
    FlowPolicy, HistoryReply, HistoryRequest, LinksReply, LogFilter, LogLevel, LogLine, Outage,
    Outcome, OverlapsReply, Reload, RouteAnswer, RouteKind, RoutesReply, Series, SeriesKind,
    SitesReply, Version, WarningSpan,
};
use crossway::control::{Request, Response, overlaps};
use crossway::journal::{Change, Journal};
use crossway::logging::Ring;

use self::flows::{finished, flows};
use self::gateway::{drops, links, replica_link, routes, sites, status};

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
            real: None,
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
        Request::Services(request) => Response::Services(services::reply(request)),
        Request::OrderServices(order) => services::ordered(order),
        Request::Policy(request) => policy::answer(request),
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
        Request::History(wanted) => history(wanted),
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

/// Three minutes in which rome could not be reached.
fn history(wanted: &HistoryRequest) -> Response {
    const BEGIN: u64 = 1_800_000_000_000;
    if wanted.site.as_deref().is_some_and(|site| site != "rome") {
        return Response::usage("there is no site here: did you mean rome?");
    }
    let series = |kind, name: &str| Series {
        kind,
        name: name.to_owned(),
        site: "rome".to_owned(),
        states: "UUD".to_owned(),
        watched_milliseconds: vec![60_000; 3],
        out_milliseconds: vec![0, 0, 20_000],
        to_site_bytes: vec![6_000_000, 7_000_000, 10_000],
        from_site_bytes: vec![1_000_000, 2_000_000, 0],
        to_site_peak: vec![200_000, 300_000, 1_000],
        from_site_peak: vec![50_000, 60_000, 0],
        ..Series::default()
    };
    let link = Series {
        received_messages: vec![5_000, 5_100, 700],
        missing_messages: vec![0, 90, 0],
        worst_loss: vec![0, 410, 0],
        round_trip_min_microseconds: vec![1_800, 1_900, 0],
        round_trip_mean_microseconds: vec![1_850, 2_500, 0],
        round_trip_max_microseconds: vec![1_900, 9_000, 0],
        ..series(SeriesKind::Link, "rome/rome-1")
    };
    let outage = |kind, name: &str| Outage {
        kind,
        name: name.to_owned(),
        site: "rome".to_owned(),
        began_unix_milliseconds: BEGIN + 160_000,
        ended_unix_milliseconds: None,
        cause: "no answer from 192.0.2.9:51820".to_owned(),
    };
    Response::History(Box::new(HistoryReply {
        gateway: "berlin-1".to_owned(),
        version: "0.1.0".to_owned(),
        started_unix_milliseconds: BEGIN - 3_600_000,
        interval_milliseconds: 60_000,
        begins_unix_milliseconds: vec![BEGIN, BEGIN + 60_000, BEGIN + 120_000],
        until_unix_milliseconds: BEGIN + 180_000,
        // A page each.
        series: match wanted.after {
            0 => vec![series(SeriesKind::Site, "rome")],
            _ => vec![link],
        },
        next: (wanted.after == 0).then_some(1),
        drops: vec![DropSeries {
            reason: "no-route".to_owned(),
            packets: vec![0, 7, 0],
        }],
        outages: vec![
            outage(SeriesKind::Link, "rome/rome-1"),
            outage(SeriesKind::Site, "rome"),
        ],
        warnings: vec![WarningSpan {
            source: "host".to_owned(),
            text: "lan0 is away & <gone>".to_owned(),
            began_unix_milliseconds: BEGIN + 1_000,
            ended_unix_milliseconds: Some(BEGIN + 2_000),
        }],
        memory_bytes: 500_000,
        memory_limit_bytes: 8 << 20,
        ..HistoryReply::default()
    }))
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
        step("policy", "allowed by rule erp"),
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
        policy: (!declined).then(|| FlowPolicy {
            rule: Some("erp".to_owned()),
            opened_by: Some(FlowEnd::Local),
            ..FlowPolicy::default()
        }),
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
        mapped_source: None,
        mapped_destination: None,
        chains: if declined {
            vec!["ip filter FORWARD".to_owned()]
        } else {
            Vec::new()
        },
        steps,
    }))
}
