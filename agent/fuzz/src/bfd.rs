//! BFD: packets in their headers, and a session that is told anything, by a far end that has the keys, at any
//! time.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::feed::{Feed, Script};
use crossway::liveness::bfd::encapsulation::{self, LONGEST, Path};
use crossway::liveness::bfd::packet::{Diagnostic, LEN, Packet, State};
use crossway::liveness::bfd::{Pace, Session};
use crossway_types::codec::{Reader, Writer};

/// Steps of one input.
const STEPS: usize = 256;
const OURS: u32 = 7;
const THEIRS: u32 = 9;

pub(super) fn run(data: &[u8]) {
    let mut feed = Feed::new(data);
    match feed.u8() {
        0 => decode(feed.rest()),
        1 => unwrap(feed.rest()),
        2 => wrap(&mut feed),
        _ => converse(&mut feed),
    }
}

fn decode(bytes: &[u8]) {
    let Some(packet) = Packet::decode(bytes) else {
        return;
    };
    // What has no name of ours may have had another number.
    let encoded = packet.encode();
    assert_eq!(Packet::decode(&encoded), Some(packet));
    assert_eq!(encoded[1..3], [bytes[1] & 0xf0, bytes[2]]);
    assert_eq!(encoded[4..20], bytes[4..20]);
}

fn unwrap(inner: &[u8]) {
    if encapsulation::is_control(inner)
        && let Some(payload) = encapsulation::payload(inner)
    {
        assert!(
            inner
                .windows(payload.len().max(1))
                .any(|part| part == payload)
                || payload.is_empty()
        );
        decode(payload);
    }
    let _ = encapsulation::payload(inner);
}

fn wrap(feed: &mut Feed<'_>) {
    let (local, remote): (IpAddr, IpAddr) = if feed.bool() {
        (feed.v4().into(), feed.v4().into())
    } else {
        (feed.v6().into(), feed.v6().into())
    };
    let path = Path {
        local,
        remote,
        source_port: feed.u16(),
    };
    let Some(packet) = Packet::decode(feed.rest()) else {
        return;
    };
    let mut bytes = [0xff; LONGEST];
    let length = encapsulation::write(&packet, &path, &mut bytes);
    let inner = &bytes[..length];
    assert!(encapsulation::is_control(inner));
    let payload = encapsulation::payload(inner).expect("it is whole");
    assert_eq!(Packet::decode(payload), Some(packet));
    assert_eq!(crossway::packet::addresses(inner), Some((local, remote)));
    assert_eq!(crossway::packet::stated_length(inner), Some(length));
    let (start, protocol) = crossway::packet::transport(inner).expect("it is UDP");
    assert!(super::inner::transport_sum_is_right(inner, start, protocol));
}

fn pace(feed: &mut Feed<'_>) -> Pace {
    // The bounds of the configuration.
    Pace {
        interval: Duration::from_millis(10 + u64::from(feed.u16()) % 9991),
        multiplier: feed.u8() % 50 + 1,
    }
}

struct Talk {
    session: Session,
    pace: Pace,
    now: Instant,
    /// When a packet that was for the session came last.
    heard: Option<Instant>,
}

fn converse(feed: &mut Feed<'_>) {
    let (now, pace) = (super::beginning(), pace(feed));
    let mut talk = Talk {
        session: Session::new(pace, OURS, feed.u32(), now),
        pace,
        now,
        heard: None,
    };
    for _ in 0..STEPS {
        if feed.is_empty() {
            break;
        }
        talk.step(feed);
        talk.check();
    }
    talk.recovers();
}

impl Talk {
    fn step(&mut self, feed: &mut Feed<'_>) {
        let now = self.now;
        match feed.u8() % 10 {
            0..3 => self.now += feed.span(),
            3..6 => self.hear(feed),
            6 => {
                let reason = feed.of(&[None, Some(Diagnostic::AdministrativelyDown)]);
                self.session.set_admin_down(reason, now);
            }
            7 => match feed.u8() % 3 {
                0 => self.session.set_standby(feed.bool(), now),
                1 => self.session.transmit_now(now),
                _ => {
                    self.session.on_path_down(now);
                }
            },
            8 => {
                self.pace = pace(feed);
                self.session.set_pace(self.pace, now);
            }
            _ => self.hand_over(),
        }
        self.session.handle_timeout(self.now);
    }

    fn hear(&mut self, feed: &mut Feed<'_>) {
        let mut bytes: [u8; LEN] = feed.array();
        let head = feed.u8();
        if head & 1 == 0 {
            bytes[0] = 0x20 | bytes[0] & 0x1f;
            bytes[1] &= 0xf0;
            bytes[3] = LEN as u8;
        }
        if head & 2 == 0 {
            bytes[8..12].copy_from_slice(&OURS.to_be_bytes());
        }
        let Some(packet) = Packet::decode(&bytes) else {
            return;
        };
        let before = self.session.state();
        self.session.handle_packet(&packet, self.now);
        let after = self.session.state();
        let known = packet.your_discriminator == OURS;
        if after == State::Up && before != State::Up {
            assert!(known, "who does not know us has not heard us");
        }
        if known || packet.your_discriminator == 0 && after != before {
            self.heard = Some(self.now);
        }
        assert_eq!(
            before == State::AdminDown,
            after == State::AdminDown,
            "only we hold it down"
        );
    }

    fn hand_over(&mut self) {
        let mut state = Writer::new(self.now);
        self.session.export(&mut state);
        let bytes = state.finish();
        let before = (
            self.session.state(),
            self.session.remote(),
            self.session.next_timeout(),
        );
        self.session = Session::new(self.pace, OURS, 3, self.now);
        let taken = self.session.import(&mut Reader::new(&bytes, self.now));
        assert_eq!(taken, Ok(()));
        let after = (
            self.session.state(),
            self.session.remote(),
            self.session.next_timeout(),
        );
        assert_eq!(before, after);
    }

    /// All that holds at any time, once what is due has been done.
    fn check(&mut self) {
        if let Some(packet) = self.session.poll_transmit(self.now) {
            assert_eq!(
                Packet::decode(&packet.encode()).map(|it| it.state),
                Some(packet.state)
            );
            assert!(!(packet.poll && packet.is_final), "RFC 5880, 6.5");
            assert_eq!(packet.my_discriminator, OURS);
        }
        if let Some(next) = self.session.next_timeout() {
            assert!(next > self.now, "it would spin");
        }
        if matches!(self.session.state(), State::Init | State::Up) {
            let heard = self.heard.expect("it was heard");
            let detection = self.session.detection_time().expect("it was heard");
            assert!(
                self.now < heard + detection.max(Duration::from_secs(1))
                    || detection > Duration::ZERO
            );
        }
    }

    /// Whatever was said before, an honest far end brings the session up.
    fn recovers(&mut self) {
        self.session.set_admin_down(None, self.now);
        let mut far = Session::new(Pace::default(), THEIRS, 5, self.now);
        let end = self.now + Duration::from_mins(3);
        while self.now < end {
            if self.session.state() == State::Up && far.state() == State::Up {
                return;
            }
            for turn in [true, false] {
                let (from, to) = if turn {
                    (&mut self.session, &mut far)
                } else {
                    (&mut far, &mut self.session)
                };
                from.handle_timeout(self.now);
                if let Some(packet) = from.poll_transmit(self.now) {
                    to.handle_packet(&packet, self.now);
                }
            }
            self.now += Duration::from_millis(50);
        }
        panic!(
            "{:?} and {:?} after 3 minutes",
            self.session.state(),
            far.state()
        );
    }
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let packet = |state: State| Packet {
        state,
        diagnostic: Diagnostic::None,
        poll: state == State::Up,
        is_final: false,
        multiplier: 3,
        my_discriminator: THEIRS,
        your_discriminator: OURS,
        desired_min_tx: Duration::from_millis(100),
        required_min_rx: Duration::from_millis(100),
    };
    let path = Path {
        local: [10, 1, 0, 1].into(),
        remote: [10, 2, 0, 1].into(),
        source_port: 49_200,
    };
    let mut inner = [0; LONGEST];
    let length = encapsulation::write(&packet(State::Up), &path, &mut inner);
    let talk = || Script::default().u8(3).u16(90).u8(2).u32(1);
    let hear = |script: Script, state| script.u8(3).bytes(&packet(state).encode()).u8(0);
    let up = || hear(hear(talk(), State::Down), State::Init);
    vec![
        Script::default()
            .u8(0)
            .bytes(&packet(State::Init).encode())
            .end(),
        Script::default().u8(1).bytes(&inner[..length]).end(),
        Script::default()
            .u8(2)
            .u8(1)
            .bytes(&[10, 1, 0, 1, 10, 2, 0, 1])
            .u16(50_000)
            .bytes(&packet(State::Up).encode())
            .end(),
        up().end(),
        hear(up(), State::Down).end(),
        hear(up().u8(0).u16(1000), State::AdminDown).end(),
        up().u8(9)
            .u8(8)
            .u16(500)
            .u8(4)
            .u8(9)
            .u8(7)
            .u8(0)
            .u8(1)
            .end(),
        up().u8(6).u8(1).u8(0).u16(4000).u8(6).u8(0).end(),
        talk()
            .u8(3)
            .bytes(&[0x20, 0x40, 255, 24, 0, 0, 0, 9, 0, 0, 0, 7])
            .bytes(&[0xff; 12])
            .u8(0)
            .end(),
        talk()
            .u8(3)
            .bytes(&[0x20, 0x40, 1, 24, 0, 0, 0, 9, 0, 0, 0, 7])
            .bytes(&[0; 12])
            .u8(0)
            .end(),
    ]
}
