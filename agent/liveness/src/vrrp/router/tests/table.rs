//! Every state by every event (RFC 5798, 6.4).

use super::*;

/// All that can happen to a virtual router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Start,
    Stop,
    /// Woken before anything is due.
    TooEarly,
    TimerDue,
    /// Advertisements: priority 0, below ours, ours from the lower or the higher address, above ours.
    Release,
    Lower,
    EqualBelow,
    EqualAbove,
    Higher,
    /// Our own, come back over a loop.
    Own,
}

use Event::{EqualAbove, EqualBelow, Higher, Lower, Own, Release, Start, Stop, TimerDue, TooEarly};

const EVENTS: [Event; 10] = [
    Start, Stop, TooEarly, TimerDue, Release, Lower, EqualBelow, EqualAbove, Higher, Own,
];

/// What runs afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Runs {
    Nothing,
    /// As before: not touched.
    Same,
    /// The timer for advertisements, anew.
    Adverts,
    /// Master_Down_Timer anew, at our own or the mate's interval.
    DownAtOurs,
    DownAtMates,
    /// Skew_Time.
    Skew,
}

/// Who the row is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    All,
    Preempting,
    NotPreempting,
}

type Row = (State, Event, Who, State, &'static [Do], Runs);

/// RFC 5798, 6.4, every state by every event. `Lower` in Master also asserts (RFC 9568, 6.4.3).
const TABLE: &[Row] = &[
    (Initialize, Start, Who::All, Backup, &[], Runs::DownAtOurs),
    (Initialize, Stop, Who::All, Initialize, &[], Runs::Nothing),
    (
        Initialize,
        TooEarly,
        Who::All,
        Initialize,
        &[],
        Runs::Nothing,
    ),
    (
        Initialize,
        TimerDue,
        Who::All,
        Initialize,
        &[],
        Runs::Nothing,
    ),
    (
        Initialize,
        Release,
        Who::All,
        Initialize,
        &[],
        Runs::Nothing,
    ),
    (Initialize, Lower, Who::All, Initialize, &[], Runs::Nothing),
    (
        Initialize,
        EqualBelow,
        Who::All,
        Initialize,
        &[],
        Runs::Nothing,
    ),
    (
        Initialize,
        EqualAbove,
        Who::All,
        Initialize,
        &[],
        Runs::Nothing,
    ),
    (Initialize, Higher, Who::All, Initialize, &[], Runs::Nothing),
    (Initialize, Own, Who::All, Initialize, &[], Runs::Nothing),
    (Backup, Start, Who::All, Backup, &[], Runs::Same),
    (Backup, Stop, Who::All, Initialize, &[], Runs::Nothing),
    (Backup, TooEarly, Who::All, Backup, &[], Runs::Same),
    (
        Backup,
        TimerDue,
        Who::All,
        Master,
        &[Do::Take, Do::Advertise, Do::Announce],
        Runs::Adverts,
    ),
    (Backup, Release, Who::All, Backup, &[], Runs::Skew),
    (Backup, Lower, Who::Preempting, Backup, &[], Runs::Same),
    (
        Backup,
        Lower,
        Who::NotPreempting,
        Backup,
        &[],
        Runs::DownAtMates,
    ),
    (Backup, EqualBelow, Who::All, Backup, &[], Runs::DownAtMates),
    (Backup, EqualAbove, Who::All, Backup, &[], Runs::DownAtMates),
    (Backup, Higher, Who::All, Backup, &[], Runs::DownAtMates),
    (Backup, Own, Who::All, Backup, &[], Runs::Same),
    (Master, Start, Who::All, Master, &[], Runs::Same),
    (
        Master,
        Stop,
        Who::All,
        Initialize,
        &[Do::SayRelease, Do::Give],
        Runs::Nothing,
    ),
    (Master, TooEarly, Who::All, Master, &[], Runs::Same),
    (
        Master,
        TimerDue,
        Who::All,
        Master,
        &[Do::Advertise],
        Runs::Adverts,
    ),
    (
        Master,
        Release,
        Who::All,
        Master,
        &[Do::Advertise],
        Runs::Adverts,
    ),
    (
        Master,
        Lower,
        Who::All,
        Master,
        &[Do::Advertise],
        Runs::Same,
    ),
    (
        Master,
        EqualBelow,
        Who::All,
        Master,
        &[Do::Advertise],
        Runs::Same,
    ),
    (
        Master,
        EqualAbove,
        Who::All,
        Backup,
        &[Do::Give],
        Runs::DownAtMates,
    ),
    (
        Master,
        Higher,
        Who::All,
        Backup,
        &[Do::Give],
        Runs::DownAtMates,
    ),
    (Master, Own, Who::All, Master, &[], Runs::Same),
];

#[test]
fn every_state_by_every_event_does_what_the_rfc_says() {
    let mut used = vec![false; TABLE.len()];
    for state in [Initialize, Backup, Master] {
        for event in EVENTS {
            for preempt in [true, false] {
                let fits = |row: &Row| {
                    let who = match row.2 {
                        Who::All => true,
                        Who::Preempting => preempt,
                        Who::NotPreempting => !preempt,
                    };
                    (row.0, row.1) == (state, event) && who
                };
                let rows: Vec<usize> = (0..TABLE.len()).filter(|i| fits(&TABLE[*i])).collect();
                let [row] = rows[..] else {
                    panic!("{} rows for {state:?}, {event:?}, {preempt}", rows.len());
                };
                used[row] = true;
                check(&TABLE[row], preempt);
            }
        }
    }
    assert!(used.iter().all(|used| *used), "a row is of no use");
}

fn check(row: &Row, preempt: bool) {
    let (state, event, _, next, expected, runs) = *row;
    let begun = clock::now();
    let mut router = router_in(state, preempt, begun);
    let timer = router.timer;
    let due = router.timer_due().unwrap_or(begun + secs(10));
    let now = match event {
        TimerDue => due,
        _ => begun + Duration::from_millis(5),
    };
    apply(&mut router, event, now);

    let place = format!("{state:?}, {event:?}, preempt {preempt}");
    let (done, changes) = drain(&mut router);
    assert_eq!(done, expected, "{place}");
    assert_eq!(router.state(), next, "{place}");
    let moved = (state != next).then_some((state, next));
    assert_eq!(changes, moved.into_iter().collect::<Vec<_>>(), "{place}");
    let span = match runs {
        Runs::Nothing => {
            assert_eq!(router.poll_timeout(), None, "{place}");
            return;
        }
        Runs::Same => {
            assert_eq!(router.timer, timer, "{place}");
            return;
        }
        Runs::Adverts => Duration::from_secs(1),
        // (256 - 100) / 256 of the interval.
        Runs::DownAtOurs => Duration::from_micros(3_609_375),
        Runs::DownAtMates => Duration::from_micros(721_875),
        Runs::Skew => Duration::from_micros(609_375),
    };
    assert_eq!(router.timer_due(), Some(now + span), "{place}");
}

fn apply(router: &mut Router, event: Event, now: Instant) {
    let (from, priority) = match event {
        Start => return router.start(now, local()),
        Stop => return router.stop("told to"),
        TooEarly | TimerDue => return router.handle_timeout(now),
        Release => ("10.1.0.9", 0),
        Lower => ("10.1.0.9", PRIORITY - 1),
        EqualBelow => ("10.1.0.1", PRIORITY),
        EqualAbove => ("10.1.0.9", PRIORITY),
        Higher => ("10.1.0.1", PRIORITY + 1),
        Own => ("10.1.0.5", PRIORITY + 1),
    };
    hear(router, now, from, priority);
}
