//! What a capture leaves, however it ends: nothing. Runs with links of tcx and with filters of clsact, as the kernel has
//! them.
//!
//! ```text
//!  host a ── [gateway a] ════════ [gateway b] ── host b
//!              capture
//! ```

use std::time::Duration;

use aya::maps::MapInfo;
use aya::programs::{ProgramInfo, loaded_programs};
use datapath_abi::maps::CAPTURING_PROGRAMS;
use vm_tests::api::CaptureEnd;
use vm_tests::capturing::Capturing;
use vm_tests::pair::Pair;
use vm_tests::topology::Family;
use vm_tests::{traffic, wait};

const SOON: Duration = Duration::from_secs(20);
const PINGS: u32 = 3;

fn start(pair: &Pair, name: &str) -> Capturing {
    let place = (pair.topology.directory(), name);
    let gateway = &pair.site_a().gateway;
    Capturing::start(gateway, pair.a.name(), place, &["--protocol", "icmp"]).unwrap()
}

/// Names of the programs in the kernel that read a gateway's maps, in order.
fn programs_of(gateway: &str) -> Vec<String> {
    let pin = format!("/sys/fs/bpf/crossway/{gateway}/SETTINGS");
    let map = MapInfo::from_pin(pin).unwrap().id();
    wait::until("a look at all programs", SOON, || {
        // One that goes meanwhile ends the look.
        let programs: Result<Vec<ProgramInfo>, _> = loaded_programs().collect();
        let mut names = Vec::new();
        for program in programs.ok()? {
            if program
                .map_ids()
                .ok()?
                .is_some_and(|maps| maps.contains(&map))
            {
                names.push(program.name_as_str().unwrap_or("?").to_owned());
            }
        }
        names.sort();
        Some(names)
    })
    .unwrap()
}

fn ping(pair: &Pair) {
    let far = pair.far(Family::V4);
    let report = traffic::ping(&pair.site_a().host, far, PINGS).unwrap();
    assert_eq!(report.received, PINGS, "a capture is in nobody's way");
}

/// Waits until the gateway has these programs: the kernel frees one only after a grace period, when whoever held it may
/// have ended long since.
fn wait_for(pair: &Pair, programs: &[String]) {
    wait::until("the programs as they were", SOON, || {
        (programs_of(pair.a.name()) == programs).then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}: {:?}", programs_of(pair.a.name())));
}

#[test]
fn a_capture_that_has_ended_or_was_killed_leaves_nothing() {
    let pair = Pair::start(|_| ()).unwrap();
    let before = programs_of(pair.a.name());
    assert!(
        !before.iter().any(|name| name.starts_with("capture_")),
        "while nobody captures there is no program for it: {before:?}"
    );
    let pins = || {
        let folder = format!("/sys/fs/bpf/crossway/{}/links", pair.a.name());
        std::fs::read_dir(folder).unwrap().count()
    };
    let pinned = pins();

    let mut capture = start(&pair, "ended");
    let mut with = before.clone();
    with.extend(CAPTURING_PROGRAMS.map(str::to_owned));
    with.sort();
    assert_eq!(programs_of(pair.a.name()), with);
    assert_eq!(pins(), pinned, "nothing is pinned");
    ping(&pair);
    let summary = capture.end().unwrap();
    assert_eq!(summary.ended, CaptureEnd::Signal);
    assert_eq!(summary.lost_packets, 0);
    // Requests at the LAN, answers out of the tunnel, and the datagrams of both.
    assert_eq!(summary.inner_packets, u64::from(2 * PINGS), "{summary:?}");
    assert!(summary.outer_packets >= u64::from(2 * PINGS), "{summary:?}");
    wait_for(&pair, &before);

    let mut capture = start(&pair, "killed");
    ping(&pair);
    capture.kill().unwrap();
    wait_for(&pair, &before);
    // The next one finds nothing in its way.
    let mut capture = start(&pair, "next");
    ping(&pair);
    let summary = capture.end().unwrap();
    assert_eq!(summary.inner_packets, u64::from(2 * PINGS), "{summary:?}");
    wait_for(&pair, &before);
    ping(&pair);
}

#[test]
fn a_capture_ends_with_the_agent_however_that_ends() {
    let mut pair = Pair::start(|_| ()).unwrap();
    let mut capture = start(&pair, "over");
    ping(&pair);
    pair.a.kill().unwrap();
    let summary = capture.wait().unwrap();
    assert_eq!(summary.ended, CaptureEnd::Gateway, "{}", capture.said());
    assert_eq!(summary.inner_packets, u64::from(2 * PINGS), "{summary:?}");
    // Those that the agent alone held have gone with it.
    wait::until("the programs of the capture to go", SOON, || {
        let left = programs_of(pair.a.name());
        (!left.iter().any(|name| name.starts_with("capture_"))).then_some(())
    })
    .unwrap();
    pair.a.start_again().unwrap();
}
