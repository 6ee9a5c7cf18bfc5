//! WireGuard keys in their base64 form.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::{crossway, process};

/// A private key and its public key.
#[derive(Clone)]
pub struct KeyPair {
    /// Base64; never in a message or log.
    pub private: String,
    /// Base64.
    pub public: String,
}

impl std::fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyPair")
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}

impl KeyPair {
    /// A new pair, made by `wg` where it is installed, else by `crossway`.
    pub fn generate() -> Result<Self> {
        let own = crossway::binary();
        let (program, make) = if process::in_path("wg") {
            (Path::new("wg"), "genkey")
        } else {
            (own.as_path(), "keygen")
        };
        let private = process::run(Command::new(program).arg(make))?;
        let private = private.trim().to_owned();
        let public = public_of(program, &private)?;
        Ok(Self { private, public })
    }

    /// Writes the private key to a new file that only root reads.
    pub fn write_private(&self, path: &Path) -> Result<()> {
        let mut file = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)
            .with_context(|| format!("cannot create {}", path.display()))?;
        writeln!(file, "{}", self.private)?;
        Ok(())
    }
}

fn public_of(program: &Path, private: &str) -> Result<String> {
    let mut child = Command::new(program)
        .arg("pubkey")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{} pubkey`", program.display()))?;
    let mut input = child.stdin.take().context("a pipe that was asked for")?;
    writeln!(input, "{private}")?;
    drop(input);
    let output = child.wait_with_output()?;
    ensure!(
        output.status.success(),
        "`{} pubkey` failed ({})",
        program.display(),
        output.status
    );
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
