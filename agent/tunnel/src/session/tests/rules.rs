//! Each rule of the clock (whitepaper 6 and our own), on both sides of it.

use super::*;

const INITIATION: u8 = 1;
const DATA: u8 = 4;

#[track_caller]
fn assert_about(times: &[f64], expected: &[f64], slack: f64) {
    assert_eq!(times.len(), expected.len(), "{times:?}");
    for (time, expected) in times.iter().zip(expected) {
        assert!(
            (*expected..=expected + slack).contains(time),
            "{times:?} where {expected} was expected"
        );
    }
}

#[test]
fn an_idle_link_without_keepalive_is_silent_and_its_session_ends_after_three_minutes() {
    let mut link = Link::agreed(None, None);
    link.wait(179.0);
    assert_eq!(link.ages(), (Some(179), Some(179)));
    link.wait(2.0);
    assert_eq!(link.ages(), (None, None));
    link.wait(600.0);
    assert_eq!(link.wire, []);
    link.send('b');
    assert_eq!(link.ages(), (Some(0), Some(0)), "a packet dials again");
}

#[test]
fn data_is_answered_with_a_keepalive_after_ten_seconds() {
    let mut link = Link::agreed(None, None);
    link.wait(1.0);
    link.send('a');
    link.wait(30.0);
    assert_about(&link.times('b', DATA), &[11.0], 0.3);
    assert_about(&link.times('a', DATA), &[1.0], 0.0);
    assert_eq!(link.times('a', INITIATION), [0.0; 0], "a was answered");
}

#[test]
fn data_that_is_answered_with_data_needs_no_keepalive_of_the_answerer() {
    let mut link = Link::agreed(None, None);
    link.send('a');
    link.wait(5.0);
    link.send('b');
    link.wait(30.0);
    assert_about(&link.times('b', DATA), &[5.0], 0.1);
    assert_about(&link.times('a', DATA), &[0.0, 15.0], 0.3);
    assert_eq!(link.times('a', INITIATION).len(), 0);
    assert_eq!(link.times('b', INITIATION).len(), 0);
}

#[test]
fn a_quick_exchange_is_not_doubted_later() {
    let mut link = Link::agreed(None, None);
    // Question and answer between two looks at the timers, each way round.
    link.send('a');
    link.send('b');
    link.wait(60.0);
    assert_eq!(link.times('a', INITIATION).len(), 0);
    assert_eq!(link.times('b', INITIATION).len(), 0);
    assert_about(&link.times('a', DATA), &[0.0, 10.0], 0.3);
}

#[test]
fn data_without_any_answer_begins_a_handshake_after_fifteen_seconds() {
    let mut link = Link::agreed(None, None);
    link.up = false;
    link.send('a');
    link.wait(14.9);
    assert_eq!(link.times('a', INITIATION).len(), 0);
    link.wait(1.0);
    assert_about(&link.times('a', INITIATION), &[15.0], 0.6);
    link.up = true;
    link.wait(6.0);
    assert_eq!(link.ages().0, Some(0).max(link.ages().0));
    assert!(link.ages().0 < Some(6), "and the retry gives a session");
}

#[test]
fn an_unanswered_initiation_is_sent_again_every_five_seconds_and_given_up_after_ninety() {
    let mut link = Link::new(None, None);
    link.up = false;
    link.send('a');
    link.send('a');
    link.wait(300.0);
    let times = link.times('a', INITIATION);
    assert!((17..=18).contains(&times.len()), "{times:?}");
    for pair in times.windows(2) {
        assert!(
            (5.0..=5.5).contains(&(pair[1] - pair[0])),
            "5 s and a jitter of up to 333 ms: {times:?}"
        );
    }
    assert!(*times.last().unwrap() < 90.0);
    let given_up = link.a.session.take_given_up();
    assert_eq!((given_up.packets, given_up.bytes), (2, 200), "counted");

    link.up = true;
    link.send('a');
    assert_eq!(link.ages(), (Some(0), Some(0)));
    assert_eq!(
        link.times('a', DATA).len(),
        1,
        "what was given up does not come back"
    );
}

#[test]
fn a_link_that_is_kept_alive_is_dialled_for_ever() {
    let mut link = Link::new(Some(25), None);
    link.up = false;
    link.send('a');
    link.wait(1000.0);
    let times = link.times('a', INITIATION);
    assert!(times.len() > 180, "{}", times.len());
    let longest = times.windows(2).map(|pair| pair[1] - pair[0]);
    assert!(longest.fold(0.0, f64::max) < 5.6);
    link.up = true;
    link.wait(6.0);
    assert!(link.ages().0.is_some() && link.ages().1.is_some());
}

#[test]
fn a_link_that_is_kept_alive_says_something_at_its_interval() {
    let mut link = Link::agreed(Some(25), None);
    link.wait(80.0);
    assert_about(&link.times('a', DATA), &[25.1, 50.2, 75.3], 0.5);
    assert_eq!(link.times('b', DATA).len(), 0);
}

#[test]
fn keepalives_are_not_sent_where_there_is_data() {
    let mut link = Link::agreed(Some(25), None);
    for _ in 0..10 {
        link.wait(10.0);
        link.send('a');
        link.send('b');
    }
    assert_eq!(link.times('a', DATA).len(), 10);
}

#[test]
fn a_session_in_use_is_renewed_by_its_initiator_after_two_minutes() {
    let mut link = Link::agreed(None, None);
    for _ in 0..130 {
        link.wait(1.0);
        link.send('a');
        link.send('b');
    }
    assert_about(&link.times('a', INITIATION), &[120.0], 1.2);
    assert_eq!(link.times('b', INITIATION).len(), 0, "not by the responder");
    assert!(link.ages().0 < Some(11) && link.ages().1 < Some(11));
}

#[test]
fn an_initiator_that_only_listens_renews_before_the_end() {
    let mut link = Link::agreed(None, None);
    link.wait(158.0);
    // b alone talks, and not for so long that a would send a keepalive.
    for _ in 0..5 {
        link.send('b');
        link.wait(2.0);
    }
    assert_about(&link.times('a', INITIATION), &[165.0], 2.2);
}

#[test]
fn a_quiet_link_that_is_kept_alive_is_renewed_and_never_without_a_session() {
    for (keepalive_a, keepalive_b, at, by) in [
        (Some(25), None, 120.0, 'a'),
        (Some(25), Some(25), 120.0, 'a'),
        (None, Some(25), 150.0, 'b'),
    ] {
        let mut link = Link::agreed(keepalive_a, keepalive_b);
        link.wait(179.0);
        assert_about(&link.times(by, INITIATION), &[at], 0.3);
        let other = if by == 'a' { 'b' } else { 'a' };
        assert_eq!(link.times(other, INITIATION).len(), 0);
        for _ in 0..100 {
            link.wait(10.0);
            assert!(link.ages().0.is_some() && link.ages().1.is_some());
        }
    }
}

#[test]
fn a_responder_that_is_kept_alive_renews_when_the_initiator_has_gone() {
    let mut link = Link::agreed(None, Some(25));
    link.a = End::new(1, 2, None, link.now);
    link.wait(160.0);
    assert_about(&link.times('b', INITIATION), &[150.0], 0.3);
    assert!(link.ages().0.is_some(), "the far side has begun anew");
}

/// Both sides send each second, past three renewals, and everything arrives.
fn assert_nothing_is_lost(link: &mut Link) {
    for _ in 0..400 {
        link.wait(1.0);
        for from in ['a', 'b'] {
            let now = link.now;
            let (sender, receiver) = match from {
                'a' => (&mut link.a, &mut link.b),
                _ => (&mut link.b, &mut link.a),
            };
            let datagram = sender.send(&inner(100), now).unwrap();
            assert_eq!(
                receiver.handle(&datagram, now).0,
                Ok(Got::Packet(inner(100)))
            );
        }
    }
}

#[test]
fn nothing_is_lost_at_a_renewal() {
    let mut link = Link::agreed(None, None);
    assert_nothing_is_lost(&mut link);
    assert!(link.times('a', INITIATION).len() >= 3);
}

#[test]
fn a_responder_sends_under_a_session_only_when_it_was_sent_something_under_it() {
    let mut link = Link::new(None, None);
    let now = link.now;
    let initiation = link.a.dial(now).unwrap();
    let (_, answers) = link.b.handle(&initiation, now);
    assert_eq!(
        link.b.send(&inner(100), now),
        None,
        "it waits, and dials not at once"
    );
    let (_, keepalives) = link.a.handle(&answers[0], now);
    assert_eq!((keepalives.len(), keepalives[0].len()), (1, 32));
    let (got, held) = link.b.handle(&keepalives[0], now);
    assert_eq!(got, Ok(Got::Keepalive));
    assert_eq!(link.a.handle(&held[0], now).0, Ok(Got::Packet(inner(100))));
}

#[test]
fn a_responder_with_packets_dials_when_its_response_was_lost() {
    let mut link = Link::new(None, None);
    let initiation = link.a.dial(link.now).unwrap();
    assert_eq!(link.b.handle(&initiation, link.now).0, Ok(Got::Handshake));
    link.send('b');
    link.wait(0.5);
    link.a = End::new(1, 2, None, link.now);
    link.wait(6.0);
    assert_about(&link.times('b', INITIATION), &[5.0], 0.3);
    assert_eq!(link.times('b', DATA).len(), 1, "what waited is sent");
}

#[test]
fn two_sides_that_dial_at_once_agree_and_lose_nothing() {
    let mut link = Link::new(Some(25), Some(25));
    let now = link.now;
    let (from_a, from_b) = (link.a.dial(now).unwrap(), link.b.dial(now).unwrap());
    let (_, by_b) = link.b.handle(&from_a, now);
    let (_, by_a) = link.a.handle(&from_b, now);
    for answer in by_a {
        link.carry('a', answer);
    }
    for answer in by_b {
        link.carry('b', answer);
    }
    assert_nothing_is_lost(&mut link);
}

#[test]
fn a_replayed_initiation_is_not_answered() {
    let mut link = Link::new(None, None);
    let old = link.a.dial(link.now).unwrap();
    link.carry('a', old.clone());
    link.now += Duration::from_secs(1);
    let (result, answers) = link.b.handle(&old, link.now);
    assert_eq!(
        (result, answers),
        (Err(DropReason::HandshakeReplayed), vec![])
    );
}

#[test]
fn initiations_that_follow_each_other_too_fast_are_not_answered() {
    let mut link = Link::new(None, None);
    let first = link.a.dial(link.now).unwrap();
    // From a gateway that restarts, with a greater timestamp.
    let mut again = End::new(1, 2, None, link.now);
    let second = again.dial(link.now + Duration::from_millis(40)).unwrap();
    let third = End::new(1, 2, None, link.now)
        .dial(link.now + Duration::from_millis(80))
        .unwrap();
    assert_eq!(link.b.handle(&first, link.now).0, Ok(Got::Handshake));
    let soon = link.now + Duration::from_millis(19);
    assert_eq!(
        link.b.handle(&second, soon).0,
        Err(DropReason::HandshakeRateLimited)
    );
    let later = link.now + Duration::from_millis(20);
    assert_eq!(link.b.handle(&third, later).0, Ok(Got::Handshake));
}

#[test]
fn a_forged_response_leaves_the_handshake_as_it_was() {
    let mut link = Link::new(None, None);
    let now = link.now;
    let initiation = link.a.dial(now).unwrap();
    let (_, answers) = link.b.handle(&initiation, now);
    for at in 12..60 {
        let mut forged = answers[0].clone();
        forged[at] ^= 1;
        let (result, sent) = link.a.handle(&forged, now);
        assert_eq!((result, sent), (Err(DropReason::HandshakeInvalid), vec![]));
    }
    assert_eq!(link.a.handle(&answers[0], now).0, Ok(Got::Handshake));
    let (again, _) = link.a.handle(&answers[0], now);
    assert_eq!(
        again,
        Err(DropReason::HandshakeInvalid),
        "it answers nothing"
    );
}

#[test]
fn a_padded_packet_is_trimmed_and_a_short_one_is_refused() {
    let mut link = Link::agreed(None, None);
    let mut padded = inner(100);
    padded.resize(112, 0);
    let datagram = link.a.send(&padded, link.now).unwrap();
    assert_eq!(
        link.b.handle(&datagram, link.now).0,
        Ok(Got::Packet(inner(100)))
    );
    for bad in [&inner(100)[..99], &inner(100)[..3], &[0x60; 39], &[0; 60]] {
        let datagram = link.a.send(bad, link.now).unwrap();
        assert_eq!(
            link.b.handle(&datagram, link.now).0,
            Err(DropReason::InnerMalformed)
        );
    }
}

#[test]
fn messages_of_the_session_before_are_still_opened() {
    let mut link = Link::agreed(None, None);
    let late = link.a.send(&inner(60), link.now).unwrap();
    for _ in 0..2 {
        link.now += Duration::from_secs(1);
        let initiation = link.a.dial(link.now).unwrap();
        link.carry('a', initiation);
    }
    assert_eq!(link.b.handle(&late, link.now).0, Ok(Got::Packet(inner(60))));
    assert_eq!(link.b.handle(&late, link.now).0, Err(DropReason::Replayed));
}

#[test]
fn the_keys_of_a_session_before_are_gone_three_minutes_after_they_were_made() {
    let mut link = Link::agreed(None, None);
    let late: Vec<_> = (0..2)
        .map(|_| link.a.send(&inner(60), link.now).unwrap())
        .collect();
    link.wait(100.0);
    let initiation = link.a.dial(link.now).unwrap();
    link.carry('a', initiation);
    link.wait(79.0);
    assert_eq!(
        link.b.handle(&late[0], link.now).0,
        Ok(Got::Packet(inner(60)))
    );
    link.wait(1.5);
    assert_eq!(
        link.ages(),
        (Some(80), Some(80)),
        "the session after it lives"
    );
    let gone = link.b.handle(&late[1], link.now).0;
    assert_eq!(gone, Err(DropReason::NoSession));
    link.wait(100.0);
    assert!(link.a.session.keypairs.is_empty() && link.b.session.keypairs.is_empty());
}

#[test]
fn receiver_indices_keep_their_upper_part_and_never_collide() {
    let mut link = Link::agreed(None, None);
    for _ in 0..260 {
        link.now += Duration::from_secs(1);
        let initiation = link.a.dial(link.now).unwrap();
        assert_eq!(message::sender(&initiation).unwrap() >> 8, 1);
        link.carry('a', initiation);
        link.send('a');
        link.send('b');
    }
    assert_eq!(link.times('a', DATA).len(), 520);
    assert_eq!(link.times('b', DATA).len(), 260);
}

#[test]
fn a_public_key_of_low_order_is_refused() {
    let now = clock::now();
    let mut end = End::new(1, 2, None, now);
    for low in [[0; 32], {
        let mut one = [0; 32];
        one[0] = 1;
        one
    }] {
        end.session = Session::new(low, None, None, 1, now);
        assert_eq!(end.dial(now), None);
    }
    // As an ephemeral key of somebody else: the initiation does not decrypt.
    let mut initiation = End::new(2, 1, None, now).dial(now).unwrap();
    initiation[8..40].fill(0);
    assert!(Responder::read(&end.local.identity, &initiation).is_none());
}

#[test]
fn a_used_up_session_is_replaced() {
    let mut link = Link::agreed(None, None);
    link.a.session.keypairs.current().unwrap().wear(1 << 60);
    link.send('a');
    link.wait(0.3);
    assert_eq!(link.times('a', INITIATION).len(), 1, "renewed when worn");
    link.a
        .session
        .keypairs
        .current()
        .unwrap()
        .wear(u64::MAX - (1 << 13));
    link.send('a');
    assert_eq!(
        link.times('a', INITIATION).len(),
        2,
        "not used when used up: the packet waits for the next"
    );
    assert_eq!(link.times('a', DATA).len(), 3, "and is sent then");
}
