//! What the kernel says in forms that we read ourselves: answers of netlink, socket addresses. And the timestamps of handshakes, which follow its clocks.

use std::net::SocketAddr;

use super::feed::{Feed, Script};
use crossway::datapath::netlink;
use crossway::io::udp::address;
use crossway::tunnel::tai64n::Calendar;

pub(super) fn run(data: &[u8]) {
    let mut feed = Feed::new(data);
    match feed.u8() % 4 {
        0 => messages(feed.rest()),
        // Was a record of the programs; the corpus keeps its numbers.
        1 => {}
        2 => addresses(&mut feed),
        _ => timestamps(&mut feed),
    }
}

/// The walk ends, and stays inside.
fn messages(bytes: &[u8]) {
    let mut rest = bytes;
    let mut walked = 0;
    while let Some((_, body)) = netlink::next_message(&mut rest) {
        walked += 16 + body.len();
        assert!(walked <= bytes.len());
        let _ = netlink::error_of(body);
    }
}

fn addresses(feed: &mut Feed<'_>) {
    let before: SocketAddr = if feed.bool() {
        (feed.v4(), feed.u16()).into()
    } else {
        (feed.v6(), feed.u16()).into()
    };
    for ipv6 in [false, true] {
        let mut raw = address::empty();
        address::write(&mut raw, before, ipv6);
        let after = address::read(&raw).expect("it is of IP");
        assert_eq!(after.port(), before.port());
        let is_said = ipv6 || before.ip().to_canonical().is_ipv4();
        if is_said {
            assert_eq!(after.ip(), before.ip().to_canonical());
        }
        raw.ss_family = feed.u16();
        address::read(&raw);
    }
}

/// They never fall, whatever the wall clock does.
fn timestamps(feed: &mut Feed<'_>) {
    let mut now = super::beginning();
    let mut calendar = Calendar::new(now, feed.span());
    let mut last = calendar.timestamp(now);
    while !feed.is_empty() {
        if feed.bool() {
            now += feed.span();
        } else {
            // Of a clock that somebody sets: to 500 years from 1970 at most.
            let set = std::time::Duration::from_secs(feed.u64() >> 30);
            calendar.adjust(now, set);
            assert!(calendar.since_epoch(now) >= set);
        }
        let next = calendar.timestamp(now);
        assert!(next >= last, "{last:02x?}, then {next:02x?}");
        last = next;
    }
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let done = [20, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 9, 9, 9];
    let error = [
        36, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff,
    ];
    vec![
        Script::default()
            .u8(0)
            .bytes(&done)
            .bytes(&error)
            .bytes(&[0; 16])
            .end(),
        Script::default().u8(0).bytes(&error).end(),
        Script::default()
            .u8(2)
            .u8(1)
            .bytes(&[10, 1, 0, 1])
            .u16(51820)
            .u16(2)
            .u16(10)
            .end(),
        Script::default()
            .u8(2)
            .u8(0)
            .bytes(&[0x20; 16])
            .u16(51820)
            .u16(10)
            .u16(2)
            .end(),
        Script::default()
            .u8(3)
            .u16(9)
            .u8(1)
            .u16(5000)
            .u8(0)
            .u64(1 << 61)
            .u8(1)
            .u16(20)
            .u8(0)
            .u64(0)
            .end(),
    ]
}
