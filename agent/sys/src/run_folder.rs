//! The folder of sockets and state files.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Everybody may see which gateways run here; the sockets say who may talk with them.
const MODE: u32 = 0o755;

/// Makes the folder of the sockets, should it be missing, and refuses one in which anybody could put a
/// socket of their own in the place of ours.
pub fn make(folder: &Path) -> io::Result<()> {
    if !folder.exists() {
        fs::create_dir_all(folder)?;
        // Whatever the umask.
        fs::set_permissions(folder, Permissions::from_mode(MODE))?;
    }
    let mode = folder.metadata()?.permissions().mode() & 0o7777;
    if mode & 0o002 != 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!(
                "every user may write to {0} (mode {mode:04o}) and could replace the socket: chmod 755 {0}",
                folder.display()
            ),
        ));
    }
    Ok(())
}
