use std::collections::VecDeque;

use super::*;

const DRAINED: Option<Diagnostic> = Some(Diagnostic::AdministrativelyDown);
const WAY: Duration = Duration::from_millis(5);

/// Two sessions and what is on its way between them.
struct Pair {
    ends: [Session; 2],
    /// Arrival, receiver, packet.
    flying: VecDeque<(Instant, usize, Packet)>,
    /// Whether packets towards each end are lost.
    cut: [bool; 2],
    now: Instant,
    changes: Vec<(usize, Change)>,
    sent: [u32; 2],
}

impl Pair {
    fn new(a: Pace, b: Pace) -> Self {
        let now = crossway_sys::clock::now();
        Self {
            ends: [Session::new(a, 1, 7, now), Session::new(b, 2, 99, now)],
            flying: VecDeque::new(),
            cut: [false; 2],
            now,
            changes: Vec::new(),
            sent: [0; 2],
        }
    }

    fn up() -> Self {
        let mut pair = Self::new(Pace::default(), Pace::default());
        pair.run(Duration::from_secs(5));
        assert_eq!(pair.states(), [State::Up, State::Up]);
        pair.changes.clear();
        pair.sent = [0; 2];
        pair
    }

    fn states(&self) -> [State; 2] {
        [self.ends[0].state(), self.ends[1].state()]
    }

    /// Lets time pass, from event to event.
    fn run(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            let timeouts = self.ends.iter().filter_map(Session::next_timeout);
            let arrivals = self.flying.iter().map(|flying| flying.0);
            let Some(next) = timeouts.chain(arrivals).min().filter(|next| *next <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(next);
            self.step();
        }
    }

    fn step(&mut self) {
        while let Some((_, to, packet)) = self.flying.pop_front_if(|flying| flying.0 <= self.now) {
            let change = self.ends[to].handle_packet(&packet, self.now);
            self.changes.extend(change.map(|change| (to, change)));
        }
        for at in 0..2 {
            let change = self.ends[at].handle_timeout(self.now);
            self.changes.extend(change.map(|change| (at, change)));
            if let Some(packet) = self.ends[at].poll_transmit(self.now) {
                self.sent[at] += 1;
                assert_eq!(Packet::decode(&packet.encode()), Some(packet));
                if !self.cut[1 - at] {
                    self.flying.push_back((self.now + WAY, 1 - at, packet));
                }
            }
        }
    }
}

fn pace(milliseconds: u64, multiplier: u8) -> Pace {
    Pace {
        interval: Duration::from_millis(milliseconds),
        multiplier,
    }
}

fn packet(state: State) -> Packet {
    Packet {
        state,
        diagnostic: Diagnostic::None,
        poll: false,
        is_final: false,
        multiplier: 3,
        my_discriminator: 2,
        your_discriminator: 1,
        desired_min_tx: Duration::from_millis(100),
        required_min_rx: Duration::from_millis(100),
    }
}

/// A session in a state.
fn session(state: State, now: Instant) -> Session {
    let mut session = Session::new(Pace::default(), 1, 7, now);
    match state {
        State::AdminDown => drop(session.set_admin_down(DRAINED, now)),
        State::Down => {}
        State::Init => drop(session.handle_packet(&packet(State::Down), now)),
        State::Up => drop(session.handle_packet(&packet(State::Init), now)),
    }
    assert_eq!(session.state(), state);
    session
}

/// RFC 5880, 6.8.6, and the diagram of 6.2: from, received, to.
#[test]
fn every_state_follows_every_other_as_the_rfc_says() {
    use State::{AdminDown, Down, Init, Up};
    let now = crossway_sys::clock::now();
    for (from, received, to) in [
        (AdminDown, AdminDown, AdminDown),
        (AdminDown, Down, AdminDown),
        (AdminDown, Init, AdminDown),
        (AdminDown, Up, AdminDown),
        (Down, AdminDown, Down),
        (Down, Down, Init),
        (Down, Init, Up),
        (Down, Up, Down),
        (Init, AdminDown, Down),
        (Init, Down, Init),
        (Init, Init, Up),
        (Init, Up, Up),
        (Up, AdminDown, Down),
        (Up, Down, Down),
        (Up, Init, Up),
        (Up, Up, Up),
    ] {
        let mut session = session(from, now);
        let change = session.handle_packet(&packet(received), now);
        assert_eq!(session.state(), to, "{from:?} hears {received:?}");
        let changed = change.map(|change| (change.from, change.to));
        assert_eq!(changed, (from != to).then_some((from, to)));
        if to == Down && from != Down {
            assert_eq!(session.diagnostic(), Diagnostic::NeighborSignaledDown);
        }
    }
}

#[test]
fn both_ends_come_up_within_the_slow_interval_and_then_keep_their_pace() {
    let mut pair = Pair::new(Pace::default(), Pace::default());
    pair.run(Duration::from_millis(2500));
    assert_eq!(pair.states(), [State::Up, State::Up]);
    pair.sent = [0; 2];
    pair.run(Duration::from_secs(10));
    for sent in pair.sent {
        // Every 75 to 100 ms (RFC 5880, 6.8.7).
        assert!((100..=134).contains(&sent), "{sent} in 10 s");
    }
    assert_eq!(
        pair.changes.len(),
        4,
        "down, init, up at each: {:?}",
        pair.changes
    );
}

#[test]
fn silence_is_noticed_after_the_detection_time_and_not_before() {
    let mut pair = Pair::up();
    pair.cut = [true; 2];
    pair.run(Duration::from_millis(190));
    assert_eq!(pair.states(), [State::Up, State::Up]);
    pair.run(Duration::from_millis(120));
    assert_eq!(pair.states(), [State::Down, State::Down]);
    assert_eq!(pair.ends[0].diagnostic(), Diagnostic::DetectionTimeExpired);
    pair.cut = [false; 2];
    pair.run(Duration::from_millis(2500));
    assert_eq!(pair.states(), [State::Up, State::Up], "and it heals");
}

#[test]
fn a_way_that_is_dead_in_one_direction_is_down_at_both_ends() {
    let mut pair = Pair::up();
    pair.cut[1] = true;
    pair.run(Duration::from_millis(310));
    assert_eq!(pair.ends[1].diagnostic(), Diagnostic::DetectionTimeExpired);
    assert_eq!(pair.ends[0].diagnostic(), Diagnostic::NeighborSignaledDown);
    assert!(pair.states().iter().all(|state| *state != State::Up));
}

#[test]
fn one_lost_packet_in_two_is_no_reason_to_go_down() {
    let mut pair = Pair::up();
    for _ in 0..50 {
        pair.cut = [true; 2];
        pair.run(Duration::from_millis(90));
        pair.cut = [false; 2];
        pair.run(Duration::from_millis(110));
    }
    assert_eq!(pair.changes, []);
}

#[test]
fn the_slower_end_sets_the_pace_of_each_direction() {
    let mut pair = Pair::new(pace(50, 3), pace(300, 4));
    pair.run(Duration::from_secs(5));
    assert_eq!(pair.states(), [State::Up, State::Up]);
    assert_eq!(
        pair.ends[0].detection_time(),
        Some(Duration::from_millis(1200)),
        "the far end's multiplier, the slower interval"
    );
    assert_eq!(
        pair.ends[1].detection_time(),
        Some(Duration::from_millis(900))
    );
    pair.sent = [0; 2];
    pair.run(Duration::from_secs(6));
    for sent in pair.sent {
        assert!((20..=28).contains(&sent), "{sent} in 6 s");
    }
}

#[test]
fn a_new_pace_is_asked_for_until_it_is_confirmed() {
    let mut pair = Pair::up();
    let now = pair.now;
    pair.ends[0].set_pace(pace(50, 3), now);
    pair.cut[1] = true;
    pair.run(Duration::from_millis(150));
    assert!(pair.ends[0].polling, "nobody has answered");
    pair.cut[1] = false;
    pair.run(Duration::from_millis(200));
    assert!(!pair.ends[0].polling);
    assert_eq!(pair.states(), [State::Up, State::Up]);
    assert_eq!(pair.changes, []);
}

#[test]
fn a_question_is_answered_at_once() {
    let now = crossway_sys::clock::now();
    let mut session = session(State::Up, now);
    while session.poll_transmit(now).is_some() {}
    let question = Packet {
        poll: true,
        ..packet(State::Up)
    };
    session.handle_packet(&question, now);
    let answer = session.poll_transmit(now).unwrap();
    assert!(answer.is_final && !answer.poll);
}

#[test]
fn an_end_that_is_held_down_says_so_and_comes_back() {
    let mut pair = Pair::up();
    let now = pair.now;
    pair.ends[0].set_admin_down(DRAINED, now);
    pair.run(Duration::from_millis(20));
    assert_eq!(pair.states(), [State::AdminDown, State::Down]);
    pair.run(Duration::from_secs(5));
    assert_eq!(pair.states(), [State::AdminDown, State::Down]);
    let now = pair.now;
    pair.ends[0].set_admin_down(None, now);
    pair.run(Duration::from_millis(2500));
    assert_eq!(pair.states(), [State::Up, State::Up]);
}

#[test]
fn packets_of_other_sessions_are_not_taken() {
    let now = crossway_sys::clock::now();
    let mut session = session(State::Up, now);
    let foreign = Packet {
        your_discriminator: 77,
        ..packet(State::Down)
    };
    assert_eq!(session.handle_packet(&foreign, now), None);
    let lost_us = Packet {
        your_discriminator: 0,
        ..packet(State::Up)
    };
    assert_eq!(session.handle_packet(&lost_us, now), None);
    assert_eq!(session.state(), State::Up);
    let restarted = Packet {
        your_discriminator: 0,
        ..packet(State::Down)
    };
    let change = session.handle_packet(&restarted, now).unwrap();
    assert_eq!(change.to, State::Down);
}

#[test]
fn an_end_that_wants_no_packets_gets_none() {
    let now = crossway_sys::clock::now();
    let mut session = session(State::Up, now);
    while session.poll_transmit(now).is_some() {}
    let quiet = Packet {
        required_min_rx: Duration::ZERO,
        ..packet(State::Up)
    };
    session.handle_packet(&quiet, now);
    assert_eq!(session.next_transmit, None);
}

#[test]
fn what_the_rfc_discards_is_not_decoded() {
    let good = packet(State::Up).encode();
    assert!(Packet::decode(&good).is_some());
    for length in 0..good.len() {
        assert_eq!(Packet::decode(&good[..length]), None, "{length} bytes");
    }
    for (at, byte, why) in [
        (0, 0x40, "version 2"),
        (1, good[1] | 0x04, "authenticated"),
        (1, good[1] | 0x01, "multipoint"),
        (2, 0, "multiplier 0"),
        (3, 23, "shorter than itself"),
        (3, 25, "longer than the datagram"),
    ] {
        let mut bad = good;
        bad[at] = byte;
        assert_eq!(Packet::decode(&bad), None, "{why}");
    }
    let mut bad = good;
    bad[4..8].fill(0);
    assert_eq!(Packet::decode(&bad), None, "no discriminator");
}

#[test]
fn the_round_trip_is_measured_every_ten_seconds_while_the_session_is_up() {
    let mut pair = Pair::up();
    pair.run(Duration::from_mins(1));
    let measured = pair.ends.each_ref().map(Session::round_trip);
    for measured in measured {
        assert_eq!(measured.last, 2 * WAY);
        assert!((6..=7).contains(&measured.count), "{measured:?}");
    }
    assert_eq!(pair.changes, []);
    // Nothing comes back: nothing is measured, and nothing of before is taken for it.
    pair.cut = [true, true];
    pair.run(Duration::from_mins(1));
    assert_eq!(pair.states(), [State::Down, State::Down]);
    pair.cut = [false, false];
    pair.run(Duration::from_secs(5));
    for (end, before) in pair.ends.iter().zip(measured) {
        let measured = end.round_trip();
        assert_eq!(measured.last, 2 * WAY);
        assert!(measured.count <= before.count + 1, "{measured:?}");
    }
}

#[test]
fn one_packet_asks_and_a_late_answer_to_another_question_is_none_to_it() {
    let now = crossway_sys::clock::now();
    let mut up = session(State::Up, now);
    let sends = |session: &mut Session, at: Instant| {
        session.transmit_now(at);
        session.poll_transmit(at).unwrap()
    };
    let answer = Packet {
        is_final: true,
        ..packet(State::Up)
    };
    // The pace of a session that came up is confirmed first.
    assert!(sends(&mut up, now).poll);
    up.handle_packet(&answer, now + WAY);
    assert_eq!(up.round_trip().count, 0);
    let asked = now + 2 * WAY;
    assert!(sends(&mut up, asked).poll);
    assert!(!sends(&mut up, asked + WAY).poll, "once");
    up.handle_packet(&answer, asked + 3 * WAY);
    up.handle_packet(&answer, asked + 9 * WAY);
    let measured = up.round_trip();
    assert_eq!((measured.last, measured.count), (3 * WAY, 1));
    // Another pace is asked for while a measurement is under way.
    let again = asked + Duration::from_secs(20);
    assert!(sends(&mut up, again).poll);
    up.set_pace(pace(200, 3), again);
    up.handle_packet(&answer, again + WAY);
    assert_eq!(up.round_trip().count, 1);
}
