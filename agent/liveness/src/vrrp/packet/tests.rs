use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

const MASTER: [&str; 2] = ["10.1.0.2", "fe80::2"];

fn advertisement(ipv4: bool) -> (Advertisement, IpAddr) {
    let (addresses, source): (&[&str], _) = if ipv4 {
        (&["10.1.0.254", "10.1.0.253"], MASTER[0])
    } else {
        (&["fe80::254", "2001:db8:1::254"], MASTER[1])
    };
    let addresses = addresses.iter().map(|text| text.parse().unwrap());
    let advertisement = Advertisement {
        id: 51,
        priority: 150,
        interval: Interval::from_centiseconds(20).unwrap(),
        addresses: addresses.collect(),
    };
    (advertisement, source.parse().unwrap())
}

fn decode(message: &[u8], source: IpAddr) -> Result<Advertisement, Refusal> {
    Advertisement::decode(message, source, Family::of(source).group(), HOPS)
}

#[test]
fn what_is_encoded_is_decoded_in_both_families() {
    for ipv4 in [true, false] {
        let (advertisement, source) = advertisement(ipv4);
        let message = advertisement.encode(source);
        assert_eq!(decode(&message, source), Ok(advertisement));
    }
}

#[test]
fn the_bytes_are_those_of_the_rfc() {
    let (mut advertisement, source) = advertisement(true);
    advertisement.addresses.truncate(1);
    advertisement.priority = 100;
    advertisement.interval = Interval::from_centiseconds(100).unwrap();
    let message = advertisement.encode(source);
    assert_eq!(message[..6], [0x31, 51, 100, 1, 0, 100]);
    assert_eq!(message[8..], [10, 1, 0, 254]);
    // By hand: 3133 + 6401 + 0064 + 0a01 + 00fe and 0a01 + 0002 + e000 + 0012 + 0070 + 000c.
    let sum: u32 = 0x3133 + 0x6401 + 0x64 + 0x0a01 + 0xfe + 0x0a01 + 2 + 0xe000 + 0x12 + 0x70 + 12;
    let sum = !(sum as u16 + (sum >> 16) as u16);
    assert_eq!(message[6..8], sum.to_be_bytes());
}

#[test]
fn over_ipv4_a_checksum_without_pseudo_header_is_taken_too() {
    for ipv4 in [true, false] {
        let (advertisement, source) = advertisement(ipv4);
        let mut message = advertisement.encode(source);
        message[CHECKSUM].fill(0);
        let plain = checksum::finish(0, &message);
        message[CHECKSUM].copy_from_slice(&plain.to_be_bytes());
        let expected = if ipv4 {
            Ok(advertisement)
        } else {
            Err(Refusal::Checksum)
        };
        assert_eq!(decode(&message, source), expected);
    }
}

#[test]
fn every_refusal_has_its_reason() {
    let (advertisement, source) = advertisement(true);
    let good = advertisement.encode(source);
    let change = |offset: usize, value: u8| {
        let mut message = good.clone();
        message[offset] = value;
        let old: [u8; 2] = [good[offset & !1], good[offset | 1]];
        let new: [u8; 2] = [message[offset & !1], message[offset | 1]];
        let sum = u16::from_be_bytes([good[6], good[7]]);
        let sum = checksum::replace(sum, u16::from_be_bytes(old), u16::from_be_bytes(new));
        message[CHECKSUM].copy_from_slice(&sum.to_be_bytes());
        decode(&message, source).unwrap_err()
    };
    assert_eq!(change(0, 0x21), Refusal::Version(2));
    assert_eq!(change(0, 0x32), Refusal::Kind(2));
    assert_eq!(change(3, 0), Refusal::NoAddress);
    assert_eq!(change(3, 3), Refusal::Truncated);
    assert_eq!(change(5, 0), Refusal::NoInterval);
    let group = Family::Ipv4.group();
    let far = Advertisement::decode(&good, source, group, 254);
    assert_eq!(far, Err(Refusal::Hops(254)));
    assert_eq!(decode(&good[..7], source), Err(Refusal::Truncated));
    let other = "10.1.0.3".parse().unwrap();
    assert_eq!(decode(&good, other), Err(Refusal::Checksum));
}

#[test]
fn reserved_bits_above_the_interval_are_ignored() {
    let (advertisement, source) = advertisement(false);
    let mut message = advertisement.encode(source);
    message[4] |= 0xf0;
    let sum = u16::from_be_bytes([message[6], message[7]]);
    let sum = checksum::replace(sum, 0, 0xf000);
    message[CHECKSUM].copy_from_slice(&sum.to_be_bytes());
    assert_eq!(decode(&message, source), Ok(advertisement));
}

#[test]
fn hostile_messages_are_refused_and_never_panic() {
    let mut random = StdRng::seed_from_u64(5798);
    for ipv4 in [true, false] {
        let (advertisement, source) = advertisement(ipv4);
        let good = advertisement.encode(source);
        for length in 0..good.len() {
            assert!(decode(&good[..length], source).is_err(), "{length}");
        }
        for bit in 0..good.len() * 8 {
            let mut message = good.clone();
            message[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&message, source).is_err(), "bit {bit}");
        }
        for _ in 0..20_000 {
            let mut noise = vec![0; random.random_range(0..600)];
            random.fill(&mut noise[..]);
            if let Some(first) = noise.first_mut() {
                *first = 0x31;
            }
            // A sum of 16 bits lets one in 32,768 of two forms pass; none may do harm.
            let _ = decode(&noise, source);
        }
    }
}

#[test]
fn no_more_addresses_are_sent_than_can_be_counted() {
    let (mut advertisement, source) = advertisement(true);
    advertisement.addresses = vec![advertisement.addresses[0]; 300];
    let message = advertisement.encode(source);
    assert_eq!(decode(&message, source).unwrap().addresses.len(), 255);
}
