//! ChaCha20-Poly1305 (RFC 8439) as WireGuard's data messages use it: the nonce is four zero bytes
//! and a 64-bit little-endian counter, and nothing but the packet is authenticated (whitepaper 5.4.6).
//!
//! A key seals from one buffer into another, so that a packet is encrypted on its way from the TUN's
//! buffer into the socket's and never copied for its own sake.

use std::fmt;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

/// Bytes of a key.
pub const KEY_LEN: usize = 32;
/// Bytes by which a sealed packet is longer: Poly1305's tag, at its end.
pub const TAG_LEN: usize = 16;

/// A sealed packet whose tag is wrong: altered, of another key, or of another counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forged;

impl fmt::Display for Forged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the packet's tag is wrong")
    }
}

impl std::error::Error for Forged {}

/// A key of one direction of a session.
pub struct Key {
    ring: LessSafeKey,
}

impl Key {
    /// Prepares a key.
    pub fn new(bytes: &[u8; KEY_LEN]) -> Self {
        let unbound = UnboundKey::new(&CHACHA20_POLY1305, bytes).expect("a key of 32 bytes");
        Self {
            ring: LessSafeKey::new(unbound),
        }
    }

    /// Encrypts `plain` and its tag to the start of `to`; the sealed length, `plain.len() + TAG_LEN`.
    /// A counter must not be used twice with one key.
    ///
    /// # Panics
    /// Where `to` is shorter than that.
    pub fn seal(&self, counter: u64, plain: &[u8], to: &mut [u8]) -> usize {
        let (text, rest) = to.split_at_mut(plain.len());
        text.copy_from_slice(plain);
        let tag = self
            .ring
            .seal_in_place_separate_tag(nonce(counter), Aad::empty(), text)
            .expect("a packet is far shorter than 256 GiB");
        rest[..TAG_LEN].copy_from_slice(tag.as_ref());
        plain.len() + TAG_LEN
    }

    /// Decrypts `sealed` to the start of `to`; the plain length, `sealed.len() - TAG_LEN`. What `to`
    /// holds after an error is not defined.
    ///
    /// # Panics
    /// Where `to` is shorter than `sealed`.
    pub fn open(&self, counter: u64, sealed: &[u8], to: &mut [u8]) -> Result<usize, Forged> {
        let text = &mut to[..sealed.len()];
        text.copy_from_slice(sealed);
        self.ring
            .open_in_place(nonce(counter), Aad::empty(), text)
            .map(|plain| plain.len())
            .map_err(|_| Forged)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&counter.to_le_bytes());
    Nonce::assume_unique_for_key(bytes)
}
