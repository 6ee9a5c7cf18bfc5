//! What the next agent goes on with, and what it does not.

use super::engines::hand_over_as;
use super::pulses::Net;
use super::*;
use crossway_liveness::bfd::packet::State;
use crossway_types::keys::SecretKey;

#[test]
fn a_peer_with_another_key_or_number_begins_anew() {
    type Change = fn(&mut PeerSpec);
    let changes: [(Change, bool); 5] = [
        (|_| (), true),
        (|spec| spec.keepalive = Some(7), true),
        (|spec| spec.receiver_index += 1, false),
        (|spec| spec.public_key[3] ^= 1, false),
        (
            |spec| {
                let key = "E".repeat(43) + "=";
                spec.preshared_key = Some(SecretKey::from_base64(&key).unwrap());
            },
            false,
        ),
    ];
    for (number, (change, goes_on)) in changes.into_iter().enumerate() {
        let (mut a, mut b) = pair();
        exchange(&mut a, &mut b);
        let sent = inner([10, 1, 0, 1], [10, 2, 0, 1], 100);
        assert_eq!(a.seal(&sent), Sealed::Ready);
        let imported = hand_over_as(&mut a, &Arc::default(), change);
        assert_eq!(
            (imported.sessions, imported.anew),
            (goes_on.into(), (!goes_on).into()),
            "{number}"
        );
        let peer = &a.snapshot()[0];
        assert_eq!(peer.handshake_age.is_some(), goes_on, "{number}");
        assert_eq!(peer.sent_packets, u64::from(goes_on), "{number}");
    }
}

#[test]
fn the_order_of_links_and_what_bfd_knows_of_them_go_along() {
    let mut net = Net::new();
    let site = Net::site(0);
    for first in [1, 0] {
        let ranks = [vec![LinkId(first)], vec![LinkId(1 - first)]];
        net.nodes[0].tunnel.set_ranks(site, &ranks);
        hand_over_as(&mut net.nodes[0], &Arc::default(), |_| ());
        assert_eq!(net.carrier(0), LinkId(first));
        for link in 0..2 {
            assert_eq!(net.bfd(0, link).state, State::Up);
            assert!(net.bfd(0, link).decides);
        }
        net.run(Duration::from_secs(1));
        assert_eq!(net.changes[1], [], "the far end notices nothing");
    }
}

#[test]
fn a_link_that_control_has_not_taken_up_again_stays_out_of_use() {
    let mut net = Net::new();
    net.cut[0] = true;
    net.run(Duration::from_secs(1));
    net.cut[0] = false;
    net.run(Duration::from_secs(3));
    assert_eq!(net.bfd(0, 0).state, State::Up);
    hand_over_as(&mut net.nodes[0], &Arc::default(), |_| ());
    assert_eq!(
        net.carrier(0),
        LinkId(1),
        "it was benched by the agent before"
    );
    let ranks = [vec![LinkId(0)], vec![LinkId(1)]];
    let site = Net::site(0);
    net.nodes[0].tunnel.set_ranks(site, &ranks);
    assert_eq!(net.carrier(0), LinkId(0));
}

#[test]
fn another_pace_keeps_the_session_of_bfd_and_another_mode_does_not() {
    let mut net = Net::new();
    let mut liveness = Liveness::default();
    liveness.pace.interval *= 2;
    let now = net.now;
    let before = [0, 1].map(|node| net.bfd(node, 0).detection_time.unwrap());
    let tunnel = &mut net.nodes[0].tunnel;
    tunnel.set_liveness(LinkId(0), &liveness, None, now);
    assert_eq!(net.bfd(0, 0).state, State::Up);
    net.run(Duration::from_secs(2));
    assert_eq!(net.changes, [vec![], vec![]]);
    let after = [0, 1].map(|node| net.bfd(node, 0).detection_time.unwrap());
    assert_eq!(after, before.map(|time| time * 2));
    liveness.mode = LivenessMode::Bfd;
    let (now, tunnel) = (net.now, &mut net.nodes[0].tunnel);
    tunnel.set_liveness(LinkId(0), &liveness, None, now);
    assert_eq!(net.bfd(0, 0).state, State::Down, "it begins anew");
}

#[test]
fn a_probe_is_taken_up_when_it_is_asked_for_and_given_up_when_it_is_not() {
    let mut net = Net::new();
    let own = Some("10.1.0.1".parse().unwrap());
    for (probe, source, expected) in [
        (None, own, None),
        (Some("10.2.0.1"), own, Some(false)),
        (Some("10.2.0.1"), None, None),
        (Some("10.2.0.2"), own, Some(false)),
        (None, own, None),
    ] {
        let liveness = Liveness {
            probe: probe.map(|host| host.parse().unwrap()),
            ..Liveness::default()
        };
        let now = net.now;
        let tunnel = &mut net.nodes[0].tunnel;
        tunnel.set_liveness(LinkId(0), &liveness, source, now);
        assert_eq!(net.nodes[0].snapshot()[0].pulse.echo, expected, "{probe:?}");
        assert_eq!(net.bfd(0, 0).state, State::Up, "BFD goes on");
    }
}
