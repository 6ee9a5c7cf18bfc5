//! Loads and stores of 64 bytes and of fewer: all that touches memory by address.

use std::arch::x86_64::{
    __m512i, _mm512_loadu_si512, _mm512_mask_storeu_epi8, _mm512_maskz_loadu_epi8,
    _mm512_storeu_si512,
};

/// Bytes of a vector.
pub(super) const WIDTH: usize = 64;

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn load(from: &[u8; WIDTH]) -> __m512i {
    // SAFETY: the reference is to 64 readable bytes, of any alignment.
    unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn load_words(from: &[u64; 8]) -> __m512i {
    // SAFETY: the reference is to 64 readable bytes.
    unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn store(vector: __m512i, to: &mut [u8; WIDTH]) {
    // SAFETY: the reference is to 64 writable bytes, of any alignment.
    unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), vector) }
}

/// The bytes of `from`, at most 64, from lane `at` on; zeroes around them.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn load_at(from: &[u8], at: usize) -> __m512i {
    let mask = mask(from.len()).checked_shl(at as u32).unwrap_or(0);
    // SAFETY: lanes that the mask leaves out are not read; those that it names lie in `from`.
    unsafe { _mm512_maskz_loadu_epi8(mask, from.as_ptr().wrapping_sub(at).cast()) }
}

/// Fills `to`, at most 64 bytes, from the start of `vector`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn store_part(vector: __m512i, to: &mut [u8]) {
    // SAFETY: lanes that the mask leaves out are not written; those that it names lie in `to`.
    unsafe { _mm512_mask_storeu_epi8(to.as_mut_ptr().cast(), mask(to.len()), vector) }
}

/// The first `count` lanes of bytes.
fn mask(count: usize) -> u64 {
    debug_assert!(count <= WIDTH);
    u64::MAX.checked_shr((WIDTH - count) as u32).unwrap_or(0)
}
