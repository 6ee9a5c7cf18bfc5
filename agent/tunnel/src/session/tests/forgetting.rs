//! A machine that was copied with its sessions, or slept.

use std::collections::HashSet;

use super::handed_over::exchanged;
use super::*;
use crossway_types::codec::{Reader, Writer};

const NO_SLEEP: Duration = Duration::ZERO;

impl End {
    /// The same end in a copy of its machine: exact, but for a handshake under way.
    fn copied(&self, key: u8, now: Instant) -> Self {
        let mut writer = Writer::new(now);
        self.session.export(&mut writer);
        let bytes = writer.finish();
        let mut session = self.blank(now);
        session.import(&mut Reader::new(&bytes, now)).unwrap();
        Self {
            local: Local {
                identity: Identity::new([key; 32]),
                ..self.local
            },
            session,
        }
    }
}

/// Receiver and counter of a data message: what must never be twice under one key.
fn nonce(datagram: &[u8]) -> (u32, u64) {
    assert_eq!(datagram[0], 4);
    (
        message::receiver(datagram).unwrap(),
        message::counter(datagram).unwrap(),
    )
}

#[test]
fn a_copy_sends_nothing_under_the_keys_of_the_original_and_both_get_through() {
    let mut link = Link::agreed(None, None);
    exchanged(&mut link);
    let now = link.now;
    let [mut copy, mut careless] = [(); 2].map(|()| link.a.copied(1, now));
    let sent: HashSet<_> = (0..5)
        .map(|_| nonce(&link.a.send(&inner(60), now).unwrap()))
        .collect();
    let without = careless.send(&inner(60), now).unwrap();
    assert!(sent.contains(&nonce(&without)), "what would be sent twice");

    assert!(copy.session.forget_sending_keys(NO_SLEEP, now));
    assert_eq!(copy.session.handshake_age(now), None);
    let first = copy.send(&inner(60), now + TICK).unwrap();
    assert_eq!(first[0], 1, "a handshake, for which the packet waits");
    // What the far end sends meanwhile under the old keys is opened.
    let data = link.b.send(&inner(70), now).unwrap();
    assert_eq!(copy.handle(&data, now).0, Ok(Got::Packet(inner(70))));
    assert_eq!(
        copy.send(&inner(61), now),
        None,
        "and does not bring them back"
    );
    let (_, answers) = link.b.handle(&first, now + TICK);
    let (_, held) = copy.handle(&answers[0], now + TICK);
    assert_eq!(held.len(), 2);
    for datagram in &held {
        assert!(!sent.contains(&nonce(datagram)));
        assert!(link.b.handle(datagram, now + TICK).0.is_ok());
    }
}

#[test]
fn keys_that_were_not_confirmed_yet_are_forgotten_too() {
    let mut link = Link::new(None, None);
    let now = link.now;
    let initiation = link.a.dial(now).unwrap();
    let (_, answers) = link.b.handle(&initiation, now);
    assert!(link.b.session.forget_sending_keys(NO_SLEEP, now));
    link.b.hand_over(now);
    let (_, keepalive) = link.a.handle(&answers[0], now);
    assert_eq!(link.b.handle(&keepalive[0], now).0, Ok(Got::Keepalive));
    assert_eq!(link.b.session.handshake_age(now), None);
    let sent = link.b.send(&inner(60), now).unwrap();
    assert_eq!(sent[0], 1, "it begins a handshake of its own");
}

#[test]
fn the_answer_to_a_handshake_of_before_is_not_taken() {
    let mut link = Link::new(None, None);
    let now = link.now;
    let initiation = link.a.dial(now).unwrap();
    let (_, answers) = link.b.handle(&initiation, now);
    assert!(link.a.session.forget_sending_keys(NO_SLEEP, now));
    let late = link.a.handle(&answers[0], now).0;
    assert_eq!(late, Err(DropReason::HandshakeInvalid));
    link.now += Duration::from_secs(1);
    let again = link.a.dial(link.now).unwrap();
    link.carry('a', again);
    assert!(link.ages().0.is_some());
}

#[test]
fn what_was_forgotten_stays_so_in_the_next_agent() {
    let mut link = Link::agreed(None, None);
    exchanged(&mut link);
    let now = link.now;
    link.a.session.forget_sending_keys(NO_SLEEP, now);
    link.a.hand_over(now);
    let data = link.b.send(&inner(70), now).unwrap();
    assert_eq!(link.a.handle(&data, now).0, Ok(Got::Packet(inner(70))));
    assert_eq!(link.a.send(&inner(60), now).unwrap()[0], 1);
}

#[test]
fn a_machine_that_slept_has_no_key_older_than_three_minutes() {
    for (seconds, kept) in [(100, true), (179, true), (180, false), (1 << 40, false)] {
        let mut link = Link::agreed(None, None);
        let now = link.now;
        let data = link.b.send(&inner(70), now).unwrap();
        let asleep = Duration::from_secs(seconds);
        assert!(link.a.session.forget_sending_keys(asleep, now));
        assert_eq!(link.a.session.keypairs.is_empty(), !kept, "{seconds}");
        let expected = if kept {
            Ok(Got::Packet(inner(70)))
        } else {
            Err(DropReason::NoSession)
        };
        assert_eq!(link.a.handle(&data, now).0, expected);
        if kept {
            let ends = now + Duration::from_secs(180 - seconds);
            link.a.tick(ends);
            assert!(link.a.session.keypairs.is_empty(), "{seconds}");
        }
    }
}
