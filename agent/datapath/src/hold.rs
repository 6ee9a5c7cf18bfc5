//! One agent has a gateway's pins: it holds a lock on their directory, which the kernel lets go with its last holder,
//! however that ends. Two gateways of one name in different network namespaces would share their maps otherwise, where
//! both see the same BPF file system.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::{error, fmt};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::stat::{major, minor};

/// What an agent is to a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// No other agent may have its pins.
    Only,
    /// The one that has them hands over.
    Successor,
}

/// Another agent has a gateway's pins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    directory: PathBuf,
    by: Option<String>,
}

/// The lock, until it is dropped.
#[derive(Debug)]
pub(super) struct Hold(#[expect(dead_code, reason = "to be dropped")] Flock<File>);

impl Hold {
    /// Takes it. All holders share it, and who must be the only one asks for more in the beginning.
    ///
    /// # Errors
    /// [`Held`], or the system's.
    pub(super) fn of(directory: &Path, holder: Holder) -> Result<Self> {
        let place = || format!("lock the directory {}", directory.display());
        loop {
            let file = File::open(directory).with_context(place)?;
            let first = match holder {
                Holder::Only => FlockArg::LockExclusiveNonblock,
                Holder::Successor => FlockArg::LockSharedNonblock,
            };
            let lock = match Flock::lock(file, first) {
                Ok(lock) => lock,
                Err((file, Errno::EWOULDBLOCK)) => return Err(held(directory, &file)),
                Err((_, error)) => return Err(error).with_context(place),
            };
            match lock.relock(FlockArg::LockSharedNonblock) {
                Ok(()) => {}
                Err(Errno::EWOULDBLOCK) => return Err(held(directory, &lock)),
                Err(error) => return Err(error).with_context(place),
            }
            // Its holder before may have removed it, and another have made it anew.
            if is_still(directory, &lock).with_context(place)? {
                return Ok(Self(lock));
            }
        }
    }
}

fn is_still(directory: &Path, locked: &File) -> io::Result<bool> {
    let (there, locked) = (fs::metadata(directory)?, locked.metadata()?);
    Ok((there.dev(), there.ino()) == (locked.dev(), locked.ino()))
}

fn held(directory: &Path, locked: &File) -> anyhow::Error {
    let table = fs::read_to_string("/proc/locks").unwrap_or_default();
    let place = locked.metadata().ok().map(|found| {
        let (device, inode) = (found.dev(), found.ino());
        format!("{:02x}:{:02x}:{inode}", major(device), minor(device))
    });
    let process = place.and_then(|place| process_in(&table, &place));
    let by = process.map(|process| {
        let words = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).replace('\0', " ");
        format!("process {process} ({})", words.trim_end())
    });
    let directory = directory.to_owned();
    Held { directory, by }.into()
}

/// The process that `/proc/locks` names for a file, as that names it.
fn process_in(table: &str, place: &str) -> Option<u32> {
    table.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, "FLOCK", _, _, process, file, ..] = words[..] else {
            return None;
        };
        process.parse().ok().filter(|_| file == place)
    })
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = self.by.as_deref();
        let by = by.unwrap_or("a process that cannot be seen from here, as in another container");
        write!(
            f,
            "the eBPF maps in {} belong to a gateway of the same name that runs already, perhaps in another network \
             namespace: {by} holds them; stop that one, or give one of them another name",
            self.directory.display()
        )
    }
}

impl error::Error for Held {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_that_holds_a_lock_is_found() {
        let table = "1: POSIX  ADVISORY  WRITE 17 00:1a:5 0 EOF\n2: FLOCK  ADVISORY  READ  4711 00:1a:5 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 12 00:1a:5 0 EOF\n3: FLOCK  ADVISORY  WRITE 9 00:1a:55 0 EOF\n";
        assert_eq!(process_in(table, "00:1a:5"), Some(4711));
        assert_eq!(process_in(table, "00:1a:55"), Some(9));
        assert_eq!(process_in(table, "00:1b:5"), None);
    }

    #[test]
    fn one_agent_holds_a_directory_and_its_successor_beside_it() {
        let directory = std::env::temp_dir().join(format!("crossway-hold-{}", std::process::id()));
        let make = || fs::create_dir(&directory).unwrap();
        make();
        let first = Hold::of(&directory, Holder::Only).unwrap();
        let refused = Hold::of(&directory, Holder::Only).unwrap_err();
        let refused = refused.downcast_ref::<Held>().unwrap().to_string();
        let process = format!("process {} (", std::process::id());
        assert!(refused.contains(&process), "{refused}");
        let second = Hold::of(&directory, Holder::Successor).unwrap();
        drop(first);
        assert!(Hold::of(&directory, Holder::Only).is_err());
        // One that is made anew is another.
        fs::remove_dir(&directory).unwrap();
        make();
        let third = Hold::of(&directory, Holder::Only).unwrap();
        drop((second, third));
        drop(Hold::of(&directory, Holder::Only).unwrap());
        fs::remove_dir(&directory).unwrap();
    }
}
