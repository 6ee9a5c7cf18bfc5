//! The files of a configuration on this machine: the file itself, and the keys that it names.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Context;
use crossway_sys::owner;
use zeroize::Zeroizing;

use crate::config::endpoint::Problem;
use crate::config::{Files, KeyFile};
use crate::keys::{KeyFileError, SecretKey};
use crate::posture::capabilities;

/// A key file holds 44 characters and a line break; more than this is some other file.
const KEY_FILE_BYTES: u64 = 4096;

/// The files as this process can read them.
#[derive(Clone, Copy, Debug)]
pub struct Disk;

impl Files for Disk {
    fn text(&self, file: &Path) -> io::Result<String> {
        fs::read_to_string(file)
    }

    fn key(&self, file: &Path) -> Result<SecretKey, KeyFileError> {
        read_key(file)
    }

    fn mode(&self, file: &Path) -> Option<u32> {
        Some(file.metadata().ok()?.permissions().mode() & 0o7777)
    }

    fn changed_by_others(&self, file: &Path) -> Option<Problem> {
        let owner::Trouble { path, whose, mend } = owner::changers(file)?;
        Some((format!("{} {whose}", path.display()), mend))
    }

    fn mend_of_unreadable(&self) -> &'static str {
        capabilities::mend_of_file()
    }
}

/// The key that a file of the configuration held when that was read. What was not there then may be now.
///
/// # Errors
/// It still is not, or holds no key: the file, and why.
pub fn key_of(file: &KeyFile) -> anyhow::Result<SecretKey> {
    match file.key() {
        Some(key) => Ok(key.clone()),
        None => read_key(&file.path).with_context(|| file.path.display().to_string()),
    }
}

/// Reads a file that holds the base64 form of a private or pre-shared key.
pub fn read_key(file: &Path) -> Result<SecretKey, KeyFileError> {
    let mut content = Zeroizing::new(Vec::with_capacity(KEY_FILE_BYTES as usize));
    File::open(file)?
        .take(KEY_FILE_BYTES)
        .read_to_end(&mut content)?;
    Ok(SecretKey::from_file(&content)?)
}
