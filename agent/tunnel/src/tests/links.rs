//! Several links to one far gateway, which has one key: which of them a message is for, and what is found of them.

use std::num::NonZeroU32;

use super::replays::{Between, FAR, NEAR, Pair, spec};
use super::*;

/// Links as they are given: by which interface, and where they are dialled.
type Links = [(Option<u32>, Option<&'static str>)];

/// A gateway that has these links to another one.
fn hub(links: &Links) -> (Node, Node) {
    let mut node = Node::new(1, NEAR[0]);
    let far = Node::new(2, FAR[0]);
    let key = far.public_key();
    for (link, (interface, address)) in links.iter().enumerate() {
        let endpoint = address.map(|address| Endpoint::new(address.parse().unwrap()));
        let mut spec = spec(link, Between::Sites, Engine::Crossway, key, endpoint);
        spec.interface = interface.and_then(NonZeroU32::new);
        node.tunnel.add_peer(spec, node.now, &mut node.out);
    }
    node.out.take_datagrams();
    (node, far)
}

/// The link that an initiation is answered on which comes from there, by this interface.
fn answering(links: &Links, from: &str, arrival: Option<u32>) -> usize {
    let (mut near, mut far) = hub(links);
    far.add(&near, 1, true);
    let (_, initiation) = far.out.take_datagrams().remove(0);
    let from = Endpoint {
        interface: arrival.and_then(NonZeroU32::new),
        ..Endpoint::new(from.parse().unwrap())
    };
    assert_eq!(near.handle(&initiation, from).0, Handled::Control);
    let (_, response) = near.out.take_datagrams().remove(0);
    let sender = u32::from_le_bytes(response[4..8].try_into().unwrap());
    (sender >> 8) as usize - 0x1000
}

#[test]
fn an_initiation_is_for_the_link_by_whose_interface_it_came() {
    // Even if its address is that of the other.
    let both = [(Some(3), Some(FAR[0])), (Some(4), Some(FAR[1]))];
    for from in FAR {
        assert_eq!(answering(&both, from, Some(3)), 0, "{from}");
        assert_eq!(answering(&both, from, Some(4)), 1, "{from}");
    }
    // One that is bound to no interface is better than one that is bound to another.
    let one = [(Some(3), Some(FAR[0])), (None, None)];
    assert_eq!(answering(&one, FAR[0], Some(3)), 0);
    assert_eq!(answering(&one, FAR[0], Some(4)), 1);
}

#[test]
fn of_links_by_the_same_interface_the_one_that_was_dialled_there_is_meant() {
    let links = [
        (None, Some("198.51.100.2:51820")),
        (None, None),
        (None, Some("192.0.2.2:4000")),
        (None, Some("192.0.2.2:51820")),
    ];
    for (from, expected) in [
        ("198.51.100.2:51820", 0),
        ("198.51.100.2:9", 0),
        ("203.0.113.9:51820", 1),
        ("192.0.2.2:4000", 2),
        ("192.0.2.2:51820", 3),
        ("192.0.2.2:9", 2),
    ] {
        assert_eq!(answering(&links, from, None), expected, "{from}");
    }
}

#[test]
fn a_link_that_is_taken_away_leaves_the_others_of_its_gateway() {
    for mut pair in Pair::all() {
        for (taken, left) in [(0, 1), (1, 0)] {
            let mut pair = Pair::new(pair.engine, pair.between, pair.near.len());
            pair.carry();
            let lane = pair.lane(taken);
            pair.far[lane].tunnel.remove_peer(LinkId(taken as u32));
            pair.wait(1000);
            let initiation = pair.begin(left);
            assert_eq!(
                pair.replay(left, &initiation, NEAR[left]).0,
                Handled::Control
            );
        }
        // Without any, its key is nobody's.
        pair.wait(1000);
        let initiation = pair.begin(0);
        for link in 0..2 {
            let lane = pair.lane(link);
            pair.far[lane].tunnel.remove_peer(LinkId(link as u32));
        }
        let (handled, _) = pair.replay(0, &initiation, NEAR[0]);
        assert_eq!(handled, Handled::Dropped(DropReason::UnknownPeer));
    }
}

#[test]
fn a_link_is_found_by_where_its_far_end_is_or_is_dialled() {
    let (mut near, _) = hub(&[(None, Some(FAR[0])), (None, Some(FAR[1]))]);
    let at = |near: &Node, address: &str, port| near.tunnel.link_at(address.parse().unwrap(), port);
    for (link, address) in [(0, "192.0.2.2"), (1, "198.51.100.2")] {
        assert_eq!(at(&near, address, None), Some(LinkId(link)));
        assert_eq!(at(&near, address, Some(51820)), Some(LinkId(link)));
        assert_eq!(at(&near, address, Some(9)), None);
        assert_eq!(
            near.tunnel.slot_of_link(LinkId(link)),
            Some(PeerSlot(link as usize))
        );
    }
    assert_eq!(at(&near, "203.0.113.9", None), None);
    assert_eq!(at(&near, "203.0.113.9", Some(51820)), None);
    assert_eq!(near.tunnel.slot_of_link(LinkId(2)), None);
    // It moves: it is known at both.
    let moved = Endpoint::new("203.0.113.9:7".parse().unwrap());
    near.tunnel.peers[0]
        .as_mut()
        .unwrap()
        .set_endpoint(moved, near.now);
    assert_eq!(at(&near, "203.0.113.9", Some(7)), Some(LinkId(0)));
}

/// Thousands of them would else have everybody show a cookie.
#[test]
fn responses_that_nobody_asked_for_are_no_load() {
    for (mut a, mut b) in pairs() {
        let (_, initiation) = a.out.take_datagrams().remove(0);
        b.handle(&initiation, a.address);
        let (_, response) = b.out.take_datagrams().remove(0);
        assert_eq!(a.handle(&response, b.address).0, Handled::Control);
        for _ in 0..2000 {
            let (handled, _) = a.handle(&response, b.address);
            assert_eq!(handled, Handled::Dropped(DropReason::HandshakeInvalid));
        }
        let mut anew = Node::new(2, "203.0.113.9:7");
        anew.add(&a, 1, true);
        let (_, initiation) = anew.out.take_datagrams().remove(0);
        assert_eq!(a.handle(&initiation, anew.address).0, Handled::Control);
    }
}

#[test]
fn a_handshake_that_waits_for_its_answer_is_told_with_its_age() {
    for (mut a, mut b) in pairs() {
        let waits = |node: &Node| node.snapshot()[0].unanswered_for;
        assert_eq!(waits(&a), Some(Duration::ZERO));
        assert_eq!(waits(&b), None);
        a.now += Duration::from_secs(3);
        assert_eq!(waits(&a), Some(Duration::from_secs(3)));
        exchange(&mut a, &mut b);
        assert_eq!((waits(&a), waits(&b)), (None, None));
    }
}

#[test]
fn a_link_that_is_bound_to_another_interface_leaves_by_it_at_once() {
    let (mut a, mut b) = pair();
    exchange(&mut a, &mut b);
    let packet = inner([10, 1, 0, 1], [10, 2, 0, 1], 100);
    for interface in [NonZeroU32::new(7), NonZeroU32::new(8), None] {
        a.tunnel.set_interface(LinkId(2), interface, a.now);
        assert_eq!(a.seal(&packet), Sealed::Ready);
        let (to, _) = a.out.take_datagrams().remove(0);
        assert_eq!((to.remote, to.interface), (b.address.remote, interface));
    }
}

/// The list is for times of load: made anew once a second, not for each message.
#[test]
fn where_peers_are_is_looked_up_again_after_a_second() {
    let (mut a, b) = pair();
    let now = a.now;
    let known = |a: &mut Node, address: &str, milliseconds| {
        let now = now + Duration::from_millis(milliseconds);
        let tunnel = &mut a.tunnel;
        let address = address.parse().unwrap();
        tunnel.known_addresses.contains(address, &tunnel.peers, now)
    };
    assert!(known(&mut a, "192.0.2.2", 0));
    assert!(known(&mut a, "::ffff:192.0.2.2", 0));
    let moved = Endpoint::new("203.0.113.9:7".parse().unwrap());
    a.tunnel.set_endpoint(LinkId(2), moved, now, &mut a.out);
    assert!(!known(&mut a, "203.0.113.9", 999));
    assert!(known(&mut a, "203.0.113.9", 1000));
    assert!(!known(&mut a, &b.address.remote.ip().to_string(), 1000));
    a.tunnel.remove_peer(LinkId(2));
    assert!(!known(&mut a, "203.0.113.9", 2500));
}

#[test]
fn what_waited_at_the_one_that_answers_goes_with_the_first_message_of_the_other() {
    for (mut a, mut b) in pairs() {
        let (_, initiation) = a.out.take_datagrams().remove(0);
        b.handle(&initiation, a.address);
        let (_, response) = b.out.take_datagrams().remove(0);
        let packet = inner([10, 2, 0, 1], [10, 1, 0, 1], 300);
        assert_eq!(b.seal(&packet), Sealed::Queued);
        // What b begins itself is lost.
        b.out.take_datagrams();
        a.handle(&response, b.address);
        for (_, datagram) in a.out.take_datagrams() {
            b.handle(&datagram, a.address);
        }
        let sent = b.out.take_datagrams();
        assert_eq!(sent.len(), 1, "at once");
        assert_eq!(
            a.handle(&sent[0].1, b.address),
            (Handled::Packet(300), packet)
        );
        assert_eq!(b.snapshot()[0].sent_packets, 1);
    }
}

#[test]
fn a_clock_that_was_set_back_begins_no_earlier_than_it_is_told() {
    let (mut a, mut b) = pair();
    exchange(&mut a, &mut b);
    b.now += Duration::from_secs(1);
    for (told, expected) in [
        (None, Handled::Dropped(DropReason::HandshakeReplayed)),
        (
            Some(clock::since_epoch() + Duration::from_secs(1)),
            Handled::Control,
        ),
    ] {
        let mut again = Node::at(1, NEAR[0], b.now, Duration::from_secs(500));
        if let Some(since_epoch) = told {
            again.tunnel.begin_calendar(again.now, since_epoch);
        }
        again.add(&b, 2, true);
        let (_, initiation) = again.out.take_datagrams().remove(0);
        assert_eq!(b.handle(&initiation, a.address).0, expected);
    }
}
