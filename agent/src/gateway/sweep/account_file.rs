//! The flow table's account beside the table itself, for the agent that starts after one that was killed. It lies in
//! the run folder: neither outlives a boot.

use std::io;
use std::path::{Path, PathBuf};

use crossway_sys::whole_file;
use serde::{Deserialize, Serialize};

use crate::control::run_dir;
use crate::datapath::Account;

/// A file that is longer is not ours.
const LONGEST: u64 = 4096;

#[derive(Debug, Serialize, Deserialize)]
struct Content {
    /// The kernel's number of the table.
    table: u32,
    account: Account,
}

fn path_of(gateway: &str) -> PathBuf {
    run_dir().join(format!("{gateway}.flows.json"))
}

/// The account of the table with this number, if it was written down.
pub(super) fn read(gateway: &str, table: u32) -> Option<Account> {
    let text = whole_file::read(&path_of(gateway), LONGEST).ok()?;
    let content: Content = serde_json::from_slice(&text).ok()?;
    (content.table == table).then_some(content.account)
}

/// Writes it down. What cannot be written is less to tell after a crash, no more.
pub(super) fn write(gateway: &str, table: u32, account: &Account) {
    let content = Content {
        table,
        account: account.clone(),
    };
    let written = serde_json::to_vec(&content).map_err(io::Error::other);
    let file = path_of(gateway);
    if let Err(error) = written.and_then(|text| whole_file::write(&file, &text)) {
        tracing::debug!(file = %file.display(), %error, "the account of flows is not written down");
    }
}

/// The table goes.
pub(super) fn remove(gateway: &str) {
    let file: &Path = &path_of(gateway);
    if let Err(error) = std::fs::remove_file(file)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::debug!(file = %file.display(), %error, "the account of flows is still there");
    }
}
