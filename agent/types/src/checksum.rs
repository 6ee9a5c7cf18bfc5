//! The Internet checksum (RFC 1071).

/// Bytes that are added in one turn.
const BLOCK: usize = 64;

/// Adds `bytes` as 16-bit words in network order to a running sum.
pub fn add(sum: u64, bytes: &[u8]) -> u64 {
    // One's complement sums do not depend on byte order but for a final swap (RFC 1071 2(B)), so
    // whole native words are added, in independent lanes, and folded once.
    let (blocks, rest) = bytes.as_chunks();
    let mut native = sum_of(blocks);
    let (pairs, odd) = rest.as_chunks();
    for pair in pairs {
        native += u64::from(u16::from_ne_bytes(*pair));
    }
    if let [last] = odd {
        native += u64::from(u16::from_ne_bytes([*last, 0]));
    }
    sum + u64::from(fold(native).to_be())
}

/// The sum of whole blocks, not yet folded.
fn sum_of(blocks: &[[u8; BLOCK]]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the instructions are there.
        return unsafe { avx2::sum_of(blocks) };
    }
    let mut lanes = [0u64; BLOCK / 8];
    for block in blocks {
        for (lane, word) in lanes.iter_mut().zip(block.as_chunks().0) {
            let word = u64::from_ne_bytes(*word);
            *lane += (word & 0xffff_ffff) + (word >> 32);
        }
    }
    lanes.into_iter().map(fold_lane).sum()
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::{
        __m256i, _mm256_add_epi64, _mm256_blend_epi32, _mm256_loadu_si256, _mm256_setzero_si256,
        _mm256_srli_epi64, _mm256_storeu_si256,
    };

    use super::{BLOCK, fold_lane};

    /// As the portable one, eight 32-bit words at a time.
    #[target_feature(enable = "avx2")]
    pub(super) fn sum_of(blocks: &[[u8; BLOCK]]) -> u64 {
        let mut lanes = [_mm256_setzero_si256(); 4];
        for block in blocks {
            let (halves, _) = block.as_chunks::<32>();
            for (sums, half) in lanes.as_chunks_mut::<2>().0.iter_mut().zip(halves) {
                // SAFETY: the reference is to 32 readable bytes, of any alignment.
                let words = unsafe { _mm256_loadu_si256(half.as_ptr().cast()) };
                let even = _mm256_blend_epi32::<0b1010_1010>(words, _mm256_setzero_si256());
                sums[0] = _mm256_add_epi64(sums[0], even);
                sums[1] = _mm256_add_epi64(sums[1], _mm256_srli_epi64::<32>(words));
            }
        }
        lanes.into_iter().map(|sum| total(sum)).sum()
    }

    #[target_feature(enable = "avx2")]
    fn total(sum: __m256i) -> u64 {
        let mut lanes = [0u64; 4];
        // SAFETY: the reference is to 32 writable bytes.
        unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), sum) };
        lanes.into_iter().map(fold_lane).sum()
    }
}

fn fold_lane(lane: u64) -> u64 {
    (lane & 0xffff) + ((lane >> 16) & 0xffff) + ((lane >> 32) & 0xffff) + (lane >> 48)
}

/// Folds a sum to 16 bits, carries added back in.
pub fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// The checksum of `bytes` behind `sum`: folded and complemented.
pub fn finish(sum: u64, bytes: &[u8]) -> u16 {
    !fold(add(sum, bytes))
}

/// Sum of a pseudo header: addresses as they stand in the packet, protocol, upper-layer length
/// (RFC 9293 3.1, RFC 8200 8.1).
pub fn pseudo_header(addresses: &[u8], protocol: u8, length: usize) -> u64 {
    add(
        u64::from(protocol) + (length as u64 & 0xffff) + (length as u64 >> 16),
        addresses,
    )
}

/// Replaces one 16-bit word under a checksum (RFC 1624, equation 3).
pub fn replace(checksum: u16, old: u16, new: u16) -> u16 {
    !fold(u64::from(!checksum) + u64::from(!old) + u64::from(new))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by_the_book(bytes: &[u8]) -> u16 {
        let sum = bytes
            .chunks(2)
            .map(|pair| u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0)))
            .sum();
        !fold(sum)
    }

    #[test]
    fn the_fast_sum_equals_the_definition_at_every_length() {
        let bytes: Vec<u8> = (0..300u32).map(|i| (i * 7 + i * i) as u8).collect();
        for length in 0..bytes.len() {
            assert_eq!(
                finish(0, &bytes[..length]),
                by_the_book(&bytes[..length]),
                "{length}"
            );
        }
        assert_eq!(finish(0, &[0xff; 1400]), by_the_book(&[0xff; 1400]));
    }

    #[test]
    fn replacing_a_word_equals_summing_again() {
        let mut bytes = [
            0x45, 0, 0, 60, 0x1c, 0x46, 0x40, 0, 0x40, 6, 0, 0, 10, 1, 2, 3,
        ];
        let before = finish(0, &bytes);
        bytes[8] = 0x3f;
        assert_eq!(replace(before, 0x4006, 0x3f06), finish(0, &bytes));
    }
}
