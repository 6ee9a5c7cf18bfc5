//! Small files of ours that are replaced whole, in a folder that others may see: nobody's link is followed, and no
//! file of somebody else's is taken for ours.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::run_folder;

/// For its owner only.
const MODE: u32 = 0o600;

/// Writes `content` in the place of whatever is at `file`, whole or not at all, readable by its owner only. Makes
/// the folder, should it be missing.
///
/// # Errors
/// The system's, with what is at `file` as it was; or the folder is one that others may change.
pub fn write(file: &Path, content: &[u8]) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        run_folder::make(folder)?;
    }
    let new = beside(file, ".new");
    // What an agent has left that was killed while it wrote, or a link that somebody has planted: the name goes, not
    // what it leads to.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    let options = options.write(true).create_new(true).mode(MODE);
    let mut opened = options.custom_flags(libc::O_NOFOLLOW).open(&new)?;
    let written = opened.write_all(content).and_then(|()| opened.sync_all());
    written
        .and_then(|()| fs::rename(&new, file))
        .inspect_err(|_| {
            let _ = fs::remove_file(&new);
        })
}

/// Reads a file that [`write()`] has written, of at most `longest` bytes.
///
/// # Errors
/// The system's. Something else is there: a link, a file of another user's or one that others may write to, or a
/// longer one.
pub fn read(file: &Path, longest: u64) -> io::Result<Vec<u8>> {
    let mut options = OpenOptions::new();
    // Not to wait for the other end of a pipe.
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let opened = options.read(true).custom_flags(flags).open(file);
    let opened = opened.map_err(|error| match error.raw_os_error() {
        Some(libc::ELOOP) => strange("it is a symbolic link"),
        _ => error,
    })?;
    refuse_strange(&opened, longest)?;
    let mut content = Vec::new();
    opened.take(longest).read_to_end(&mut content)?;
    Ok(content)
}

fn refuse_strange(file: &File, longest: u64) -> io::Result<()> {
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(strange("it is no regular file"));
    }
    if found.uid() != nix::unistd::geteuid().as_raw() {
        return Err(strange("it belongs to another user"));
    }
    if found.mode() & 0o022 != 0 {
        return Err(strange("other users may write to it"));
    }
    if found.len() > longest {
        return Err(strange("it is too long"));
    }
    Ok(())
}

fn strange(what: &str) -> io::Error {
    let why = format!("{what}, so that Crossway has not written it: remove it");
    io::Error::new(io::ErrorKind::PermissionDenied, why)
}

fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(ending);
    name.into()
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(test: &str) -> Self {
            let name = format!("crossway-whole-{}-{test}", std::process::id());
            let folder = std::env::temp_dir().join(name);
            fs::create_dir_all(&folder).unwrap();
            fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
            Self(folder)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_file_is_replaced_whole_and_is_its_owners() {
        let folder = Folder::new("replaced");
        let file = folder.0.join("a.json");
        for content in ["first, and long", "second"] {
            write(&file, content.as_bytes()).unwrap();
            assert_eq!(read(&file, 100).unwrap(), content.as_bytes());
        }
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1);
        assert!(read(&file, 3).unwrap_err().to_string().contains("too long"));
    }

    #[test]
    fn a_link_in_its_place_or_beside_it_is_not_followed() {
        let folder = Folder::new("link");
        let [file, victim] = ["a.json", "victim"].map(|name| folder.0.join(name));
        fs::write(&victim, "precious").unwrap();
        symlink(&victim, beside(&file, ".new")).unwrap();
        symlink(&victim, &file).unwrap();
        let refused = read(&file, 100).unwrap_err();
        assert!(refused.to_string().contains("symbolic link"), "{refused}");
        write(&file, b"ours").unwrap();
        assert_eq!(read(&file, 100).unwrap(), b"ours");
        assert_eq!(fs::read(&victim).unwrap(), b"precious");
    }

    #[test]
    fn a_file_that_others_may_write_to_is_not_ours() {
        let folder = Folder::new("others");
        let file = folder.0.join("a.json");
        for mode in [0o620, 0o602] {
            write(&file, b"ours").unwrap();
            fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
            let refused = read(&file, 100).unwrap_err().to_string();
            assert!(refused.contains("other users may write"), "{refused}");
        }
        nix::unistd::mkfifo(&beside(&file, ".pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let refused = read(&beside(&file, ".pipe"), 100).unwrap_err().to_string();
        assert!(refused.contains("no regular file"), "{refused}");
    }
}
