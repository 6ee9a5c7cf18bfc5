//! The AEAD on AVX-512 with IFMA (Ice Lake, Zen 4 and newer).
//!
//! ChaCha20 computes as many blocks at once as the packet has, the first of them for Poly1305's key;
//! Poly1305 takes eight blocks of sixteen bytes at a time.

mod chacha20;
mod poly1305;
mod vector;

use chacha20::{BLOCK, BLOCKS_PER_SET, Cipher, MOST_SETS};

use crate::{Forged, KEY_LEN, PAD_TO, TAG_LEN};

// Padding ends within the block that the packet ends in.
const _: () = assert!(BLOCK.is_multiple_of(PAD_TO));

/// Whether this machine has the instructions.
pub(crate) fn available() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512ifma")
}

/// A key, on a machine where the instructions are [`available`].
pub(crate) struct Key {
    bytes: [u8; KEY_LEN],
}

impl Key {
    /// Takes a key; `None` where the instructions are not available.
    pub(crate) fn new(bytes: &[u8; KEY_LEN]) -> Option<Self> {
        available().then_some(Self { bytes: *bytes })
    }

    /// See [`crate::Key::seal_padded`].
    pub(crate) fn seal(&self, counter: u64, plain: &[u8], length: usize, to: &mut [u8]) -> usize {
        let sealed = &mut to[..length + TAG_LEN];
        // SAFETY: `new` found the instructions.
        unsafe { seal(&self.bytes, counter, plain, sealed) };
        sealed.len()
    }

    /// See [`crate::Key::open`].
    pub(crate) fn open(&self, counter: u64, sealed: &[u8], to: &mut [u8]) -> Result<usize, Forged> {
        let (text, tag) = sealed.split_last_chunk().ok_or(Forged)?;
        let plain = &mut to[..text.len()];
        // SAFETY: `new` found the instructions.
        let expected = unsafe { open(&self.bytes, counter, text, plain) };
        // One comparison of the whole, so that its time tells nothing of where they differ.
        if u128::from_le_bytes(expected) == u128::from_le_bytes(*tag) {
            Ok(text.len())
        } else {
            Err(Forged)
        }
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.bytes);
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512ifma")]
fn seal(key: &[u8; KEY_LEN], counter: u64, plain: &[u8], sealed: &mut [u8]) {
    let (text, tag) = sealed.split_at_mut(sealed.len() - TAG_LEN);
    let one_time = encrypt(key, counter, plain, text);
    tag.copy_from_slice(&poly1305::tag(&one_time, text, lengths(text)));
}

/// Decrypts, and returns the tag that the text should have.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512ifma")]
fn open(key: &[u8; KEY_LEN], counter: u64, text: &[u8], plain: &mut [u8]) -> [u8; TAG_LEN] {
    let one_time = encrypt(key, counter, text, plain);
    poly1305::tag(&one_time, text, lengths(text))
}

/// Adds the key stream to `from` and to the zeroes behind it that `to` has room for, and returns Poly1305's key
/// (RFC 8439, 2.6 and 2.8).
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512ifma")]
fn encrypt(key: &[u8; KEY_LEN], counter: u64, from: &[u8], to: &mut [u8]) -> [u8; KEY_LEN] {
    let cipher = Cipher::new(key, counter);
    let mut one_time = [0; KEY_LEN];
    debug_assert!((from.len()..=from.len().next_multiple_of(PAD_TO)).contains(&to.len()));
    // The first block is the one-time key's.
    let sets = sets_of(BLOCK + from.len());
    let mut done = cipher.apply_sets(sets, 0, from, to, Some(&mut one_time));
    while done < from.len() {
        let sets = sets_of(from.len() - done);
        let first = 1 + (done / BLOCK) as u32;
        let (from, to) = (&from[done..], &mut to[done..]);
        done += cipher.apply_sets(sets, first, from, to, None);
    }
    one_time
}

/// How many sets to compute at once for so many bytes.
fn sets_of(bytes: usize) -> usize {
    bytes.div_ceil(BLOCKS_PER_SET * BLOCK).min(MOST_SETS)
}

/// The last block that is authenticated: the length of what goes along (nothing) and of the text.
fn lengths(text: &[u8]) -> u128 {
    (text.len() as u128) << 64
}
