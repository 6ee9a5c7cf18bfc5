//! `crossway policy promote`: the shadow rules of a file become its rules.
//!
//! The new text is checked as `crossway check` does before anything is written. It is written beside the file and takes
//! its place whole; where the gateway refuses it, the old text comes back the same way. Where nobody knows whether the
//! gateway has taken it, the new text stays: the file must not say less than what is in force. The old text is beside it.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, ValueHint};

use super::super::failure::Failure;
use super::super::output::print;
use super::super::{Options, check};
use super::rewrite::Promotion;
use super::take::{self, LINES_OF_NEW, Reader, Taken};
use crate::config::endpoint::Problem;
use crate::config::{Config, Files};
use crate::disk::Disk;
use crate::keys::{KeyFileError, SecretKey};

/// Which file.
#[derive(Args, Debug)]
#[command(
    after_help = "[[shadow]] becomes [[allow]], the old [[allow]] go, and all else stays, comments too. Where \
                  `crossway check` refuses the new text, or the gateway does, the file is as before. Where the \
                  gateway's answer is lost, the new text stays, and the old one is in FILE.before-promote."
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
    if wanted.dry_run {
        // First: findings name lines of what nobody has seen yet.
        print(&promotion.diff(&shown.to_string()))?;
    }
    let config = checked(&file, &new).inspect_err(|_| {
        eprintln!(
            "crossway: {LINES_OF_NEW}; {shown} is as it was, and `crossway policy promote {shown} --dry-run` shows \
             what would change in it"
        );
    })?;
    if wanted.dry_run {
        return Ok(());
    }
    let of_gateway = Options {
        gateway: options.gateway.clone().or(Some(config.gateway.name)),
        ..*options
    };
    // A file that no gateway reads is not changed.
    let reader = Reader::of(&of_gateway, &file)?;
    put(&file, (&old, &new), || take::reload(&of_gateway, reader))
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

/// Writes the new text and has it taken; the old one comes back where it was refused, and is kept where nobody knows.
fn put(file: &Path, (old, new): (&str, &str), take: impl FnOnce() -> Taken) -> Result<(), Failure> {
    let shown = file.display();
    let cannot = || format!("cannot replace {shown}");
    if Disk.text(file).with_context(cannot)? != old {
        return Err(anyhow::anyhow!("{shown} has just been changed: try again").into());
    }
    // Before all else: this command may be killed while it waits for the answer.
    let kept = write_beside(file, ".before-promote", old).with_context(cannot)?;
    if let Err(error) = replace(file, new) {
        if Disk.text(file).is_ok_and(|found| found == old) {
            drop(fs::remove_file(&kept));
        }
        return Err(anyhow::Error::new(error).context(cannot()).into());
    }
    let said = match take() {
        Taken::Yes(told) => told,
        Taken::Refused(failure) => {
            let kept = kept.display();
            let lost = || format!("the old text of {shown} is not back: it is in {kept}");
            replace(file, old).with_context(lost)?;
            eprintln!("crossway: {shown} is as it was");
            Err(failure)
        }
        Taken::Unknown(why) => {
            let kept = kept.display();
            return Err(anyhow::anyhow!(
                "it is not known whether the gateway has taken {shown}, which has the new text ({why}): `crossway \
                 reload` says \"Nothing changed\" if it has, and has it taken if not; to go back, `mv {kept} {shown}` \
                 and `crossway reload`"
            )
            .into());
        }
    };
    fs::remove_file(&kept).with_context(|| format!("cannot remove {}", kept.display()))?;
    said
}

/// Puts a text in the place of a file's, whole or not at all, with its mode and its owner.
fn replace(file: &Path, text: &str) -> io::Result<()> {
    let beside = write_beside(file, ".new", text)?;
    fs::rename(&beside, file).inspect_err(|_| drop(fs::remove_file(&beside)))?;
    // The new name is on the disk as well.
    match file.parent() {
        Some(folder) => fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// Writes a text to a file of the other one's mode and owner, whose name has an end more; its name.
fn write_beside(file: &Path, end: &str, text: &str) -> io::Result<PathBuf> {
    let found = fs::metadata(file)?;
    let mut name = OsString::from(file);
    name.push(end);
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
        opened.sync_all()
    };
    fill().inspect_err(|_| drop(fs::remove_file(&beside)))?;
    Ok(beside)
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
            Taken::Yes(Ok(()))
        })
        .unwrap();
        assert_eq!(mode(&file), 0o640);
        let refused = put(&file, ("new", "newer"), || {
            assert_eq!(fs::read_to_string(&file).unwrap(), "newer");
            Taken::Refused(Failure::FailedAndTold)
        });
        assert!(matches!(refused, Err(Failure::FailedAndTold)));
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(mode(&file), 0o640);
        let folder = file.parent().unwrap();
        assert_eq!(fs::read_dir(folder).unwrap().count(), 1);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn where_nobody_knows_whether_it_was_taken_the_new_text_stays_and_the_old_one_is_kept() {
        let file = file("unknown");
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        let kept = file.with_extension("toml.before-promote");
        let unknown = put(&file, ("old", "new"), || {
            assert_eq!(
                fs::read_to_string(&kept).unwrap(),
                "old",
                "if we are killed now"
            );
            Taken::Unknown("no answer".to_owned())
        });
        let Err(Failure::Failed(error)) = unknown else {
            panic!("{unknown:?}");
        };
        let said = error.to_string();
        let back = format!("`mv {} {}`", kept.display(), file.display());
        assert!(
            said.contains("(no answer)") && said.contains(&back),
            "{said}"
        );
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(fs::read_to_string(&kept).unwrap(), "old");
        assert_eq!((mode(&file), mode(&kept)), (0o640, 0o640));
        fs::remove_dir_all(file.parent().unwrap()).unwrap();
    }

    #[test]
    fn what_is_in_force_stays_though_nobody_reads_what_is_said() {
        let file = file("gone");
        fs::write(&file, "old").unwrap();
        let told = put(&file, ("old", "new"), || {
            Taken::Yes(Err(Failure::ReaderGone))
        });
        assert!(matches!(told, Err(Failure::ReaderGone)));
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
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
