//! `crossway policy promote`: the shadow rules of a file become its rules.
//!
//! The new text is checked as `crossway check` does before anything is written. It is written beside the file and takes
//! its place whole; where the gateway does not take it, the old text comes back the same way.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, ValueHint};

use super::super::failure::Failure;
use super::super::output::print;
use super::super::{Options, check, reading, reload};
use super::rewrite::Promotion;
use crate::config::endpoint::Problem;
use crate::config::{Config, Files};
use crate::control::message::Outcome;
use crate::control::{Request, Response};
use crate::disk::Disk;
use crate::keys::{KeyFileError, SecretKey};

/// Which file.
#[derive(Args, Debug)]
#[command(
    after_help = "[[shadow]] becomes [[allow]], the old [[allow]] go, and all else stays, comments too. Where \
                  `crossway check` refuses the new text, or the gateway does, the file is as before."
)]
pub(in crate::cli) struct Promote {
    /// The configuration file of the running gateway
    #[arg(value_hint = ValueHint::FilePath)]
    file: PathBuf,
    /// Show what would change in the file, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// Puts the shadow rules in force.
pub(in crate::cli) fn promote(options: &Options, wanted: &Promote) -> Result<(), Failure> {
    let shown = wanted.file.display();
    let unreadable = |error: io::Error| Failure::Wrong(format!("{shown} cannot be read: {error}"));
    // Where a link leads to the file, the file is replaced, not the link.
    let file = fs::canonicalize(&wanted.file).map_err(unreadable)?;
    let old = Disk.text(&file).map_err(unreadable)?;
    let promotion = Promotion::of(&old).map_err(|why| Failure::Wrong(format!("{shown}: {why}")))?;
    let new = promotion.text();
    let config = checked(&file, &new)?;
    if wanted.dry_run {
        return print(&promotion.diff(&shown.to_string()));
    }
    let of_gateway = Options {
        gateway: options.gateway.clone().or(Some(config.gateway.name)),
        ..*options
    };
    // A file that no gateway reads is not changed.
    let is_version = |response| matches!(response, Response::Version(_)).then_some(());
    reading::ask(&of_gateway, &Request::Version, is_version)?;
    put(&file, (&old, &new), || reload(&of_gateway, options.json))
        .inspect_err(|_| eprintln!("crossway: {shown} is as it was"))
}

/// What `crossway check` says of the text in the place of the file's.
fn checked(file: &Path, text: &str) -> Result<Config, Failure> {
    let accepted = Config::load(file, &WithText(text));
    let accepted = accepted.map_err(|rejected| check::tell_rejected(&rejected))?;
    for warning in &accepted.warnings {
        eprintln!("{warning}");
    }
    Ok(accepted.config)
}

/// The files of this machine, but for the text of the configuration.
struct WithText<'a>(&'a str);

impl Files for WithText<'_> {
    fn text(&self, _: &Path) -> io::Result<String> {
        Ok(self.0.to_owned())
    }

    fn key(&self, file: &Path) -> Result<SecretKey, KeyFileError> {
        Disk.key(file)
    }

    fn mode(&self, file: &Path) -> Option<u32> {
        Disk.mode(file)
    }

    fn changed_by_others(&self, file: &Path) -> Option<Problem> {
        Disk.changed_by_others(file)
    }

    fn mend_of_unreadable(&self) -> &'static str {
        Disk.mend_of_unreadable()
    }
}

/// Writes the new text and has it taken; the old one comes back where it is not.
fn put(
    file: &Path,
    (old, new): (&str, &str),
    take: impl FnOnce() -> Result<(), Failure>,
) -> Result<(), Failure> {
    let cannot = || format!("cannot replace {}", file.display());
    if Disk.text(file).with_context(cannot)? != old {
        let why = format!("{} has just been changed: try again", file.display());
        return Err(anyhow::anyhow!(why).into());
    }
    replace(file, new).with_context(cannot)?;
    let Err(failure) = take() else {
        return Ok(());
    };
    replace(file, old)
        .with_context(|| format!("the old text of {} is not back", file.display()))?;
    Err(failure)
}

/// Has the gateway read the file, and tells what came of it. A gateway that finds no change reads another file.
fn reload(options: &Options, json: bool) -> Result<(), Failure> {
    let pick = |response| match response {
        Response::Reload(reload) => Some(reload),
        _ => None,
    };
    let reload = reading::ask(options, &Request::Reload, pick)?;
    if reload.outcome == Outcome::Unchanged {
        let gateway = options.gateway.as_deref().unwrap_or_default();
        return Err(Failure::Wrong(format!(
            "gateway {gateway} found no change, so it reads another file: `crossway status` names it"
        )));
    }
    reload::tell_outcome(&reload, json)
}

/// Puts a text in the place of a file's, whole or not at all, with its mode and its owner.
fn replace(file: &Path, text: &str) -> io::Result<()> {
    let found = fs::metadata(file)?;
    let mut name = OsString::from(file);
    name.push(".new");
    let beside = PathBuf::from(name);
    // What was left by a command that was killed, or a link that somebody has planted: the name goes.
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    let mut opened = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)?;
    let mut fill = || {
        let own = opened.metadata()?;
        if (own.uid(), own.gid()) != (found.uid(), found.gid()) {
            fchown(&opened, Some(found.uid()), Some(found.gid()))?;
        }
        opened.set_permissions(found.permissions())?;
        opened.write_all(text.as_bytes())?;
        opened.sync_all()?;
        fs::rename(&beside, file)
    };
    fill().inspect_err(|_| drop(fs::remove_file(&beside)))?;
    // The new name is on the disk as well.
    match file.parent() {
        Some(folder) => fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn file(test: &str) -> PathBuf {
        let name = format!("crossway-promote-{}-{test}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        folder.join("a.toml")
    }

    fn mode(file: &Path) -> u32 {
        file.metadata().unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_file_keeps_its_mode_and_gets_its_old_text_back_where_the_new_one_is_not_taken() {
        let file = file("mode");
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        put(&file, ("old", "new"), || {
            assert_eq!(fs::read_to_string(&file).unwrap(), "new");
            Ok(())
        })
        .unwrap();
        assert_eq!(mode(&file), 0o640);
        let refused = put(&file, ("new", "newer"), || {
            assert_eq!(fs::read_to_string(&file).unwrap(), "newer");
            Err(Failure::FailedAndTold)
        });
        assert!(matches!(refused, Err(Failure::FailedAndTold)));
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(mode(&file), 0o640);
        let folder = file.parent().unwrap();
        assert_eq!(fs::read_dir(folder).unwrap().count(), 1);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_somebody_else_has_changed_meanwhile_is_not_overwritten() {
        let file = file("meanwhile");
        fs::write(&file, "theirs").unwrap();
        let refused = put(&file, ("old", "new"), || panic!("nothing was written"));
        assert!(matches!(refused, Err(Failure::Failed(_))));
        assert_eq!(fs::read_to_string(&file).unwrap(), "theirs");
        fs::remove_dir_all(file.parent().unwrap()).unwrap();
    }
}
