//! Reads the key files that a configuration names.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::diagnostic::Report;
use super::gateway::GatewayDraft;
use super::key_file::Keys;
use super::read::Files;
use super::remote::RemoteDraft;
use super::section::At;
use super::site::SiteDraft;
use crossway_types::keys::{KeyFileError, SecretKey, public_key_text};

/// What makes keys of both kinds.
const MAKER: &str = "crossway keygen";

/// Reads the key files. A file that is not there is a warning: the configuration may be checked on
/// another machine than the one it is for.
pub(super) fn read(
    files: &dyn Files,
    report: &Report<'_>,
    gateway: Option<&GatewayDraft>,
    sites: &[SiteDraft],
) -> Keys {
    let mut keys = Keys::new();
    let replicas = gateway.into_iter().flat_map(|gateway| &gateway.replicas);
    let remotes: Vec<&RemoteDraft> = replicas
        .chain(sites.iter().flat_map(|site| &site.gateways))
        .collect();
    if let Some(file) = gateway.and_then(|gateway| gateway.private_key_file.as_ref()) {
        let place = "gateway, private_key_file";
        if let Some(key) = read_one(files, report, place, file.offset, &file.value) {
            refuse_own_key_as_peer(report, &key, &remotes);
            keys.insert(file.value.clone(), Arc::new(key));
        }
    }
    for remote in &remotes {
        if let Some(file) = &remote.preshared_key_file {
            let place = format!("{}, preshared_key_file", remote.place);
            if let Some(key) = read_one(files, report, &place, file.offset, &file.value) {
                keys.insert(file.value.clone(), Arc::new(key));
            }
        }
    }
    keys
}

fn read_one(
    files: &dyn Files,
    report: &Report<'_>,
    place: &str,
    offset: usize,
    path: &Path,
) -> Option<SecretKey> {
    let shown = path.display();
    match files.key(path) {
        Ok(key) => {
            if let Some(mode) = files.mode(path).filter(|mode| mode & 0o077 != 0) {
                report.warning(
                    offset,
                    place,
                    format!("{shown} has mode {mode:04o}, so other users can read the key"),
                    format!("chmod 600 {shown}"),
                );
            } else if let Some((problem, mend)) = files.changed_by_others(path) {
                let problem = format!("others can replace the key: {problem}");
                report.warning(offset, place, problem, mend);
            }
            Some(key)
        }
        Err(KeyFileError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
            report.warning(
                offset,
                place,
                format!("{shown} does not exist here"),
                format!("(umask 077; {MAKER} > {shown})"),
            );
            None
        }
        Err(KeyFileError::Io(error)) if error.kind() == io::ErrorKind::PermissionDenied => {
            report.error(
                offset,
                place,
                format!("{shown} cannot be read by this user"),
                files.mend_of_unreadable(),
            );
            None
        }
        Err(error) => {
            report.error(
                offset,
                place,
                format!("{shown} {error}"),
                format!("make a new one with `{MAKER}`, or name the right file"),
            );
            None
        }
    }
}

fn refuse_own_key_as_peer(report: &Report<'_>, key: &SecretKey, remotes: &[&RemoteDraft]) {
    let own = key.public_key();
    for remote in remotes {
        if let Some(At { offset, .. }) = remote.public_key.filter(|key| key.value == own) {
            report.error(
                offset,
                format!("{}, public_key", remote.place),
                format!(
                    "{} is the public key of this gateway itself",
                    public_key_text(&own)
                ),
                "write what `crossway pubkey < KEYFILE` prints on that gateway",
            );
        }
    }
}
