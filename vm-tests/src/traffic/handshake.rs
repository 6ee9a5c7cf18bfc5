//! Handshake initiations as somebody makes them who knows a gateway's public key and nothing else: the first
//! code is right (WireGuard whitepaper 5.4.4), so that public-key work must be done to see through them.

use anyhow::{Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use blake2::digest::consts::U16;
use blake2::digest::{FixedOutput, KeyInit, Update};
use blake2::{Blake2s256, Blake2sMac, Digest};

/// Bytes of an initiation, and where its first code lies.
pub const INITIATION: usize = 148;
const FIRST_CODE: usize = 116;
const SECOND_CODE: usize = 132;

/// Puts first codes on messages to one gateway.
#[derive(Clone)]
pub struct Forger {
    key: [u8; 32],
}

impl Forger {
    /// For a gateway by its public key, base64.
    pub fn new(public_key: &str) -> Result<Self> {
        let key = STANDARD.decode(public_key)?;
        ensure!(key.len() == 32, "a public key has 32 bytes");
        let key = Blake2s256::new()
            .chain_update(b"mac1----")
            .chain_update(&key)
            .finalize();
        Ok(Self { key: key.into() })
    }

    /// An initiation from nobody; `number` is its sender's index, and makes it another one.
    pub fn initiation(&self, number: u32) -> [u8; INITIATION] {
        let mut message = [0x5a; INITIATION];
        message[..4].copy_from_slice(&[1, 0, 0, 0]);
        message[4..8].copy_from_slice(&number.to_le_bytes());
        // What passes for an ephemeral key: any 32 bytes but a few.
        message[8..12].copy_from_slice(&number.to_be_bytes());
        self.stamp(&mut message);
        message
    }

    /// Makes the first code of an initiation right, and its second none.
    pub fn stamp(&self, message: &mut [u8; INITIATION]) {
        let mut code =
            <Blake2sMac<U16> as KeyInit>::new_from_slice(&self.key).expect("32 bytes are a key");
        code.update(&message[..FIRST_CODE]);
        message[FIRST_CODE..SECOND_CODE].copy_from_slice(&code.finalize_fixed());
        message[SECOND_CODE..].fill(0);
    }
}
