//! VRRP: anybody on the LAN may send advertisements. What is read of them, and what the state machine does
//! when it is told anything at any time.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::feed::{Feed, Script};
use crossway::vrrp::socket;
use crossway_liveness::vrrp::packet::{Advertisement, HOPS};
use crossway_liveness::vrrp::router::{Action, Router, Settings, State};
use crossway_liveness::vrrp::{Interval, RELEASE};
use crossway_types::address::Family;

/// Steps of one input.
const STEPS: usize = 256;
/// Without an advertisement for so long, whoever takes part is master: three of the longest intervals, and one
/// more.
const SILENCE: Duration = Duration::from_secs(164);

pub(super) fn run(data: &[u8]) {
    let mut feed = Feed::new(data);
    match feed.u8() {
        0 => {
            let packet = feed.rest();
            let received = socket::parse_ipv4(packet);
            assert!(received.message.len() + 20 <= packet.len().max(20));
            read(received.message, received.source, received.hops);
        }
        1 => {
            let source = source(&mut feed);
            read(feed.rest(), source, HOPS);
        }
        2 => write(&mut feed),
        _ => live(&mut feed),
    }
}

fn source(feed: &mut Feed<'_>) -> IpAddr {
    if feed.bool() {
        feed.v4().into()
    } else {
        feed.v6().into()
    }
}

fn read(message: &[u8], source: IpAddr, hops: u8) {
    let group = Family::of(source).group();
    let Ok(heard) = Advertisement::decode(message, source, group, hops) else {
        return;
    };
    assert_eq!(hops, HOPS);
    assert_eq!(heard.addresses.len(), usize::from(message[3]));
    assert!(
        heard
            .addresses
            .iter()
            .all(|it| Family::of(*it) == Family::of(source))
    );
    let again = Advertisement::decode(&heard.encode(source), source, group, HOPS);
    assert_eq!(again, Ok(heard));
}

/// What is written is read as it was, by whoever it reaches unchanged.
fn write(feed: &mut Feed<'_>) {
    let source = source(feed);
    let Some(advertisement) = advertisement(feed, source) else {
        return;
    };
    let mut message = advertisement.encode(source);
    let group = Family::of(source).group();
    let decode = |message: &[u8]| Advertisement::decode(message, source, group, HOPS);
    assert_eq!(decode(&message), Ok(advertisement.clone()));
    let (at, bits) = (usize::from(feed.u16()) % message.len(), feed.u8());
    // The checksum shows every change within two bytes.
    message[at] ^= bits;
    assert!(bits == 0 || decode(&message).as_ref() != Ok(&advertisement));
}

fn advertisement(feed: &mut Feed<'_>, source: IpAddr) -> Option<Advertisement> {
    let (id, priority) = (feed.u8(), feed.u8());
    let interval = Interval::from_centiseconds(feed.u16() & 0xfff)?;
    let count = usize::from(feed.u8() % 4) + 1;
    let addresses = (0..count).map(|_| match Family::of(source) {
        Family::Ipv4 => IpAddr::from(feed.v4()),
        Family::Ipv6 => IpAddr::from(feed.v6()),
    });
    Some(Advertisement {
        id,
        priority,
        interval,
        addresses: addresses.collect(),
    })
}

/// A router, and what it holds by the actions that it gave.
struct Life {
    router: Router,
    now: Instant,
    holds: bool,
}

fn live(feed: &mut Feed<'_>) {
    let local = IpAddr::from([10, 1, 0, 2]);
    let mut life = Life {
        router: Router::new(settings(feed), local),
        now: super::beginning(),
        holds: false,
    };
    for _ in 0..STEPS {
        if feed.is_empty() {
            break;
        }
        life.step(feed, local);
        life.act();
    }
    life.now += SILENCE;
    // Once for what was missed, once for what followed from that.
    for _ in 0..2 {
        life.router.handle_timeout(life.now);
        life.act();
    }
    let takes_part = life.router.state() != State::Initialize;
    assert_eq!(life.holds, takes_part, "the addresses are somewhere");
}

fn settings(feed: &mut Feed<'_>) -> Settings {
    let interval = Interval::from_centiseconds(feed.u16() & 0xfff);
    Settings {
        priority: feed.u8().max(1),
        interval: interval.unwrap_or(Interval::LONGEST),
        preempt: feed.bool(),
    }
}

impl Life {
    fn step(&mut self, feed: &mut Feed<'_>, local: IpAddr) {
        match feed.u8() % 8 {
            0 => self.router.start(self.now, local),
            1 | 2 => self.now += feed.span(),
            3 | 4 => {
                let from = IpAddr::from([10, 1, 0, feed.u8()]);
                if let Some(heard) = advertisement(feed, from) {
                    self.router.handle_advertisement(self.now, from, &heard);
                }
            }
            5 => self.router.set(self.now, settings(feed)),
            6 => match feed.u8() % 3 {
                0 => self.router.stop("the input says so"),
                1 => self.router.resume(self.now, local),
                _ => self.router.set_local([10, 1, 0, feed.u8()].into()),
            },
            _ => {
                if let Some(due) = self.router.poll_timeout() {
                    self.now = self.now.max(due);
                }
            }
        }
        self.router.handle_timeout(self.now);
    }

    fn act(&mut self) {
        let (mut said, mut reported) = (0, self.router.state());
        while let Some(action) = self.router.poll_action() {
            match action {
                Action::Advertise(priority) => {
                    assert!(self.holds, "who says it is master is reachable");
                    assert!(priority == RELEASE || priority == self.router.settings().priority);
                    said += 1;
                }
                Action::Take => {
                    assert!(!self.holds);
                    self.holds = true;
                }
                Action::Announce => assert!(self.holds, "hosts are told of who is there"),
                Action::Give => {
                    assert!(self.holds);
                    self.holds = false;
                }
                Action::Report(change) => reported = change.to,
                Action::ReportRival(_) => assert_eq!(self.router.state(), State::Master),
            }
        }
        // One for the event and one for the time that has passed.
        assert!(said <= 2, "{said} advertisements at once");
        let state = self.router.state();
        assert_eq!(reported, state);
        assert_eq!(self.holds, state == State::Master);
        match self.router.poll_timeout() {
            Some(due) => assert!(due > self.now, "it would spin"),
            None => assert_eq!(state, State::Initialize, "it would wait for ever"),
        }
    }
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let advertisement = Advertisement {
        id: 51,
        priority: 100,
        interval: Interval::from_centiseconds(100).expect("it is one"),
        addresses: vec![[10, 1, 0, 1].into()],
    };
    let mate = IpAddr::from([10, 1, 0, 3]);
    let message = advertisement.encode(mate);
    let mut packet =
        super::gateways::ipv4([10, 1, 0, 3], [224, 0, 0, 18], 20 + message.len() as u16);
    packet.truncate(20);
    packet[8..10].copy_from_slice(&[255, 112]);
    packet.extend_from_slice(&message);
    let v6 = IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, 3]);
    let of_v6 = Advertisement {
        addresses: vec![[0xfe80, 0, 0, 0, 0, 0, 0, 1].into()],
        ..advertisement
    };
    let life = |priority: u8| Script::default().u8(3).u16(100).u8(priority).u8(1).u8(0);
    let hear = |script: Script, priority: u8| {
        script
            .u8(3)
            .u8(3)
            .u8(51)
            .u8(priority)
            .u16(100)
            .u8(0)
            .bytes(&[10, 1, 0, 1])
    };
    vec![
        Script::default().u8(0).bytes(&packet).end(),
        Script::default()
            .u8(1)
            .u8(1)
            .bytes(&[10, 1, 0, 3])
            .bytes(&message)
            .end(),
        Script::default()
            .u8(1)
            .u8(0)
            .bytes(&[0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3])
            .bytes(&of_v6.encode(v6))
            .end(),
        Script::default()
            .u8(2)
            .u8(1)
            .bytes(&[10, 1, 0, 3])
            .u8(51)
            .u8(100)
            .u16(100)
            .u8(1)
            .bytes(&[10, 1, 0, 1, 10, 1, 0, 4])
            .u16(9)
            .u8(3)
            .end(),
        life(100).u8(7).u8(7).u8(7).end(),
        hear(hear(life(100), 200).u8(1).u16(500), 0).u8(7).end(),
        hear(life(200).u8(7), 100).u8(7).u8(6).u8(0).end(),
        hear(life(200).u8(7), 250)
            .u8(5)
            .u16(10)
            .u8(255)
            .u8(0)
            .u8(7)
            .end(),
        hear(life(100).u8(7), 100).u8(6).u8(2).u8(9).u8(7).end(),
        life(255).u8(6).u8(0).u8(6).u8(1).u8(7).u8(7).end(),
    ]
}
