//! The AEAD by the RustCrypto crates, for targets that ring does not know. No gateway runs on one: that the tunnel
//! compiles there shows that it does no I/O.

use chacha20poly1305::{AeadInPlace, ChaCha20Poly1305, KeyInit};

use crate::{Forged, KEY_LEN, TAG_LEN};

/// What [`crate::Key::engine`] says.
pub(crate) const NAME: &str = "rust-crypto";

/// A key, cleared when it is dropped.
pub(crate) struct Key(ChaCha20Poly1305);

impl Key {
    /// Prepares a key.
    pub(crate) fn new(bytes: &[u8; KEY_LEN]) -> Self {
        Self(ChaCha20Poly1305::new(bytes.into()))
    }

    /// See [`crate::Key::seal_padded`].
    pub(crate) fn seal(&self, counter: u64, plain: &[u8], length: usize, to: &mut [u8]) -> usize {
        let (text, rest) = to.split_at_mut(length);
        text[..plain.len()].copy_from_slice(plain);
        text[plain.len()..].fill(0);
        let tag = self
            .0
            .encrypt_in_place_detached(&nonce(counter).into(), &[], text)
            .expect("a packet is far shorter than 256 GiB");
        rest[..TAG_LEN].copy_from_slice(&tag);
        length + TAG_LEN
    }

    /// See [`crate::Key::open`].
    pub(crate) fn open(&self, counter: u64, sealed: &[u8], to: &mut [u8]) -> Result<usize, Forged> {
        let (sealed, tag) = sealed.split_last_chunk::<TAG_LEN>().ok_or(Forged)?;
        let text = &mut to[..sealed.len()];
        text.copy_from_slice(sealed);
        self.0
            .decrypt_in_place_detached(&nonce(counter).into(), &[], text, tag.into())
            .map_err(|_| Forged)?;
        Ok(text.len())
    }
}

fn nonce(counter: u64) -> [u8; 12] {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&counter.to_le_bytes());
    bytes
}
