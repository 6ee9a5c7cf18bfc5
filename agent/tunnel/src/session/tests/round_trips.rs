//! What a handshake tells of the time to the peer and back: at both ends, and nothing that is not so.

use super::*;

const WAY: Duration = Duration::from_millis(20);

fn ends(now: Instant) -> [End; 2] {
    [(1, 2), (2, 1)].map(|(key, peer)| End::new(key, peer, Some(25), now))
}

/// Hands a datagram to an end, and back the one that it answers with, if it does.
fn pass(end: &mut End, datagram: &[u8], now: Instant) -> Option<Vec<u8>> {
    let (result, mut answers) = end.handle(datagram, now);
    result.unwrap();
    answers.pop()
}

#[test]
fn both_ends_measure_the_round_trip_of_a_handshake() {
    let start = clock::now();
    let [mut a, mut b] = ends(start);
    let initiation = a.dial(start).unwrap();
    let response = pass(&mut b, &initiation, start + WAY).unwrap();
    let keepalive = pass(&mut a, &response, start + 2 * WAY).unwrap();
    assert_eq!(b.session.round_trip(), RoundTrip::default());
    assert_eq!(pass(&mut b, &keepalive, start + 3 * WAY), None);
    for end in [a, b] {
        let expected = RoundTrip {
            last: 2 * WAY,
            count: 1,
        };
        assert_eq!(end.session.round_trip(), expected);
    }
}

#[test]
fn a_retry_counts_from_itself_and_a_first_message_that_was_lost_tells_nothing() {
    let start = clock::now();
    let [mut a, mut b] = ends(start);
    let lost = a.dial(start);
    assert!(lost.is_some());
    let later = start + Duration::from_secs(6);
    let again = a.tick(later).unwrap();
    let response = pass(&mut b, &again, later + WAY).unwrap();
    let lost = pass(&mut a, &response, later + 2 * WAY);
    assert!(lost.is_some());
    assert_eq!(a.session.round_trip().last, 2 * WAY);
    // What comes first is the second, whenever it was sent.
    let data = a.send(&[0x45; 40], later + 50 * WAY).unwrap();
    let (_, answers) = b.handle(&data, later + 51 * WAY);
    assert!(answers.is_empty());
    assert_eq!(b.session.round_trip(), RoundTrip::default());
    assert_eq!(b.session.handshakes(), 1);
}
