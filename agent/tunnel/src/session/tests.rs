//! Two sessions and a clock that is turned by hand.

mod forgetting;
mod handed_over;
mod network;
mod one_way;
mod oracle;
mod round_trips;
mod rules;

use super::*;
use crate::message::Message;
use crossway_sys::clock;

/// Time between two looks at the timers, as in a lane.
const TICK: Duration = Duration::from_millis(100);

/// The longest inner packet.
const MTU: usize = 1420;

/// One end of a link.
struct End {
    local: Local,
    session: Session,
}

impl End {
    fn new(key: u8, peer: u8, keepalive: Option<u16>, now: Instant) -> Self {
        Self::with_preshared(key, peer, None, keepalive, now)
    }

    fn with_preshared(
        key: u8,
        peer: u8,
        preshared: Option<[u8; 32]>,
        keepalive: Option<u16>,
        now: Instant,
    ) -> Self {
        let peer = Identity::new([peer; 32]).public_key();
        Self {
            local: Local {
                identity: Identity::new([key; 32]),
                calendar: Calendar::new(now, Duration::from_secs(1_000_000)),
                mtu: MTU,
            },
            session: Session::new(peer, preshared.as_ref(), keepalive, key.into(), now),
        }
    }

    fn dial(&mut self, now: Instant) -> Option<Vec<u8>> {
        let local = &self.local;
        written(|to| self.session.initiate(local, now, to))
    }

    fn tick(&mut self, now: Instant) -> Option<Vec<u8>> {
        if !self.session.is_due(now) {
            return None;
        }
        let local = &self.local;
        written(|to| self.session.handle_timeout(local, now, to))
    }

    /// The data message, or the initiation that the packet gave rise to.
    fn send(&mut self, packet: &[u8], now: Instant) -> Option<Vec<u8>> {
        let local = &self.local;
        written(|to| {
            let sealed = self.session.seal(packet, MTU, to);
            sealed.or_else(|| match self.session.hold(packet, local, now, to) {
                Held::Initiation(length) => Some(length),
                Held::Queued | Held::QueueFull => None,
            })
        })
    }

    /// What the datagram was, and what it is answered with.
    fn handle(&mut self, datagram: &[u8], now: Instant) -> (Result<Got, DropReason>, Vec<Vec<u8>>) {
        let mut answers = Vec::new();
        let result = self.take(datagram, now, &mut answers);
        while let Some(held) = written(|to| Some(self.session.poll_held(MTU, to)?.0)) {
            answers.push(held);
        }
        (result, answers)
    }

    fn take(
        &mut self,
        datagram: &[u8],
        now: Instant,
        answers: &mut Vec<Vec<u8>>,
    ) -> Result<Got, DropReason> {
        let mut to = vec![0; 2048];
        match Message::parse(datagram).ok_or(DropReason::NotWireGuard)? {
            Message::Initiation => {
                let initiation = Responder::read(&self.local.identity, datagram)
                    .ok_or(DropReason::HandshakeInvalid)?;
                assert_eq!(initiation.peer, self.session.peer);
                let length = self.session.answer(initiation, now, &mut to)?;
                answers.push(to[..length].to_vec());
                Ok(Got::Handshake)
            }
            Message::Response { receiver } => {
                let keepalive = self
                    .session
                    .handle_response(receiver, datagram, now, &mut to)?;
                answers.extend(keepalive.map(|length| to[..length].to_vec()));
                Ok(Got::Handshake)
            }
            Message::Cookie { .. } => {
                let again = self
                    .session
                    .handle_cookie(datagram, &self.local, now, &mut to)?;
                answers.extend(again.map(|length| to[..length].to_vec()));
                Ok(Got::Handshake)
            }
            Message::Data { receiver } => {
                match self.session.open(receiver, datagram, now, &mut to)? {
                    Opened::Packet(length) => Ok(Got::Packet(to[..length].to_vec())),
                    Opened::Keepalive => Ok(Got::Keepalive),
                }
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Got {
    Packet(Vec<u8>),
    Keepalive,
    Handshake,
}

fn written(write: impl FnOnce(&mut [u8]) -> Option<usize>) -> Option<Vec<u8>> {
    let mut to = vec![0; 2048];
    let length = write(&mut to)?;
    to.truncate(length);
    Some(to)
}

/// An IPv4 packet of `length` bytes.
fn inner(length: u16) -> Vec<u8> {
    let mut packet = vec![0x5a; usize::from(length)];
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&length.to_be_bytes());
    packet
}

/// Two ends, a clock, and what crossed the wire between them.
struct Link {
    a: End,
    b: End,
    start: Instant,
    now: Instant,
    /// Whether datagrams arrive.
    up: bool,
    /// The end that nothing arrives at, though what it sends does.
    deaf: Option<char>,
    /// Seconds since the start, sender and message type of each datagram sent.
    wire: Vec<(f64, char, u8)>,
}

impl Link {
    /// `a` and `b` with these keepalives, without a session.
    fn new(keepalive_a: Option<u16>, keepalive_b: Option<u16>) -> Self {
        let start = clock::now();
        Self {
            a: End::new(1, 2, keepalive_a, start),
            b: End::new(2, 1, keepalive_b, start),
            start,
            now: start,
            up: true,
            deaf: None,
            wire: Vec::new(),
        }
    }

    /// With a session that `a` began.
    fn agreed(keepalive_a: Option<u16>, keepalive_b: Option<u16>) -> Self {
        let mut link = Self::new(keepalive_a, keepalive_b);
        let initiation = link.a.dial(link.now).unwrap();
        link.carry('a', initiation);
        link.wire.clear();
        link
    }

    /// Carries a datagram of an end, and all that it gives rise to.
    fn carry(&mut self, from: char, datagram: Vec<u8>) {
        let mut way = vec![(from, datagram)];
        while let Some((from, datagram)) = way.pop() {
            self.wire.push((self.seconds(), from, datagram[0]));
            let (end, name) = match from {
                'a' => (&mut self.b, 'b'),
                _ => (&mut self.a, 'a'),
            };
            if self.up && self.deaf != Some(name) {
                let (_, answers) = end.handle(&datagram, self.now);
                way.extend(answers.into_iter().map(|answer| (name, answer)));
            }
        }
    }

    fn send(&mut self, from: char) {
        let now = self.now;
        let end = if from == 'a' {
            &mut self.a
        } else {
            &mut self.b
        };
        if let Some(datagram) = end.send(&inner(100), now) {
            self.carry(from, datagram);
        }
    }

    /// Turns the clock on; the timers of both ends run.
    fn wait(&mut self, seconds: f64) {
        let until = self.now + Duration::from_secs_f64(seconds);
        while self.now < until {
            self.now += TICK;
            if let Some(datagram) = self.a.tick(self.now) {
                self.carry('a', datagram);
            }
            if let Some(datagram) = self.b.tick(self.now) {
                self.carry('b', datagram);
            }
        }
    }

    fn seconds(&self) -> f64 {
        (self.now - self.start).as_secs_f64()
    }

    /// When `from` sent messages of this type.
    fn times(&self, from: char, kind: u8) -> Vec<f64> {
        let sent = self.wire.iter();
        sent.filter(|(_, sender, sent)| (*sender, *sent) == (from, kind))
            .map(|(time, ..)| *time)
            .collect()
    }

    fn ages(&self) -> (Option<u64>, Option<u64>) {
        let age = |end: &End| end.session.handshake_age(self.now).map(|age| age.as_secs());
        (age(&self.a), age(&self.b))
    }
}
