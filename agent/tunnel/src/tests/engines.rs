//! What is to hold whichever engine runs the sessions, at either end.

#[cfg(feature = "mock-clock")]
mod by_the_clock;

use super::*;
use crate::export::Imported;
use crossway_types::codec::{Reader, Writer};
use crossway_types::keys::SecretKey;

const THERE: ([u8; 4], [u8; 4]) = ([10, 1, 0, 1], [10, 2, 0, 1]);
const BACK: ([u8; 4], [u8; 4]) = (THERE.1, THERE.0);

/// Packets of every size cross both ways.
fn assert_traffic(a: &mut Node, b: &mut Node) {
    let sizes = [20, 21, 36, 576, 1420, 9000, 65_000];
    let there: Vec<_> = sizes.map(|size| inner(THERE.0, THERE.1, size)).into();
    let back: Vec<_> = sizes.map(|size| inner(BACK.0, BACK.1, size)).into();
    for packet in &there {
        assert_eq!(a.seal(packet), Sealed::Ready);
    }
    for packet in &back {
        assert_eq!(b.seal(packet), Sealed::Ready);
    }
    assert_eq!(exchange(a, b), (back, there));
}

/// Begins anew with another preshared key.
fn set_preshared(node: &mut Node, letter: &str) {
    let mut spec = node.tunnel.peers[0].as_ref().unwrap().spec().clone();
    spec.preshared_key = Some(SecretKey::from_base64(&(letter.repeat(43) + "=")).unwrap());
    node.out.take_datagrams();
    node.tunnel.add_peer(spec, node.now, &mut node.out);
}

#[test]
fn packets_of_every_size_cross() {
    for (mut a, mut b) in pairs() {
        exchange(&mut a, &mut b);
        assert_traffic(&mut a, &mut b);
    }
}

#[test]
fn what_is_lost_comes_late_or_twice_is_counted_by_the_messages_own_numbers() {
    for (mut a, mut b) in pairs() {
        exchange(&mut a, &mut b);
        // So that keepalives after the handshake are out of the account.
        let before = b.snapshot()[0].arrivals;
        for _ in 0..20 {
            assert_eq!(a.seal(&inner(THERE.0, THERE.1, 100)), Sealed::Ready);
        }
        let mut sent = a.out.take_datagrams();
        assert_eq!(sent.len(), 20);
        // 5 and 6 are lost, 12 comes behind 15, 3 comes three times.
        let late = sent.remove(12).1;
        sent.insert(15, (a.address, late));
        sent.drain(5..7);
        let again = sent[3].1.clone();
        for _ in 0..2 {
            sent.push((a.address, again.clone()));
        }
        for (_, datagram) in &sent {
            b.handle(datagram, a.address);
        }
        let arrivals = b.snapshot()[0].arrivals;
        assert_eq!(arrivals.received - before.received, 18);
        assert_eq!(arrivals.expected() - before.expected(), 20);
        assert_eq!(arrivals.missing() - before.missing(), 2);
        assert_eq!((arrivals.late, arrivals.duplicates), (1, 2));
        assert_eq!(arrivals.outdated, 0);
        assert_eq!(b.snapshot()[0].handshakes, 1);
        assert_eq!(a.snapshot()[0].handshakes, 1);
    }
}

#[test]
fn the_next_agent_goes_on_counting_what_comes() {
    let (mut a, mut b) = pair();
    exchange(&mut a, &mut b);
    for round in 0..10 {
        assert_eq!(a.seal(&inner(THERE.0, THERE.1, 100)), Sealed::Ready);
        let (_, datagram) = a.out.take_datagrams().remove(0);
        if round % 3 != 1 {
            b.handle(&datagram, a.address);
        }
    }
    let told = b.snapshot()[0].clone();
    assert!(told.arrivals.missing() > 0, "{told:?}");
    let mut to = Writer::new(b.now);
    b.tunnel.export(b.now, &mut to);
    let bytes = to.finish();
    let spec = b.tunnel.peers[0].as_ref().unwrap().spec().clone();
    let mut next = Node::at(2, "203.0.113.2:51820", b.now, Duration::ZERO);
    let mut from = Reader::new(&bytes, b.now);
    next.tunnel.import(&mut from, &[spec], b.now).unwrap();
    let after = next.snapshot()[0].clone();
    assert_eq!(after.arrivals, told.arrivals);
    assert_eq!(after.handshakes, told.handshakes);
}

#[test]
fn every_packet_is_padded_as_in_the_kernel_and_arrives_as_it_was() {
    for (mut a, mut b) in pairs() {
        exchange(&mut a, &mut b);
        let from = Endpoint::new(a.address.remote);
        for mtu in [1280, 1419, 1420, 8920] {
            a.tunnel.set_mtu(mtu, a.now);
            let near_the_mtu = mtu as u16 - 40..=mtu as u16;
            for length in (20..140).chain([576, 577, 1279]).chain(near_the_mtu) {
                let packet = inner(THERE.0, THERE.1, length);
                assert_eq!(a.seal(&packet), Sealed::Ready);
                let (_, datagram) = a.out.take_datagrams().remove(0);
                let padded = usize::from(length.next_multiple_of(16)).min(mtu);
                assert_eq!(datagram.len(), 32 + padded, "{length} of {mtu}");
                let (handled, landed) = b.handle(&datagram, from);
                assert_eq!(handled, Handled::Packet(length.into()));
                assert!(landed == packet);
            }
        }
        let sent = a.snapshot()[0].sent_bytes;
        assert_eq!(
            sent,
            b.snapshot()[0].received_bytes,
            "counted without padding"
        );
    }
}

#[test]
fn what_waited_is_padded_too_and_counted_without() {
    for (mut a, mut b) in pairs() {
        let packet = inner(THERE.0, THERE.1, 101);
        assert_eq!(a.seal(&packet), Sealed::Queued);
        for (_, datagram) in a.out.take_datagrams() {
            b.handle(&datagram, a.address);
        }
        for (_, datagram) in b.out.take_datagrams() {
            a.handle(&datagram, b.address);
        }
        let data = a.out.take_datagrams();
        assert!(data.iter().any(|(_, datagram)| datagram.len() == 32 + 112));
        assert_eq!(a.snapshot()[0].sent_bytes, 101);
    }
}

/// The cuts of a super-packet: equal but for the last.
#[test]
fn segments_of_one_length_go_out_as_one_transmit() {
    for (mut a, mut b) in pairs() {
        exchange(&mut a, &mut b);
        for mtu in [1280, 1420] {
            a.tunnel.set_mtu(mtu, a.now);
            for length in [60, 577, 1279, 1280] {
                for last in [20, length - 17, length - 1, length] {
                    for cut in [length; 19].into_iter().chain([last]) {
                        let packet = inner(THERE.0, THERE.1, cut);
                        assert_eq!(a.seal(&packet), Sealed::Ready);
                    }
                    let (transmits, _) = a.out.parts();
                    let counts: Vec<usize> = transmits.iter().map(|one| one.count).collect();
                    assert_eq!(counts, [20], "{length} and {last} of {mtu}");
                    a.out.clear();
                }
            }
        }
    }
}

#[test]
fn both_ends_need_the_same_preshared_key() {
    for (mut a, mut b) in pairs() {
        set_preshared(&mut a, "E");
        set_preshared(&mut b, "I");
        exchange(&mut a, &mut b);
        assert_eq!(a.snapshot()[0].handshake_age, None);
        set_preshared(&mut a, "Q");
        set_preshared(&mut b, "Q");
        exchange(&mut a, &mut b);
        assert_traffic(&mut a, &mut b);
    }
}

#[test]
fn what_waits_for_the_handshake_is_bounded_and_arrives_in_order() {
    for (mut a, mut b) in pairs() {
        let packets: Vec<_> = (0..300_u16)
            .map(|number| {
                let mut packet = inner(THERE.0, THERE.1, 100);
                packet[20..22].copy_from_slice(&number.to_be_bytes());
                packet
            })
            .collect();
        for (number, packet) in packets.iter().enumerate() {
            let expected = if number < 256 {
                Sealed::Queued
            } else {
                Sealed::Dropped(DropReason::HandshakeQueueFull)
            };
            assert_eq!(a.seal(packet), expected);
        }
        assert_eq!(a.tunnel.waiting().packets, 256);
        let (_, arrived) = exchange(&mut a, &mut b);
        assert!(arrived == packets[..256], "{} arrived", arrived.len());
        assert_eq!(a.tunnel.waiting(), Tally::default());
    }
}

#[test]
fn an_initiation_is_answered_once() {
    for (mut a, mut b) in pairs() {
        let (_, initiation) = a.out.take_datagrams().remove(0);
        assert_eq!(b.handle(&initiation, a.address).0, Handled::Control);
        b.now += Duration::from_secs(1);
        let again = b.handle(&initiation, a.address).0;
        assert_eq!(again, Handled::Dropped(DropReason::HandshakeReplayed));
    }
}

#[test]
fn a_response_is_taken_once_and_a_forged_one_leaves_the_handshake_as_it_was() {
    for (mut a, mut b) in pairs() {
        let (_, initiation) = a.out.take_datagrams().remove(0);
        b.handle(&initiation, a.address);
        let (_, response) = b.out.take_datagrams().remove(0);
        let refused = Handled::Dropped(DropReason::HandshakeInvalid);
        let mut forged = response.clone();
        forged[50] ^= 1;
        macs::Stamper::new(&a.public_key()).stamp(&mut forged, a.now);
        assert_eq!(a.handle(&forged, b.address).0, refused);
        assert_eq!(a.handle(&response, b.address).0, Handled::Control);
        assert_eq!(a.handle(&response, b.address).0, refused);
        exchange(&mut a, &mut b);
        assert_traffic(&mut a, &mut b);
    }
}

#[test]
fn data_that_nothing_answers_but_keepalives_of_the_peers_own_is_doubted() {
    for engine in Engine::ALL {
        let (mut a, mut b) = (Node::new(1, "192.0.2.1:1"), Node::new(2, "192.0.2.2:1"));
        (a.engine, b.keepalive) = (engine, Some(5));
        a.add(&b, 2, true);
        b.add(&a, 1, false);
        exchange(&mut a, &mut b);
        let (mut keepalives, mut began) = (0, Vec::new());
        for second in 0..17 {
            assert_eq!(a.seal(&inner(THERE.0, THERE.1, 100)), Sealed::Ready);
            a.tick(1);
            b.tick(1);
            for (_, keepalive) in b.out.take_datagrams() {
                assert_eq!(a.handle(&keepalive, b.address).0, Handled::Control);
                keepalives += 1;
            }
            // What a sends is lost.
            let sent = a.out.take_datagrams();
            let initiations = sent.iter().filter(|(_, datagram)| datagram[0] == 1);
            began.extend(initiations.map(|_| second));
        }
        assert!(keepalives >= 2, "{keepalives}");
        assert_eq!(began.len(), 1, "{engine}: {began:?}");
        assert!((14..=16).contains(&began[0]), "{engine}: {began:?}");
    }
}

#[test]
fn a_peer_that_gets_none_of_our_answers_is_known_until_it_gets_one() {
    for engine in Engine::ALL {
        let (mut a, mut b) = pair_of(Engine::Crossway, engine);
        exchange(&mut a, &mut b);
        for (seconds, unheard) in [(1, None), (4, Some(4)), (8, Some(12))] {
            for node in [&mut a, &mut b] {
                node.now += Duration::from_secs(seconds);
            }
            let mut anew = Node::at(1, "192.0.2.1:51820", a.now, Duration::from_secs(1 << 40));
            anew.tunnel.local.calendar = a.tunnel.local.calendar;
            anew.add(&b, 2, true);
            let (_, initiation) = anew.out.take_datagrams().remove(0);
            assert_eq!(b.handle(&initiation, a.address).0, Handled::Control);
            let answers = b.out.take_datagrams();
            assert_eq!(
                b.snapshot()[0].unheard_for.map(|time| time.as_secs()),
                unheard
            );
            a = anew;
            if seconds == 8 {
                a.handle(&answers[0].1, b.address);
                exchange(&mut a, &mut b);
                assert_eq!(b.snapshot()[0].unheard_for, None);
            }
        }
    }
}

#[test]
fn two_ends_that_dial_at_once_agree() {
    for (mut a, mut b) in pairs() {
        b.tunnel
            .set_endpoint(LinkId(1), a.address, b.now, &mut b.out);
        let (by_a, by_b) = (a.out.take_datagrams(), b.out.take_datagrams());
        assert_eq!((by_a.len(), by_b.len()), (1, 1));
        b.handle(&by_a[0].1, a.address);
        a.handle(&by_b[0].1, b.address);
        exchange(&mut a, &mut b);
        assert_traffic(&mut a, &mut b);
    }
}

#[test]
fn both_engines_live_in_one_gateway() {
    let mut hub = Node::new(9, "192.0.2.9:51820");
    let mut spokes: Vec<Node> = [(1, "192.0.2.1:51820"), (2, "192.0.2.2:51820")]
        .map(|(key, address)| Node::new(key, address))
        .into();
    for (spoke, engine) in spokes.iter_mut().zip(Engine::ALL) {
        let site = u32::from(spoke.public_key() != hub.public_key()) + engine as u32;
        hub.engine = engine;
        hub.add(spoke, site, false);
        spoke.add(&hub, 9, true);
        exchange(spoke, &mut hub);
    }
    for (number, spoke) in spokes.iter_mut().enumerate() {
        let site = number as u8 + 1;
        let route = [1, 2].map(|site| (format!("10.{site}.0.0/16").parse().unwrap(), SiteId(site)));
        hub.tunnel.set_routes(Arc::new(RouteTable::new(route)));
        let out = inner([10, site, 0, 1], [10, 9, 0, 1], 300);
        let back = inner([10, 9, 0, 1], [10, site, 0, 1], 300);
        assert_eq!(spoke.seal(&out), Sealed::Ready);
        let (_, arrived) = exchange(spoke, &mut hub);
        assert_eq!(arrived, [out]);
        assert_eq!(hub.seal(&back), Sealed::Ready);
        let (arrived, _) = exchange(spoke, &mut hub);
        assert_eq!(arrived, [back]);
    }
}

/// Goes on as the next agent would.
pub(super) fn hand_over(node: &mut Node, taken: &Arc<Initiations>) -> Imported {
    hand_over_as(node, taken, |_| ())
}

/// The same to one whose file says something else of each peer.
pub(super) fn hand_over_as(
    node: &mut Node,
    taken: &Arc<Initiations>,
    change: fn(&mut PeerSpec),
) -> Imported {
    let peers = node.tunnel.peers.iter().flatten();
    let mut specs: Vec<PeerSpec> = peers.map(|peer| peer.spec().clone()).collect();
    specs.iter_mut().for_each(change);
    let mut writer = Writer::new(node.now);
    node.tunnel.export(node.now, &mut writer);
    let state = writer.finish();
    let calendar = Calendar::new(node.now, clock::since_epoch());
    let identity = node.tunnel.local.identity.clone();
    let mut next = Tunnel::new(identity, calendar, Arc::clone(taken), node.now);
    next.set_routes(node.tunnel.set_routes(Arc::default()));
    let imported = next.import(&mut Reader::new(&state, node.now), &specs, node.now);
    node.tunnel = next;
    imported.unwrap()
}

#[test]
fn the_next_agent_goes_on_with_our_own_sessions_and_dials_for_those_of_boringtun() {
    for (mut a, mut b) in pairs() {
        for node in [&mut a, &mut b] {
            let mut spec = node.tunnel.peers[0].as_ref().unwrap().spec().clone();
            spec.keepalive = Some(25);
            node.out.take_datagrams();
            node.tunnel.add_peer(spec, node.now, &mut node.out);
        }
        exchange(&mut a, &mut b);
        assert_traffic(&mut a, &mut b);
        let sent = a.snapshot()[0].sent_packets;
        let imported = hand_over(&mut a, &Arc::default());
        let own = a.engine == Engine::Crossway;
        assert_eq!(imported.sessions, usize::from(own));
        assert_eq!(imported.anew, usize::from(!own));
        assert_eq!(a.snapshot()[0].sent_packets, sent, "counted on");
        assert_eq!(a.snapshot()[0].endpoint, Some(b.address));
        let packet = inner(THERE.0, THERE.1, 300);
        let expected = if own { Sealed::Ready } else { Sealed::Queued };
        assert_eq!(a.seal(&packet), expected);
        b.now += Duration::from_secs(1);
        let (_, arrived) = exchange(&mut a, &mut b);
        assert_eq!(arrived, [packet]);
        assert_traffic(&mut a, &mut b);

        // Without a packet, too.
        hand_over(&mut a, &Arc::default());
        a.now += Duration::from_secs(1);
        b.now += Duration::from_secs(1);
        a.tick(0);
        exchange(&mut a, &mut b);
        assert_traffic(&mut a, &mut b);
    }
}

#[test]
fn a_gateway_that_forgets_its_sending_keys_begins_anew_with_everybody_and_loses_nothing() {
    for (mut a, mut b) in pairs() {
        exchange(&mut a, &mut b);
        assert_traffic(&mut a, &mut b);
        a.now += Duration::from_secs(1);
        b.now += Duration::from_secs(1);
        let late = inner(BACK.0, BACK.1, 200);
        assert_eq!(b.seal(&late), Sealed::Ready);
        let (tunnel, out) = (&mut a.tunnel, &mut a.out);
        let times = (a.now, Duration::ZERO);
        tunnel.forget_sending_keys(Duration::ZERO, times, out, |_| panic!("there is room"));
        let packet = inner(THERE.0, THERE.1, 300);
        assert_eq!(a.seal(&packet), Sealed::Queued);
        let sent = a.out.take_datagrams();
        let kinds: Vec<u8> = sent.iter().map(|(_, datagram)| datagram[0]).collect();
        assert_eq!(kinds, [1], "a handshake, and nothing under the old keys");
        // What was on its way arrives, where the engine can tell its keys apart.
        let (_, datagram) = b.out.take_datagrams().remove(0);
        let expected = match a.engine {
            Engine::Crossway => Handled::Packet(200),
            Engine::Boringtun => Handled::Dropped(DropReason::NoSession),
        };
        assert_eq!(a.handle(&datagram, b.address).0, expected);
        assert_eq!(b.handle(&sent[0].1, a.address).0, Handled::Control);
        let (_, arrived) = exchange(&mut a, &mut b);
        assert_eq!(arrived, [packet]);
        assert_traffic(&mut a, &mut b);
    }
}

#[test]
fn nobody_is_dialled_anew_who_was_not_spoken_to() {
    for engine in Engine::ALL {
        let (_, mut b) = pair_of(Engine::Crossway, engine);
        let (tunnel, out) = (&mut b.tunnel, &mut b.out);
        tunnel.forget_sending_keys(Duration::ZERO, (b.now, Duration::ZERO), out, |_| ());
        assert!(b.out.is_empty());
    }
}

#[test]
fn what_one_engine_hands_over_gives_the_other_no_session() {
    for engine in Engine::ALL {
        let (mut a, mut b) = pair_of(engine, Engine::Crossway);
        exchange(&mut a, &mut b);
        let mut spec = a.tunnel.peers[0].as_ref().unwrap().spec().clone();
        spec.engine = match engine {
            Engine::Crossway => Engine::Boringtun,
            Engine::Boringtun => Engine::Crossway,
        };
        let mut writer = Writer::new(a.now);
        a.tunnel.export(a.now, &mut writer);
        let state = writer.finish();
        let mut next = Node::new(1, "192.0.2.1:51820");
        let imported = next
            .tunnel
            .import(&mut Reader::new(&state, a.now), &[spec], a.now);
        let imported = imported.unwrap();
        assert_eq!((imported.sessions, imported.anew), (0, 1));
        assert_eq!(next.snapshot()[0].handshake_age, None);
    }
}
