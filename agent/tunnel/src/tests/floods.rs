//! Handshakes of strangers, thousands a second, and peers that want to be heard among them.

use std::net::Ipv4Addr;

use super::*;
use crate::macs::{Admission, Standing};
use crate::message::INITIATION_BYTES;

/// Clocks that are so far apart that no badge is good.
const YEARS: Duration = Duration::from_hours(20_000);

/// An initiation that is right in all that can be seen without the private key: only its first code counts.
fn strangers_initiation(to: &Node, number: u32) -> Vec<u8> {
    let mut stranger = macs::Stamper::new(&to.public_key());
    let mut initiation = vec![0x5a; INITIATION_BYTES];
    message::write_initiation(&mut initiation, number);
    stranger.stamp(&mut initiation, to.now);
    initiation
}

fn stranger(number: u32) -> Endpoint {
    let address = Ipv4Addr::from(0xcb00_0000 + number);
    Endpoint::new((address, 4500).into())
}

/// The same with a second code that is wrong.
fn with_a_wrong_cookie(mut initiation: Vec<u8>) -> Vec<u8> {
    initiation[INITIATION_BYTES - 16..].fill(0xee);
    initiation
}

/// `per_second` initiations a second from as many sources for `span`, what they got counted by its name.
fn flood(at: &mut Node, per_second: u32, span: Duration) -> HashMap<String, u32> {
    flood_of(at, per_second, span, |initiation| initiation)
}

fn flood_of(
    at: &mut Node,
    per_second: u32,
    span: Duration,
    change: impl Fn(Vec<u8>) -> Vec<u8>,
) -> HashMap<String, u32> {
    let mut got = HashMap::new();
    let step = Duration::from_secs(1) / per_second;
    for number in 0..(per_second as f64 * span.as_secs_f64()) as u32 {
        at.now += step;
        let initiation = change(strangers_initiation(at, number));
        let (handled, _) = at.handle(&initiation, stranger(number));
        *got.entry(format!("{handled:?}")).or_default() += 1;
        at.out.take_datagrams();
    }
    got
}

fn name(reason: DropReason) -> String {
    format!("{:?}", Handled::Dropped(reason))
}

#[test]
fn under_load_strangers_get_cookies_and_no_public_key_work_is_done_for_them() {
    let (_, mut b) = pair();
    let got = flood(&mut b, 5000, Duration::from_secs(4));
    let worked = got[&name(DropReason::HandshakeInvalid)];
    assert!((200..=220).contains(&worked), "a burst, once: {got:?}");
    assert_eq!(got[&name(DropReason::CookieDemanded)], 20_000 - worked);
    // Soon after the flood everything is as before.
    b.now += Duration::from_secs(2);
    let (mut a, _) = pair();
    let (_, initiation) = a.out.take_datagrams().remove(0);
    assert_eq!(b.handle(&initiation, a.address).0, Handled::Control);
}

#[test]
fn cookies_have_a_limit_beyond_which_nothing_is_looked_at() {
    let (mut a, mut b) = pair();
    exchange(&mut a, &mut b);
    let got = flood(&mut b, 100_000, Duration::from_secs(1));
    let cookies = got[&name(DropReason::CookieDemanded)];
    assert!((25_000..28_000).contains(&cookies), "{got:?}");
    let limited = got[&name(DropReason::HandshakeRateLimited)];
    assert!(cookies + limited > 99_700, "{got:?}");
    // A peer at its known address does not notice.
    let mut anew = Node::at(1, "192.0.2.1:51820", b.now, Duration::from_secs(1 << 40));
    anew.add(&b, 2, true);
    exchange(&mut anew, &mut b);
    assert_eq!(anew.snapshot()[0].handshake_age, Some(Duration::ZERO));
}

#[test]
fn cookies_take_the_time_that_data_leaves_and_have_some_of_their_own() {
    let (mut a, mut b) = pair();
    exchange(&mut a, &mut b);
    let packet = inner([10, 1, 0, 1], [10, 2, 0, 1], 100);
    let mut cookies = |data_of_each: u32| {
        let mut cookies = 0;
        for number in 0..8000 {
            b.now += Duration::from_micros(25);
            for _ in 0..data_of_each {
                a.seal(&packet);
            }
            for (_, message) in a.out.take_datagrams() {
                b.handle(&message, a.address);
            }
            let initiation = strangers_initiation(&b, number);
            let (handled, _) = b.handle(&initiation, stranger(number));
            cookies += u32::from(handled == Handled::Dropped(DropReason::CookieDemanded));
            b.out.take_datagrams();
        }
        cookies
    };
    // A fifth of a second of 40,000 initiations a second. The first time both bursts are there, one after the other:
    // 8000 less the 200 before the load, and what comes beyond 25,000 a second in the last 48 ms.
    let alone = cookies(0);
    assert!((7000..=7200).contains(&alone), "{alone}");
    let beside_a_little = cookies(2);
    assert!(
        (2800..=3400).contains(&beside_a_little),
        "{beside_a_little}"
    );
    let beside_much = cookies(5);
    assert!((1000..=1100).contains(&beside_much), "{beside_much}");
}

#[test]
fn a_peer_whose_address_nobody_knows_gets_through_any_flood_by_its_badge() {
    for engine in Engine::ALL {
        let (mut a, mut b) = pair_of(Engine::Crossway, engine);
        let got = flood(&mut b, 100_000, Duration::from_millis(150));
        assert!(
            got[&name(DropReason::HandshakeRateLimited)] > 7000,
            "{got:?}"
        );
        a.now = b.now;
        let (_, initiation) = a.out.take_datagrams().remove(0);
        assert_eq!(b.handle(&initiation, a.address).0, Handled::Control);
        exchange(&mut a, &mut b);
        let age = a.snapshot()[0].handshake_age.map(|age| age.as_secs());
        assert_eq!(age, Some(0));
    }
}

#[test]
fn cookies_are_limited_whatever_the_second_code_says() {
    let (_, mut b) = pair();
    let got = flood_of(
        &mut b,
        60_000,
        Duration::from_millis(500),
        with_a_wrong_cookie,
    );
    let cookies = got[&name(DropReason::CookieDemanded)];
    assert!((1250..2000).contains(&cookies), "{got:?}");
    let limited = got[&name(DropReason::HandshakeRateLimited)];
    assert!(cookies + limited > 29_700, "{got:?}");
    // Who shows none still gets one.
    let mixed = |mut initiation: Vec<u8>| {
        if initiation[4].is_multiple_of(2) {
            initiation = with_a_wrong_cookie(initiation);
        }
        initiation
    };
    let got = flood_of(&mut b, 40_000, Duration::from_millis(500), mixed);
    let cookies = got[&name(DropReason::CookieDemanded)];
    assert!((11_250..12_000).contains(&cookies), "{got:?}");
}

#[test]
fn a_peer_with_a_cookie_gets_through_a_flood_of_wrong_ones() {
    let flood = |b: &mut Node| {
        flood_of(b, 40_000, Duration::from_millis(200), with_a_wrong_cookie);
    };
    for engine in Engine::ALL {
        let (mut a, mut b) = pair_apart(Engine::Crossway, engine, YEARS);
        // A badge that is not known is like a wrong cookie: the second try is without one.
        a.out.take_datagrams();
        a.tick(6);
        let (_, initiation) = a.out.take_datagrams().remove(0);
        b.now = a.now;
        flood(&mut b);
        a.now = b.now;
        b.handle(&initiation, a.address);
        let (_, cookie) = b.out.take_datagrams().remove(0);
        flood(&mut b);
        a.now = b.now;
        assert_eq!(a.handle(&cookie, b.address).0, Handled::Control);
        exchange(&mut a, &mut b);
        assert_eq!(
            a.snapshot()[0].handshake_age.map(|age| age.as_secs()),
            Some(0)
        );
    }
}

#[test]
fn wrong_cookies_in_a_peers_name_are_limited_and_do_not_keep_it_out() {
    let (mut a, mut b) = pair();
    exchange(&mut a, &mut b);
    // It begins anew, with a clock by which its badge is not known; its second try shows none.
    let mut anew = Node::at(1, "192.0.2.1:51820", b.now, Duration::from_secs(1 << 40));
    anew.add(&b, 2, true);
    anew.out.take_datagrams();
    anew.tick(6);
    b.now = anew.now;
    flood(&mut b, 5000, Duration::from_millis(200));
    // All that the peer's address has is used up, and more is sent.
    let garbage = |b: &mut Node, per_second: u32, count: u32| {
        let mut cookies = 0;
        for number in 0..count {
            b.now += Duration::from_secs(1) / per_second;
            let initiation = with_a_wrong_cookie(strangers_initiation(b, number));
            let (handled, _) = b.handle(&initiation, a.address);
            cookies += u32::from(handled == Handled::Dropped(DropReason::CookieDemanded));
        }
        b.out.take_datagrams();
        cookies
    };
    let cookies = garbage(&mut b, 40_000, 10_000);
    assert!(
        (600..1300).contains(&cookies),
        "{cookies} in a quarter of a second"
    );
    // It is given a cookie as anybody is, and that is looked at among the wrong ones.
    anew.now = b.now;
    let (_, initiation) = anew.out.take_datagrams().remove(0);
    assert_eq!(
        b.handle(&initiation, a.address).0,
        Handled::Dropped(DropReason::CookieDemanded)
    );
    let (_, cookie) = b.out.take_datagrams().remove(0);
    assert_eq!(anew.handle(&cookie, b.address).0, Handled::Control);
    let (_, again) = anew.out.take_datagrams().remove(0);
    garbage(&mut b, 40_000, 1000);
    assert_eq!(b.handle(&again, a.address).0, Handled::Control);
}

#[test]
fn cookies_go_to_whoever_asked() {
    let (_, mut b) = pair();
    flood(&mut b, 5000, Duration::from_millis(500));
    let initiation = strangers_initiation(&b, 7);
    b.handle(&initiation, stranger(7));
    let (to, reply) = b.out.take_datagrams().remove(0);
    assert_eq!((to, reply[0], reply.len()), (stranger(7), 3, 64));
}

#[test]
fn a_peer_with_a_cookie_gets_through_a_flood_at_once_and_not_by_another_address() {
    for (mut a, mut b) in pairs_apart(YEARS) {
        flood(&mut b, 5000, Duration::from_secs(1));
        a.now = b.now;
        let (_, initiation) = a.out.take_datagrams().remove(0);
        assert_eq!(
            b.handle(&initiation, a.address).0,
            Handled::Dropped(DropReason::CookieDemanded)
        );
        let (_, cookie) = b.out.take_datagrams().remove(0);
        let elsewhere = Endpoint::new("198.51.100.9:4000".parse().unwrap());
        assert_eq!(a.handle(&cookie, elsewhere).0, Handled::Control);
        assert_eq!(a.snapshot()[0].endpoint, Some(b.address), "not moved");
        let (to, again) = a.out.take_datagrams().remove(0);
        assert_eq!(to, b.address, "tried again without a wait");
        assert_eq!(
            b.handle(&again, elsewhere).0,
            Handled::Dropped(DropReason::CookieDemanded),
            "the cookie is for another address"
        );
        b.out.take_datagrams();
        assert_eq!(b.handle(&again, a.address).0, Handled::Control);
        exchange(&mut a, &mut b);
        let age = b.snapshot()[0].handshake_age.expect("a session");
        assert_eq!(age.as_secs(), 0);
    }
}

#[test]
fn whoever_answers_every_try_with_a_cookie_makes_us_try_again_once() {
    for (mut a, mut b) in pairs() {
        let mut tries = 0;
        for _ in 0..20 {
            for (_, initiation) in a.out.take_datagrams() {
                tries += 1;
                let mut cookie = [0; 64];
                let mut gatekeeper = Gatekeeper::new(&b.public_key(), a.now);
                let mut admit = || {
                    gatekeeper.admit(
                        &initiation,
                        a.address.remote,
                        Standing::Stranger,
                        a.now,
                        &mut cookie,
                    )
                };
                while admit() == Admission::Admitted {}
                a.handle(&cookie, b.address);
            }
        }
        assert_eq!(tries, 2);
        b.tick(0);
    }
}

#[test]
fn a_peer_at_its_known_address_needs_no_cookie_but_may_not_have_everything() {
    let (mut a, mut b) = pair();
    exchange(&mut a, &mut b);
    flood(&mut b, 5000, Duration::from_secs(1));
    // a has restarted.
    let mut anew = Node::at(1, "192.0.2.1:51820", b.now, Duration::from_secs(1 << 40));
    anew.add(&b, 2, true);
    let (_, initiation) = anew.out.take_datagrams().remove(0);
    assert_eq!(b.handle(&initiation, a.address).0, Handled::Control);
    exchange(&mut anew, &mut b);
    assert_eq!(anew.snapshot()[0].handshake_age, Some(Duration::ZERO));

    // Somebody who knows where it is.
    let mut worked = 0;
    for number in 0..5000 {
        b.now += Duration::from_micros(200);
        let initiation = strangers_initiation(&b, number);
        let (handled, _) = b.handle(&initiation, a.address);
        worked += u32::from(handled == Handled::Dropped(DropReason::HandshakeInvalid));
        b.out.take_datagrams();
    }
    assert!((40..=60).contains(&worked), "{worked}");
}

#[test]
fn a_source_with_a_cookie_has_a_limit_of_its_own() {
    let (_, mut b) = pair();
    flood(&mut b, 5000, Duration::from_secs(1));
    let mut dialler = Node::at(9, "203.0.113.9:4500", b.now, Duration::from_secs(1));
    dialler.add(&b, 2, true);
    let (_, initiation) = dialler.out.take_datagrams().remove(0);
    b.handle(&initiation, dialler.address);
    let (_, cookie) = b.out.take_datagrams().remove(0);
    dialler.handle(&cookie, b.address);
    let (_, shown) = dialler.out.take_datagrams().remove(0);
    let results: Vec<Handled> = (0..100)
        .map(|_| b.handle(&shown, dialler.address).0)
        .collect();
    let count = |reason| {
        let wanted = Handled::Dropped(reason);
        results.iter().filter(|handled| **handled == wanted).count()
    };
    assert_eq!(count(DropReason::UnknownPeer), 5);
    assert_eq!(count(DropReason::HandshakeRateLimited), 95);
}

#[test]
fn responses_that_nobody_asked_for_cost_one_hash_and_make_no_load() {
    for (mut a, mut b) in pairs() {
        for number in 0..1000 {
            let mut response = vec![0x5a; 92];
            response[..4].copy_from_slice(&[2, 0, 0, 0]);
            response[8..12].copy_from_slice(&(0x00ab_0100_u32 + number % 256).to_le_bytes());
            macs::Stamper::new(&b.public_key()).stamp(&mut response, b.now);
            assert_eq!(
                b.handle(&response, stranger(number)).0,
                Handled::Dropped(DropReason::HandshakeInvalid)
            );
        }
        assert!(b.out.is_empty(), "nobody was answered");
        let (_, initiation) = a.out.take_datagrams().remove(0);
        assert_eq!(b.handle(&initiation, a.address).0, Handled::Control);
    }
}
