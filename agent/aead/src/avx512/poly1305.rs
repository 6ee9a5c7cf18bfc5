//! Poly1305 (RFC 8439, 2.5) of whole blocks, as the AEAD pads them.
//!
//! Numbers modulo 2^130 - 5 have three limbs of 44, 44 and 42 bits. A long message is cut into eight
//! interleaved ones, one in each 64-bit lane; each goes ahead by r^8, and at the end each is
//! multiplied by the power that brings it to its place.

use std::arch::x86_64::{
    __m512i, _mm512_add_epi64, _mm512_and_si512, _mm512_madd52hi_epu64, _mm512_madd52lo_epu64,
    _mm512_or_si512, _mm512_reduce_add_epi64, _mm512_set1_epi64, _mm512_setzero_si512,
    _mm512_slli_epi64, _mm512_srli_epi64, _mm512_unpackhi_epi64, _mm512_unpacklo_epi64,
};

use super::vector::{self, WIDTH};
use crate::{KEY_LEN, TAG_LEN};

/// Bytes of a block.
const BLOCK: usize = 16;
/// Blocks that are taken at once.
const LANES: usize = 8;
/// Bytes of them.
const GROUP: usize = LANES * BLOCK;
/// The low 44 bits: a limb.
const LIMB: u64 = (1 << 44) - 1;
/// The low 42 bits: the last limb.
const LAST_LIMB: u64 = (1 << 42) - 1;
/// The bit above a whole block, in its last limb.
const BLOCK_END: u64 = 1 << 40;
/// Up to this many blocks, powers of r are not worth their making.
const SHORT: usize = 10;

/// The tag of `text`, filled up with zeroes to whole blocks, and one last block.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512ifma")]
pub(super) fn tag(key: &[u8; KEY_LEN], text: &[u8], last: u128) -> [u8; TAG_LEN] {
    let (r, s) = split(key);
    let sum = if text.len() <= SHORT * BLOCK {
        short(r, text, last)
    } else {
        long(r, text, last)
    };
    finish(sum, s)
}

/// The two halves of a key: the point, clamped, and what is added last.
fn split(key: &[u8; KEY_LEN]) -> (Number, u128) {
    let (low, high) = key.split_at(BLOCK);
    let r = block(low) & 0x0fff_fffc_0fff_fffc_0fff_fffc_0fff_ffff;
    (Number::from_bits(r, 0), block(high))
}

/// At most sixteen bytes as a number, zeroes after them.
fn block(bytes: &[u8]) -> u128 {
    let mut whole = [0; BLOCK];
    whole[..bytes.len()].copy_from_slice(bytes);
    u128::from_le_bytes(whole)
}

/// A number modulo 2^130 - 5, not wholly reduced: limbs may be a few bits longer than their radix.
#[derive(Clone, Copy)]
struct Number([u64; 3]);

impl Number {
    /// From 128 bits, with `end` (a bit or none) in its last limb.
    #[inline]
    fn from_bits(bits: u128, end: u64) -> Self {
        Self([
            bits as u64 & LIMB,
            (bits >> 44) as u64 & LIMB,
            (bits >> 88) as u64 | end,
        ])
    }

    #[inline]
    fn add(self, other: Self) -> Self {
        let ([a0, a1, a2], [b0, b1, b2]) = (self.0, other.0);
        Self([a0 + b0, a1 + b1, a2 + b2])
    }

    #[inline]
    fn multiply(self, by: Self) -> Self {
        let wide = |a: u64, b: u64| u128::from(a) * u128::from(b);
        let ([a0, a1, a2], [b0, b1, b2]) = (self.0, by.0);
        // What lies beyond limb 2 comes back at limb 0: 2^132 = 20 modulo 2^130 - 5.
        let (c1, c2) = (b1 * 20, b2 * 20);
        let d0 = wide(a0, b0) + wide(a1, c2) + wide(a2, c1);
        let d1 = wide(a0, b1) + wide(a1, b0) + wide(a2, c2) + (d0 >> 44);
        let d2 = wide(a0, b2) + wide(a1, b1) + wide(a2, b0) + (d1 >> 44);
        let low = (d0 as u64 & LIMB) + (d2 >> 42) as u64 * 5;
        Self([
            low & LIMB,
            (d1 as u64 & LIMB) + (low >> 44),
            d2 as u64 & LAST_LIMB,
        ])
    }
}

/// Block by block.
#[inline]
fn short(r: Number, text: &[u8], last: u128) -> Number {
    let blocks = text.chunks(BLOCK).map(block).chain([last]);
    blocks.fold(Number([0; 3]), |sum, bits| {
        sum.add(Number::from_bits(bits, BLOCK_END)).multiply(r)
    })
}

/// Eight blocks at once. The blocks are counted from the end, so that the last group is full and
/// ends with `last`; lanes of the first group that have no block are zero, which counts for nothing.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512ifma")]
fn long(r: Number, text: &[u8], last: u128) -> Number {
    let powers = powers(r);
    let r8 = powers[LANES - 1];
    let step = Factor::new(Lanes::all(r8));
    let blocks = text.len().div_ceil(BLOCK);
    // The last group has seven blocks of the text.
    let (before, tail) = text.split_at((blocks - (LANES - 1)) * BLOCK);
    let (first, groups) = before.split_at(before.len() % GROUP);
    let (odd, pairs) = groups.as_rchunks::<{ 2 * GROUP }>();
    let mut sum = Lanes::from_end(first).multiply(&step);
    if !odd.is_empty() {
        sum = sum.add(Lanes::from_group(odd)).multiply(&step);
    }
    if !pairs.is_empty() {
        // Two sums that do not wait for each other, each ahead by r^16.
        let double_step = Factor::new(Lanes::all(r8.multiply(r8)));
        let mut other = Lanes::all(Number([0; 3]));
        for pair in pairs {
            let (one, two) = pair.split_at(GROUP);
            sum = sum.add(Lanes::from_group(one)).multiply(&double_step);
            other = other.multiply(&double_step).add(Lanes::from_group(two));
        }
        sum = sum.add(other.multiply(&step));
    }
    let (low, high) = tail.split_at(WIDTH);
    let mut end = [0; WIDTH];
    end[..high.len()].copy_from_slice(high);
    end[WIDTH - BLOCK..].copy_from_slice(&last.to_le_bytes());
    let group = Lanes::from_blocks(vector::load_at(low, 0), vector::load(&end), LANES);
    let places = Factor::new(to_their_places(&powers));
    sum.add(group).multiply(&places).total()
}

/// r to r^8.
#[inline]
fn powers(r: Number) -> [Number; LANES] {
    let r2 = r.multiply(r);
    let (r3, r4) = (r2.multiply(r), r2.multiply(r2));
    let (r5, r6) = (r4.multiply(r), r4.multiply(r2));
    [r, r2, r3, r4, r5, r6, r4.multiply(r3), r4.multiply(r4)]
}

/// The block of a group that stands in each lane, as the unpacking leaves them.
const BLOCK_OF_LANE: [usize; LANES] = [0, 4, 1, 5, 2, 6, 3, 7];

/// In each lane the power that its block of the last group has yet to be multiplied with.
#[inline]
#[target_feature(enable = "avx512f")]
fn to_their_places(powers: &[Number; LANES]) -> Lanes {
    let mut limbs = [[0; LANES]; 3];
    for (lane, block) in BLOCK_OF_LANE.into_iter().enumerate() {
        let Number([r0, r1, r2]) = powers[LANES - 1 - block];
        limbs[0][lane] = r0;
        limbs[1][lane] = r1;
        limbs[2][lane] = r2;
    }
    Lanes([
        vector::load_words(&limbs[0]),
        vector::load_words(&limbs[1]),
        vector::load_words(&limbs[2]),
    ])
}

/// Eight numbers, one in each lane, limb by limb.
#[derive(Clone, Copy)]
struct Lanes([__m512i; 3]);

/// Eight numbers to multiply by, with what comes back from beyond the last limb.
struct Factor {
    limbs: [__m512i; 3],
    twentyfold: [__m512i; 2],
}

impl Factor {
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn new(Lanes(limbs): Lanes) -> Self {
        let twenty = |x| _mm512_add_epi64(_mm512_slli_epi64::<4>(x), _mm512_slli_epi64::<2>(x));
        Self {
            limbs,
            twentyfold: [twenty(limbs[1]), twenty(limbs[2])],
        }
    }
}

impl Lanes {
    /// The same number in each lane.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn all(Number([n0, n1, n2]): Number) -> Self {
        Self([
            _mm512_set1_epi64(n0 as i64),
            _mm512_set1_epi64(n1 as i64),
            _mm512_set1_epi64(n2 as i64),
        ])
    }

    /// Eight blocks.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn from_group(group: &[u8]) -> Self {
        let (low, high) = group.split_at(WIDTH);
        Self::from_blocks(vector::load_at(low, 0), vector::load_at(high, 0), LANES)
    }

    /// Fewer than eight blocks, in the last lanes.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn from_end(blocks: &[u8]) -> Self {
        let (low, high) = blocks.split_at(blocks.len().saturating_sub(WIDTH));
        Self::from_blocks(
            vector::load_at(low, WIDTH - low.len()),
            vector::load_at(high, WIDTH - high.len()),
            blocks.len() / BLOCK,
        )
    }

    /// Eight blocks, four in each vector, of which the last `count` are there.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn from_blocks(low: __m512i, high: __m512i, count: usize) -> Self {
        let limb = _mm512_set1_epi64(LIMB as i64);
        let bits = _mm512_unpacklo_epi64(low, high);
        let more = _mm512_unpackhi_epi64(low, high);
        let end = if count == LANES {
            _mm512_set1_epi64(BLOCK_END as i64)
        } else {
            let there = |block| block + count >= LANES;
            vector::load_words(&BLOCK_OF_LANE.map(|block| u64::from(there(block)) * BLOCK_END))
        };
        let middle = _mm512_or_si512(_mm512_srli_epi64::<44>(bits), _mm512_slli_epi64::<20>(more));
        Self([
            _mm512_and_si512(bits, limb),
            _mm512_and_si512(middle, limb),
            _mm512_or_si512(_mm512_srli_epi64::<24>(more), end),
        ])
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn add(self, other: Self) -> Self {
        let ([a0, a1, a2], [b0, b1, b2]) = (self.0, other.0);
        Self([
            _mm512_add_epi64(a0, b0),
            _mm512_add_epi64(a1, b1),
            _mm512_add_epi64(a2, b2),
        ])
    }

    /// The products, carried so that limbs are at most a bit longer than their radix.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn multiply(self, by: &Factor) -> Self {
        let [a0, a1, a2] = self.0;
        let [b0, b1, b2] = by.limbs;
        let [c1, c2] = by.twentyfold;
        let low = |x: [__m512i; 3], y: [__m512i; 3]| {
            let zero = _mm512_setzero_si512();
            let sum = _mm512_madd52lo_epu64(zero, x[0], y[0]);
            _mm512_madd52lo_epu64(_mm512_madd52lo_epu64(sum, x[1], y[1]), x[2], y[2])
        };
        let high = |x: [__m512i; 3], y: [__m512i; 3]| {
            let zero = _mm512_setzero_si512();
            let sum = _mm512_madd52hi_epu64(zero, x[0], y[0]);
            _mm512_madd52hi_epu64(_mm512_madd52hi_epu64(sum, x[1], y[1]), x[2], y[2])
        };
        let a = [a0, a1, a2];
        let columns = [[b0, c2, c1], [b1, b0, c2], [b2, b1, b0]];
        let [l0, l1, l2] = columns.map(|column| low(a, column));
        let [h0, h1, h2] = columns.map(|column| high(a, column));
        // A high half weighs 2^52: 2^8 times the next limb. Beyond the last limb it comes back
        // twentyfold.
        carry([
            _mm512_madd52lo_epu64(l0, h2, _mm512_set1_epi64(20 << 8)),
            _mm512_add_epi64(l1, _mm512_slli_epi64::<8>(h0)),
            _mm512_add_epi64(l2, _mm512_slli_epi64::<8>(h1)),
        ])
    }

    /// The sum of the eight.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn total(self) -> Number {
        Number(self.0.map(|limb| _mm512_reduce_add_epi64(limb) as u64))
    }
}

/// Moves what is above each limb's radix to the next limb, once: what moves is some ten bits.
#[inline]
#[target_feature(enable = "avx512f")]
fn carry([d0, d1, d2]: [__m512i; 3]) -> Lanes {
    let limb = _mm512_set1_epi64(LIMB as i64);
    let last_limb = _mm512_set1_epi64(LAST_LIMB as i64);
    let over = _mm512_srli_epi64::<42>(d2);
    let fivefold = _mm512_add_epi64(over, _mm512_slli_epi64::<2>(over));
    Lanes([
        _mm512_add_epi64(_mm512_and_si512(d0, limb), fivefold),
        _mm512_add_epi64(_mm512_and_si512(d1, limb), _mm512_srli_epi64::<44>(d0)),
        _mm512_add_epi64(_mm512_and_si512(d2, last_limb), _mm512_srli_epi64::<44>(d1)),
    ])
}

/// Reduces the sum wholly and adds the key's second half.
fn finish(sum: Number, s: u128) -> [u8; TAG_LEN] {
    // Twice: the first carry may leave the first limb too long, or the second.
    let [h0, h1, h2] = carried(carried(sum)).0;
    // The sum less the modulus: where it is not negative, it is the smaller equal number.
    let g0 = h0 + 5;
    let g1 = h1 + (g0 >> 44);
    let g2 = h2 + (g1 >> 44);
    let over = (g2 >> 42).wrapping_neg();
    let pick = |h: u64, g: u64| (h & !over) | (g & over);
    let limbs = [
        pick(h0, g0 & LIMB),
        pick(h1, g1 & LIMB),
        pick(h2, g2 & LAST_LIMB),
    ];
    let [l0, l1, l2] = limbs.map(u128::from);
    // Modulo 2^128: the last limb's top bits fall off.
    (l0 | l1 << 44 | l2 << 88).wrapping_add(s).to_le_bytes()
}

fn carried(Number([d0, d1, d2]): Number) -> Number {
    let d1 = d1 + (d0 >> 44);
    let d2 = d2 + (d1 >> 44);
    Number([(d0 & LIMB) + (d2 >> 42) * 5, d1 & LIMB, d2 & LAST_LIMB])
}

#[cfg(test)]
mod tests;
