//! ChaCha20 (RFC 8439, 2.3 and 2.4), four blocks in each set of four vectors.
//!
//! A vector holds one row of the state for four blocks, a block in each of its 128-bit lanes. The
//! diagonal rounds turn the rows inside the lanes, so nothing crosses a lane until the key stream is
//! put in order at the end. Sets do not depend on each other: several are computed side by side, which
//! hides the latency of each.

use std::arch::x86_64::{
    __m512i, _mm512_add_epi32, _mm512_maskz_mov_epi32, _mm512_rol_epi32, _mm512_set_epi32,
    _mm512_set1_epi32, _mm512_setzero_si512, _mm512_shuffle_epi32, _mm512_shuffle_i32x4,
    _mm512_xor_si512,
};

use super::vector::{self, WIDTH};
use crate::KEY_LEN;

/// Bytes of a block, which are those of a vector.
pub(super) const BLOCK: usize = WIDTH;
/// Blocks that a set computes.
pub(super) const BLOCKS_PER_SET: usize = 4;
/// Sets that are computed side by side: six keep 24 of the 32 vector registers, and cover a packet of
/// the usual MTU at once.
pub(super) const MOST_SETS: usize = 6;
/// Rounds come in pairs: columns, then diagonals.
const DOUBLE_ROUNDS: usize = 10;
/// "expand 32-byte k", little-endian.
const CONSTANTS: [u32; 4] = [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574];

/// The four rows of a state, for four blocks.
type Rows = [__m512i; 4];

/// The state of one packet, its block counter at the first four blocks.
pub(super) struct Cipher {
    rows: Rows,
}

impl Cipher {
    /// The state for a packet: WireGuard's counter is the nonce's last eight bytes.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn new(key: &[u8; KEY_LEN], counter: u64) -> Self {
        let word =
            |at: usize| u32::from_le_bytes([key[at], key[at + 1], key[at + 2], key[at + 3]]) as i32;
        let row = |words: [i32; 4]| {
            let [a, b, c, d] = words;
            _mm512_set_epi32(d, c, b, a, d, c, b, a, d, c, b, a, d, c, b, a)
        };
        let (low, high) = (counter as i32, (counter >> 32) as i32);
        Self {
            rows: [
                row(CONSTANTS.map(|word| word as i32)),
                row([word(0), word(4), word(8), word(12)]),
                row([word(16), word(20), word(24), word(28)]),
                _mm512_set_epi32(
                    high, low, 0, 3, high, low, 0, 2, high, low, 0, 1, high, low, 0, 0,
                ),
            ],
        }
    }

    /// [`Cipher::apply`] with so many sets.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    pub(super) fn apply_sets(
        &self,
        sets: usize,
        first: u32,
        from: &[u8],
        to: &mut [u8],
        one_time: Option<&mut [u8; KEY_LEN]>,
    ) -> usize {
        match sets {
            0 | 1 => self.apply::<1>(first, from, to, one_time),
            2 => self.apply::<2>(first, from, to, one_time),
            3 => self.apply::<3>(first, from, to, one_time),
            4 => self.apply::<4>(first, from, to, one_time),
            5 => self.apply::<5>(first, from, to, one_time),
            _ => self.apply::<MOST_SETS>(first, from, to, one_time),
        }
    }

    /// Adds the key stream of `SETS` sets from block `first` on to as much of `from` as it covers, the last block
    /// with zeroes behind it as far as `to` goes; the bytes of `from` that were done. With `one_time`, the first
    /// block's first half goes there instead.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn apply<const SETS: usize>(
        &self,
        first: u32,
        from: &[u8],
        to: &mut [u8],
        one_time: Option<&mut [u8; KEY_LEN]>,
    ) -> usize {
        let stream = self.stream::<SETS>(first);
        let blocks = stream.as_flattened();
        let blocks = match one_time {
            Some(key) => {
                vector::store_part(blocks[0], key);
                &blocks[1..]
            }
            None => blocks,
        };
        let length = from.len().min(blocks.len() * BLOCK);
        let (whole, rest) = from[..length].as_chunks::<BLOCK>();
        let (to_whole, to_rest) = to.split_at_mut(whole.as_flattened().len());
        let (to_whole, _) = to_whole.as_chunks_mut::<BLOCK>();
        for ((from, to), block) in whole.iter().zip(to_whole).zip(blocks) {
            vector::store(_mm512_xor_si512(vector::load(from), *block), to);
        }
        if !rest.is_empty() {
            // `from` ends here, so this is all of `to` that is left.
            let text = _mm512_xor_si512(vector::load_at(rest, 0), blocks[whole.len()]);
            vector::store_part(text, to_rest);
        }
        length
    }

    /// The key stream of `SETS` sets, from block `first` on.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn stream<const SETS: usize>(&self, first: u32) -> [[__m512i; BLOCKS_PER_SET]; SETS] {
        let mut starts = [self.rows; SETS];
        for (set, start) in starts.iter_mut().enumerate() {
            let block = first + (set * BLOCKS_PER_SET) as u32;
            start[3] = _mm512_add_epi32(start[3], in_first_words(block));
        }
        let mut sets = starts;
        for _ in 0..DOUBLE_ROUNDS {
            quarter_rounds(&mut sets);
            for rows in &mut sets {
                diagonals_to_columns(rows);
            }
            quarter_rounds(&mut sets);
            for rows in &mut sets {
                columns_to_diagonals(rows);
            }
        }
        let mut stream = [[_mm512_setzero_si512(); BLOCKS_PER_SET]; SETS];
        for ((rows, start), blocks) in sets.iter_mut().zip(&starts).zip(&mut stream) {
            for (row, start) in rows.iter_mut().zip(start) {
                *row = _mm512_add_epi32(*row, *start);
            }
            *blocks = in_order(rows);
        }
        stream
    }
}

/// `word` as the first word of each lane.
#[inline]
#[target_feature(enable = "avx512f")]
fn in_first_words(word: u32) -> __m512i {
    _mm512_maskz_mov_epi32(0x1111, _mm512_set1_epi32(word as i32))
}

/// One quarter round in each column, step by step through all sets: a step waits for the one before.
#[inline]
#[target_feature(enable = "avx512f")]
fn quarter_rounds<const SETS: usize>(sets: &mut [Rows; SETS]) {
    add_xor_rotate::<0, 1, 3, 16, SETS>(sets);
    add_xor_rotate::<2, 3, 1, 12, SETS>(sets);
    add_xor_rotate::<0, 1, 3, 8, SETS>(sets);
    add_xor_rotate::<2, 3, 1, 7, SETS>(sets);
}

/// `a += b; d ^= a; d <<<= BITS` on three of the rows.
#[inline]
#[target_feature(enable = "avx512f")]
fn add_xor_rotate<
    const A: usize,
    const B: usize,
    const D: usize,
    const BITS: i32,
    const SETS: usize,
>(
    sets: &mut [Rows; SETS],
) {
    for rows in &mut *sets {
        rows[A] = _mm512_add_epi32(rows[A], rows[B]);
    }
    for rows in &mut *sets {
        rows[D] = _mm512_xor_si512(rows[D], rows[A]);
    }
    for rows in sets {
        rows[D] = _mm512_rol_epi32::<BITS>(rows[D]);
    }
}

/// Turns the rows so that each diagonal stands in a column.
#[inline]
#[target_feature(enable = "avx512f")]
fn diagonals_to_columns([_, b, c, d]: &mut Rows) {
    *b = _mm512_shuffle_epi32::<0b00_11_10_01>(*b);
    *c = _mm512_shuffle_epi32::<0b01_00_11_10>(*c);
    *d = _mm512_shuffle_epi32::<0b10_01_00_11>(*d);
}

/// Turns them back.
#[inline]
#[target_feature(enable = "avx512f")]
fn columns_to_diagonals([_, b, c, d]: &mut Rows) {
    *b = _mm512_shuffle_epi32::<0b10_01_00_11>(*b);
    *c = _mm512_shuffle_epi32::<0b01_00_11_10>(*c);
    *d = _mm512_shuffle_epi32::<0b00_11_10_01>(*d);
}

/// From four rows of four blocks to four blocks of four rows.
#[inline]
#[target_feature(enable = "avx512f")]
fn in_order(&[a, b, c, d]: &Rows) -> [__m512i; BLOCKS_PER_SET] {
    let ab = _mm512_shuffle_i32x4::<0x44>(a, b);
    let cd = _mm512_shuffle_i32x4::<0x44>(c, d);
    let ab_high = _mm512_shuffle_i32x4::<0xee>(a, b);
    let cd_high = _mm512_shuffle_i32x4::<0xee>(c, d);
    [
        _mm512_shuffle_i32x4::<0x88>(ab, cd),
        _mm512_shuffle_i32x4::<0xdd>(ab, cd),
        _mm512_shuffle_i32x4::<0x88>(ab_high, cd_high),
        _mm512_shuffle_i32x4::<0xdd>(ab_high, cd_high),
    ]
}
