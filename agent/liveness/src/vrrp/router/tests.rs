mod table;

use super::*;
use crossway_sys::clock;

const INTERVAL: Interval = Interval::from_centiseconds(100).unwrap();
const MATES_INTERVAL: Interval = Interval::from_centiseconds(20).unwrap();
const PRIORITY: u8 = 100;

use State::{Backup, Initialize, Master};

/// Of what a router is told to do, the words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Do {
    Advertise,
    SayRelease,
    Take,
    Announce,
    Give,
}

#[test]
fn the_owner_is_master_from_its_start_and_preempts_whatever_the_setting() {
    let now = clock::now();
    let mut owner = Router::new(settings(OWNER, false), local());
    owner.start(now, local());
    assert_eq!(owner.state(), Master);
    let (done, changes) = drain(&mut owner);
    assert_eq!(done, [Do::Take, Do::Advertise, Do::Announce]);
    assert_eq!(changes, [(Initialize, Master)]);

    // A backup that becomes the owner by a new configuration.
    let mut router = router_in(Backup, false, now);
    router.set(now, settings(OWNER, false));
    let due = router.timer_due();
    hear(&mut router, now + Duration::from_millis(5), "10.1.0.9", 254);
    assert_eq!(router.timer_due(), due, "the master of 254 is not obeyed");
}

#[test]
fn a_master_that_was_handed_over_goes_on_without_waiting() {
    let now = clock::now();
    let mut router = router_in(Initialize, true, now);
    router.resume(now, local());
    assert_eq!(router.state(), Master);
    let (done, _) = drain(&mut router);
    assert_eq!(done, [Do::Take, Do::Advertise, Do::Announce]);
    // A second time, or once it runs, it is nothing.
    router.resume(now, local());
    assert_eq!(router.poll_action(), None);
}

#[test]
fn a_timer_does_not_drift_and_does_not_catch_up() {
    let begun = clock::now();
    let mut router = router_in(Master, true, begun);
    let late = Duration::from_millis(3);
    router.handle_timeout(begun + secs(1) + late);
    assert_eq!(router.timer_due(), Some(begun + secs(2)));
    let frozen = begun + secs(60) + late;
    router.handle_timeout(frozen);
    assert_eq!(router.timer_due(), Some(frozen + secs(1)));
}

#[test]
fn a_released_router_takes_over_after_the_skew_alone() {
    let begun = clock::now();
    let mut router = router_in(Backup, true, begun);
    hear(&mut router, begun, "10.1.0.9", 0);
    let due = router.poll_timeout().unwrap();
    assert_eq!(due - begun, Duration::from_micros(609_375));
    router.handle_timeout(due);
    assert_eq!(why(&mut router), Why::Released(address("10.1.0.9")));
}

#[test]
fn the_reason_of_a_take_over_is_told() {
    let begun = clock::now();
    let mut router = router_in(Backup, true, begun);
    let due = router.poll_timeout().unwrap();
    router.handle_timeout(due);
    assert_eq!(why(&mut router), Why::Silence(due - begun, None));

    let mut router = router_in(Backup, true, begun);
    hear(&mut router, begun + secs(1), "10.1.0.9", 99);
    router.handle_timeout(router.poll_timeout().unwrap());
    let preempted = Why::Preempted(address("10.1.0.9"), 99);
    assert_eq!(why(&mut router), preempted);

    let mut router = router_in(Backup, true, begun);
    hear(&mut router, begun, "10.1.0.9", 200);
    let due = router.poll_timeout().unwrap();
    router.handle_timeout(due);
    let silence = Why::Silence(due - begun, Some(address("10.1.0.9")));
    assert_eq!(why(&mut router), silence);
}

#[test]
fn a_master_says_its_new_priority_at_once_and_gives_way_by_it() {
    let now = clock::now();
    let mut router = router_in(Master, true, now);
    router.set(now, settings(10, true));
    assert_eq!(router.poll_action(), Some(Action::Advertise(10)));
    hear(&mut router, now, "10.1.0.1", 99);
    assert_eq!(router.state(), Backup);
}

#[test]
fn a_backup_whose_priority_rises_lets_the_lower_master_run_out() {
    let begun = clock::now();
    let mut router = router_in(Backup, true, begun);
    hear(&mut router, begun, "10.1.0.9", 120);
    router.set(begun, settings(150, true));
    let mut now = begun;
    while router.state() == Backup && now < begun + secs(5) {
        now += MATES_INTERVAL.duration();
        hear(&mut router, now, "10.1.0.9", 120);
        router.handle_timeout(now);
    }
    assert_eq!(router.state(), Master);
    let waited = now - begun;
    assert!(waited <= MATES_INTERVAL.duration() * 4, "{waited:?}");
}

#[test]
fn of_two_masters_one_remains_and_the_hosts_are_told_again() {
    let now = clock::now();
    for (ours, theirs, ours_remains) in [(100, 90, true), (90, 100, false), (100, 100, false)] {
        let mut near = Router::new(settings(ours, true), local());
        let mut far = Router::new(settings(theirs, true), address("10.1.0.9"));
        for (router, own) in [(&mut near, local()), (&mut far, address("10.1.0.9"))] {
            router.start(now, own);
            router.handle_timeout(router.poll_timeout().unwrap());
            assert_eq!(router.state(), Master);
            // Announced three times by now.
            router.announce_again = None;
            drain(router);
        }
        let healed = now + secs(20);
        assert!(near.rival().is_none());
        hear(&mut near, healed, "10.1.0.9", theirs);
        hear(&mut far, healed, "10.1.0.5", ours);
        let states = (near.state(), far.state());
        let expected = if ours_remains {
            (Master, Backup)
        } else {
            (Backup, Master)
        };
        assert_eq!(states, expected, "{ours} against {theirs}");
        let master = if ours_remains { &mut near } else { &mut far };
        let rival = *master.rival().expect("it is seen");
        assert!(rival.is_rival(healed + secs(9)));
        assert!(!rival.is_rival(healed + secs(10)), "and forgotten");
        master.handle_timeout(healed + secs(1));
        assert!(drain(master).0.contains(&Do::Announce));
    }
}

#[test]
fn a_second_master_is_reported_once_and_one_that_gave_way_is_none() {
    let begun = clock::now();
    let mut router = router_in(Master, true, begun);
    let rivals = |router: &mut Router, at: Instant| {
        hear(router, at, "10.1.0.9", 99);
        let actions = std::iter::from_fn(|| router.poll_action());
        actions
            .filter(|action| matches!(action, Action::ReportRival(_)))
            .count()
    };
    // It had sent this before it heard us.
    assert_eq!(rivals(&mut router, begun + Duration::from_millis(50)), 0);
    assert_eq!(rivals(&mut router, begun + secs(1)), 1);
    assert_eq!(rivals(&mut router, begun + secs(2)), 0);
    assert_eq!(rivals(&mut router, begun + secs(60)), 1);
}

#[test]
fn a_flood_of_lesser_masters_is_not_answered_by_one() {
    let now = clock::now();
    let mut router = router_in(Master, true, now);
    for millisecond in 0..1000 {
        let at = now + Duration::from_millis(millisecond);
        hear(&mut router, at, "10.1.0.9", 1);
    }
    assert_eq!(drain(&mut router).0.len(), 10);
}

#[test]
fn a_new_master_announces_three_times() {
    let begun = clock::now();
    let mut router = router_in(Backup, true, begun);
    let mut announced = 0;
    for _ in 0..20 {
        router.handle_timeout(router.poll_timeout().unwrap());
        let done = drain(&mut router).0;
        announced += done.iter().filter(|what| **what == Do::Announce).count();
    }
    assert_eq!(announced, 3);
}

fn router_in(state: State, preempt: bool, now: Instant) -> Router {
    let mut router = Router::new(settings(PRIORITY, preempt), local());
    if state != Initialize {
        router.start(now, local());
    }
    if state == Master {
        router.become_master(now, Why::Owner);
        // Announced three times by now.
        router.announce_again = None;
    }
    drain(&mut router);
    router
}

fn settings(priority: u8, preempt: bool) -> Settings {
    Settings {
        priority,
        interval: INTERVAL,
        preempt,
    }
}

fn hear(router: &mut Router, now: Instant, from: &str, priority: u8) {
    let advertisement = Advertisement {
        id: 51,
        priority,
        interval: MATES_INTERVAL,
        addresses: vec![address("10.1.0.254")],
    };
    router.handle_advertisement(now, address(from), &advertisement);
}

fn drain(router: &mut Router) -> (Vec<Do>, Vec<(State, State)>) {
    let (mut done, mut changes) = (Vec::new(), Vec::new());
    while let Some(action) = router.poll_action() {
        done.push(match action {
            Action::Advertise(RELEASE) => Do::SayRelease,
            Action::Advertise(_) => Do::Advertise,
            Action::Take => Do::Take,
            Action::Announce => Do::Announce,
            Action::Give => Do::Give,
            Action::ReportRival(_) => continue,
            Action::Report(change) => {
                changes.push((change.from, change.to));
                continue;
            }
        });
    }
    (done, changes)
}

fn why(router: &mut Router) -> Why {
    std::iter::from_fn(|| router.poll_action())
        .find_map(|action| match action {
            Action::Report(change) => Some(change.why),
            _ => None,
        })
        .unwrap()
}

fn local() -> IpAddr {
    address("10.1.0.5")
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
