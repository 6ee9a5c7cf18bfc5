//! Conversations in one direction only, and how full the flow table is.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{MOST, finding};
use crate::control::message::{Finding, Flow, Severity};
use crate::doctor::facts::{Facts, Running};
use crate::host::neighbours::Neighbour;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const ICMPV6: u8 = 58;
/// Packets without an answer after which there will be none: two repetitions of a TCP SYN.
const ENOUGH: u64 = 3;
/// An answer takes less.
const OLD_SECONDS: u64 = 3;
/// What was given up longer ago says nothing of now.
const RECENT_SECONDS: u64 = 60;

/// One end that sends nothing.
#[derive(Debug, Default)]
struct Silence {
    asked: u64,
    site: String,
    asker: Option<IpAddr>,
    answers: bool,
}

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let Some(running) = &facts.running else {
        return Vec::new();
    };
    if may_return_elsewhere(running) {
        return Vec::new();
    }
    let flows = &running.flows.flows;
    let near = silent(flows, |flow| {
        let ends = (flow.local, flow.remote);
        (ends, flow.from_site_packets, flow.to_site_packets)
    });
    let far = silent(flows, |flow| {
        let ends = (flow.remote, flow.local);
        (ends, flow.to_site_packets, flow.from_site_packets)
    });
    let near = near.iter().take(MOST);
    let near = near.map(|(host, silence)| near_end(facts, *host, silence));
    let far = far.iter().take(MOST);
    near.chain(far.map(|(host, silence)| far_end(*host, silence)))
        .collect()
}

/// Whether another gateway of this LAN may carry the other direction.
fn may_return_elsewhere(running: &Running) -> bool {
    let status = &running.status;
    !status.replicas.is_empty() || !status.virtual_routers.is_empty()
}

/// Those ends that were asked and never answered anything. `of` gives of a flow (the end and who asks it), the packets
/// that it got, and those that it sent.
fn silent(
    flows: &[Flow],
    of: impl Fn(&Flow) -> ((IpAddr, IpAddr), u64, u64),
) -> Vec<(IpAddr, Silence)> {
    let mut ends: BTreeMap<IpAddr, Silence> = BTreeMap::new();
    for flow in flows {
        let ((end, asker), got, sent) = of(flow);
        let silence = ends.entry(end).or_default();
        silence.answers |= sent > 0;
        if awaits_an_answer(flow) && sent == 0 && got >= ENOUGH {
            silence.asked += got;
            silence.site.clone_from(&flow.site);
            silence.asker = Some(asker);
        }
    }
    let silent = ends.into_iter();
    silent
        .filter(|(_, silence)| silence.asked > 0 && !silence.answers)
        .collect()
}

/// Whether a flow in one direction has something wrong. Many a conversation of UDP goes one way.
fn awaits_an_answer(flow: &Flow) -> bool {
    let echo = matches!(flow.protocol_number, ICMP | ICMPV6) && flow.local_port != 0;
    (flow.protocol_number == TCP || echo)
        && flow.seen_here
        && flow.age_seconds >= OLD_SECONDS
        && flow.idle_seconds <= RECENT_SECONDS
}

fn near_end(facts: &Facts, host: IpAddr, silence: &Silence) -> Finding {
    let asker = silence
        .asker
        .map_or_else(String::new, |asker| format!(" from {asker}"));
    let what = format!(
        "{} packets{asker} of site {} went to {host}, and nothing came back through this gateway",
        silence.asked, silence.site
    );
    let (severity, why, mend) = match facts.host.neighbours.get(&host) {
        Some(Neighbour::Known) => (
            Severity::Problem,
            "the host is on the LAN (it answers ARP): its route back leads elsewhere, or it drops what it gets",
            format!(
                "on {host}: a route to the site's prefixes by this gateway's LAN address (`ip route get {})`",
                show(silence.asker)
            ),
        ),
        Some(Neighbour::Silent) => (
            Severity::Note,
            "no host of this address answers on the LAN (ARP or neighbour discovery)",
            format!("start {host}, or see whether its address is right"),
        ),
        None => (
            Severity::Note,
            "it is behind a router of this LAN, and does not answer or answers by another way",
            format!("`traceroute {host}` from here, and the route back to the site on that router"),
        ),
    };
    finding(
        "one-way",
        severity,
        host.to_string(),
        [what, why.to_owned(), mend],
    )
}

fn show(asker: Option<IpAddr>) -> String {
    asker.map_or_else(String::new, |asker| asker.to_string())
}

fn far_end(host: IpAddr, silence: &Silence) -> Finding {
    let what = format!(
        "{} packets from here went to {host} in site {}, and nothing came back",
        silence.asked, silence.site
    );
    let why = "the tunnel carried them: the host is off, drops them, or its route back does not lead to the far gateway"
        .to_owned();
    let mend =
        "`crossway doctor` on the far gateway: there it shows whether the host is on its LAN"
            .to_owned();
    finding(
        "one-way",
        Severity::Note,
        host.to_string(),
        [what, why, mend],
    )
}

/// How full the flow table is.
pub(super) fn table(facts: &Facts) -> Vec<Finding> {
    let Some(running) = &facts.running else {
        return Vec::new();
    };
    let flows = &running.flows;
    let is_full = flows.capacity > 0 && flows.present * 10 >= flows.capacity * 7;
    if !is_full || flows.evicted == 0 {
        return Vec::new();
    }
    let what = format!(
        "the flow table holds {} conversations of {}, and {} gave way to newer ones",
        flows.present, flows.capacity, flows.evicted
    );
    let why =
        "those are looked up anew, and are missing in `crossway flows`; none is lost".to_owned();
    let mend = format!(
        "flows = {} in [gateway], and a restart (it takes memory: see `crossway status`)",
        flows.capacity.next_power_of_two() * 2
    );
    vec![finding(
        "flow-table",
        Severity::Slow,
        "flows",
        [what, why, mend],
    )]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::message::{FlowsReply, RealEnds};
    use datapath_abi::flow::{FlowCounters, FlowKey};

    /// A TCP flow between 10.1.0.10 and 10.2.0.10 with these packets (to, from the site).
    fn flow(to_site: u64, from_site: u64) -> Flow {
        let address = |v4: [u8; 4]| {
            let v6 = std::net::Ipv4Addr::from(v4).to_ipv6_mapped();
            v6.octets()
        };
        let key = FlowKey {
            local: address([10, 1, 0, 10]),
            remote: address([10, 2, 0, 10]),
            protocol: TCP,
            family: 4,
            ..FlowKey::default()
        };
        let counters = FlowCounters {
            to_site_packets: to_site,
            from_site_packets: from_site,
            ..FlowCounters::default()
        };
        let flow = Flow::new(&key, &counters, ("b", "default"), 9_000_000_000);
        Flow {
            seen_here: true,
            real: RealEnds::default(),
            ..flow
        }
    }

    fn found(flows: Vec<Flow>, neighbour: Option<Neighbour>) -> Vec<Finding> {
        let mut facts = Facts::default();
        let host = "10.1.0.10".parse().unwrap();
        facts.host.neighbours.extend(neighbour.map(|it| (host, it)));
        facts.running = Some(Running {
            flows: FlowsReply {
                flows,
                ..FlowsReply::default()
            },
            ..Running::default()
        });
        check(&facts)
    }

    #[test]
    fn a_host_that_never_answers_is_named_by_what_is_known_of_it() {
        let found_with = |neighbour| found(vec![flow(0, 3)], neighbour);
        let known = found_with(Some(Neighbour::Known));
        assert_eq!(known[0].subject, "10.1.0.10");
        assert_eq!(known[0].severity, Severity::Problem);
        assert!(known[0].mend.contains("ip route get 10.2.0.10"));
        let silent = found_with(Some(Neighbour::Silent));
        assert_eq!(silent[0].severity, Severity::Note);
        assert!(silent[0].why.contains("ARP"));
        assert_eq!(found_with(None)[0].severity, Severity::Note);
        let far = found(vec![flow(3, 0)], None);
        assert_eq!(
            (far[0].subject.as_str(), far[0].severity),
            ("10.2.0.10", Severity::Note)
        );
    }

    #[test]
    fn who_answers_anything_or_was_hardly_asked_is_not_named() {
        let known = Some(Neighbour::Known);
        assert!(found(vec![flow(0, 2)], known).is_empty());
        assert!(found(vec![flow(1, 3)], known).is_empty());
        assert!(found(vec![flow(0, 3), flow(2, 2)], known).is_empty());
        let mut udp = flow(0, 3);
        udp.protocol_number = 17;
        let mut old = flow(0, 3);
        old.idle_seconds = 61;
        let mut young = flow(0, 3);
        young.age_seconds = 2;
        for flow in [udp, old, young] {
            assert!(found(vec![flow], known).is_empty());
        }
    }

    #[test]
    fn the_table_is_named_when_flows_give_way() {
        let with = |present, evicted| {
            let facts = Facts {
                running: Some(Running {
                    flows: FlowsReply {
                        present,
                        evicted,
                        capacity: 100,
                        ..FlowsReply::default()
                    },
                    ..Running::default()
                }),
                ..Facts::default()
            };
            table(&facts).len()
        };
        assert_eq!([with(99, 0), with(50, 9), with(70, 1)], [0, 0, 1]);
    }
}
