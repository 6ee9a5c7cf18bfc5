//! The state and the words that one agent hands to the next. Only a process of our own user can send them, but
//! it may be of another version, or broken: then the sessions begin anew.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::feed::{Feed, Script};
use super::gateways::{A, B, C, FIRST, Node, REPLICA, SECOND, endpoint, ipv4, specs, state};
use crossway::gateway::handover::{Answer, Ask, GatewayExport, Header, Offer, Word};
use crossway::gateway::plan::Numbers;
use crossway::io::offload::Offload;
use crossway::journal::{self, Change, Journal};
use crossway::tunnel::Tunnel;
use crossway_types::codec::{Reader, Writer};

pub(super) fn run(data: &[u8]) {
    let mut feed = Feed::new(data);
    match feed.u8() % 8 {
        0 => words(feed.rest()),
        1 => codec(feed.rest()),
        2 => {
            let gateway = feed.of(&[A, B, C]);
            take_over(gateway, feed.rest());
        }
        _ => {
            let gateway = feed.of(&[A, B, C]);
            let changed = changed(&mut feed, state(gateway));
            take_over(gateway, &changed);
        }
    }
}

/// A message of JSON survives the trip that it has made.
fn told_again<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let told: T = serde_json::from_slice(bytes).ok()?;
    let text = serde_json::to_vec(&told).expect("what was read can be written");
    Some(serde_json::from_slice(&text).expect("and read again"))
}

fn words(bytes: &[u8]) {
    told_again::<Ask>(bytes);
    told_again::<Word>(bytes);
    let now = super::beginning();
    if let Some(Answer::Offer(Offer { numbers, .. })) = told_again(bytes) {
        adopt_numbers(numbers);
    }
    if let Ok(value) = serde_json::from_slice(bytes) {
        adopt_numbers(value);
    }
    if let Some(Header { lanes, .. }) = told_again(bytes) {
        for off in lanes {
            let offload = Offload::told("tso", &off, now);
            assert_eq!(offload.is_on(), off.iter().all(|off| off.name != "tso"));
            let told = offload.tell(now);
            assert_eq!(told.is_some(), !offload.is_on());
        }
    }
    if let Some(GatewayExport { events, .. }) = told_again(bytes) {
        let mut journal = Journal::default();
        journal.adopt(events);
        let before = journal.last(None);
        assert!(before.events.len() <= journal::CAPACITY);
        journal.record(Duration::ZERO, change());
        let since = journal.since(before.next_sequence);
        assert_eq!((since.events.len(), since.missed), (1, 0));
        journal.since(0);
        journal.since(u64::MAX);
    }
}

fn adopt_numbers(value: serde_json::Value) {
    if let Some(numbers) = Numbers::import(value) {
        let told = Numbers::import(numbers.export()).expect("it was told here");
        assert_eq!(
            told.export().to_string().len(),
            numbers.export().to_string().len()
        );
    }
}

fn change() -> Change {
    Change {
        kind: crossway::control::message::EventKind::Link,
        subject: "paris".to_owned(),
        from: None,
        to: "up".to_owned(),
        cause: "it answers".to_owned(),
    }
}

/// Whatever is asked of a reader, it gives or says that there is none.
fn codec(bytes: &[u8]) {
    let now = super::beginning();
    let mut kinds = bytes.iter();
    let mut reader = Reader::new(bytes, now);
    for kind in kinds.by_ref().take(64) {
        let damaged = match kind % 8 {
            0 => reader.u16().is_err(),
            1 => reader.u32().is_err(),
            2 => reader.bool().is_err(),
            3 => reader.instant().is_err(),
            4 => reader.option(Reader::u64).is_err(),
            5 => reader.part().is_err(),
            6 => reader.array::<12>().is_err(),
            _ => reader.duration().is_err(),
        };
        if damaged {
            return;
        }
    }
}

/// The state with some bytes changed, cut, doubled or put elsewhere.
fn changed(feed: &mut Feed<'_>, state: &[u8]) -> Vec<u8> {
    let mut state = state.to_vec();
    for _ in 0..feed.u8() % 16 {
        let (at, value) = (usize::from(feed.u16()) % state.len(), feed.u8());
        state[at] = value;
    }
    match feed.u8() % 4 {
        0 => state.truncate(feed.u16().into()),
        1 => {
            let at = usize::from(feed.u16()) % state.len();
            let piece = feed.chunk().to_vec();
            state.splice(at..at, piece);
        }
        2 => {
            let [from, to, length] = [feed.u16(), feed.u16(), feed.u16()].map(usize::from);
            let piece: Vec<u8> = state
                .iter()
                .skip(from)
                .take(length % 4096)
                .copied()
                .collect();
            let to = to % state.len();
            let end = state.len().min(to + piece.len());
            state[to..end].copy_from_slice(&piece[..end - to]);
        }
        _ => {}
    }
    state
}

/// The next agent takes what it can, and works with that.
fn take_over(gateway: usize, state: &[u8]) {
    let now = super::beginning();
    let mut node = Node::new(gateway, now, Duration::ZERO);
    let specs = specs(gateway);
    let imported = node
        .tunnel
        .import(&mut Reader::new(state, now), &specs, now);
    let Ok(imported) = imported else {
        return;
    };
    assert_eq!(imported.sessions + imported.anew, specs.len());
    node.set_routes(gateway);
    let told = exported(&node.tunnel, node.now);
    let mut after = Node::new(gateway, now, Duration::ZERO);
    let again = after
        .tunnel
        .import(&mut Reader::new(&told, now), &specs, now);
    assert_eq!(again.map(|again| again.sessions), Ok(specs.len()));
    assert_eq!(
        without_clock(&told),
        without_clock(&exported(&after.tunnel, now))
    );
    work(gateway, &mut node);
}

fn exported(tunnel: &Tunnel, now: std::time::Instant) -> Vec<u8> {
    let mut state = Writer::new(now);
    tunnel.export(now, &mut state);
    state.finish().to_vec()
}

/// The calendar goes on at each hand-over.
fn without_clock(state: &[u8]) -> Vec<u8> {
    [&state[..32], &state[40..]].concat()
}

/// Packets, handshakes and timers on whatever was taken over.
fn work(gateway: usize, node: &mut Node) {
    let links = match gateway {
        A => &[FIRST, SECOND][..],
        B => &[FIRST, SECOND, REPLICA],
        _ => &[REPLICA],
    };
    let packet = ipv4([10, 2, 0, 1], [10, 1, 0, 1], 100);
    for link in links {
        node.seal(*link, &packet);
    }
    let mut far = if gateway == B { A } else { B };
    for span in [0, 1000, 11_000, 130_000, 200_000] {
        node.pass(Duration::from_millis(span));
        let mut peer = Node::new(far, node.now, Duration::from_secs(span));
        let first = self::specs(far).swap_remove(0);
        peer.tunnel.add_peer(first, node.now, &mut peer.out);
        for (_, initiation) in peer.take() {
            node.handle(&initiation, endpoint(far));
        }
        node.take();
        node.snapshot();
        if gateway == B {
            far = A + C - far;
        }
    }
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (number, gateway) in [A, B, C].into_iter().enumerate() {
        let whole = Script::default().u8(3).u8(number as u8).u8(0).u8(3);
        seeds.push(whole.end());
        let cut = Script::default().u8(3).u8(number as u8).u8(0).u8(0);
        seeds.push(cut.u16(state(gateway).len() as u16 / 2).end());
    }
    for text in [
        r#"{"version":"1","state_version":1,"network_namespace":7}"#,
        r#"{"answer":"offer","version":"1","state_version":1,"numbers":{"sites":[["paris",1]],"links":[]}}"#,
        r#"{"answer":"refused","why":"no"}"#,
        r#""go""#,
        r#"{"asked_ns":1,"parked_ns":2,"state_ns":3,"lanes":[[{"name":"tso","why":"x","since_ms":9}],[]]}"#,
        r#"{"uptime_ms":1,"started_since_epoch_ms":2,"service":"active","links":[],"events":[{"sequence":4,"unix_milliseconds":1,"kind":"link","subject":"a","from":null,"to":"up","cause":"b"}],"virtual_routers":[],"flows":null}"#,
    ] {
        seeds.push(Script::default().u8(0).bytes(text.as_bytes()).end());
    }
    seeds.push(
        Script::default()
            .u8(1)
            .bytes(&[5, 0, 0, 0, 1, 2, 1, 0, 0, 0, 0])
            .end(),
    );
    seeds
}
