//! WireGuard's handshake, Noise_IKpsk2 (whitepaper 5.4.2 to 5.4.5), over the primitives of
//! [`symmetric`]. Handshakes are outside the fast path.
//!
//! Our own because no library clears the chaining key and the pre-shared key of a handshake that waits for its
//! answer: here, every secret that is kept is cleared when it is dropped. A public key of low order is refused:
//! the secret agreed with it could be known to anybody.

mod symmetric;

use std::ops::Range;

use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use super::message::{self, INITIATION_BYTES, RESPONSE_BYTES};
use super::tai64n::Timestamp;
use crossway_types::keys::SecretKey;
use symmetric::{Secret, Symmetric};

/// Where the fields of an initiation lie, the last two with a tag.
const EPHEMERAL: Range<usize> = 8..40;
const STATIC: Range<usize> = 40..88;
const TIMESTAMP: Range<usize> = 88..116;
/// Those of a response; the second is a tag of nothing.
const RESPONSE_EPHEMERAL: Range<usize> = 12..44;
const NOTHING: Range<usize> = 44..60;

/// A pre-shared key; all zeroes where there is none (whitepaper 5.4).
pub(super) type PresharedKey = Zeroizing<[u8; 32]>;

/// This gateway's key pair.
#[derive(Clone)]
pub struct Identity {
    private: StaticSecret,
    public: PublicKey,
}

impl Identity {
    /// From the private key's 32 bytes.
    pub fn new(private: [u8; 32]) -> Self {
        let private = StaticSecret::from(private);
        let public = PublicKey::from(&private);
        Self { private, public }
    }

    /// The private key, for another implementation's sessions.
    pub(super) fn private(&self) -> &StaticSecret {
        &self.private
    }

    /// What only this gateway and the owner of `public` can know; `None` where anybody could.
    pub(super) fn agree_with(&self, public: &[u8; 32]) -> Option<Zeroizing<[u8; 32]>> {
        agree(&self.private, public)
    }

    /// The public key's 32 bytes.
    pub fn public_key(&self) -> [u8; 32] {
        self.public.to_bytes()
    }
}

/// The keys of a session's two directions.
pub(super) struct TransportKeys {
    /// Of what we send.
    pub(super) sending: Zeroizing<[u8; 32]>,
    /// Of what we receive.
    pub(super) receiving: Zeroizing<[u8; 32]>,
}

/// A handshake that we began.
pub(super) struct Initiator {
    noise: Symmetric,
    ephemeral: StaticSecret,
    private: StaticSecret,
    preshared: PresharedKey,
}

impl Initiator {
    /// Begins a handshake with the owner of `peer`: writes an initiation but for its authentication
    /// codes. `None` where `peer` is no key that a secret can be agreed with.
    pub(super) fn begin(
        identity: &Identity,
        peer: &[u8; 32],
        preshared: &PresharedKey,
        timestamp: &Timestamp,
        sender: u32,
        to: &mut [u8; INITIATION_BYTES],
    ) -> Option<Self> {
        message::write_initiation(to, sender);
        let ephemeral = new_ephemeral()?;
        let mut noise = Symmetric::towards(peer);
        write_ephemeral(&mut noise, &ephemeral, &mut to[EPHEMERAL]);
        let key = noise.mix_key(&agree(&ephemeral, peer)?);
        noise.seal(&key, identity.public.as_bytes(), &mut to[STATIC]);
        let key = noise.mix_key(&agree(&identity.private, peer)?);
        noise.seal(&key, timestamp, &mut to[TIMESTAMP]);
        Some(Self {
            noise,
            ephemeral,
            private: identity.private.clone(),
            preshared: preshared.clone(),
        })
    }

    /// Reads the response. A forged one leaves the handshake as it was.
    pub(super) fn finish(&mut self, response: &[u8]) -> Option<TransportKeys> {
        let theirs = read_key(response.get(RESPONSE_EPHEMERAL)?)?;
        let mut noise = self.noise.clone();
        noise.mix_ephemeral(&theirs);
        noise.mix_key(&agree(&self.ephemeral, &theirs)?);
        noise.mix_key(&agree(&self.private, &theirs)?);
        let key = noise.mix_preshared(&self.preshared);
        noise.open(&key, response.get(NOTHING)?, &mut [])?;
        let [sending, receiving] = noise.split();
        Some(TransportKeys { sending, receiving })
    }
}

/// A handshake that a peer began.
pub(super) struct Responder {
    noise: Symmetric,
    /// The peer's, of this handshake.
    pub(super) ephemeral: [u8; 32],
    /// The peer's public key, which it has proved to own.
    pub(super) peer: [u8; 32],
    /// When it was begun, by the peer's clock.
    pub(super) timestamp: Timestamp,
    /// The peer's index of the session to be.
    pub(super) sender: u32,
}

impl Responder {
    /// Reads an initiation, whoever sent it.
    pub(super) fn read(identity: &Identity, initiation: &[u8]) -> Option<Self> {
        let ephemeral = read_key(initiation.get(EPHEMERAL)?)?;
        let mut noise = Symmetric::towards(identity.public.as_bytes());
        noise.mix_ephemeral(&ephemeral);
        let key = noise.mix_key(&agree(&identity.private, &ephemeral)?);
        let mut peer = [0; 32];
        noise.open(&key, initiation.get(STATIC)?, &mut peer)?;
        let key = noise.mix_key(&agree(&identity.private, &peer)?);
        let mut timestamp = Timestamp::default();
        noise.open(&key, initiation.get(TIMESTAMP)?, &mut timestamp)?;
        Some(Self {
            noise,
            ephemeral,
            peer,
            timestamp,
            sender: message::sender(initiation)?,
        })
    }

    /// Writes the response but for its authentication codes.
    pub(super) fn answer(
        mut self,
        preshared: &PresharedKey,
        sender: u32,
        to: &mut [u8; RESPONSE_BYTES],
    ) -> Option<TransportKeys> {
        message::write_response(to, sender, self.sender);
        let ephemeral = new_ephemeral()?;
        let noise = &mut self.noise;
        write_ephemeral(noise, &ephemeral, &mut to[RESPONSE_EPHEMERAL]);
        noise.mix_key(&agree(&ephemeral, &self.ephemeral)?);
        noise.mix_key(&agree(&ephemeral, &self.peer)?);
        let key = noise.mix_preshared(preshared);
        noise.seal(&key, &[], &mut to[NOTHING]);
        let [receiving, sending] = self.noise.split();
        Some(TransportKeys { sending, receiving })
    }
}

fn new_ephemeral() -> Option<StaticSecret> {
    let key = SecretKey::generate().ok()?;
    Some(key.expose().clone())
}

fn write_ephemeral(noise: &mut Symmetric, ephemeral: &StaticSecret, to: &mut [u8]) {
    let public = PublicKey::from(ephemeral);
    to.copy_from_slice(public.as_bytes());
    noise.mix_ephemeral(public.as_bytes());
}

fn read_key(bytes: &[u8]) -> Option<[u8; 32]> {
    bytes.try_into().ok()
}

/// The secret of our private and their public key, unless anybody could know it.
fn agree(private: &StaticSecret, public: &[u8; 32]) -> Option<Secret> {
    let shared = private.diffie_hellman(&PublicKey::from(*public));
    shared
        .was_contributory()
        .then(|| Zeroizing::new(shared.to_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossway_types::keys::remains;

    /// A handshake that waits for its answer has all of its secrets in one place.
    #[test]
    fn a_dropped_handshake_leaves_no_secret() {
        let identity = || Identity::new([0x51; 32]);
        let peer = Identity::new([0x52; 32]).public_key();
        let preshared = Zeroizing::new([0x53; 32]);
        let begin = || {
            let mut to = [0; INITIATION_BYTES];
            let begun = Initiator::begin(&identity(), &peer, &preshared, &[0; 12], 1, &mut to);
            Box::new(begun.unwrap())
        };
        assert_eq!(remains::of(begin(), &[0x51; 32]), (true, false));
        assert_eq!(remains::of(begin(), &[0x53; 32]), (true, false));
        let handshake = begin();
        let ephemeral = handshake.ephemeral.to_bytes();
        assert_eq!(remains::of(handshake, &ephemeral), (true, false));
        let handshake = begin();
        let chain = handshake.noise.chain().to_vec();
        assert_eq!(remains::of(handshake, &chain), (true, false));
        assert_eq!(
            remains::of(Box::new(identity()), &[0x51; 32]),
            (true, false)
        );
    }

    #[test]
    fn a_forged_response_leaves_the_handshake_as_it_was() {
        let (ours, theirs) = (Identity::new([1; 32]), Identity::new([2; 32]));
        let none = PresharedKey::default();
        let (mut to, mut answer) = ([0; INITIATION_BYTES], [0; RESPONSE_BYTES]);
        let public = theirs.public_key();
        let begun = Initiator::begin(&ours, &public, &none, &[9; 12], 1, &mut to);
        let mut initiator = begun.unwrap();
        let responder = Responder::read(&theirs, &to).unwrap();
        assert_eq!(
            (responder.peer, responder.timestamp),
            (ours.public_key(), [9; 12])
        );
        let keys = responder.answer(&none, 2, &mut answer).unwrap();
        for at in RESPONSE_EPHEMERAL.start..NOTHING.end {
            let mut forged = answer;
            forged[at] ^= 1;
            assert!(initiator.finish(&forged).is_none());
        }
        let agreed = initiator.finish(&answer).unwrap();
        assert_eq!(agreed.sending, keys.receiving);
        assert_eq!(agreed.receiving, keys.sending);
    }
}
