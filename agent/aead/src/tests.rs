use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};

use super::*;

/// Longest packet of the tests: more than a jumbo frame.
const LONGEST: usize = 9100;

fn bytes<const N: usize>(random: &mut StdRng) -> [u8; N] {
    let mut bytes = [0; N];
    random.fill_bytes(&mut bytes);
    bytes
}

fn sealed(key: &Key, counter: u64, plain: &[u8]) -> Vec<u8> {
    // Longer than needed, to see that nothing is written behind the tag.
    let mut to = vec![0xa5; plain.len() + TAG_LEN + 64];
    let length = key.seal(counter, plain, &mut to);
    assert_eq!(length, plain.len() + TAG_LEN);
    assert!(to[length..].iter().all(|byte| *byte == 0xa5));
    to.truncate(length);
    to
}

#[test]
fn every_length_is_sealed_as_ring_seals_it_and_opened_again() {
    let mut random = StdRng::seed_from_u64(1);
    let text = bytes::<LONGEST>(&mut random);
    let raw = bytes(&mut random);
    let (key, ring) = (Key::new(&raw), Key::portable(&raw));
    for length in (0..2100).chain((2100..LONGEST).step_by(97)) {
        let counter = random.random();
        let plain = &text[LONGEST - length..];
        let message = sealed(&key, counter, plain);
        assert!(message == sealed(&ring, counter, plain), "length {length}");
        let mut opened = vec![0; message.len()];
        assert_eq!(key.open(counter, &message, &mut opened), Ok(length));
        assert!(opened[..length] == *plain, "length {length}");
    }
}

#[test]
fn padding_is_sealed_as_zeroes_behind_the_packet() {
    let mut random = StdRng::seed_from_u64(4);
    let mut text = bytes::<LONGEST>(&mut random);
    // What lies behind the packet is not to be sent.
    text[LONGEST / 2..].fill(0xee);
    let raw = bytes(&mut random);
    for key in [Key::new(&raw), Key::portable(&raw)] {
        for length in (0..700).chain((1360..1520).chain(8900..8960)) {
            let plain = &text[LONGEST / 2 - length.min(LONGEST / 2)..][..length];
            for padded in length..=length.next_multiple_of(PAD_TO) {
                let counter = random.random();
                let mut zeroes = plain.to_vec();
                zeroes.resize(padded, 0);
                let mut to = vec![0xa5; padded + TAG_LEN + 64];
                let written = key.seal_padded(counter, plain, padded, &mut to);
                assert_eq!(written, padded + TAG_LEN);
                assert!(to[written..].iter().all(|byte| *byte == 0xa5));
                let expected = sealed(&Key::portable(&raw), counter, &zeroes);
                assert!(to[..written] == expected, "{length} to {padded}");
            }
        }
    }
}

#[test]
fn more_padding_than_to_the_next_multiple_is_refused() {
    let key = Key::new(&[1; KEY_LEN]);
    for (length, padded) in [(16, 17), (15, 17), (0, 1), (17, 16), (100, 116)] {
        let seal = || key.seal_padded(0, &[7; 100][..length], padded, &mut [0; 256]);
        let result = std::panic::catch_unwind(seal);
        assert!(result.is_err(), "{length} to {padded}");
    }
}

#[test]
fn many_keys_agree_with_ring() {
    let mut random = StdRng::seed_from_u64(2);
    let text = bytes::<1500>(&mut random);
    for _ in 0..20_000 {
        let raw = bytes(&mut random);
        let counter = random.random();
        let plain = &text[..random.random_range(0..text.len())];
        let message = sealed(&Key::new(&raw), counter, plain);
        assert!(message == sealed(&Key::portable(&raw), counter, plain));
    }
}

#[test]
fn texts_of_ones_carry_as_far_as_any() {
    let text = [0xff; 4096];
    for raw in [[0xff; KEY_LEN], [0; KEY_LEN], [0x80; KEY_LEN]] {
        for length in 0..text.len() {
            let plain = &text[..length];
            let message = sealed(&Key::new(&raw), u64::MAX, plain);
            assert!(message == sealed(&Key::portable(&raw), u64::MAX, plain));
        }
    }
}

#[test]
fn a_flipped_bit_anywhere_is_forgery() {
    let mut random = StdRng::seed_from_u64(3);
    let key = Key::new(&bytes(&mut random));
    for length in [0, 1, 15, 16, 17, 63, 64, 176, 177, 600] {
        let plain = &bytes::<600>(&mut random)[..length];
        let message = sealed(&key, 7, plain);
        let mut opened = vec![0; message.len()];
        for bit in 0..message.len() * 8 {
            let mut altered = message.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(key.open(7, &altered, &mut opened), Err(Forged));
        }
        assert_eq!(key.open(8, &message, &mut opened), Err(Forged));
        assert_eq!(key.open(7, &message, &mut opened), Ok(length));
    }
}

#[test]
fn what_is_shorter_than_a_tag_is_forgery() {
    let key = Key::new(&[1; KEY_LEN]);
    for length in 0..TAG_LEN {
        let short = vec![0; length];
        assert_eq!(key.open(0, &short, &mut [0; 64]), Err(Forged));
        assert_eq!(
            Key::portable(&[1; KEY_LEN]).open(0, &short, &mut [0; 64]),
            Err(Forged)
        );
    }
}

/// RFC 8439, 2.4.2: the key stream from block 1 on, as the AEAD uses it.
#[test]
fn the_key_stream_is_that_of_the_rfc() {
    let key: [u8; KEY_LEN] = std::array::from_fn(|at| at as u8);
    let plain = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for \
        the future, sunscreen would be it.";
    let text = [
        0x6e, 0x2e, 0x35, 0x9a, 0x25, 0x68, 0xf9, 0x80, 0x41, 0xba, 0x07, 0x28, 0xdd, 0x0d, 0x69,
        0x81,
    ];
    let counter = u64::from_le_bytes([0, 0, 0, 0x4a, 0, 0, 0, 0]);
    assert_eq!(sealed(&Key::new(&key), counter, plain)[..16], text);
}

/// Neither engine leaves the key in the memory that it was in.
#[test]
fn a_dropped_key_leaves_nothing() {
    let secret = [0x5a; KEY_LEN];
    for key in [Key::new(&secret), Key::portable(&secret)] {
        let name = key.engine();
        let mut key = std::mem::ManuallyDrop::new(key);
        let (place, length): (*const u8, usize) = match &key.0 {
            #[cfg(target_arch = "x86_64")]
            Engine::Avx512(key) => (std::ptr::from_ref(key).cast(), size_of_val(key)),
            Engine::Portable(key) => (std::ptr::from_ref(&**key).cast(), size_of_val(&**key)),
        };
        let stands = || {
            // SAFETY: the memory is that of the key or of its box, which is freed by nobody before the end
            // of this loop's turn.
            let bytes = (0..length).map(|at| unsafe { place.add(at).read_volatile() });
            let bytes: Vec<u8> = bytes.collect();
            bytes.windows(KEY_LEN).any(|window| window == secret)
        };
        assert!(stands(), "{name}");
        match &mut key.0 {
            #[cfg(target_arch = "x86_64")]
            Engine::Avx512(key) => {
                let place: *mut avx512::Key = key;
                // SAFETY: it is not used again, for `key` is never dropped.
                unsafe { place.drop_in_place() };
            }
            Engine::Portable(key) => {
                let place: *mut portable::Key = &raw mut **key;
                // SAFETY: as above; its box is leaked.
                unsafe { place.drop_in_place() };
            }
        }
        assert!(!stands(), "{name}");
    }
}
