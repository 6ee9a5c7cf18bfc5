//! Sessions that go on in the next agent.

use super::*;
use crossway_types::codec::{Damaged, Reader, Writer};

impl End {
    /// Goes on as the next agent would; returns the packets that stayed behind.
    pub(super) fn hand_over(&mut self, now: Instant) -> u64 {
        let mut writer = Writer::new(now);
        let waiting = self.session.export(&mut writer);
        let bytes = writer.finish();
        let mut next = self.blank(now);
        let mut reader = Reader::new(&bytes, now);
        next.import(&mut reader).unwrap();
        assert!(reader.is_empty());
        self.session = next;
        waiting.packets
    }

    /// A session without a handshake, of the same peer.
    pub(super) fn blank(&self, now: Instant) -> Session {
        let session = &self.session;
        let keepalive = session.kept_alive.then_some(25);
        Session::new(
            session.peer,
            Some(&*session.preshared),
            keepalive,
            session.index >> 8,
            now,
        )
    }
}

pub(super) fn exchanged(link: &mut Link) -> [Vec<u8>; 2] {
    let (now, packet) = (link.now, inner(100));
    let there = link.a.send(&packet, now).unwrap();
    let back = link.b.send(&packet, now).unwrap();
    let got = Ok(Got::Packet(packet));
    assert_eq!(link.b.handle(&there, now).0, got);
    assert_eq!(link.a.handle(&back, now).0, got);
    [there, back]
}

#[test]
fn a_session_goes_on_in_both_directions_without_a_handshake() {
    let mut link = Link::agreed(None, None);
    exchanged(&mut link);
    link.wait(30.0);
    link.wire.clear();
    for _ in 0..3 {
        let now = link.now;
        assert_eq!(link.a.hand_over(now), 0);
        exchanged(&mut link);
    }
    assert_eq!(link.ages(), (Some(30), Some(30)));
    assert!(link.times('a', 1).is_empty());
}

#[test]
fn no_counter_is_used_twice_and_none_is_taken_twice() {
    let mut link = Link::agreed(None, None);
    let before = exchanged(&mut link);
    let now = link.now;
    link.a.hand_over(now);
    let after = exchanged(&mut link);
    assert_ne!(before[0], after[0]);
    for datagram in [&before[1], &after[1]] {
        let replayed = link.a.handle(datagram, now).0;
        assert_eq!(replayed, Err(DropReason::Replayed));
    }
}

#[test]
fn the_session_is_renewed_at_its_age_and_not_later() {
    let mut link = Link::agreed(Some(25), None);
    link.wait(100.0);
    let now = link.now;
    link.a.hand_over(now);
    link.wire.clear();
    link.wait(30.0);
    let renewals = link.times('a', 1);
    assert_eq!(renewals.len(), 1, "{renewals:?}");
    assert!((120.0..121.0).contains(&renewals[0]), "{renewals:?}");
    assert!(link.ages().0 < Some(15));
}

#[test]
fn an_old_initiation_is_refused_by_the_next_agent_too() {
    let mut link = Link::new(None, None);
    let initiation = link.a.dial(link.now).unwrap();
    link.carry('a', initiation.clone());
    link.wait(1.0);
    let now = link.now;
    link.b.hand_over(now);
    let replayed = link.b.handle(&initiation, now).0;
    assert_eq!(replayed, Err(DropReason::HandshakeReplayed));
}

#[test]
fn what_waits_for_a_handshake_is_counted() {
    let mut link = Link::new(None, None);
    link.up = false;
    for _ in 0..3 {
        link.send('a');
    }
    let now = link.now;
    assert_eq!(link.a.hand_over(now), 3);
    link.up = true;
    link.send('a');
    assert!(link.ages().0.is_some());
}

#[test]
fn a_damaged_state_is_refused_wherever_it_ends() {
    let mut link = Link::agreed(Some(25), None);
    exchanged(&mut link);
    let mut writer = Writer::new(link.now);
    link.a.session.export(&mut writer);
    let bytes = writer.finish();
    for length in 0..bytes.len() {
        let mut next = link.a.blank(link.now);
        let imported = next.import(&mut Reader::new(&bytes[..length], link.now));
        assert_eq!(imported, Err(Damaged), "{length}");
    }
}

#[test]
fn the_state_of_another_link_is_refused() {
    let link = Link::agreed(None, None);
    let mut writer = Writer::new(link.now);
    link.a.session.export(&mut writer);
    let bytes = writer.finish();
    let mut other = link.b.blank(link.now);
    let imported = other.import(&mut Reader::new(&bytes, link.now));
    assert_eq!(imported, Err(Damaged));
}

#[test]
fn more_sessions_than_a_peer_can_have_are_refused() {
    let link = Link::agreed(None, None);
    let mut writer = Writer::new(link.now);
    link.a.session.export(&mut writer);
    let bytes = writer.finish();
    // The current session stands in front of the number of the others, which is 0.
    let mut keypair = Writer::new(link.now);
    let keypairs = &link.a.session.keypairs;
    keypairs.export(&mut keypair);
    let keypair = keypair.finish();
    let (current, none) = keypair.split_at(keypair.len() - 4);
    assert_eq!(none, [0; 4]);
    for (others, expected) in [(4, Ok(())), (5, Err(Damaged)), (256, Err(Damaged))] {
        let mut state = bytes[..bytes.len() - 4].to_vec();
        state.extend(u32::to_le_bytes(others));
        for number in 0..others {
            let mut keypair = current[1..].to_vec();
            // Were each number of a handshake taken, the search for a free one would not end.
            keypair[0] = number as u8;
            state.extend(keypair);
        }
        let mut next = link.a.blank(link.now);
        let imported = next.import(&mut Reader::new(&state, link.now));
        assert_eq!(imported, expected, "{others}");
    }
}
