use super::*;
use crossway_sys::clock;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn data_is_answered_with_a_keepalive_once_unless_something_else_is_sent() {
    let begun = clock::now();
    let others: [Option<fn(&mut Timers)>; 3] = [
        None,
        Some(Timers::on_data_sent),
        Some(Timers::on_control_sent),
    ];
    for other in others {
        let mut timers = Timers::new(None);
        timers.on_data_received();
        assert!(timers.has_traffic());
        assert_eq!(
            timers.take_traffic(begun),
            Traffic {
                sent: false,
                heard: true
            }
        );
        assert!(!timers.has_traffic());
        assert_eq!(timers.next(), Some(begun + KEEPALIVE_TIMEOUT));
        if let Some(sent) = other {
            sent(&mut timers);
            assert!(timers.take_traffic(begun + SECOND).sent);
        }
        let early = begun + Duration::from_millis(9_999);
        assert!(!timers.take_keepalive(early));
        let due = begun + KEEPALIVE_TIMEOUT;
        assert_eq!(timers.take_keepalive(due), other.is_none());
        timers.take_traffic(due);
        assert!(!timers.take_keepalive(due + 20 * SECOND), "once");
    }
}

#[test]
fn a_link_that_is_kept_alive_sends_at_its_interval_from_what_was_sent_last() {
    let begun = clock::now();
    let mut timers = Timers::new(Some(25 * SECOND));
    timers.take_traffic(begun);
    assert_eq!(timers.next(), Some(begun + 25 * SECOND));
    timers.on_data_sent();
    timers.take_traffic(begun + 9 * SECOND);
    assert!(!timers.take_keepalive(begun + 33 * SECOND));
    assert!(timers.take_keepalive(begun + 34 * SECOND));
    assert!(!timers.take_keepalive(begun + 34 * SECOND));
    // Hearing something is no reason to be silent.
    timers.take_traffic(begun + 34 * SECOND);
    timers.on_keepalive();
    timers.take_traffic(begun + 40 * SECOND);
    assert!(timers.take_keepalive(begun + 59 * SECOND));
}

#[test]
fn an_answer_and_a_keepalive_that_are_due_at_once_are_one_message() {
    let begun = clock::now();
    let mut timers = Timers::new(Some(KEEPALIVE_TIMEOUT));
    timers.on_data_received();
    timers.take_traffic(begun);
    assert!(timers.take_keepalive(begun + KEEPALIVE_TIMEOUT));
    assert!(!timers.take_keepalive(begun + KEEPALIVE_TIMEOUT));
}

#[test]
fn data_without_an_answer_is_doubted_and_a_response_is_one() {
    let begun = clock::now();
    let long = begun + NO_ANSWER_TIMEOUT + SECOND;
    let answers: [Option<fn(&mut Timers)>; 3] = [
        None,
        Some(Timers::on_response),
        Some(Timers::on_data_received),
    ];
    for answer in answers {
        let mut timers = Timers::new(None);
        timers.on_data_sent();
        timers.take_traffic(begun);
        if let Some(answer) = answer {
            answer(&mut timers);
            assert!(timers.take_traffic(begun + SECOND).heard);
        }
        assert!(!timers.take_doubt(begun + 14 * SECOND));
        assert_eq!(timers.take_doubt(long), answer.is_none());
    }
}

#[test]
fn the_next_agent_has_the_same_deadlines() {
    let begun = clock::now();
    let mut timers = Timers::new(Some(25 * SECOND));
    timers.on_data_sent();
    timers.take_traffic(begun);
    timers.on_data_received();
    timers.take_traffic(begun + SECOND);
    timers.on_data_sent();
    let mut writer = Writer::new(begun);
    timers.export(&mut writer);
    let state = writer.finish();
    for interval in [Some(25 * SECOND), None] {
        let mut next = Timers::new(interval);
        next.import(&mut Reader::new(&state, begun)).unwrap();
        assert!(next.has_traffic());
        assert_eq!(next.answer_at, timers.answer_at);
        assert_eq!(next.keepalive_at, interval.and(timers.keepalive_at));
        assert_eq!(next.traffic, timers.traffic);
        assert_eq!(next.owes, timers.owes);
        assert_eq!(next.doubt.awaits(), timers.doubt.awaits());
    }
}

#[test]
fn two_sides_that_began_at_once_do_not_go_on_so() {
    let jitters: std::collections::HashSet<Duration> = (0..100).map(|_| jitter()).collect();
    assert!(jitters.len() > 20, "{jitters:?}");
    assert!(
        jitters
            .iter()
            .all(|jitter| *jitter <= Duration::from_millis(JITTER_MS))
    );
}
