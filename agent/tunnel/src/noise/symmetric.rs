//! What both sides of a handshake keep in step: a hash of all that was said, and a chain of all that was
//! agreed (Noise's SymmetricState; whitepaper 5.4, HMAC and KDF as there).

use blake2::{Blake2s256, Digest};
use chacha20poly1305::aead::{AeadInPlace, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Tag};
use zeroize::Zeroizing;

/// A key or a secret, cleared when dropped.
pub(super) type Secret = Zeroizing<[u8; 32]>;

const CONSTRUCTION: &[u8] = b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s";
const IDENTIFIER: &[u8] = b"WireGuard v1 zx2c4 Jason@zx2c4.com";
/// Bytes that a sealed field has more than what is in it.
const TAG: usize = 16;
/// Bytes that BLAKE2s takes at once, which HMAC pads its key to.
const BLOCK: usize = 64;
/// Each key seals one field, so every nonce is the first.
const NONCE: [u8; 12] = [0; 12];

/// The state of a handshake.
#[derive(Clone)]
pub(super) struct Symmetric {
    hash: [u8; 32],
    chain: Secret,
}

impl Symmetric {
    /// A handshake with the owner of `responder` that has not begun.
    pub(super) fn towards(responder: &[u8; 32]) -> Self {
        let chain = hash(&[CONSTRUCTION]);
        let mut state = Self {
            hash: hash(&[&chain, IDENTIFIER]),
            chain: Zeroizing::new(chain),
        };
        state.mix_hash(responder);
        state
    }

    /// A public key that was sent in the clear.
    pub(super) fn mix_ephemeral(&mut self, public: &[u8; 32]) {
        let [chain] = derive(&self.chain, public);
        self.chain = chain;
        self.mix_hash(public);
    }

    /// A secret that was agreed; the key for the next field.
    pub(super) fn mix_key(&mut self, secret: &Secret) -> Secret {
        let [chain, key] = derive(&self.chain, secret.as_slice());
        self.chain = chain;
        key
    }

    /// The pre-shared key; the key for the next field.
    pub(super) fn mix_preshared(&mut self, preshared: &Secret) -> Secret {
        let [chain, temporary, key] = derive(&self.chain, preshared.as_slice());
        self.chain = chain;
        self.mix_hash(temporary.as_slice());
        key
    }

    /// Writes `text` sealed to all of `to`.
    pub(super) fn seal(&mut self, key: &Secret, text: &[u8], to: &mut [u8]) {
        let (sealed, tag) = to.split_at_mut(text.len());
        sealed.copy_from_slice(text);
        let cipher = ChaCha20Poly1305::new(key.as_slice().into());
        let made = cipher
            .encrypt_in_place_detached(&NONCE.into(), &self.hash, sealed)
            .expect("a field is shorter than 256 GB");
        tag.copy_from_slice(&made);
        self.mix_hash(to);
    }

    /// Opens all of `sealed` to `text`. `None` if it is forged; then the state must not be used any more.
    pub(super) fn open(&mut self, key: &Secret, sealed: &[u8], text: &mut [u8]) -> Option<()> {
        let (body, tag) = sealed.split_at_checked(sealed.len().checked_sub(TAG)?)?;
        text.copy_from_slice(body);
        let cipher = ChaCha20Poly1305::new(key.as_slice().into());
        cipher
            .decrypt_in_place_detached(&NONCE.into(), &self.hash, text, Tag::from_slice(tag))
            .ok()?;
        self.mix_hash(sealed);
        Some(())
    }

    /// The keys of the session: of what the initiator sends, and of what it receives.
    pub(super) fn split(&self) -> [Secret; 2] {
        derive(&self.chain, &[])
    }

    /// The chain of what was agreed so far.
    #[cfg(test)]
    pub(super) fn chain(&self) -> &[u8; 32] {
        &self.chain
    }

    fn mix_hash(&mut self, data: &[u8]) {
        self.hash = hash(&[&self.hash, data]);
    }
}

/// KDF1 to KDF3.
fn derive<const N: usize>(key: &Secret, input: &[u8]) -> [Secret; N] {
    let secret = hmac(key.as_slice(), &[input]);
    let mut before: Secret = Zeroizing::default();
    let mut used = 0;
    [1, 2, 3]
        .first_chunk::<N>()
        .expect("at most three")
        .map(|number: u8| {
            before = hmac(secret.as_slice(), &[&before[..used], &[number]]);
            used = before.len();
            before.clone()
        })
}

/// HMAC (RFC 2104) with a key of 32 bytes.
fn hmac(key: &[u8], input: &[&[u8]]) -> Secret {
    let padded = |with: u8| {
        let mut block = Zeroizing::new([with; BLOCK]);
        for (byte, of_key) in block.iter_mut().zip(key) {
            *byte ^= of_key;
        }
        block
    };
    let mut inner = Blake2s256::new_with_prefix(padded(0x36).as_slice());
    for part in input {
        inner.update(part);
    }
    let inner: Secret = Zeroizing::new(inner.finalize().into());
    Zeroizing::new(hash(&[padded(0x5c).as_slice(), inner.as_slice()]))
}

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Blake2s256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the kernel's drivers/net/wireguard/noise.c: `handshake_init_chaining_key` and `handshake_init_hash`.
    #[test]
    fn a_handshake_begins_where_the_kernels_does() {
        let chain = hash(&[CONSTRUCTION]);
        assert_eq!(chain[..4], [0x60, 0xe2, 0x6d, 0xae]);
        assert_eq!(hash(&[&chain, IDENTIFIER])[..4], [0x22, 0x11, 0xb3, 0x61]);
    }

    #[test]
    fn a_forged_field_is_refused() {
        let key = Zeroizing::new([7; 32]);
        let state = Symmetric::towards(&[1; 32]);
        let mut sealed = [0; 28];
        state.clone().seal(&key, &[3; 12], &mut sealed);
        let mut text = [0; 12];
        assert_eq!(state.clone().open(&key, &sealed, &mut text), Some(()));
        assert_eq!(text, [3; 12]);
        for at in 0..sealed.len() {
            let mut forged = sealed;
            forged[at] ^= 1;
            assert_eq!(state.clone().open(&key, &forged, &mut text), None);
        }
        assert_eq!(state.clone().open(&key, &sealed[..3], &mut []), None);
    }
}
