//! A key file with the key that it held: what a configuration says of a secret is its content, not only where
//! it lies.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::{Config, RemoteGateway};
use crossway_types::keys::SecretKey;

/// A file that holds a key. Two are equal if both the file and the key are: who replaces the key in its file
/// has changed the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFile {
    /// Where it is.
    pub path: PathBuf,
    key: Option<Arc<SecretKey>>,
}

/// The keys of some files, each read once.
pub(super) type Keys = HashMap<PathBuf, Arc<SecretKey>>;

impl KeyFile {
    /// The key that it held when the configuration was read; `None` if it was not there, or not looked at.
    pub fn key(&self) -> Option<&SecretKey> {
        self.key.as_deref()
    }

    /// Whether it holds the same key as `other`, wherever the two lie. Of what was not read, the path speaks.
    pub fn is_same_key(&self, other: &Self) -> bool {
        match (&self.key, &other.key) {
            (Some(own), Some(other)) => own == other,
            _ => self.path == other.path,
        }
    }

    fn take(&mut self, keys: &Keys) {
        if self.key.is_none() {
            self.key = keys.get(&self.path).cloned();
        }
    }
}

impl<P: Into<PathBuf>> From<P> for KeyFile {
    fn from(path: P) -> Self {
        Self {
            path: path.into(),
            key: None,
        }
    }
}

impl Config {
    /// Keeps the keys of `former` of those files that are not there now: what runs with them goes on. A new key
    /// is only one that could be read.
    pub fn keep_unread_keys(&mut self, former: &Self) {
        let files = former.key_files();
        let known = files.filter_map(|file| Some((file.path.clone(), file.key.clone()?)));
        self.take_keys(&known.collect());
    }

    pub(super) fn take_keys(&mut self, keys: &Keys) {
        self.gateway.private_key_file.take(keys);
        let of_sites = self.sites.iter_mut().flat_map(|site| &mut site.gateways);
        for remote in self.gateway.replicas.iter_mut().chain(of_sites) {
            if let Some(file) = &mut remote.preshared_key_file {
                file.take(keys);
            }
        }
    }

    fn key_files(&self) -> impl Iterator<Item = &KeyFile> {
        let of_sites = self.sites.iter().flat_map(|site| &site.gateways);
        let remotes = self.gateway.replicas.iter().chain(of_sites);
        let shared = remotes.filter_map(|remote| remote.preshared_key_file.as_ref());
        [&self.gateway.private_key_file].into_iter().chain(shared)
    }
}

impl RemoteGateway {
    /// Whether it shares the same key with us as `other`, or none as it does.
    pub fn shares_the_key_of(&self, other: &Self) -> bool {
        match (&self.preshared_key_file, &other.preshared_key_file) {
            (Some(own), Some(other)) => own.is_same_key(other),
            (own, other) => own.is_none() && other.is_none(),
        }
    }
}
