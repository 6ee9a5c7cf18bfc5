//! The control socket: requests of local users, answers to the command line, and what a filter lets through.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::feed::{Feed, Script};
use crossway::control::filter::{
    FlowDirection, FlowEnds, FlowFilter, FlowSort, FlowView, PolicyOfFlow,
};
use crossway::control::message::{
    EventKind, EventsRequest, Flow, FlowPolicy, FlowVerdict, FlowsReply, FlowsRequest, RealEnds,
};
use crossway::control::{Request, Response, client, server};
use crossway::ids::SiteId;
use crossway::journal::{CAPACITY, Change, Journal};

pub(super) fn run(data: &[u8]) {
    let mut feed = Feed::new(data);
    match feed.u8() {
        0 => keep_top(&mut feed),
        1 => follow(&mut feed),
        2 => answer(feed.rest()),
        // A line of JSON as it is.
        _ => ask(data),
    }
}

fn again<T: Serialize + DeserializeOwned>(told: &T) -> T {
    let line = serde_json::to_vec(told).expect("what was read can be written");
    assert!(!line.contains(&b'\n'), "one message is one line");
    serde_json::from_slice(&line).expect("and read again")
}

fn ask(line: &[u8]) {
    match server::request_in(line) {
        Ok(request) => {
            assert_eq!(again(&request), request);
            match request {
                Request::Flows(FlowsRequest { filter, .. }) => filtered(&filter),
                Request::Events(EventsRequest { last, .. }) => {
                    let journal = journal(3);
                    let wanted = last.unwrap_or(usize::MAX).min(3);
                    assert_eq!(journal.last(last).events.len(), wanted);
                }
                Request::Explain(wanted) => {
                    let sample = wanted.sample();
                    if let Ok(packet) = sample.packet() {
                        let size = sample.size.unwrap_or(packet.len());
                        assert_eq!(packet.len(), size, "as long as asked for");
                    }
                }
                _ => {}
            }
        }
        Err(refusal) => {
            let refusal = Response::error(refusal);
            assert_eq!(again(&refusal), refusal);
        }
    }
}

fn answer(line: &[u8]) {
    let Ok(line) = std::str::from_utf8(line) else {
        return;
    };
    if let Ok(response) = client::response_in(line) {
        assert_eq!(again(&response), response);
    }
}

/// Either end has what the filter asks for, by the definition.
fn filtered(filter: &FlowFilter) {
    let addresses = [
        "10.1.0.2",
        "10.2.0.9",
        "2001:db8::1",
        "::",
        "255.255.255.255",
    ];
    let addresses = addresses.map(|text| text.parse().expect("an address"));
    for local in addresses {
        for remote in addresses {
            let ends = FlowEnds {
                protocol: 6,
                local,
                local_port: 40_000,
                remote,
                remote_port: 443,
            };
            for (to_site_packets, from_site_packets) in [(1, 0), (0, 1), (1, 1)] {
                let flow = FlowView {
                    ends,
                    site: "paris",
                    to_site_packets,
                    from_site_packets,
                    age_seconds: 60,
                    policy: PolicyOfFlow {
                        rule: Some("web"),
                        ..PolicyOfFlow::default()
                    },
                };
                assert_eq!(filter.matches(&flow), is_wanted(filter, &flow));
            }
        }
    }
    // The words of the command line ask for the same again.
    let words = filter.to_string();
    assert_eq!(words.is_empty(), *filter == FlowFilter::default());
}

fn is_wanted(filter: &FlowFilter, flow: &FlowView<'_>) -> bool {
    let ends = &flow.ends;
    let holds = |prefix: Option<_>, it| prefix.is_none_or(|it2| super::texts::holds(&it2, it));
    let ways = [
        (flow.to_site_packets, ends.local, ends.remote),
        (flow.from_site_packets, ends.remote, ends.local),
    ];
    let mut gone = ways.iter().filter(|(packets, ..)| *packets > 0);
    let direction = match (flow.to_site_packets > 0, flow.from_site_packets > 0) {
        (true, true) => vec![FlowDirection::Both],
        (true, false) => vec![FlowDirection::ToSite, FlowDirection::OneWay],
        _ => vec![FlowDirection::FromSite, FlowDirection::OneWay],
    };
    filter.protocol.is_none_or(|it| it == 6)
        && filter.port.is_none_or(|it| [40_000, 443].contains(&it))
        && filter.site.as_ref().is_none_or(|it| it == "paris")
        && (holds(filter.address, ends.local) || holds(filter.address, ends.remote))
        && gone.any(|(_, from, to)| holds(filter.source, *from) && holds(filter.destination, *to))
        && filter.direction.is_none_or(|it| direction.contains(&it))
        && filter.min_age_seconds.is_none_or(|it| it <= 60)
        && filter.max_age_seconds.is_none_or(|it| it >= 60)
        && filter.verdict.is_none_or(|it| it == FlowVerdict::Allowed)
        && filter.rule.as_ref().is_none_or(|it| it == "web")
        && filter.shadow_verdict.is_none()
}

fn keep_top(feed: &mut Feed<'_>) {
    let sort = feed.of(&[
        FlowSort::Bytes,
        FlowSort::Packets,
        FlowSort::Rate,
        FlowSort::Age,
        FlowSort::Idle,
    ]);
    let top = feed.bool().then(|| usize::from(feed.u8()));
    let mut flows = Vec::new();
    while !feed.is_empty() && flows.len() < 256 {
        flows.push(flow(feed));
    }
    let weight = |flow: &Flow| match sort {
        FlowSort::Bytes => flow.to_site_bytes.saturating_add(flow.from_site_bytes),
        FlowSort::Rate => flow
            .to_site_bytes_per_second
            .saturating_add(flow.from_site_bytes_per_second),
        FlowSort::Packets => flow.to_site_packets.saturating_add(flow.from_site_packets),
        FlowSort::Age => flow.age_seconds,
        FlowSort::Idle => flow.idle_seconds,
        FlowSort::Table => 0,
    };
    let mut expected: Vec<u64> = flows.iter().map(weight).collect();
    expected.sort_unstable_by(|a, b| b.cmp(a));
    expected.truncate(top.unwrap_or(usize::MAX));
    let mut kept = flows;
    sort.keep_top(&mut kept, top);
    assert_eq!(kept.iter().map(weight).collect::<Vec<_>>(), expected);
    let reply = Response::Flows(FlowsReply {
        flows: kept,
        ..FlowsReply::default()
    });
    assert_eq!(again(&reply), reply);
}

fn flow(feed: &mut Feed<'_>) -> Flow {
    let number = |feed: &mut Feed<'_>| feed.u64() >> (feed.u8() & 63);
    Flow {
        protocol: "tcp".to_owned(),
        protocol_number: 6,
        local: [10, 1, 0, 2].into(),
        local_port: 1,
        remote: [10, 2, 0, 9].into(),
        remote_port: 2,
        site: SiteId(feed.u8().into()).to_string(),
        vnet: "default".to_owned(),
        to_site_packets: 0,
        to_site_bytes: number(feed),
        from_site_packets: 0,
        from_site_bytes: number(feed),
        to_site_bytes_per_second: number(feed),
        from_site_bytes_per_second: number(feed),
        age_seconds: number(feed),
        idle_seconds: 0,
        tcp_flags: String::new(),
        seen_here: true,
        policy: FlowPolicy::default(),
        real: RealEnds::default(),
    }
}

fn journal(events: u64) -> Journal {
    let mut journal = Journal::default();
    for number in 0..events {
        let change = Change {
            kind: EventKind::Link,
            subject: "paris/paris-1".to_owned(),
            from: None,
            to: number.to_string(),
            cause: String::new(),
        };
        journal.record(Duration::from_secs(number), change);
    }
    journal
}

/// A reader who asks for any number gets what is kept from there on, and is told what is not.
fn follow(feed: &mut Feed<'_>) {
    let recorded = u64::from(feed.u16() % 1200);
    let journal = journal(recorded);
    let next = feed.u64() >> (feed.u8() & 63);
    let reply = journal.since(next);
    let oldest = recorded.saturating_sub(CAPACITY as u64) + 1;
    let expected: Vec<u64> = (oldest.max(next)..=recorded).collect();
    let told: Vec<u64> = reply.events.iter().map(|event| event.sequence).collect();
    assert_eq!(told, expected);
    // The first is number 1.
    assert_eq!(reply.missed, oldest.saturating_sub(next.max(1)));
    assert_eq!(reply.next_sequence, recorded + 1);
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let requests = [
        r#"{"command":"status"}"#,
        r#"{"command":"route-get","address":"2001:db8::1"}"#,
        r#"{"command":"flows","filter":{"address":"10.2.0.0/16","port":443,"protocol":6,"site":"paris"},"sort":"rate","top":10}"#,
        r#"{"command":"flows"}"#,
        r#"{"command":"order-links","target":"paris/paris-1/isp-a","order":"drain"}"#,
        r#"{"command":"events","last":10,"follow":true}"#,
        r#"{"command":"reload"}"#,
    ];
    let answers = [
        r#"{"reply":"error","message":"the gateway is stopping"}"#,
        r#"{"reply":"overlaps","overlaps":[]}"#,
        r#"{"reply":"events","events":[{"sequence":4,"unix_milliseconds":1,"kind":"link","subject":"a","from":null,"to":"up","cause":"b"}],"missed":0,"next_sequence":5}"#,
        r#"{"reply":"version","version":"0.1.0"}"#,
    ];
    let mut seeds: Vec<Vec<u8>> = requests.map(Vec::from).into();
    let answer = |text: &str| Script::default().u8(2).bytes(text.as_bytes()).end();
    seeds.extend(answers.map(answer));
    let flow = |script: Script, number| {
        let script = script.u8(1);
        [number, 1, 2, 3, 4]
            .into_iter()
            .fold(script, |script, number| script.u64(number).u8(0))
    };
    seeds.push(
        flow(
            flow(flow(Script::default().u8(0).u8(0).u8(1).u8(2), 5), 9),
            7,
        )
        .end(),
    );
    seeds.push(Script::default().u8(1).u16(1199).u64(50).u8(0).end());
    seeds.push(Script::default().u8(1).u16(9).u64(u64::MAX).u8(0).end());
    seeds
}
