//! Echo replies: in the far LAN, out of an inner packet, and in our own, from a socket.

use std::net::IpAddr;

use super::feed::{Feed, Script};
use crossway::health::echo as of_health;
use crossway::liveness::echo::{Echo, LONGEST};

const NONCE: [u8; 8] = *b"12345678";
const IDENTIFIER: u16 = 0x1234;

pub(super) fn run(data: &[u8]) {
    let mut feed = Feed::new(data);
    let ipv4 = feed.bool();
    if feed.bool() {
        answer_in_the_lan(feed.rest(), ipv4);
    } else {
        reply_over_the_link(feed.rest(), ipv4);
    }
}

fn answer_in_the_lan(bytes: &[u8], ipv4: bool) {
    if of_health::is_answer(bytes, ipv4, NONCE) {
        assert!(bytes.windows(NONCE.len()).any(|part| part == NONCE));
    }
    let request = of_health::request(ipv4, NONCE);
    assert!(!of_health::is_answer(&request, ipv4, NONCE));
}

fn reply_over_the_link(inner: &[u8], ipv4: bool) {
    let (source, target): (IpAddr, IpAddr) = addresses(ipv4);
    let now = super::beginning();
    let mut echo = Echo::new(source, target, IDENTIFIER, now);
    let mut request = [0; LONGEST];
    let length = echo.poll_transmit(now, &mut request).expect("it is due");
    assert!(
        !echo.clone().handle_packet(&request[..length]),
        "our own request"
    );
    if echo.handle_packet(inner) {
        assert!(echo.is_alive());
        assert_eq!(crossway::packet::addresses(inner), Some((target, source)));
        let at = if ipv4 { 20 } else { 40 };
        assert_eq!(inner[at], if ipv4 { 0 } else { 129 });
        assert_eq!(inner[at + 4..at + 6], IDENTIFIER.to_be_bytes());
    } else {
        assert!(!echo.is_alive());
    }
}

fn addresses(ipv4: bool) -> (IpAddr, IpAddr) {
    if ipv4 {
        ([10, 2, 0, 1].into(), [10, 1, 0, 9].into())
    } else {
        let address = |last| IpAddr::from([0x2001, 0xdb8, last, 0, 0, 0, 0, 1]);
        (address(2), address(1))
    }
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for ipv4 in [true, false] {
        let head = |kind: u8| Script::default().u8(ipv4.into()).u8(kind);
        let (source, target) = addresses(ipv4);
        let mut echo = Echo::new(target, source, IDENTIFIER, super::beginning());
        let mut reply = [0; LONGEST];
        let length = echo
            .poll_transmit(super::beginning(), &mut reply)
            .expect("it is due");
        reply[length - 8] = if ipv4 { 0 } else { 129 };
        seeds.push(head(0).bytes(&reply[..length]).end());
        let mut answer = of_health::request(ipv4, NONCE);
        answer[0] = if ipv4 { 0 } else { 129 };
        seeds.push(head(1).bytes(&answer).end());
        seeds.push(head(1).bytes(&[0x45; 20]).bytes(&answer).end());
    }
    seeds
}
