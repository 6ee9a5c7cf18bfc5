//! What the agent reads of an inner packet, and what it changes there: addresses, lengths, the sums, the
//! largest segment of a SYN.

use super::feed::{Feed, Script};
use super::gateways::{ipv4, source_and_length};
use crossway::lane::mss;
use crossway::liveness::bfd::encapsulation;
use crossway::packet;
use crossway_types::checksum;

/// Offset of a TCP header's checksum.
const TCP_SUM: usize = 16;

pub(super) fn run(data: &[u8]) {
    let mut feed = Feed::new(data);
    let mtu = usize::from(feed.u16());
    let (from, cut) = (usize::from(feed.u8()), usize::from(feed.u16()));
    let bytes = feed.rest();
    heads(bytes);
    sums(&bytes[from.min(bytes.len())..], cut);
    clamp(bytes, mtu);
}

/// A packet with up to seven of its bytes changed, cut short or grown: as the next byte of the input says.
pub(super) fn mangled(feed: &mut Feed<'_>, mut packet: Vec<u8>) -> Vec<u8> {
    let how = feed.u8();
    for _ in 0..how & 7 {
        let (at, value) = (usize::from(feed.u16()), feed.u8());
        if let Some(byte) = packet.get_mut(at) {
            *byte = value;
        }
    }
    if how & 8 != 0 {
        packet.truncate(feed.u16().into());
    }
    if how & 16 != 0 {
        packet.extend_from_slice(feed.chunk());
    }
    packet
}

fn heads(bytes: &[u8]) {
    if let Some((source, length)) = source_and_length(bytes) {
        assert_eq!(packet::stated_length(bytes), Some(length));
        let (found, _) = packet::addresses(bytes).expect("the header is whole");
        assert_eq!(found, source);
    }
    if let Some((start, protocol)) = packet::transport(bytes) {
        assert!((20..=60).contains(&start));
        assert_eq!(protocol, bytes[if bytes[0] >> 4 == 4 { 9 } else { 6 }]);
        // What is behind the ports does not choose the link.
        let mut other = bytes.to_vec();
        other
            .iter_mut()
            .skip(start + 4)
            .for_each(|byte| *byte = !*byte);
        assert_eq!(packet::flow_hash(&other), packet::flow_hash(bytes));
    }
    packet::flow_hash(bytes);
    if encapsulation::is_control(bytes)
        && let Some(payload) = encapsulation::payload(bytes)
    {
        assert!(payload.len() + 28 <= bytes.len());
    }
}

/// RFC 1071's definition.
pub(super) fn sum_by_the_book(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2);
    let words = words.map(|pair| u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0)));
    let mut sum: u64 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// Whether the checksum of the transport header at `start` is right, by the definition.
pub(super) fn transport_sum_is_right(bytes: &[u8], start: usize, protocol: u8) -> bool {
    let addresses = if bytes[0] >> 4 == 4 { 12..20 } else { 8..40 };
    let mut summed = bytes[addresses].to_vec();
    summed.extend(((bytes.len() - start) as u32).to_be_bytes());
    summed.extend([0, 0, 0, protocol]);
    summed.extend_from_slice(&bytes[start..]);
    sum_by_the_book(&summed) == 0xffff
}

fn sums(bytes: &[u8], cut: usize) {
    let whole = checksum::fold(checksum::add(0, bytes));
    assert_eq!(whole, sum_by_the_book(bytes));
    let (front, back) = bytes.split_at(cut.min(bytes.len()) & !1);
    let in_two = checksum::add(checksum::add(0, front), back);
    assert_eq!(checksum::fold(in_two), whole);
    let mut changed = bytes.to_vec();
    if let (Some(word), Some(from)) = (changed.get_mut(..2), bytes.get(2..4)) {
        let (old, new) = ([word[0], word[1]], [from[0], from[1]]);
        word.copy_from_slice(&new);
        let [old, new] = [old, new].map(u16::from_be_bytes);
        let replaced = checksum::replace(checksum::finish(0, bytes), old, new);
        // Both forms of zero mean the same.
        let sums = [replaced, checksum::finish(0, &changed)].map(|sum| sum % 0xffff);
        assert_eq!(sums[0], sums[1]);
    }
}

fn clamp(bytes: &[u8], mtu: usize) {
    let mut clamped = bytes.to_vec();
    mss::clamp(&mut clamped, mtu);
    if clamped != bytes {
        let (start, protocol) = packet::transport(bytes).expect("it is a SYN");
        assert_eq!(protocol, packet::TCP);
        let fixed = if bytes[0] >> 4 == 4 { 40 } else { 60 };
        let changed = |at: &usize| clamped[*at] != bytes[*at];
        let at: Vec<usize> = (0..bytes.len()).filter(changed).collect();
        let sum = start + TCP_SUM..start + TCP_SUM + 2;
        let option: Vec<usize> = at.into_iter().filter(|at| !sum.contains(at)).collect();
        let first = option[0];
        assert!(first >= start + 20 && option.iter().all(|at| at - first < 2));
        // Either byte of the value may be the first that differs.
        let value = |at: usize| usize::from(clamped[at]) << 8 | usize::from(clamped[at + 1]);
        let largest = mtu - fixed;
        assert!(value(first - 1) == largest || value(first) == largest);
        if transport_sum_is_right(bytes, start, protocol) {
            assert!(transport_sum_is_right(&clamped, start, protocol));
        }
    }
    let once = clamped.clone();
    mss::clamp(&mut clamped, mtu);
    assert_eq!(clamped, once, "a second look changes nothing");
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let head = |mtu: u16| Script::default().u16(mtu).u8(3).u16(20);
    let mut syn = ipv4([10, 1, 0, 1], [10, 2, 0, 1], 44);
    syn[9] = packet::TCP;
    syn[32..34].copy_from_slice(&[0x60, 2]);
    syn[40..44].copy_from_slice(&[2, 4, 0x05, 0xb4]);
    let mut odd = ipv4([10, 1, 0, 1], [10, 2, 0, 1], 48);
    odd[9] = packet::TCP;
    odd[32..34].copy_from_slice(&[0x70, 2]);
    odd[40..48].copy_from_slice(&[1, 2, 4, 0x05, 0xb4, 1, 1, 0]);
    let mut syn6 = vec![0; 40];
    syn6[..8].copy_from_slice(&[0x60, 0, 0, 0, 0, 24, packet::TCP, 64]);
    syn6.extend_from_slice(&syn[20..]);
    vec![
        head(1420).bytes(&syn).end(),
        head(1420).bytes(&odd).end(),
        head(1280).bytes(&syn6).end(),
        head(1420)
            .bytes(&ipv4([10, 1, 0, 1], [10, 2, 0, 1], 300))
            .end(),
    ]
}
