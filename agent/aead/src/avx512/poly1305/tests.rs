use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};

use super::super::available;
use super::*;

/// Key, blocks, tag.
type Case<'a> = (u128, u128, &'a [u128], u128);

/// RFC 8439, appendix A.3, the vectors from 7 on: sums that wrap, reach or just miss the modulus.
#[test]
fn sums_at_the_modulus_are_reduced_as_the_rfc_says() {
    const ONES: u128 = u128::MAX;
    const TEN: [u128; 4] = [
        0xb943_5e50_d794_35e3,
        0x0000_0000_0000_0001_cd79_435e_50d7_9433,
        0,
        1,
    ];
    let four = (4 << 64) | 1;
    let fe = 0xfefe_fefe_fefe_fefe_fefe_fefe_fefe_fefb;
    let one = 0x0101_0101_0101_0101_0101_0101_0101_0101;
    let cases: [Case; 7] = [
        (2, 0, &[ONES], 3),
        (2, ONES, &[2], 3),
        (1, 0, &[ONES, ONES - 0x0f, 0x11], 5),
        (1, 0, &[ONES, fe, one], 0),
        (2, 0, &[ONES - 2], ONES - 5),
        (four, 0, &TEN, (0x55 << 64) | 0x14),
        (four, 0, &TEN[..3], 0x13),
    ];
    for (r, s, blocks, expected) in cases {
        let (last, before) = blocks.split_last().unwrap();
        let text: Vec<u8> = before
            .iter()
            .flat_map(|block| block.to_le_bytes())
            .collect();
        let sum = short(Number::from_bits(r, 0), &text, *last);
        assert_eq!(u128::from_le_bytes(finish(sum, s)), expected);
    }
}

#[test]
fn eight_blocks_at_once_come_to_the_same_as_one_by_one() {
    if !available() {
        return;
    }
    let mut random = StdRng::seed_from_u64(1);
    let mut text = [0; 1500];
    random.fill_bytes(&mut text);
    let mut key = [0; KEY_LEN];
    random.fill_bytes(&mut key);
    for text in [text, [0xff; 1500], [0; 1500]] {
        for key in [key, [0xff; KEY_LEN], [1; KEY_LEN], [0; KEY_LEN]] {
            let (r, s) = split(&key);
            for length in 7 * BLOCK..text.len() {
                let (text, last) = (&text[..length], u128::MAX - length as u128);
                // SAFETY: the instructions are there.
                let sum = unsafe { long(r, text, last) };
                assert_eq!(finish(sum, s), finish(short(r, text, last), s));
            }
        }
    }
}
