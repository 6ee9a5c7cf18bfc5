//! The file that keeps the last good answers over restarts of the agent. It lies in the run folder, so that it
//! is gone after a boot: a host that boots asks anew, and one whose agent is restarted, upgraded or killed while
//! no name server answers goes on with what it knew.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crossway_sys::whole_file;
use serde::{Deserialize, Serialize};

use crate::control::run_dir;

/// A file that is longer is not ours: a thousand names of sixteen addresses each need half of it.
const LONGEST: u64 = 1 << 20;

/// What it says.
type Answers = BTreeMap<String, Vec<SocketAddr>>;

#[derive(Debug, Serialize, Deserialize)]
struct Content {
    names: Answers,
}

/// Where the names of the gateway called `gateway` are remembered.
pub fn path_of(gateway: &str) -> PathBuf {
    run_dir().join(format!("{gateway}.names.json"))
}

/// What was remembered: nothing if there is no file, or none that can be understood.
pub fn read(file: &Path) -> Answers {
    match whole_file::read(file, LONGEST) {
        Ok(text) => serde_json::from_slice(&text)
            .map_or_else(
                |error| {
                    tracing::warn!(file = %file.display(), %error, "the names that were remembered cannot be read");
                    Answers::new()
                },
                |Content { names }| names,
            ),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Answers::new(),
        Err(error) => {
            tracing::warn!(file = %file.display(), %error, "the names that were remembered cannot be read");
            Answers::new()
        }
    }
}

/// Remembers `names`, whole or not at all.
///
/// # Errors
/// The file cannot be written; what was remembered before stays.
pub fn write(file: &Path, names: Answers) -> io::Result<()> {
    whole_file::write(file, &serde_json::to_vec_pretty(&Content { names })?)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_was_written_is_read_and_anything_else_is_nothing() {
        let folder = std::env::temp_dir().join(format!("crossway-names-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("a.names.json");
        assert_eq!(read(&file), Answers::new());
        let addresses = ["203.0.113.2:0", "[2001:db8::2]:0", "[fe80::1%3]:0"];
        let addresses = addresses.map(|text| text.parse().unwrap()).to_vec();
        let names = Answers::from([("far.example".to_owned(), addresses)]);
        write(&file, names.clone()).unwrap();
        assert_eq!(read(&file), names);
        for text in ["", "{", "[]", "{\"names\":{\"a\":[\"b\"]}}"] {
            fs::write(&file, text).unwrap();
            assert_eq!(read(&file), Answers::new(), "{text}");
        }
        fs::remove_dir_all(&folder).unwrap();
    }
}
