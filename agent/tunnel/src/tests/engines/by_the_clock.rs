//! What both engines owe by the clock, which is turned by hand for both.

use mock_instant::MockClock;

use super::*;

const INITIATION: u8 = 1;
const DATA: u8 = 4;
/// Time between two looks at the timers.
const TICK: Duration = Duration::from_millis(100);

/// Two gateways and what crossed the wire between them.
struct Wire {
    ends: [Node; 2],
    /// Whether datagrams arrive.
    up: bool,
    start: Instant,
    /// Seconds since the start, sender and message type of each datagram sent.
    sent: Vec<(f64, usize, u8)>,
    /// Inner packets that arrived at each end.
    arrived: [u64; 2],
    given_up: u64,
}

impl Wire {
    /// Every pair of engines, with these keepalives.
    fn each(keepalive: Option<u16>) -> impl Iterator<Item = Self> {
        pairs().map(move |(mut a, mut b)| {
            a.now = b.now;
            for node in [&mut a, &mut b] {
                let mut spec = node.tunnel.peers[0].as_ref().unwrap().spec().clone();
                spec.keepalive = keepalive;
                node.out.take_datagrams();
                node.tunnel.add_peer(spec, node.now, &mut node.out);
            }
            Self {
                start: a.now,
                ends: [a, b],
                up: true,
                sent: Vec::new(),
                arrived: [0; 2],
                given_up: 0,
            }
        })
    }

    fn far_engine(&self) -> Engine {
        let peer = self.ends[1].tunnel.peers[0].as_ref();
        peer.unwrap().spec().engine
    }

    fn seconds(&self) -> f64 {
        (self.ends[0].now - self.start).as_secs_f64()
    }

    /// Carries what is on its way until the wire is quiet.
    fn carry(&mut self) {
        while !self.ends.iter().all(|end| end.out.is_empty()) {
            for from in [0, 1] {
                for (_, datagram) in self.ends[from].out.take_datagrams() {
                    self.sent.push((self.seconds(), from, datagram[0]));
                    if self.up {
                        let source = self.ends[from].address;
                        let (handled, _) = self.ends[1 - from].handle(&datagram, source);
                        assert!(!matches!(handled, Handled::Dropped(_)), "{handled:?}");
                        let packet = matches!(handled, Handled::Packet(_));
                        self.arrived[1 - from] += u64::from(packet);
                    }
                }
            }
        }
    }

    fn wait(&mut self, seconds: u64) {
        self.carry();
        for _ in 0..seconds * 10 {
            MockClock::advance(TICK);
            for end in &mut self.ends {
                end.now += TICK;
                self.given_up += end.tick(0);
            }
            self.carry();
        }
    }

    fn send(&mut self, from: usize) -> Sealed {
        let (source, destination) = [THERE, BACK][from];
        self.ends[from].seal(&inner(source, destination, 100))
    }

    /// When `from` sent messages of this type.
    fn times(&self, from: usize, kind: u8) -> Vec<f64> {
        let sent = self.sent.iter();
        sent.filter(|(_, sender, sent)| (*sender, *sent) == (from, kind))
            .map(|(time, ..)| *time)
            .collect()
    }

    fn ages(&self) -> [Option<u64>; 2] {
        [0, 1].map(|end| {
            let age = self.ends[end].snapshot()[0].handshake_age;
            age.map(|age| age.as_secs())
        })
    }
}

#[test]
fn a_session_in_use_is_renewed_after_two_minutes_and_nothing_is_lost() {
    for mut wire in Wire::each(Some(25)) {
        wire.wait(1);
        for _ in 0..400 {
            for end in [0, 1] {
                assert_eq!(wire.send(end), Sealed::Ready);
            }
            wire.wait(1);
        }
        assert_eq!(wire.arrived, [400, 400]);
        let begun = wire.times(0, INITIATION);
        assert!((4..=5).contains(&begun.len()), "{begun:?}");
        for pair in begun.windows(2) {
            let age = pair[1] - pair[0];
            assert!((119.0..122.0).contains(&age), "{begun:?}");
        }
        assert_eq!(wire.times(1, INITIATION).len(), 0, "not by the responder");
    }
}

#[test]
fn an_unanswered_handshake_is_tried_every_five_seconds_and_given_up_after_ninety() {
    for mut wire in Wire::each(None) {
        wire.up = false;
        for _ in 0..7 {
            assert_eq!(wire.send(0), Sealed::Queued);
        }
        wire.wait(300);
        let begun = wire.times(0, INITIATION);
        assert!((17..=19).contains(&begun.len()), "{begun:?}");
        for pair in begun.windows(2) {
            assert!((5.0..5.7).contains(&(pair[1] - pair[0])), "{begun:?}");
        }
        assert!(begun.last() < Some(&91.0), "{begun:?}");
        assert_eq!(wire.given_up, 7, "counted");
        assert_eq!(wire.ends[0].snapshot()[0].unanswered_for, None);

        wire.up = true;
        assert_eq!(wire.send(0), Sealed::Queued);
        wire.carry();
        assert_eq!(wire.arrived, [0, 1], "a packet dials again");
    }
}

/// boringtun counts from what it sent last. That is too early for data to have caused it, so we make sure by a handshake.
#[test]
fn data_is_answered_with_a_keepalive_within_ten_seconds() {
    for mut wire in Wire::each(None) {
        wire.wait(2);
        wire.sent.clear();
        assert_eq!(wire.send(0), Sealed::Ready);
        wire.wait(30);
        let answers = wire.times(1, DATA);
        assert_eq!(answers.len(), 1, "{answers:?}");
        assert!((9.5..12.5).contains(&answers[0]), "{answers:?}");
        let doubts = wire.far_engine() == Engine::Boringtun;
        let begun = wire.times(0, INITIATION).len();
        assert_eq!(begun, usize::from(doubts), "it was answered");
    }
}

/// boringtun counts from what it heard last.
#[test]
fn data_without_any_answer_begins_a_handshake_within_fifteen_seconds() {
    for mut wire in Wire::each(None) {
        wire.wait(20);
        wire.sent.clear();
        wire.up = false;
        wire.send(0);
        wire.wait(17);
        let begun = wire.times(0, INITIATION);
        let first = begun.first().expect("a handshake");
        assert!((20.0..35.7).contains(first), "{begun:?}");
    }
}

#[test]
fn a_session_that_nothing_renews_ends_after_three_minutes() {
    for mut wire in Wire::each(None) {
        wire.wait(178);
        assert!(wire.ages().iter().all(Option::is_some));
        wire.wait(3);
        assert_eq!(wire.ages(), [None, None]);
        wire.sent.clear();
        wire.wait(700);
        assert_eq!(wire.sent, [], "and nobody asks for another");
        assert_eq!(wire.send(1), Sealed::Queued);
        wire.carry();
        assert_eq!(wire.arrived, [1, 0], "until there is a packet");
    }
}

#[test]
fn a_quiet_link_that_is_kept_alive_is_never_without_a_session() {
    for mut wire in Wire::each(Some(25)) {
        wire.wait(1);
        for _ in 0..100 {
            wire.wait(10);
            assert!(wire.ages().iter().all(Option::is_some));
        }
        let said = wire.times(0, DATA);
        assert!((30..60).contains(&said.len()), "{said:?}");
        for pair in said.windows(2) {
            assert!(pair[1] - pair[0] < 26.0, "{said:?}");
        }
    }
}

#[test]
fn a_link_that_is_kept_alive_is_dialled_for_ever() {
    for mut wire in Wire::each(Some(25)) {
        wire.wait(1);
        wire.up = false;
        wire.wait(1200);
        assert_eq!(wire.ages(), [None, None]);
        wire.up = true;
        wire.wait(6);
        assert!(wire.ages().iter().all(Option::is_some));
    }
}
