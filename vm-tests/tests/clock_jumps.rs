//! A gateway's machine was asleep, or was restored from a snapshot: its clocks say so, and it sends nothing more under
//! the keys it had.
//!
//! ```text
//!  host a ── [gateway a: its clocks jump] wan0 ──── wan0 [gateway b] ── host b
//!                                       every message is recorded
//! ```

use std::collections::HashSet;
use std::time::Duration;

use vm_tests::api::{Event, EventKind};
use vm_tests::clocks::Clocks;
use vm_tests::pair::Pair;
use vm_tests::topology::Family;
use vm_tests::traffic::{Packet, Recording};
use vm_tests::wait;

const UP: Duration = Duration::from_secs(20);
const HOUR: Duration = Duration::from_hours(1);

#[test]
fn a_gateway_whose_clock_is_set_forward_sends_nothing_more_under_its_keys() {
    let cause = "the clock was set forward by";
    begins_anew(cause, |clocks| clocks.set_forward(HOUR).unwrap());
}

#[test]
fn a_gateway_that_was_asleep_sends_nothing_more_under_its_keys() {
    let cause = "this machine was asleep for";
    begins_anew(cause, |clocks| clocks.sleep(HOUR).unwrap());
}

fn begins_anew(cause: &str, jump: impl Fn(&mut Clocks)) {
    let mut pair = Pair::start(|_| ()).unwrap();
    assert!(pair.a.stop().unwrap().success());
    let mut clocks = Clocks::give(&mut pair.a, pair.topology.directory()).unwrap();
    pair.a.start_again().unwrap();
    pair.wait_until_up().unwrap();
    let recording = Recording::start(&pair.topology, &pair.site_b().gateway, "wan0").unwrap();
    let ping = pair.steady_ping(Family::V4).unwrap();
    ping.goes_on(UP).unwrap();
    let own = pair.site_a().wan_address(Family::V4);
    let messages = || -> Vec<(u32, u64)> {
        let packets = recording.packets().unwrap();
        let sent = packets.iter().filter(|packet| packet.source == own);
        sent.filter_map(Packet::data_message).collect()
    };
    // Twice: a machine may be restored again and again.
    for jumps in 1..=2 {
        assert_eq!(begun_anew(&pair, cause), jumps - 1);
        let before = messages();
        jump(&mut clocks);
        wait::until("the journal to tell of it", UP, || {
            (begun_anew(&pair, cause) == jumps).then_some(())
        })
        .unwrap();
        ping.goes_on(UP).unwrap();
        let under_old: HashSet<u32> = before.iter().map(|(receiver, _)| *receiver).collect();
        let now = messages().len();
        wait::until("more messages", UP, || {
            (messages().len() > now + 100).then_some(())
        })
        .unwrap();
        let mut later = messages().into_iter().skip(now);
        assert!(later.all(|(receiver, _)| !under_old.contains(&receiver)));
    }
    let all = messages();
    let different: HashSet<&(u32, u64)> = all.iter().collect();
    assert_eq!(different.len(), all.len(), "a counter was used twice");
    assert!(pair.a.stop().unwrap().success());
}

/// How often the journal says that sessions have begun anew, each time for this reason.
fn begun_anew(pair: &Pair, cause: &str) -> usize {
    let lines = pair.a.command(&["events", "--json"]).unwrap();
    let events = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    let begun: Vec<Event> = events
        .filter(|event: &Event| {
            event.kind == EventKind::Gateway && event.to == "sessions begun anew"
        })
        .collect();
    let is_of_it = |event: &Event| event.cause.contains(cause);
    assert!(begun.iter().all(is_of_it), "{begun:?}");
    begun.len()
}
