//! The AEAD by ring: AVX2, NEON or what else the machine has.

use std::mem::MaybeUninit;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

use crate::{Forged, KEY_LEN, TAG_LEN};

/// What [`crate::Key::engine`] says.
pub(crate) const NAME: &str = "ring";

/// A key, cleared when it is dropped, which ring's own is not.
pub(crate) struct Key(MaybeUninit<LessSafeKey>);

impl Drop for Key {
    fn drop(&mut self) {
        const { assert!(!std::mem::needs_drop::<LessSafeKey>()) }
        // SAFETY: the pointer is to all of a value that owns nothing elsewhere and needs no drop, and nobody
        // reads it after this.
        unsafe { zeroize::zeroize_flat_type(self.0.as_mut_ptr()) }
    }
}

impl Key {
    /// Prepares a key.
    pub(crate) fn new(bytes: &[u8; KEY_LEN]) -> Self {
        let unbound = UnboundKey::new(&CHACHA20_POLY1305, bytes).expect("a key of 32 bytes");
        Self(MaybeUninit::new(LessSafeKey::new(unbound)))
    }

    fn key(&self) -> &LessSafeKey {
        // SAFETY: `new` has written it, and only `drop` clears it.
        unsafe { self.0.assume_init_ref() }
    }

    /// See [`crate::Key::seal_padded`].
    pub(crate) fn seal(&self, counter: u64, plain: &[u8], length: usize, to: &mut [u8]) -> usize {
        let (text, rest) = to.split_at_mut(length);
        text[..plain.len()].copy_from_slice(plain);
        text[plain.len()..].fill(0);
        let tag = self
            .key()
            .seal_in_place_separate_tag(nonce(counter), Aad::empty(), text)
            .expect("a packet is far shorter than 256 GiB");
        rest[..TAG_LEN].copy_from_slice(tag.as_ref());
        length + TAG_LEN
    }

    /// See [`crate::Key::open`].
    pub(crate) fn open(&self, counter: u64, sealed: &[u8], to: &mut [u8]) -> Result<usize, Forged> {
        let text = &mut to[..sealed.len()];
        text.copy_from_slice(sealed);
        self.key()
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
