//! The one file that knows snow: WireGuard's handshake as a Noise handshake (whitepaper 5.4.2 to
//! 5.4.5). Handshakes are outside the fast path.

use std::ops::Range;
use std::sync::LazyLock;

use snow::params::{CipherChoice, DHChoice, HashChoice, NoiseParams};
use snow::resolvers::{CryptoResolver, DefaultResolver};
use snow::types::{Cipher, Dh, Hash, Random};
use snow::{Builder, HandshakeState};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use super::message::{self, INITIATION_BYTES, RESPONSE_BYTES};
use super::tai64n::Timestamp;

static PROTOCOL: LazyLock<NoiseParams> = LazyLock::new(|| {
    "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s"
        .parse()
        .expect("a protocol that snow knows")
});
const PROLOGUE: &[u8] = b"WireGuard v1 zx2c4 Jason@zx2c4.com";
/// Where the pre-shared key is mixed in: in the second message.
const PSK_LOCATION: u8 = 2;
/// Noise's part of an initiation and of a response.
const NOISE_INITIATION: Range<usize> = 8..116;
const NOISE_RESPONSE: Range<usize> = 12..60;

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

    /// The public key's 32 bytes.
    pub fn public_key(&self) -> [u8; 32] {
        self.public.to_bytes()
    }

    fn handshake(&self) -> Option<Builder<'_>> {
        Builder::with_resolver(PROTOCOL.clone(), Box::new(Resolver))
            .prologue(PROLOGUE)
            .ok()?
            .local_private_key(self.private.as_bytes())
            .ok()
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
    state: HandshakeState,
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
        let builder = identity.handshake()?;
        let builder = builder.remote_public_key(peer).ok()?;
        let builder = builder.psk(PSK_LOCATION, preshared).ok()?;
        let mut state = builder.build_initiator().ok()?;
        message::write_initiation(to, sender);
        state
            .write_message(timestamp, &mut to[NOISE_INITIATION])
            .ok()?;
        Some(Self { state })
    }

    /// Reads the response. A forged one leaves the handshake as it was.
    pub(super) fn finish(&mut self, response: &[u8]) -> Option<TransportKeys> {
        let noise = response.get(NOISE_RESPONSE)?;
        self.state.read_message(noise, &mut []).ok()?;
        let (sending, receiving) = self.state.dangerously_get_raw_split();
        Some(TransportKeys {
            sending: sending.into(),
            receiving: receiving.into(),
        })
    }
}

/// A handshake that a peer began.
pub(super) struct Responder {
    state: HandshakeState,
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
        let mut state = identity.handshake()?.build_responder().ok()?;
        let mut timestamp = [0; 12];
        state
            .read_message(initiation.get(NOISE_INITIATION)?, &mut timestamp)
            .ok()?;
        Some(Self {
            peer: state.get_remote_static()?.try_into().ok()?,
            timestamp,
            sender: message::sender(initiation)?,
            state,
        })
    }

    /// Writes the response but for its authentication codes.
    pub(super) fn answer(
        mut self,
        preshared: &PresharedKey,
        sender: u32,
        to: &mut [u8; RESPONSE_BYTES],
    ) -> Option<TransportKeys> {
        self.state
            .set_psk(PSK_LOCATION.into(), preshared.as_slice())
            .ok()?;
        message::write_response(to, sender, self.sender);
        self.state
            .write_message(&[], &mut to[NOISE_RESPONSE])
            .ok()?;
        let (receiving, sending) = self.state.dangerously_get_raw_split();
        Some(TransportKeys {
            sending: sending.into(),
            receiving: receiving.into(),
        })
    }
}

/// snow's own primitives but for X25519, which it neither clears nor checks.
struct Resolver;

impl CryptoResolver for Resolver {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        DefaultResolver.resolve_rng()
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        match choice {
            DHChoice::Curve25519 => Some(Box::new(X25519::empty())),
            DHChoice::Curve448 => None,
        }
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        DefaultResolver.resolve_hash(choice)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        DefaultResolver.resolve_cipher(choice)
    }
}

/// A key pair whose private half is cleared when it is dropped, and which agrees on no secret that
/// anybody could know: a public key of low order is refused.
struct X25519 {
    private: StaticSecret,
    public: PublicKey,
}

impl X25519 {
    /// To be set or generated.
    fn empty() -> Self {
        Self {
            private: StaticSecret::from([0; 32]),
            public: PublicKey::from([0; 32]),
        }
    }

    fn new(private: [u8; 32]) -> Self {
        let private = StaticSecret::from(private);
        let public = PublicKey::from(&private);
        Self { private, public }
    }
}

impl Dh for X25519 {
    fn name(&self) -> &'static str {
        "25519"
    }

    fn pub_len(&self) -> usize {
        32
    }

    fn priv_len(&self) -> usize {
        32
    }

    fn set(&mut self, private: &[u8]) {
        let mut bytes = Zeroizing::new([0; 32]);
        bytes.copy_from_slice(private);
        *self = Self::new(*bytes);
    }

    fn generate(&mut self, random: &mut dyn Random) -> Result<(), snow::Error> {
        let mut bytes = Zeroizing::new([0; 32]);
        random.try_fill_bytes(bytes.as_mut_slice())?;
        *self = Self::new(*bytes);
        Ok(())
    }

    fn pubkey(&self) -> &[u8] {
        self.public.as_bytes()
    }

    fn privkey(&self) -> &[u8] {
        self.private.as_bytes()
    }

    fn dh(&self, public: &[u8], out: &mut [u8]) -> Result<(), snow::Error> {
        let public = public.first_chunk::<32>().ok_or(snow::Error::Dh)?;
        let shared = self.private.diffie_hellman(&PublicKey::from(*public));
        if !shared.was_contributory() {
            return Err(snow::Error::Dh);
        }
        out[..32].copy_from_slice(shared.as_bytes());
        Ok(())
    }
}
