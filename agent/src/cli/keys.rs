//! `crossway keygen` and `crossway pubkey`, the same as `wg genkey` and `wg pubkey`.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, anyhow};
use zeroize::Zeroizing;

use super::failure::Failure;
use super::output::print;
use crate::keys::{SecretKey, public_key_text};

/// A key has 44 characters; more input than this is something else.
const INPUT_BYTES: u64 = 4096;

/// Prints a new private key.
pub(super) fn keygen() -> Result<(), Failure> {
    let key = SecretKey::generate().context("cannot get random numbers from the kernel")?;
    if let Some(mode) = exposed_mode_of_stdout() {
        eprintln!(
            "crossway: warning: the key goes to a file with mode {mode:04o}, which other users can read: chmod 600 it, or use (umask 077; crossway keygen > FILE)"
        );
    }
    let text = key.to_base64();
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")?;
    out.flush()?;
    Ok(())
}

/// Prints the public key of the private key on standard input.
pub(super) fn pubkey() -> Result<(), Failure> {
    let mut content = Zeroizing::new(Vec::with_capacity(INPUT_BYTES as usize));
    io::stdin()
        .take(INPUT_BYTES)
        .read_to_end(&mut content)
        .context("standard input cannot be read")?;
    let key = SecretKey::from_file(&content)
        .map_err(|error| anyhow!("standard input {error}: write `crossway pubkey < KEYFILE`"))?;
    print(&format!("{}\n", public_key_text(&key.public_key())))
}

fn exposed_mode_of_stdout() -> Option<u32> {
    let stdout = File::from(io::stdout().as_fd().try_clone_to_owned().ok()?);
    let found = stdout.metadata().ok()?;
    let mode = found.permissions().mode() & 0o7777;
    (found.is_file() && mode & 0o077 != 0).then_some(mode)
}
