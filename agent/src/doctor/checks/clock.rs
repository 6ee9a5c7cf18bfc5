//! The clock: handshakes carry its time, and far gateways take only later ones than before.

use std::time::Duration;

use super::finding;
use crate::control::message::{EventKind, Finding, Severity};
use crate::doctor::facts::Facts;

/// Handshakes that are dated ahead by less are those of a clock that is being corrected.
const AHEAD: Duration = Duration::from_secs(2);
/// What happened longer ago is history.
const RECENT: Duration = Duration::from_hours(1);

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let behind = behind(facts.host.told_ahead);
    let free = (facts.host.synchronised == Some(false)).then(unsynchronised);
    behind.into_iter().chain(free).chain(jumps(facts)).collect()
}

fn behind(ahead: Duration) -> Option<Finding> {
    if ahead < AHEAD {
        return None;
    }
    let seconds = ahead.as_secs();
    let what =
        format!("the clock is {seconds} s behind the time that earlier handshakes have told");
    let why = "far gateways take only later handshakes: after the next boot they refuse this one until its clock has \
               caught up"
        .to_owned();
    let mend = "set the clock right and keep it so (`timedatectl`, chrony)".to_owned();
    Some(finding(
        "clock",
        Severity::Problem,
        "clock",
        [what, why, mend],
    ))
}

fn unsynchronised() -> Finding {
    let what = "the kernel says that nothing keeps the clock right (STA_UNSYNC)".to_owned();
    let why = "a clock that is set back makes far gateways refuse handshakes, and logs of two sites cannot be compared"
        .to_owned();
    let mend = "systemctl enable --now chrony, or another NTP client".to_owned();
    finding(
        "clock-unsynchronised",
        Severity::Note,
        "clock",
        [what, why, mend],
    )
}

fn jumps(facts: &Facts) -> Option<Finding> {
    let events = facts.running.iter().flat_map(|running| &running.events);
    let since = facts
        .host
        .now_unix_milliseconds
        .saturating_sub(RECENT.as_millis() as u64);
    let mut jumps = events.filter(|event| {
        event.kind == EventKind::Gateway
            && event.to == "sessions begun anew"
            && event.unix_milliseconds >= since
    });
    let last = jumps.next_back()?;
    let what = format!(
        "within the last hour sessions were begun anew: {}",
        last.cause
    );
    let why = "each time packets wait for a handshake".to_owned();
    let mend = "keep the clock right by small steps (chrony), and the machine awake".to_owned();
    Some(finding(
        "clock-jumped",
        Severity::Note,
        "clock",
        [what, why, mend],
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::message::Event;
    use crate::doctor::facts::Running;

    #[test]
    fn a_clock_that_is_behind_and_one_that_jumped_are_told() {
        assert_eq!(behind(Duration::from_secs(1)), None);
        assert!(
            behind(Duration::from_mins(2))
                .unwrap()
                .what
                .contains("120 s")
        );
        let at = |unix_milliseconds| {
            let event = Event {
                sequence: 1,
                unix_milliseconds,
                kind: EventKind::Gateway,
                subject: "a".to_owned(),
                from: None,
                to: "sessions begun anew".to_owned(),
                cause: "the clock was set forward by 90 s".to_owned(),
            };
            let mut facts = Facts::default();
            facts.host.now_unix_milliseconds = 10_000_000;
            facts.running = Some(Running {
                events: vec![event],
                ..Running::default()
            });
            jumps(&facts)
        };
        assert!(at(9_000_000).unwrap().what.contains("90 s"));
        assert_eq!(at(6_000_000), None);
    }
}
