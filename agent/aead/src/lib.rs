//! ChaCha20-Poly1305 (RFC 8439) as WireGuard's data messages use it: the nonce is four zero bytes
//! and a 64-bit little-endian counter, and nothing but the packet is authenticated (whitepaper 5.4.6).
//!
//! A key seals from one buffer into another, so that a packet is encrypted on its way from the TUN's
//! buffer into the socket's and never copied for its own sake. On machines with AVX-512 the code is
//! our own, about half as fast again as ring's; elsewhere, and as the oracle of the tests, it is ring's.

#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(not(target_family = "wasm"))]
mod ring;
#[cfg(target_family = "wasm")]
mod rust_crypto;

use std::fmt;

#[cfg(not(target_family = "wasm"))]
use ring as portable;
#[cfg(target_family = "wasm")]
use rust_crypto as portable;

/// Bytes of a key.
pub const KEY_LEN: usize = 32;
/// Bytes by which a sealed packet is longer: Poly1305's tag, at its end.
pub const TAG_LEN: usize = 16;

/// Packets are padded to multiples of so many bytes (whitepaper 5.4.6).
pub const PAD_TO: usize = 16;

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
pub struct Key(Engine);

/// What computes with it.
enum Engine {
    #[cfg(target_arch = "x86_64")]
    Avx512(avx512::Key),
    Portable(Box<portable::Key>),
}

impl Key {
    /// Prepares a key, for the fastest code that this machine can run.
    pub fn new(bytes: &[u8; KEY_LEN]) -> Self {
        #[cfg(target_arch = "x86_64")]
        if let Some(key) = avx512::Key::new(bytes) {
            return Self(Engine::Avx512(key));
        }
        Self::portable(bytes)
    }

    /// Prepares a key for the code that runs everywhere: the comparison for tests and benches.
    pub fn portable(bytes: &[u8; KEY_LEN]) -> Self {
        Self(Engine::Portable(Box::new(portable::Key::new(bytes))))
    }

    /// Name of the code that this key is computed with.
    pub fn engine(&self) -> &'static str {
        match &self.0 {
            #[cfg(target_arch = "x86_64")]
            Engine::Avx512(_) => "avx512",
            Engine::Portable(_) => portable::NAME,
        }
    }

    /// Encrypts `plain` and its tag to the start of `to`; the sealed length, `plain.len() + TAG_LEN`.
    /// A counter must not be used twice with one key.
    ///
    /// # Panics
    /// Where `to` is shorter than that.
    #[inline]
    pub fn seal(&self, counter: u64, plain: &[u8], to: &mut [u8]) -> usize {
        self.seal_padded(counter, plain, plain.len(), to)
    }

    /// As [`Self::seal`], with zeroes behind `plain` up to `length` bytes, which are never anywhere but in `to`.
    ///
    /// # Panics
    /// Where `length` is less than that of `plain`, or beyond the next multiple of [`PAD_TO`]; and as `seal`.
    #[inline]
    pub fn seal_padded(&self, counter: u64, plain: &[u8], length: usize, to: &mut [u8]) -> usize {
        let longest = plain.len().next_multiple_of(PAD_TO);
        assert!(
            (plain.len()..=longest).contains(&length),
            "padding of {length} bytes"
        );
        match &self.0 {
            #[cfg(target_arch = "x86_64")]
            Engine::Avx512(key) => key.seal(counter, plain, length, to),
            Engine::Portable(key) => key.seal(counter, plain, length, to),
        }
    }

    /// Decrypts `sealed` to the start of `to`; the plain length, `sealed.len() - TAG_LEN`. What `to`
    /// holds after an error is not defined.
    ///
    /// # Panics
    /// Where `to` is shorter than `sealed`.
    #[inline]
    pub fn open(&self, counter: u64, sealed: &[u8], to: &mut [u8]) -> Result<usize, Forged> {
        match &self.0 {
            #[cfg(target_arch = "x86_64")]
            Engine::Avx512(key) => key.open(counter, sealed, to),
            Engine::Portable(key) => key.open(counter, sealed, to),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.engine())
    }
}

#[cfg(test)]
mod tests;
