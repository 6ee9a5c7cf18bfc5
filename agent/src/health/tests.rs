use std::time::Duration;

use super::*;
use crate::config::HealthKind;
use crossway_sys::clock;

fn target(last: u8, failures: u32) -> HealthTarget {
    HealthTarget {
        address: [10, 1, 0, last].into(),
        kind: if last == 80 {
            HealthKind::Tcp(443)
        } else {
            HealthKind::Icmp
        },
        interface: "eth1".to_owned(),
        interval: Duration::from_secs(1),
        timeout: Duration::from_millis(500),
        failures,
        successes: 1,
    }
}

/// What is recorded when this target says this.
fn say(health: &mut Health, target: &HealthTarget, answer: Answer) -> Vec<String> {
    let outcome = Outcome {
        target: target.clone(),
        answer,
    };
    lines(&health.on_outcome(outcome, clock::now()))
}

fn no() -> Answer {
    Answer::No("no answer within 500 ms".to_owned())
}

fn lines(changes: &[Change]) -> Vec<String> {
    let line = |change: &Change| {
        let from = change.from.as_deref().unwrap_or("none");
        format!(
            "{}: {from} -> {}: {}",
            change.subject, change.to, change.cause
        )
    };
    changes.iter().map(line).collect()
}

#[test]
fn the_lan_is_dead_when_every_target_is_and_alive_with_the_first_that_answers() {
    let now = clock::now();
    let mut health = Health::new(now);
    let (ping, web) = (target(10, 2), target(80, 1));
    health.set_targets(&[ping.clone(), web.clone()], now);
    assert!(health.lan().alive, "nothing is known yet");
    assert_eq!(say(&mut health, &ping, no()), [""; 0]);
    assert_eq!(
        say(&mut health, &ping, no()),
        ["icmp 10.1.0.10 by eth1: unknown -> down: no answer within 500 ms"]
    );
    assert!(health.lan().alive, "the other may still answer");
    assert_eq!(
        say(&mut health, &web, no()),
        [
            "tcp 10.1.0.80:443 by eth1: unknown -> down: no answer within 500 ms",
            "LAN: alive -> dead: every health target is down: icmp 10.1.0.10 by eth1: no answer \
             within 500 ms; tcp 10.1.0.80:443 by eth1: no answer within 500 ms",
        ]
    );
    assert_eq!(say(&mut health, &web, no()), [""; 0]);
    let lines = say(&mut health, &ping, Answer::Yes);
    assert_eq!(lines[1], "LAN: dead -> alive: 1 of 2 health targets down");
    assert!(health.lan().alive);
}

#[test]
fn a_target_that_cannot_be_probed_counts_as_up_and_is_warned_of() {
    let now = clock::now();
    let mut health = Health::new(now);
    let ping = target(10, 1);
    health.set_targets(std::slice::from_ref(&ping), now);
    say(&mut health, &ping, no());
    assert!(!health.lan().alive);
    say(
        &mut health,
        &ping,
        Answer::Unknown("it cannot be probed: x".to_owned()),
    );
    assert!(health.lan().alive);
    let warnings: Vec<String> = health.warnings().collect();
    assert_eq!(
        warnings,
        ["health target icmp 10.1.0.10 by eth1: it cannot be probed: x"]
    );
    say(&mut health, &ping, Answer::Yes);
    assert_eq!(health.warnings().count(), 0);
}

#[test]
fn a_lan_without_carrier_is_dead_whatever_its_targets_say() {
    let now = clock::now();
    let mut health = Health::new(now);
    let ping = target(10, 1);
    health.set_targets(std::slice::from_ref(&ping), now);
    say(&mut health, &ping, Answer::Yes);
    let interfaces = |one, two| vec![("eth1".to_owned(), one), ("eth2".to_owned(), two)];
    assert_eq!(
        health.set_interfaces(interfaces("no carrier", "up"), now),
        []
    );
    let changes = health.set_interfaces(interfaces("no carrier", "gone"), now);
    assert_eq!(
        lines(&changes),
        ["LAN: alive -> dead: eth1: no carrier, eth2: gone"]
    );
    assert_eq!(say(&mut health, &ping, Answer::Yes), [""; 0]);
    let changes = health.set_interfaces(interfaces("up", "gone"), now);
    assert_eq!(
        lines(&changes),
        ["LAN: dead -> alive: no health target of 1 is down"]
    );
}

#[test]
fn a_reload_keeps_what_is_known_of_the_targets_that_stay() {
    let now = clock::now();
    let mut health = Health::new(now);
    let (one, two) = (target(10, 1), target(11, 1));
    health.set_targets(&[one.clone(), two.clone()], now);
    say(&mut health, &one, no());
    let changes = health.set_targets(std::slice::from_ref(&one), now);
    assert!(lines(&changes)[0].starts_with("LAN: alive -> dead: "));
    // What was on its way from the one that is gone means nothing.
    assert_eq!(say(&mut health, &two, Answer::Yes), [""; 0]);
    assert!(lines(&health.set_targets(&[], now))[0].starts_with("LAN: dead -> alive: "));
}
