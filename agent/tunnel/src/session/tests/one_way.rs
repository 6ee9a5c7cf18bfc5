//! What one end sends is lost, and what the other sends arrives.

use super::*;

const INITIATION: u8 = 1;

fn unheard(link: &Link) -> Option<u64> {
    let unheard = link.a.session.unheard_for(link.now);
    unheard.map(|time| time.as_secs())
}

fn unanswered(link: &Link) -> Option<u64> {
    let unanswered = link.a.session.unanswered_for(link.now);
    unanswered.map(|time| time.as_secs())
}

/// Both ends send so often, `b` hears nothing of it.
fn talk(link: &mut Link, seconds: u32, from: &[char]) {
    for _ in 0..seconds * 5 {
        for end in from {
            link.send(*end);
        }
        link.wait(0.2);
    }
}

#[test]
fn a_peer_that_sends_and_does_not_hear_us_is_found_out_though_its_data_arrives() {
    for keepalive in [None, Some(25)] {
        let mut link = Link::agreed(keepalive, keepalive);
        link.deaf = Some('b');
        talk(&mut link, 15, &['a', 'b']);
        assert_eq!(unheard(&link), None);
        talk(&mut link, 13, &['a', 'b']);
        assert!(
            unheard(&link) >= Some(12),
            "{:?} after 28 s",
            unheard(&link)
        );
        assert!(
            unanswered(&link).is_some(),
            "and we begin a handshake as well"
        );
        talk(&mut link, 60, &['a', 'b']);
        assert!(unheard(&link) >= Some(70));

        link.deaf = None;
        talk(&mut link, 6, &['a', 'b']);
        assert_eq!((unheard(&link), unanswered(&link)), (None, None));
        assert!(link.ages().0 < Some(7));
    }
}

#[test]
fn an_initiation_is_no_answer_to_data() {
    let mut link = Link::agreed(None, None);
    link.deaf = Some('b');
    talk(&mut link, 10, &['a']);
    let initiation = link.b.dial(link.now).unwrap();
    link.carry('b', initiation);
    // It does not try again.
    link.b = End::new(2, 1, None, link.now);
    talk(&mut link, 6, &['a']);
    let began = link.times('a', INITIATION);
    assert!((15.0..15.7).contains(&began[0]), "{began:?}");
    talk(&mut link, 12, &['a']);
    assert!(unanswered(&link) >= Some(12));
}

#[test]
fn keepalives_at_the_peers_own_interval_are_no_answer_to_data() {
    for keepalive in [1, 3, 5, 8, 14, 20, 25] {
        let mut link = Link::agreed(None, Some(keepalive));
        link.deaf = Some('b');
        talk(&mut link, 28, &['a']);
        assert!(unanswered(&link) >= Some(12), "every {keepalive} s");
    }
    // In time by chance: once, and not again.
    for keepalive in [10, 11] {
        let mut link = Link::agreed(None, Some(keepalive));
        link.deaf = Some('b');
        talk(&mut link, 40, &['a']);
        assert!(unanswered(&link) >= Some(12), "every {keepalive} s");
    }
}

#[test]
fn a_peer_that_only_listens_costs_a_handshake_now_and_then_and_loses_nothing() {
    for keepalive in [None, Some(5), Some(25)] {
        let mut link = Link::agreed(None, keepalive);
        talk(&mut link, 100, &['a']);
        let began = link.times('a', INITIATION);
        assert!(began.len() <= 6, "{began:?}");
        assert_eq!(link.times('b', INITIATION), [0.0; 0]);
        assert_eq!((unanswered(&link), unheard(&link)), (None, None));
    }
}

#[test]
fn a_peer_that_begins_again_and_again_does_not_hold_our_own_handshake_back() {
    let mut link = Link::new(None, Some(25));
    link.deaf = Some('b');
    let initiation = link.b.dial(link.now).unwrap();
    link.carry('b', initiation);
    assert_eq!(link.times('a', 2).len(), 1, "answered");
    link.send('a');
    link.wait(4.5);
    assert_eq!(
        link.times('a', INITIATION),
        [0.0; 0],
        "that may give a session"
    );
    link.wait(2.0);
    let began = link.times('a', INITIATION);
    assert!((5.0..5.5).contains(&began[0]), "{began:?}");
    link.deaf = None;
    link.wait(6.0);
    assert!(link.ages().0.is_some() && link.ages().1.is_some());
}

#[test]
fn one_lost_answer_and_handshakes_that_cross_are_no_sign_of_a_dead_way() {
    let mut link = Link::agreed(None, None);
    link.wait(1.0);
    // The answer is lost, and the retry gets one.
    link.deaf = Some('b');
    let initiation = link.b.dial(link.now).unwrap();
    link.carry('b', initiation);
    link.wait(1.0);
    link.deaf = None;
    link.wait(5.0);
    assert_eq!(unheard(&link), None);
    assert_eq!(link.times('a', INITIATION), [0.0; 0]);
    // Two programs of one peer, one after the other, within a second; nobody confirms the first.
    let anew = |link: &Link| {
        let mut end = End::new(2, 1, None, link.now);
        end.local.calendar = Calendar::new(link.start, Duration::from_secs(1_000_000));
        end
    };
    link.deaf = Some('b');
    for _ in 0..2 {
        link.b = anew(&link);
        let initiation = link.b.dial(link.now).unwrap();
        link.carry('b', initiation);
        link.wait(1.0);
    }
    assert_eq!(unheard(&link), None);
    // One that has given up is forgotten.
    talk(&mut link, 10, &['b']);
    assert!(unheard(&link).is_some());
    link.up = false;
    link.wait(100.0);
    assert_eq!(unheard(&link), None);
}
