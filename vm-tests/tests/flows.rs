//! What is told of conversations: which, in pages of a table of a million, and what became of them.
//!
//! ```text
//!  host a ── [gateway a] ═══ WAN ═══ [gateway b] ── host b
//! ```

#[path = "flow_table/enter.rs"]
mod enter;
mod flows {
    mod finished;
    mod top;
}

use std::collections::HashSet;
use std::net::UdpSocket;
use std::time::Duration;

use enter::enter_flows;
use vm_tests::api::{Flow, FlowsReply};
use vm_tests::crossway::Crossway;
use vm_tests::netns::Netns;
use vm_tests::pair::Pair;
use vm_tests::topology::Family;
use vm_tests::{traffic, wait};

const DEADLINE: Duration = Duration::from_secs(20);

fn memory_of(gateway: &Crossway) -> u64 {
    gateway.status().unwrap().memory_rss_bytes
}

#[test]
fn a_million_flows_are_told_page_by_page_and_the_gateway_keeps_one_page() {
    const FLOWS: u32 = 1_000_000;
    let room = |plans: &mut [vm_tests::plan::GatewayPlan]| {
        plans[0].configure(|config| config.gateway.flows = 1 << 21);
    };
    let pair = Pair::start(room).unwrap();
    enter_flows(&pair.a, FLOWS);
    let before = memory_of(&pair.a);

    // Page after page in the order of the table: each flow once.
    let page = |sort: &str, top: &str, after: Option<&str>| -> FlowsReply {
        let mut words = vec!["flows", "--protocol", "udp", "--sort", sort, "--top", top];
        words.extend(after.iter().flat_map(|after| ["--after", after]));
        pair.a.ask(&words).unwrap()
    };
    let mut seen = HashSet::new();
    let mut after: Option<String> = None;
    for _ in 0..3 {
        let reply = page("table", "4000", after.as_deref());
        assert!(
            (1..=4000).contains(&reply.flows.len()),
            "{}",
            reply.flows.len()
        );
        seen.extend(reply.flows.iter().map(|flow| flow.local));
        assert_eq!(reply.matched, reply.flows.len() as u64);
        after = reply.next;
        assert!(after.is_some(), "there are more");
    }
    assert!(seen.len() > 11_000, "{}", seen.len());

    // The heaviest, and those behind.
    let first = page("bytes", "3", None);
    let second = page("packets", "2", None);
    let behind = page("bytes", "3", first.next.as_deref());
    let packets =
        |flows: &[Flow]| -> Vec<u64> { flows.iter().map(|flow| flow.to_site_packets).collect() };
    assert_eq!(packets(&first.flows), [999_999, 999_998, 999_997]);
    assert_eq!(packets(&second.flows), [999_999, 999_998]);
    assert_eq!(packets(&behind.flows), [999_996, 999_995, 999_994]);
    assert_eq!(first.matched, u64::from(FLOWS));
    assert!(first.present >= u64::from(FLOWS), "{}", first.present);
    let by_rate = page("rate", "3", None);
    assert_eq!(
        (by_rate.matched, by_rate.flows.len()),
        (u64::from(FLOWS), 3)
    );
    let grown = memory_of(&pair.a).saturating_sub(before);
    println!("answers took {} KiB", grown / 1024);
    assert!(grown < 64 << 20, "{grown} bytes");

    // Many of them: the command line asks for each page.
    let many = [
        "flows",
        "--protocol",
        "udp",
        "--source",
        "10.0.0.0/16",
        "--top",
        "0",
    ];
    let many: FlowsReply = pair.a.ask(&many).unwrap();
    // Number 0 has sent nothing.
    assert_eq!(many.flows.len(), (1 << 16) - 1);
    assert_eq!(packets(&many.flows[..2]), [65_535, 65_534]);
    let different: HashSet<_> = many.flows.iter().map(|flow| flow.local).collect();
    assert_eq!(different.len(), many.flows.len());
    let grown = memory_of(&pair.a).saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes");
}

/// A datagram from one host to the other, from a port to a port.
fn send(from: &Netns, source: &str, to: &str, count: usize) {
    let sent = from.enter(|| {
        let socket = UdpSocket::bind(source)?;
        (0..count).try_for_each(|_| socket.send_to(b"hello", to).map(drop))
    });
    sent.unwrap().unwrap();
}

#[test]
fn filters_choose_by_ends_direction_age_and_rate() {
    let pair = Pair::start(|_| ()).unwrap();
    let near = pair.site_a().host_address(Family::V4);
    let far = pair.far(Family::V4);
    let host = &pair.site_a().host;
    send(host, &format!("{near}:5000"), &format!("{far}:9"), 3);
    send(
        &pair.site_b().host,
        &format!("{far}:6000"),
        &format!("{near}:9"),
        2,
    );
    let chosen = |words: &[&str]| -> Vec<(u16, u16)> {
        let all = ["flows", "--protocol", "udp", "--port", "9"];
        let words = [&all[..], words].concat();
        let reply: FlowsReply = pair.a.ask(&words).unwrap();
        let mut ports: Vec<_> = reply
            .flows
            .iter()
            .map(|flow| (flow.local_port, flow.remote_port))
            .collect();
        ports.sort_unstable();
        ports
    };
    // Hosts answer that nobody listens, by ICMP: these two are one-way.
    let (mine, theirs) = ((5000, 9), (9, 6000));
    wait::until("both flows", DEADLINE, || {
        (chosen(&[]) == [theirs, mine]).then_some(())
    })
    .unwrap();
    let (near, far) = (near.to_string(), far.to_string());
    assert_eq!(chosen(&["--source", &near]), [mine]);
    assert_eq!(chosen(&["--source", &far]), [theirs]);
    assert_eq!(chosen(&["--destination", &far]), [mine]);
    assert_eq!(chosen(&["--address", &far]), [theirs, mine]);
    assert_eq!(chosen(&["--direction", "to-site"]), [mine]);
    assert_eq!(chosen(&["--direction", "from-site"]), [theirs]);
    assert_eq!(chosen(&["--direction", "one-way"]), [theirs, mine]);
    assert_eq!(chosen(&["--direction", "both"]), []);
    assert_eq!(chosen(&["--min-age", "1h"]), []);
    assert_eq!(chosen(&["--max-age", "1h"]), [theirs, mine]);
    assert_eq!(chosen(&["--site", "b"]), [theirs, mine]);
    let unknown = pair.a.command(&["flows", "--site", "nowhere"]).unwrap_err();
    assert!(
        unknown.to_string().contains("no site nowhere"),
        "{unknown:#}"
    );
    assert_eq!(chosen(&["--min-rate", "1"]), [], "they are at rest");

    // One that goes on is found by its rate, whatever the order.
    let ping = pair.steady_ping(Family::V4).unwrap();
    for sort in ["rate", "bytes", "age", "idle", "table"] {
        wait::until("a rate", DEADLINE, || {
            let words = ["flows", "--min-rate", "100", "--sort", sort];
            let reply: FlowsReply = pair.a.ask(&words).unwrap();
            reply
                .flows
                .iter()
                .any(|flow| flow.protocol == "icmp")
                .then_some(())
        })
        .unwrap();
    }
    drop(ping);
    let (code, said) = pair
        .a
        .failing_command(&["flows", "--after", "nonsense"])
        .unwrap();
    assert!(
        code == 2 && said.contains("write what `next` says"),
        "{code} {said}"
    );
    traffic::wait_for_ping(host, pair.far(Family::V6), DEADLINE).unwrap();
}
