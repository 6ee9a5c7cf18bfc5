//! A successor that is held up between what it got and its word that it goes on: the agent before gives up waiting at
//! some moment, and at that moment both could believe the lanes theirs.
//!
//! ```text
//!  host a ── [gateway a: agent, and a successor that is frozen] wan0 ──── wan0 [gateway b] ── host b
//!                                                        every message is recorded
//! ```

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use vm_tests::pair::Pair;
use vm_tests::plan::GatewayPlan;
use vm_tests::process::ProcessGuard;
use vm_tests::topology::Family;
use vm_tests::traffic::{Packet, Recording};
use vm_tests::{sys, wait};

const UP: Duration = Duration::from_secs(10);
/// Around the 500 ms that the agent before waits, and far beyond.
const STALLS_MS: [u64; 10] = [300, 450, 490, 500, 505, 510, 520, 550, 700, 1300];
/// Where in the hand-over a successor is caught is chance: after its word a stall of any length ends well for it.
const MOST_ROUNDS: usize = 4 * STALLS_MS.len();

#[test]
fn exactly_one_agent_goes_on_and_no_counter_is_used_twice_however_long_a_successor_is_held_up() {
    // With BFD the far end would see a link that flaps, and hold it down.
    let without_bfd = |plans: &mut [GatewayPlan]| {
        for plan in plans {
            plan.watch_by_wireguard();
        }
    };
    let mut pair = Pair::start(without_bfd).unwrap();
    let recording = Recording::start(&pair.topology, &pair.site_b().gateway, "wan0").unwrap();
    let ping = pair.steady_ping(Family::V4).unwrap();
    let (mut taken, mut refused) = (0, 0);
    let stalls = STALLS_MS.into_iter().cycle().map(Duration::from_millis);
    for (round, stall) in stalls.take(MOST_ROUNDS).enumerate() {
        if round >= STALLS_MS.len() && taken > 0 && refused > 0 {
            break;
        }
        let next = pair.a.begin_take_over().unwrap();
        hold_up(pair.a.pid().unwrap(), &next, stall);
        if goes_on(&mut pair, next) {
            taken += 1;
        } else {
            refused += 1;
        }
        ping.goes_on(UP).unwrap();
    }
    eprintln!("{taken} successors took over, {refused} were too late");
    // On either side of the limit.
    assert!(taken > 0 && refused > 0, "{taken}, {refused}");
    let own = pair.site_a().wan_address(Family::V4);
    let packets = recording.finish().unwrap();
    let messages = packets.iter().filter(|packet| packet.source == own);
    let mut seen = HashSet::new();
    for (receiver, counter) in messages.filter_map(Packet::data_message) {
        let first = seen.insert((receiver, counter));
        assert!(first, "counter {counter} twice for receiver {receiver:#x}");
    }
    assert!(seen.len() > 100, "{} messages", seen.len());
}

/// Freezes a successor for this long as soon as the agent before has stopped its lane, whose state it is about to send.
fn hold_up(before: u32, next: &ProcessGuard, stall: Duration) {
    let deadline = wait::now() + UP;
    let lane = thread_of_lane(before);
    // Less than a millisecond decides: one system call a turn, and no pause.
    while lane.exists() {
        assert!(
            wait::now() < deadline,
            "the agent before never stopped its lane"
        );
    }
    sys::freeze(next.pid()).unwrap();
    wait::pace(stall);
    sys::thaw(next.pid()).unwrap();
}

/// What is there as long as the thread of an agent's lane.
fn thread_of_lane(pid: u32) -> PathBuf {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let mut threads = threads.map(|thread| thread.unwrap().path());
    let is_lane = |thread: &PathBuf| {
        let name = fs::read_to_string(thread.join("comm"));
        name.is_ok_and(|name| name.trim() == "lane-0")
    };
    threads.find(is_lane).expect("an agent has a lane")
}

/// Waits until one of the two agents has ended; whether it is the one before.
fn goes_on(pair: &mut Pair, mut next: ProcessGuard) -> bool {
    let before_ended = wait::until("one of two agents to end", UP, || {
        let (before, after) = (pair.a.is_running(), next.is_running());
        assert!(before || after, "both have ended: {}", pair.a.log());
        (!(before && after)).then_some(after)
    })
    .unwrap();
    if before_ended {
        assert!(pair.a.succeed(next).unwrap().success());
    }
    pair.a.status().unwrap();
    before_ended
}
