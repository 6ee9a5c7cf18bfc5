//! Who may write to the database.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::{MODE, StoreError, with_suffix};

/// The lock. The kernel gives it up when its holder ends, however that comes about.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "held while it is open")] File);

impl Lock {
    /// Takes the lock of the database at `path`, and does not wait for it.
    pub(super) fn take(path: &Path) -> Result<Self, StoreError> {
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(false).mode(MODE);
        let file = options
            .custom_flags(libc::O_NOFOLLOW)
            .open(with_suffix(path, ".lock"))?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(StoreError::InUse),
            Err(TryLockError::Error(error)) => Err(error.into()),
        }
    }
}
