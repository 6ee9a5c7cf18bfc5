//! The state file: what has been changed on the host, written before the change is made, so that
//! after kill -9 the next start knows what was there before and restores it at its own clean stop.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::{Deserialize, Serialize};

use super::error::HostError;
use super::sysctl::Key;
use crossway_sys::{netns, run_folder, whole_file};

/// What has been changed on the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Boot and network namespace that this is about; of another, it is void.
    epoch: Epoch,
    /// The TUN, once it has been claimed.
    pub tun: Option<TunState>,
    /// Sysctls that have been changed.
    pub sysctls: Vec<SysctlChange>,
    /// Device features that have been switched on.
    #[serde(default)]
    pub features: Vec<FeatureChange>,
    /// Prefixes of sites that are down, made unreachable or a blackhole in the main table.
    #[serde(default)]
    pub discarded: Vec<(IpAddr, u8)>,
    /// Names of the devices with a virtual MAC: all ours.
    #[serde(default)]
    pub virtual_macs: Vec<String>,
}

/// The TUN before Crossway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunState {
    /// Interface name.
    pub name: String,
    /// `None` if there was none, so that it is ours to delete.
    pub before: Option<TunBefore>,
    /// Addresses, with their prefix length, that we put on it.
    pub addresses: Vec<(IpAddr, u8)>,
}

/// A TUN that was there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunBefore {
    /// Its MTU, bytes.
    pub mtu: u32,
    /// Whether it was up.
    pub up: bool,
    /// Its group.
    #[serde(default)]
    pub group: u32,
}

/// A sysctl that has been changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SysctlChange {
    /// Which.
    pub key: Key,
    /// Value before Crossway.
    pub before: String,
    /// Value set.
    pub set: String,
    /// Why, for people.
    pub why: String,
}

/// A device feature, as `ethtool -k` names it, that was off and is switched on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeatureChange {
    /// The device.
    pub interface: String,
    /// The feature.
    pub feature: String,
}

/// When and where a state holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Epoch {
    boot: String,
    network_namespace: Option<u64>,
}

/// No host has so many sysctls and prefixes: a file that is longer is not ours.
const LONGEST: u64 = 1 << 26;

/// A [`State`] with its file.
#[derive(Debug)]
pub struct StateFile {
    path: PathBuf,
    /// What the file says after the next [`StateFile::save`].
    pub state: State,
    /// Why the last save failed.
    unsaved: Option<HostError>,
}

impl StateFile {
    /// Where the state of the gateway called `name` is kept.
    pub fn path_of(name: &str) -> PathBuf {
        run_folder::path().join(format!("{name}.state.json"))
    }

    /// Reads what a killed agent left, if it is about this boot and network namespace. A file that
    /// cannot be understood is put aside, and the warning says so.
    pub fn open(path: PathBuf) -> Result<(Self, Option<String>), HostError> {
        let epoch = Epoch::current()?;
        let mut warning = None;
        let left = match whole_file::read(&path, LONGEST) {
            Ok(text) => match serde_json::from_slice::<State>(&text) {
                Ok(state) if state.epoch == epoch => Some(state),
                Ok(_) => None,
                Err(error) => {
                    warning = Some(put_aside(&path, &error));
                    None
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(HostError::file("read", path, error)),
        };
        let state = left.unwrap_or(State {
            epoch,
            ..State::default()
        });
        let file = Self {
            path,
            state,
            unsaved: None,
        };
        Ok((file, warning))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the state, whole or not at all, readable by its owner only. A failure keeps nobody from going on:
    /// the file says what it said before, the state is known here, and [`Self::trouble`] tells.
    pub fn save(&mut self) {
        let written = self.write();
        self.unsaved = written
            .err()
            .map(|error| HostError::file("write", &self.path, error));
    }

    /// Tries again what has failed.
    pub(super) fn save_again(&mut self) {
        if self.unsaved.is_some() {
            self.save();
        }
    }

    /// A warning while the file does not say what it should.
    pub(super) fn trouble(&self) -> Option<String> {
        let error = self.unsaved.as_ref()?;
        Some(format!(
            "what was changed on this host is not written down, so that it would stay after a kill or a crash: \
             {error}; make room there (tried again with each change of the host)"
        ))
    }

    fn write(&self) -> io::Result<()> {
        whole_file::write(&self.path, &serde_json::to_vec_pretty(&self.state)?)
    }

    /// Forgets everything: there is nothing left to restore.
    pub fn clear(&mut self) -> Result<(), HostError> {
        self.state.tun = None;
        self.state.sysctls.clear();
        self.state.features.clear();
        self.state.discarded.clear();
        self.state.virtual_macs.clear();
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(HostError::file("remove", &self.path, error))
            }
            _ => Ok(()),
        }
    }
}

impl Epoch {
    fn current() -> Result<Self, HostError> {
        let path = "/proc/sys/kernel/random/boot_id";
        let boot =
            fs::read_to_string(path).map_err(|error| HostError::file("read", path, error))?;
        Ok(Self {
            boot: boot.trim_end().to_owned(),
            network_namespace: netns::cookie(),
        })
    }
}

fn put_aside(path: &Path, why: &serde_json::Error) -> String {
    let aside = path.with_extension("json.broken");
    let place = match fs::rename(path, &aside) {
        Ok(()) => aside.display().to_string(),
        Err(_) => path.display().to_string(),
    };
    format!(
        "the state file could not be parsed ({why}) and was renamed to {place}: sysctls that \
         an agent killed earlier had set will not be restored; compare them with that file by hand"
    )
}

#[cfg(test)]
mod tests {
    use super::super::sysctl::Name;
    use super::*;

    /// A directory that goes with the test.
    struct DirectoryGuard(PathBuf);

    impl DirectoryGuard {
        fn new(test: &str) -> Self {
            let name = format!("crossway-state-{}-{test}", std::process::id());
            Self(std::env::temp_dir().join(name))
        }

        fn state(&self) -> PathBuf {
            self.0.join("run/a.state.json")
        }
    }

    impl Drop for DirectoryGuard {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn change() -> SysctlChange {
        SysctlChange {
            key: Key::ipv4("eth1", Name::Forwarding),
            before: "0".to_owned(),
            set: "1".to_owned(),
            why: "packets of the LAN are forwarded".to_owned(),
        }
    }

    #[test]
    fn a_killed_agents_state_is_read_again_and_a_clean_stop_leaves_none() {
        use std::os::unix::fs::PermissionsExt;
        let directory = DirectoryGuard::new("again");
        let path = directory.state();
        let (mut file, _) = StateFile::open(path.clone()).unwrap();
        file.state.sysctls.push(change());
        file.save();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        let (mut again, warning) = StateFile::open(path.clone()).unwrap();
        assert_eq!((again.state.sysctls.len(), warning), (1, None));
        again.clear().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_state_of_an_earlier_boot_is_void() {
        let directory = DirectoryGuard::new("boot");
        let path = directory.state();
        let (mut file, _) = StateFile::open(path.clone()).unwrap();
        file.state.epoch.boot = "an earlier one".to_owned();
        file.state.sysctls.push(change());
        file.save();
        let (again, warning) = StateFile::open(path).unwrap();
        assert!(again.state.sysctls.is_empty());
        assert_eq!(warning, None);
    }

    #[test]
    fn a_broken_file_is_put_aside_with_a_warning() {
        let directory = DirectoryGuard::new("broken");
        let path = directory.state();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "{").unwrap();
        let (file, warning) = StateFile::open(path.clone()).unwrap();
        assert!(file.state.sysctls.is_empty());
        assert!(warning.unwrap().contains("a.state.json.broken"));
        assert!(path.with_extension("json.broken").exists());
    }
}
