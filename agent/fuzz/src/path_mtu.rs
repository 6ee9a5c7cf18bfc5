//! Probes of a path's MTU and answers to them, out of inner packets of a far end that may be hostile.

use std::time::Duration;

use super::feed::{Feed, Script};
use crossway::liveness::path_mtu::packet::{Ends, Kind, Message, SHORTEST, is_ours};
use crossway::liveness::path_mtu::{Bounds, PathMtu};

const BOUNDS: Bounds = Bounds {
    assumed: 1420,
    most: 8920,
    probes: true,
};
/// Events of one input: more find nothing new.
const MOST: usize = 200;

/// What the far end or the clock does.
const ANSWER: u8 = 0;
const LOSE: u8 = 1;
const WAIT: u8 = 2;
const PACKET: u8 = 3;
const LARGE: u8 = 4;
const SESSION: u8 = 5;

pub(super) fn run(data: &[u8]) {
    let mut feed = Feed::new(data);
    let (ours, theirs) = ends();
    let mut now = super::beginning();
    let mut path = PathMtu::new(ours, BOUNDS, 7, now);
    let mut probes: Vec<Message> = Vec::new();
    for _ in 0..MOST {
        if feed.is_empty() {
            return;
        }
        while let Some(probe) = path.poll_probe(now) {
            assert!(is_ours(&probe));
            let message = Message::decode(&probe, &theirs).expect("it is ours");
            assert_eq!(usize::from(message.size), probe.len());
            assert!((SHORTEST..=BOUNDS.most).contains(&message.size));
            probes.push(message);
        }
        match feed.u8() % 6 {
            ANSWER => {
                if let Some(probe) = probes.pop() {
                    let answer = Message {
                        kind: Kind::Answer,
                        ..probe
                    };
                    assert_eq!(path.handle_message(&answer, now), None);
                }
            }
            LOSE => drop(probes.pop()),
            WAIT => now += Duration::from_millis(feed.u16().into()),
            PACKET => {
                let inner = feed.chunk();
                if is_ours(inner)
                    && let Some(message) = path.decode(inner)
                {
                    let answer = path.handle_message(&message, now);
                    assert_eq!(answer.is_some(), message.kind == Kind::Probe);
                    let short = |answer: &Vec<u8>| answer.len() == usize::from(SHORTEST);
                    assert!(answer.as_ref().is_none_or(short));
                }
            }
            LARGE => path.on_large(now),
            SESSION => path.on_session(now),
            _ => unreachable!("there are six"),
        }
        assert!(path.mtu() <= BOUNDS.most && path.gate() <= path.mtu());
        assert!(path.mtu() >= 576, "every path takes so much");
    }
}

fn ends() -> (Ends, Ends) {
    let address = |last| std::net::Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last);
    let ends = |local, remote| Ends { local, remote };
    (ends(address(1), address(2)), ends(address(2), address(1)))
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let (_, theirs) = ends();
    let message = |kind, size| {
        let message = Message {
            kind,
            size,
            mtu: 1400,
            id: 9,
        };
        message.encode(&theirs)
    };
    let wait =
        |script: Script, milliseconds: u16| script.u8(WAIT).bytes(&milliseconds.to_le_bytes());
    let mut found = Script::default().u8(SESSION).u8(ANSWER).u8(ANSWER);
    for _ in 0..6 {
        found = wait(found, 700).u8(ANSWER);
    }
    // What large packets met, and then nothing but the small probes.
    let mut hole = Script::default()
        .u8(SESSION)
        .u8(ANSWER)
        .u8(ANSWER)
        .u8(LARGE);
    for _ in 0..8 {
        hole = wait(hole, 300).u8(ANSWER).u8(LOSE);
    }
    let asked = |kind, size| {
        let inner = message(kind, size);
        let length = (inner.len() as u16).to_le_bytes();
        let script = Script::default().u8(SESSION).u8(PACKET);
        script.bytes(&length).bytes(&inner).u8(ANSWER).end()
    };
    vec![
        found.end(),
        hole.end(),
        asked(Kind::Probe, SHORTEST),
        asked(Kind::Probe, 200),
        asked(Kind::Answer, 1420),
    ]
}
