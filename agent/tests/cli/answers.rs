//! What a gateway in the middle of its work answers, every field filled.

mod flows;
mod gateway;

use std::time::Duration;

use crossway::control::message::{
    End, EventKind, ExplainRequest, Explained, ExplainedStep, FastPath, LinksReply, LogFilter,
    LogLevel, LogLine, Outcome, OverlapsReply, Reload, RouteAnswer, RouteKind, RoutesReply,
    SitesReply, Version,
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
