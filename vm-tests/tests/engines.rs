//! boringtun as the engine of a gateway's sessions, where that shows: in replies, at a reload, at a hand-over.
//!
//! ```text
//!  host a ── [gateway a: under test] ───────────── [gateway b: crossway] ── host b
//! ```

use std::time::Duration;

use vm_tests::engine::Engine;
use vm_tests::pair::Pair;
use vm_tests::topology::Family;

const UP: Duration = Duration::from_secs(10);
/// Between two agents a handshake takes a moment; a lost one is repeated after five seconds.
const GAP: Duration = Duration::from_secs(2);

fn pair(engine: Engine) -> Pair {
    Pair::start(|plans| plans[0].set_engine(engine)).unwrap()
}

fn engine_of_link(pair: &Pair) -> Engine {
    pair.a.links().unwrap()[0].engine
}

#[test]
fn status_says_which_engine_runs_and_what_it_cannot_do() {
    let pair = pair(Engine::Boringtun);
    assert_eq!(pair.a.status().unwrap().engine, Engine::Boringtun);
    assert_eq!(engine_of_link(&pair), Engine::Boringtun);
    let text = pair.a.command(&["status"]).unwrap();
    assert!(text.contains("boringtun (sessions begin anew"), "{text}");
    assert_eq!(pair.b.status().unwrap().engine, Engine::Crossway);
}

/// The own engine hands its sessions over; boringtun's begin anew, and what waits meanwhile is sent then.
#[test]
fn traffic_goes_on_after_a_hand_over_by_a_new_handshake() {
    let mut pair = pair(Engine::Boringtun);
    let ping = pair.steady_ping(Family::V4).unwrap();
    let tcp = pair.steady_tcp(Family::V4).unwrap();
    for _ in 0..3 {
        assert!(pair.a.take_over().unwrap().success(), "{}", pair.a.log());
        let gap = *pair.a.gaps().last().unwrap();
        assert_eq!((gap.sessions, gap.handshakes), (0, 1));
        ping.goes_on(UP).unwrap();
        tcp.goes_on(UP).unwrap();
    }
    tcp.finish().unwrap();
    let replies = ping.finish(UP).unwrap();
    eprintln!("hand-over: longest gap {:?}", replies.longest_gap());
    assert!(replies.longest_gap() < GAP, "{:?}", replies.longest_gap());
}

#[test]
fn a_reload_changes_the_engine_by_a_new_session() {
    let mut pair = pair(Engine::Crossway);
    let ping = pair.steady_ping(Family::V4).unwrap();
    for engine in [Engine::Boringtun, Engine::Crossway, Engine::Boringtun] {
        let mut plan = pair.plans[0].clone();
        plan.configure_nothing();
        plan.set_engine(engine);
        pair.a.write_config(&plan).unwrap();
        pair.a.command(&["reload"]).unwrap();
        assert_eq!(engine_of_link(&pair), engine);
        ping.goes_on(UP).unwrap();
    }
    let replies = ping.finish(UP).unwrap();
    eprintln!("another engine: longest gap {:?}", replies.longest_gap());
    assert!(replies.longest_gap() < GAP, "{:?}", replies.longest_gap());
}

/// A far gateway may have another engine than the rest.
#[test]
fn a_far_gateway_may_name_its_engine() {
    let pair = Pair::start(|plans| {
        plans[0].configure(|config| config.sites[0].gateways[0].engine = Engine::Boringtun);
    })
    .unwrap();
    assert_eq!(pair.a.status().unwrap().engine, Engine::Crossway);
    assert_eq!(engine_of_link(&pair), Engine::Boringtun);
}
