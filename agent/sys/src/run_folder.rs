//! The folder of sockets and state files.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::owner;

/// Where it is, unless [`VARIABLE`] says otherwise.
pub const USUAL: &str = "/run/crossway";
/// Environment variable that names another folder.
pub const VARIABLE: &str = "CROSSWAY_RUN_DIR";
/// Everybody may see which gateways run here; the sockets say who may talk with them.
const MODE: u32 = 0o755;

/// Where it is.
pub fn path() -> PathBuf {
    named(std::env::var_os(VARIABLE))
}

fn named(variable: Option<OsString>) -> PathBuf {
    variable
        .filter(|folder| !folder.is_empty())
        .map_or_else(|| PathBuf::from(USUAL), PathBuf::from)
}

/// Makes the folder of the sockets, should it be missing, and refuses one in which anybody else could put a socket
/// or a file of their own in the place of ours, or which somebody else could replace as a whole.
pub fn make(folder: &Path) -> io::Result<()> {
    if !folder.exists() {
        fs::create_dir_all(folder)?;
        // Whatever the umask.
        fs::set_permissions(folder, Permissions::from_mode(MODE))?;
    }
    match owner::changers(folder) {
        Some(trouble) => Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("somebody else could replace the socket: {trouble}"),
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_names_the_folder_unless_it_is_empty() {
        assert_eq!(named(None), PathBuf::from(USUAL));
        assert_eq!(named(Some(OsString::new())), PathBuf::from(USUAL));
        assert_eq!(named(Some("/run/two".into())), PathBuf::from("/run/two"));
    }

    #[test]
    fn a_folder_that_somebody_else_can_replace_is_refused() {
        let above = std::env::temp_dir().join(format!("crossway-run-{}", std::process::id()));
        let folder = above.join("crossway");
        make(&folder).unwrap();
        let mode =
            |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        for (path, bits) in [(&folder, 0o775), (&folder, 0o1777), (&above, 0o775)] {
            mode(path, bits);
            let refused = make(&folder).unwrap_err().to_string();
            assert!(refused.contains("could replace the socket"), "{refused}");
            mode(path, 0o755);
            make(&folder).unwrap();
        }
        fs::remove_dir_all(&above).unwrap();
    }
}
