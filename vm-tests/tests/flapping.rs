//! A far end whose link goes up and down all the time.
//!
//! ```text
//!  host a ── [gateway a: under test] ──┬── (router) ── [gateway b] ── host b    cut and mended every half second
//!                                      └───────────── [gateway c] ── host c    in peace
//! ```

use std::time::Duration;

use vm_tests::api::{Event, EventKind, LinkState};
use vm_tests::crossway::{self, Crossway};
use vm_tests::plan::{self, Shape};
use vm_tests::topology::{Builder, Family};
use vm_tests::traffic::{self, SteadyPing};
use vm_tests::wait;

const UP: Duration = Duration::from_secs(15);
/// Longer than BFD waits.
const CUT: Duration = Duration::from_millis(450);
const ROUNDS: u32 = 8;

#[test]
fn a_far_end_that_flaps_is_held_down_and_costs_nobody_else_anything() {
    let topology = Builder::new(&["a", "b", "c"]).build().unwrap();
    let plans = plan::plan(&topology, Shape::FullMesh, Family::V4).unwrap();
    let agents = crossway::start_all(&topology, &plans).unwrap();
    let a = &agents[0];
    let (host, [b, c]) = (
        &topology.sites[0].host,
        [1, 2].map(|site| topology.sites[site].host_address(Family::V4)),
    );
    for far in [b, c] {
        traffic::wait_for_ping(host, far, UP).unwrap();
    }
    a.command(&["prefer", "b"]).unwrap();
    let to_c = SteadyPing::start(host, c, topology.directory()).unwrap();
    let gateway = &topology.sites[1].gateway;
    let link = |name: &str| {
        let links = a.links().unwrap();
        links.into_iter().find(|link| link.site == name).unwrap()
    };
    let mut held = 0;
    let begin = wait::now();
    for _ in 0..ROUNDS {
        for command in [
            "nft add table inet cut",
            "nft add chain inet cut input { type filter hook input priority 0 ; }",
            "nft add rule inet cut input udp dport 51820 drop",
        ] {
            gateway.run(command).unwrap();
        }
        wait::pace(CUT);
        gateway.run("nft delete table inet cut").unwrap();
        let again = wait::until("BFD up", UP, || {
            let link = link("b");
            let is_held = link.why.contains("flapping: held down");
            (link.state == LinkState::Up || is_held).then_some(is_held)
        });
        held += u32::from(again.unwrap());
    }
    let seconds = begin.elapsed().as_secs_f64();
    let events = events(a);
    let of_b = |event: &&Event| {
        matches!(event.kind, EventKind::Link | EventKind::Site)
            && event.subject.split('/').next() == Some("b")
    };
    let ups = events.iter().filter(of_b).filter(|event| event.to == "Up");
    let ups = ups.count();
    assert!((2..=8).contains(&ups), "{ups} times up: {events:?}");
    let told = events.iter().filter(of_b).count() as f64;
    assert!(told / seconds < 20.0, "{told} in {seconds} s");
    assert!(
        events.iter().any(|event| event.kind == EventKind::Order),
        "{events:?}"
    );
    assert!(held >= 2, "{held}");
    assert_eq!(link("c").state, LinkState::Up);
    assert_eq!(to_c.finish(UP).unwrap().lost(), 0);
    // It is forgiven.
    wait::until("the link up", UP * 3, || {
        (link("b").state == LinkState::Up).then_some(())
    })
    .unwrap();
    traffic::wait_for_ping(host, b, UP).unwrap();
}

fn events(agent: &Crossway) -> Vec<Event> {
    let lines = agent.command(&["events", "--json"]).unwrap();
    let lines = lines.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}
