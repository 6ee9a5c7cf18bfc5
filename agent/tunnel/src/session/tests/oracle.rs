//! Against boringtun, as either side; and what is mangled on the way.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use boringtun::noise::rate_limiter::RateLimiter;
use boringtun::noise::{Tunn, TunnResult};
use boringtun::x25519::{PublicKey, StaticSecret};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::macs::{Admission, Gatekeeper, Standing};

const SOURCE: &str = "192.0.2.7:4711";
const PSKS: [Option<[u8; 32]>; 3] = [None, Some([0; 32]), Some([9; 32])];

/// boringtun with key 2, which answers `handshakes` a second without a cookie.
fn oracle(preshared: Option<[u8; 32]>, handshakes: u64) -> Tunn {
    let private = StaticSecret::from([2; 32]);
    let limiter = Arc::new(RateLimiter::new(&PublicKey::from(&private), handshakes));
    let peer = PublicKey::from(&StaticSecret::from([1; 32]));
    Tunn::new(private, peer, preshared, None, 77, Some(limiter))
}

/// Datagrams that boringtun sends for a datagram, and the packet that was in it.
fn give(tunn: &mut Tunn, datagram: &[u8]) -> (Vec<Vec<u8>>, Option<Vec<u8>>) {
    let source: IpAddr = SOURCE.parse::<SocketAddr>().unwrap().ip();
    let (mut sent, mut next) = (Vec::new(), datagram);
    loop {
        let mut to = vec![0; 2048];
        match tunn.decapsulate(Some(source), next, &mut to) {
            TunnResult::WriteToNetwork(message) => {
                sent.push(message.to_vec());
                next = &[];
            }
            TunnResult::WriteToTunnelV4(packet, _) | TunnResult::WriteToTunnelV6(packet, _) => {
                return (sent, Some(packet.to_vec()));
            }
            TunnResult::Done => return (sent, None),
            TunnResult::Err(error) => panic!("boringtun refused it: {error:?}"),
        }
    }
}

fn by_oracle(tunn: &mut Tunn, packet: &[u8]) -> Vec<u8> {
    let mut to = vec![0; 2048];
    match tunn.encapsulate(packet, &mut to) {
        TunnResult::WriteToNetwork(message) => message.to_vec(),
        other => panic!("boringtun sent nothing: {other:?}"),
    }
}

/// Whether an initiation has our badge where a cookie would be shown.
fn shows_badge(end: &End, initiation: &[u8], now: Instant) -> bool {
    let mut with_badge = initiation.to_vec();
    let key = BadgeKey::towards(&end.local.identity, &end.session.peer).unwrap();
    key.show(&mut with_badge, end.local.calendar.since_epoch(now));
    with_badge == initiation
}

/// Packets of every size cross both ways under the session that was agreed.
fn exchange(end: &mut End, tunn: &mut Tunn, now: Instant) {
    for length in [20, 21, 35, 36, 37, 64, 576, 1380, 1420] {
        let datagram = end.send(&inner(length), now).unwrap();
        assert_eq!(give(tunn, &datagram).1, Some(inner(length)));
        let datagram = by_oracle(tunn, &inner(length));
        assert_eq!(end.handle(&datagram, now).0, Ok(Got::Packet(inner(length))));
    }
}

#[test]
fn a_handshake_that_we_begin_is_understood() {
    for preshared in PSKS {
        let now = clock::now();
        let mut end = End::with_preshared(1, 2, preshared, None, now);
        let mut tunn = oracle(preshared, 100);
        let initiation = end.send(&inner(100), now).unwrap();
        let (responses, _) = give(&mut tunn, &initiation);
        let (got, held) = end.handle(&responses[0], now);
        assert_eq!(got, Ok(Got::Handshake));
        assert_eq!(give(&mut tunn, &held[0]).1, Some(inner(100)));
        exchange(&mut end, &mut tunn, now);
    }
}

#[test]
fn a_handshake_begun_elsewhere_is_answered() {
    for preshared in PSKS {
        let now = clock::now();
        let mut end = End::with_preshared(1, 2, preshared, None, now);
        let mut tunn = oracle(preshared, 100);
        let initiation = by_oracle(&mut tunn, &inner(100));
        let (got, responses) = end.handle(&initiation, now);
        assert_eq!(got, Ok(Got::Handshake));
        let mut arrived = Vec::new();
        for datagram in give(&mut tunn, &responses[0]).0 {
            arrived.push(end.handle(&datagram, now).0);
        }
        assert_eq!(arrived, [Ok(Got::Keepalive), Ok(Got::Packet(inner(100)))]);
        exchange(&mut end, &mut tunn, now);
    }
}

#[test]
fn another_preshared_key_gives_no_session() {
    let now = clock::now();
    let mut end = End::with_preshared(1, 2, Some([8; 32]), None, now);
    let mut tunn = oracle(Some([9; 32]), 100);
    let (responses, _) = give(&mut tunn, &end.dial(now).unwrap());
    assert_eq!(
        end.handle(&responses[0], now).0,
        Err(DropReason::HandshakeInvalid)
    );
}

#[test]
fn a_cookie_of_the_oracle_is_shown_at_the_next_try() {
    let mut now = clock::now();
    let mut end = End::new(1, 2, None, now);
    // Under load from the first message on.
    let mut tunn = oracle(None, 0);
    let first = end.dial(now).unwrap();
    assert!(shows_badge(&end, &first, now), "no cookie yet");
    let mut to = vec![0; 2048];
    let source = SOURCE.parse::<SocketAddr>().unwrap().ip();
    let TunnResult::WriteToNetwork(cookie) = tunn.decapsulate(Some(source), &first, &mut to) else {
        panic!("no cookie was demanded")
    };
    assert_eq!(cookie.len(), 64);
    let mut forged = cookie.to_vec();
    forged[40] ^= 1;
    assert_eq!(
        end.handle(&forged, now).0,
        Err(DropReason::HandshakeInvalid)
    );
    assert_eq!(end.handle(cookie, now).0, Ok(Got::Handshake));
    assert_eq!(
        end.handle(cookie, now).0,
        Err(DropReason::HandshakeInvalid),
        "one cookie for one message"
    );
    now += Duration::from_secs(6);
    let second = end.tick(now).unwrap();
    let (responses, _) = give(&mut tunn, &second);
    let (got, keepalives) = end.handle(&responses[0], now);
    assert_eq!((got, keepalives.len()), (Ok(Got::Handshake), 1));
    assert_eq!(give(&mut tunn, &keepalives[0]).1, None);
    exchange(&mut end, &mut tunn, now);

    // A cookie that is too old is not shown.
    now += Duration::from_secs(116);
    let late = end.dial(now).unwrap();
    assert!(shows_badge(&end, &late, now));
}

#[test]
fn a_cookie_of_ours_is_shown_by_the_oracle_and_bound_to_its_address() {
    let now = clock::now();
    let mut gatekeeper = Gatekeeper::new(&Identity::new([1; 32]).public_key(), now);
    let mut tunn = oracle(None, 1000);
    let source: SocketAddr = SOURCE.parse().unwrap();
    let initiation = by_oracle(&mut tunn, &inner(100));
    let mut reply = [0; 64];
    let mut admitted = 0;
    while gatekeeper.admit(&initiation, source, Standing::Stranger, now, &mut reply)
        == Admission::Admitted
    {
        admitted += 1;
    }
    assert_eq!(admitted, 200);
    assert_eq!(give(&mut tunn, &reply), (vec![], None));

    let mut to = vec![0; 2048];
    let TunnResult::WriteToNetwork(second) = tunn.format_handshake_initiation(&mut to, true) else {
        panic!("boringtun does not try again")
    };
    let mut judge = |source: &str, now| {
        let source = source.parse().unwrap();
        gatekeeper.admit(second, source, Standing::Stranger, now, &mut reply)
    };
    assert_eq!(judge(SOURCE, now), Admission::Admitted);
    assert_eq!(judge("[::ffff:192.0.2.7]:4711", now), Admission::Admitted);
    assert_eq!(judge("192.0.2.8:4711", now), Admission::Cookie(64));
    assert_eq!(judge("192.0.2.7:4712", now), Admission::Cookie(64));
    let next_second = now + Duration::from_secs(1);
    assert_eq!(judge("192.0.2.8:4711", next_second), Admission::Admitted);
}

#[test]
fn cookies_grow_old_with_their_secret() {
    let mut now = clock::now();
    let mut gatekeeper = Gatekeeper::new(&Identity::new([1; 32]).public_key(), now);
    let mut end = End::new(2, 1, None, now);
    let source: SocketAddr = SOURCE.parse().unwrap();
    let initiation = end.dial(now).unwrap();
    let mut reply = [0; 64];
    while gatekeeper.admit(&initiation, source, Standing::Stranger, now, &mut reply)
        == Admission::Admitted
    {}
    end.handle(&reply, now).0.unwrap();
    now += Duration::from_secs(6);
    let shown = end.tick(now).unwrap();
    assert!(!shows_badge(&end, &shown, now));
    let mut under_load = |now| {
        let mut reply = [0; 64];
        for _ in 0..200 {
            gatekeeper.admit(&initiation, source, Standing::Stranger, now, &mut reply);
        }
        gatekeeper.admit(&shown, source, Standing::Stranger, now, &mut reply)
    };
    assert_eq!(under_load(now), Admission::Admitted);
    now += Duration::from_mins(2);
    assert_eq!(under_load(now), Admission::Cookie(64));
}

#[test]
fn mangled_handshakes_are_refused_by_name_and_change_nothing() {
    let mut link = Link::new(None, None);
    let now = link.now;
    let later = now + Duration::from_secs(1);
    let initiation = link.a.dial(now).unwrap();
    let response = link.b.handle(&initiation, now).1.remove(0);
    let mut random = StdRng::seed_from_u64(1);
    for (original, noise, end) in [
        (&initiation, 8..116, &mut link.b),
        (&response, 8..60, &mut link.a),
    ] {
        let mut gatekeeper = Gatekeeper::new(&end.local.identity.public_key(), now);
        for _ in 0..500 {
            let mangled = mangle(original, &mut random);
            if Message::parse(&mangled).is_none() {
                continue;
            }
            let admission = gatekeeper.admit(
                &mangled,
                SOURCE.parse().unwrap(),
                Standing::Stranger,
                now,
                &mut [0; 64],
            );
            let checked = ..original.len() - 16;
            assert_eq!(
                admission == Admission::Refused(DropReason::BadMac),
                mangled[checked] != original[checked],
                "{mangled:02x?}"
            );
            // As if somebody who knows our public key had made the codes right again.
            if mangled[noise.clone()] != original[noise.clone()] {
                let refused = (Err(DropReason::HandshakeInvalid), vec![]);
                assert_eq!(end.handle(&mangled, later), refused, "{mangled:02x?}");
            }
        }
    }
    let (got, _) = link.a.handle(&response, now);
    assert_eq!(got, Ok(Got::Handshake), "the true one still counts");
}

/// Flips up to three bits and perhaps cuts the end off.
fn mangle(original: &[u8], random: &mut StdRng) -> Vec<u8> {
    let mut mangled = original.to_vec();
    for _ in 0..random.random_range(1..4) {
        let at = random.random_range(0..mangled.len());
        mangled[at] ^= 1 << random.random_range(0..8);
    }
    if random.random_bool(0.1) {
        mangled.truncate(random.random_range(0..mangled.len()));
    }
    mangled
}
