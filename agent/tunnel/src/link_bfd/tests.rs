//! Two ends of a link, in the hands of a clock.

use super::*;
use crossway_liveness::settings::BfdAddresses;
use crossway_sys::clock;
use crossway_types::codec::{Reader, Writer};

const KEYS: [[u8; 32]; 2] = [[1; 32], [2; 32]];
const STEP: Duration = Duration::from_millis(5);

fn end(own: usize, mode: LivenessMode, now: Instant) -> LinkBfd {
    let liveness = Liveness {
        mode,
        ..Liveness::default()
    };
    let discriminator = own as u32 + 7;
    LinkBfd::new(&liveness, &KEYS[own], &KEYS[1 - own], discriminator, now).unwrap()
}

/// What is sent within `span`, and when.
fn sent(bfd: &mut LinkBfd, now: &mut Instant, span: Duration) -> Vec<Instant> {
    let mut times = Vec::new();
    let end = *now + span;
    while *now < end {
        *now += STEP;
        bfd.handle_timeout(None, *now);
        if bfd.poll_transmit(*now, &mut [0; LONGEST]).is_some() {
            times.push(*now);
        }
    }
    times
}

/// Carries control packets both ways.
fn talk(ends: &mut [LinkBfd; 2], now: &mut Instant, span: Duration) {
    let stop = *now + span;
    while *now < stop {
        *now += STEP;
        for from in 0..2 {
            let mut inner = [0; LONGEST];
            ends[from].handle_timeout(None, *now);
            let Some(length) = ends[from].poll_transmit(*now, &mut inner) else {
                continue;
            };
            let packet = Packet::decode(encapsulation::payload(&inner[..length]).unwrap());
            assert!(ends[1 - from].handle_packet(&packet.unwrap(), *now));
        }
    }
}

/// Both up.
fn pair(mode: LivenessMode, now: &mut Instant) -> [LinkBfd; 2] {
    let mut ends = [0, 1].map(|own| end(own, mode, *now));
    talk(&mut ends, now, Duration::from_secs(3));
    for bfd in &ends {
        assert_eq!(bfd.bfd().state, State::Up);
    }
    ends
}

#[test]
fn a_far_end_that_never_answers_is_asked_rarely_and_eagerly_again_after_a_handshake() {
    let mut now = clock::now();
    let mut bfd = end(0, LivenessMode::Auto, now);
    for _ in 0..2 {
        let times = sent(&mut bfd, &mut now, Duration::from_mins(1));
        let eager = EAGER as usize;
        assert!(
            (eager + 3..=eager + 6).contains(&times.len()),
            "{}",
            times.len()
        );
        for pair in times[eager - 1..].windows(2) {
            assert!(pair[1] - pair[0] >= RARELY, "{:?}", pair[1] - pair[0]);
        }
        let last = *times.last().unwrap();
        assert!(bfd.next_timeout().unwrap() >= last + RARELY);
        assert!(bfd.is_alive(), "WireGuard decides");
        bfd.on_session(now);
        assert!(bfd.next_timeout().unwrap() <= now);
    }
    // Where BFD is demanded it is never rare.
    let mut bfd = end(0, LivenessMode::Bfd, now);
    let times = sent(&mut bfd, &mut now, Duration::from_mins(1));
    assert!(times.len() >= 50, "{}", times.len());
    assert!(!bfd.is_alive());
    let none = Liveness {
        mode: LivenessMode::WireGuard,
        ..Liveness::default()
    };
    assert!(LinkBfd::new(&none, &KEYS[0], &KEYS[1], 1, now).is_none());
}

#[test]
fn it_decides_from_the_first_answer_until_another_program_has_taken_its_place() {
    let mut now = clock::now();
    let [mut bfd, _] = pair(LivenessMode::Auto, &mut now);
    assert!(bfd.bfd().decides && bfd.is_alive());
    let heard = now;
    sent(&mut bfd, &mut now, Duration::from_secs(5));
    assert!(bfd.bfd().decides && !bfd.is_alive());
    bfd.on_session(heard + Duration::from_secs(29));
    assert!(bfd.bfd().decides, "it may be restarting");
    bfd.on_session(heard + Duration::from_secs(31));
    assert!(!bfd.bfd().decides && bfd.is_alive());
    // Who never answered does not by a handshake.
    let mut stock = end(0, LivenessMode::Auto, now);
    stock.on_session(now);
    assert!(!stock.bfd().decides);
}

#[test]
fn data_stands_in_for_missing_control_packets_but_not_for_ever() {
    let mut now = clock::now();
    for stands_in in [false, true] {
        let [mut bfd, _] = pair(LivenessMode::Auto, &mut now);
        let (begun, detection) = (now, bfd.bfd().detection_time.unwrap());
        while bfd.is_alive() {
            now += STEP;
            bfd.handle_timeout(stands_in.then_some(now), now);
            assert!(now < begun + detection * 10);
        }
        let lived = now - begun;
        let longest = if stands_in {
            detection * (STANDS_IN_FOR + 1)
        } else {
            detection
        };
        let tolerance = STEP * 3;
        assert!(lived <= longest + tolerance, "{lived:?} of {longest:?}");
        assert!(
            lived + Duration::from_millis(60) >= longest,
            "{lived:?} of {longest:?}"
        );
    }
}

#[test]
fn only_what_goes_between_its_own_ends_is_for_a_session() {
    let now = clock::now();
    let bfd = end(0, LivenessMode::Auto, now);
    let [own, far] = KEYS.map(|key| IpAddr::from(link_local(&key)));
    assert_eq!(own.to_string(), "fe80::101:101:101:101");
    assert!(bfd.is_for((far, own)));
    assert!(!bfd.is_for((own, far)) && !bfd.is_for((far, far)));
    let addresses = BfdAddresses {
        local: "10.255.0.1".parse().unwrap(),
        remote: "10.255.0.2".parse().unwrap(),
    };
    let liveness = Liveness {
        addresses: Some(addresses),
        ..Liveness::default()
    };
    let mut bfd = LinkBfd::new(&liveness, &KEYS[0], &KEYS[1], 0x0001_0203, now).unwrap();
    assert!(bfd.is_for((addresses.remote, addresses.local)));
    let mut inner = [0; LONGEST];
    bfd.poll_transmit(now, &mut inner).unwrap();
    assert_eq!(inner[12..20], [10, 255, 0, 1, 10, 255, 0, 2]);
    // A port of RFC 5881, 4, which says which link it is.
    assert_eq!(inner[20..22], [0xc2, 0x03]);
}

#[test]
fn the_far_end_is_told_how_a_gateway_serves_its_lan() {
    let mut now = clock::now();
    for (role, state, diagnostic) in [
        (
            LanRole::LanDown,
            State::AdminDown,
            Diagnostic::ConcatenatedPathDown,
        ),
        (
            LanRole::Drained,
            State::AdminDown,
            Diagnostic::AdministrativelyDown,
        ),
        (LanRole::Active, State::Up, Diagnostic::None),
    ] {
        let mut ends = pair(LivenessMode::Auto, &mut now);
        ends[0].set_lan_role(role, now);
        talk(&mut ends, &mut now, Duration::from_millis(100));
        assert_eq!(ends[1].bfd().remote, (state, diagnostic), "{role:?}");
        assert_eq!(ends[1].is_alive(), state == State::Up, "{role:?}");
    }
}

#[test]
fn the_next_agent_goes_on_with_a_session_between_the_same_addresses() {
    let mut now = clock::now();
    let mut ends = pair(LivenessMode::Auto, &mut now);
    let mut writer = Writer::new(now);
    ends[0].export(&mut writer);
    let state = writer.finish();
    let mut next = end(0, LivenessMode::Auto, now);
    next.import(&mut Reader::new(&state, now)).unwrap();
    assert_eq!(next.bfd(), ends[0].bfd());
    ends[0] = next;
    talk(&mut ends, &mut now, Duration::from_secs(1));
    assert!(ends.iter().all(|bfd| bfd.bfd().state == State::Up));
    // A session between others begins anew.
    let mut other = end(1, LivenessMode::Auto, now);
    other.import(&mut Reader::new(&state, now)).unwrap();
    assert_eq!(other.bfd().state, State::Down);
    assert!(!other.bfd().decides);
}
