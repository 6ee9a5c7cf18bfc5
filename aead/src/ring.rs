//! The AEAD by ring: AVX2, NEON or what else the machine has.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

use crate::{Forged, KEY_LEN, TAG_LEN};

/// A key.
pub(crate) struct Key(LessSafeKey);

impl Key {
    /// Prepares a key.
    pub(crate) fn new(bytes: &[u8; KEY_LEN]) -> Self {
        let unbound = UnboundKey::new(&CHACHA20_POLY1305, bytes).expect("a key of 32 bytes");
        Self(LessSafeKey::new(unbound))
    }

    /// See [`crate::Key::seal`].
    pub(crate) fn seal(&self, counter: u64, plain: &[u8], to: &mut [u8]) -> usize {
        let (text, rest) = to.split_at_mut(plain.len());
        text.copy_from_slice(plain);
        let tag = self
            .0
            .seal_in_place_separate_tag(nonce(counter), Aad::empty(), text)
            .expect("a packet is far shorter than 256 GiB");
        rest[..TAG_LEN].copy_from_slice(tag.as_ref());
        plain.len() + TAG_LEN
    }

    /// See [`crate::Key::open`].
    pub(crate) fn open(&self, counter: u64, sealed: &[u8], to: &mut [u8]) -> Result<usize, Forged> {
        let text = &mut to[..sealed.len()];
        text.copy_from_slice(sealed);
        self.0
            .open_in_place(nonce(counter), Aad::empty(), text)
            .map(|plain| plain.len())
            .map_err(|_| Forged)
    }
}

fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&counter.to_le_bytes());
    Nonce::assume_unique_for_key(bytes)
}
