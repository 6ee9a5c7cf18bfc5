use super::*;
use crate::clock;

fn with(dirty: Dirty) -> (Agenda, Instant) {
    let mut agenda = Agenda::default();
    agenda.mark(dirty);
    (agenda, clock::now())
}

/// Takes all steps that are due, of which `failing` fail; the order in which they were taken.
fn run(agenda: &mut Agenda, failing: &[Step], now: Instant) -> Vec<Step> {
    let mut taken = Vec::new();
    while let Some(step) = agenda.next(now) {
        taken.push(step);
        if failing.contains(&step) {
            agenda.on_failed(step, format!("{step:?} is broken"), now);
        } else {
            agenda.on_done(step, Dirty::NONE);
        }
    }
    taken
}

#[test]
fn steps_are_taken_in_their_order_and_once() {
    let (mut agenda, now) = with(Step::Programs | Step::Links | Step::Sites);
    assert_eq!(
        run(&mut agenda, &[], now),
        [Step::Links, Step::Sites, Step::Programs]
    );
    assert_eq!(agenda.next(now), None);
}

#[test]
fn what_a_step_has_changed_is_followed_before_later_steps() {
    let (mut agenda, now) = with(Step::Routers | Step::Programs);
    assert_eq!(agenda.next(now), Some(Step::Routers));
    agenda.on_done(Step::Routers, Step::Service.into());
    assert_eq!(run(&mut agenda, &[], now), [Step::Service, Step::Programs]);
}

#[test]
fn a_failed_step_leaves_the_others_working_and_is_told_until_it_succeeds() {
    let (mut agenda, now) = with(Step::Sessions | Step::Links | Step::Programs);
    let taken = run(&mut agenda, &[Step::Sessions], now);
    assert_eq!(taken, [Step::Sessions, Step::Links, Step::Programs]);
    let expected = "sessions of the fast path: Sessions is broken (tried again until it succeeds)";
    assert_eq!(agenda.warnings(), [expected]);

    let later = now + FIRST_PAUSE;
    assert_eq!(agenda.next(later), Some(Step::Sessions));
    assert!(agenda.on_done(Step::Sessions, Dirty::NONE));
    assert!(agenda.warnings().is_empty());
    assert_eq!(agenda.next(later + LONGEST_PAUSE), None);
}

#[test]
fn programs_without_the_rules_neither_carry_nor_judge() {
    let (mut agenda, now) = with(Step::Policy | Step::Programs | Step::Judges);
    assert_eq!(run(&mut agenda, &[Step::Policy], now), [Step::Policy]);
    let expected = [Step::Policy, Step::Programs, Step::Judges];
    assert_eq!(run(&mut agenda, &[], now + FIRST_PAUSE), expected);
}

#[test]
fn the_pauses_between_attempts_double_up_to_a_minute() {
    let (mut agenda, mut now) = with(Step::Host.into());
    let mut pauses = Vec::new();
    for _ in 0..9 {
        run(&mut agenda, &[Step::Host], now);
        let before = now;
        while agenda.next(now).is_none() {
            now += Duration::from_secs(1);
        }
        pauses.push((now - before).as_secs());
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
}

#[test]
fn an_event_brings_a_failed_step_forward_and_success_forgets_its_attempts() {
    let (mut agenda, now) = with(Step::Host.into());
    for _ in 0..3 {
        run(&mut agenda, &[Step::Host], now);
        assert_eq!(agenda.next(now), None);
        agenda.mark(Step::Host.into());
        assert_eq!(agenda.next(now), Some(Step::Host));
    }
    agenda.on_done(Step::Host, Dirty::NONE);
    agenda.mark(Step::Host.into());
    run(&mut agenda, &[Step::Host], now);
    assert_eq!(agenda.next(now + FIRST_PAUSE), Some(Step::Host));
}

#[test]
fn a_step_waits_for_what_it_stands_on() {
    let (mut agenda, now) = with(Step::Sites | Step::FastPathRoutes | Step::FreeSites);
    // A route to a site that the programs do not know leads nowhere.
    assert_eq!(run(&mut agenda, &[Step::Sites], now), [Step::Sites]);
    let later = now + FIRST_PAUSE;
    assert_eq!(
        run(&mut agenda, &[Step::FastPathRoutes], later),
        [Step::Sites, Step::FastPathRoutes]
    );
    let all = run(&mut agenda, &[], later + LONGEST_PAUSE);
    assert_eq!(all, [Step::FastPathRoutes, Step::FreeSites]);
}

#[test]
fn the_host_as_a_whole_sets_the_routes_too_and_if_it_fails_they_are_set_alone() {
    let (mut agenda, now) = with(Step::Host | Step::KernelRoutes);
    assert_eq!(run(&mut agenda, &[], now), [Step::Host]);
    agenda.mark(Step::Host | Step::KernelRoutes);
    assert_eq!(
        run(&mut agenda, &[Step::Host], now),
        [Step::Host, Step::KernelRoutes]
    );
}

#[test]
fn one_cause_is_told_once() {
    let (mut agenda, now) = with(Step::Tunnel | Step::Host);
    let why = || "no interface is called wan0".to_owned();
    assert!(agenda.on_failed(Step::Tunnel, why(), now));
    assert!(!agenda.on_failed(Step::Host, why(), now));
    assert_eq!(agenda.warnings().len(), 1);
    assert_eq!(agenda.new_since(&Failures::default()), [why()]);
}

#[test]
fn only_what_fails_anew_is_the_fault_of_a_reload() {
    let (mut agenda, now) = with(Step::Host | Step::Routers);
    agenda.on_failed(Step::Host, "no lan0".to_owned(), now);
    let before = agenda.failures();
    agenda.on_failed(Step::Host, "no lan0".to_owned(), now);
    assert!(agenda.new_since(&before).is_empty());
    agenda.on_failed(Step::Routers, "no thread".to_owned(), now);
    assert_eq!(agenda.new_since(&before), ["no thread"]);
    agenda.on_failed(Step::Host, "a route is taken".to_owned(), now);
    assert_eq!(agenda.new_since(&before), ["a route is taken", "no thread"]);
}
