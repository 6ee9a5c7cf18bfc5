//! Who beside us and root can change a file or a folder: its owner, who may write to it, and who can put another in
//! its place because a folder above it is theirs.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::{fmt, io};

const OTHERS_WRITE: u32 = 0o002;
const GROUP_WRITES: u32 = 0o020;
/// Who may write to such a folder can still not rename or remove what is another's (sticky bit, inode(7)).
const STICKY: u32 = 0o1000;

/// Somebody else can change it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// The file or folder that is not ours alone.
    pub path: PathBuf,
    /// In what way.
    pub whose: Whose,
    /// How it is mended.
    pub mend: String,
}

/// Who can change something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// A user who is neither we nor root.
    User(u32),
    /// Its group, by this mode.
    Group(u32),
    /// Every user, by this mode.
    Everybody(u32),
    /// Whoever owns what it leads to.
    Link,
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(uid) => write!(f, "belongs to uid {uid}"),
            Self::Group(mode) => write!(f, "has mode {mode:04o}: its group may write to it"),
            Self::Everybody(mode) => write!(f, "has mode {mode:04o}: every user may write to it"),
            Self::Link => f.write_str("is a symbolic link"),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.path.display(), self.whose, self.mend)
    }
}

impl From<Trouble> for io::Error {
    fn from(trouble: Trouble) -> Self {
        Self::new(io::ErrorKind::PermissionDenied, trouble.to_string())
    }
}

/// Who else can change `path`, a file or folder that links may lead to, or put another in its place. What cannot be
/// looked at is not judged.
pub fn changers(path: &Path) -> Option<Trouble> {
    let found = fs::metadata(path).ok()?;
    if let Some(trouble) = trouble(path, &found, 0) {
        return Some(trouble);
    }
    let real = fs::canonicalize(path).ok()?;
    real.ancestors().skip(1).find_map(|folder| {
        let found = fs::metadata(folder).ok()?;
        trouble(folder, &found, STICKY)
    })
}

/// Refuses what is not ours alone, or a link.
///
/// # Errors
/// Who else could change it, and the mend; or the system's.
pub fn refuse_foreign(path: &Path) -> io::Result<()> {
    let found = fs::symlink_metadata(path)?;
    match trouble(path, &found, 0) {
        Some(trouble) => Err(trouble.into()),
        None => Ok(()),
    }
}

/// As [`refuse_foreign`], for a folder that others may add to, if they cannot rename what is ours.
///
/// # Errors
/// As there.
pub fn refuse_foreign_unless_sticky(path: &Path) -> io::Result<()> {
    let found = fs::symlink_metadata(path)?;
    match trouble(path, &found, STICKY) {
        Some(trouble) => Err(trouble.into()),
        None => Ok(()),
    }
}

/// What is wrong with something of this kind; who may write does not matter if any bit of `harmless` is set.
fn trouble(path: &Path, found: &Metadata, harmless: u32) -> Option<Trouble> {
    let mode = found.mode() & 0o7777;
    let own = nix::unistd::geteuid().as_raw();
    let shown = path.display();
    let writable = mode & harmless == 0;
    let (whose, mend) = if found.is_symlink() {
        (Whose::Link, format!("remove {shown}"))
    } else if found.uid() != own && found.uid() != 0 {
        (
            Whose::User(found.uid()),
            format!("chown {} {shown}", name_of(own)),
        )
    } else if writable && mode & OTHERS_WRITE != 0 {
        (Whose::Everybody(mode), format!("chmod go-w {shown}"))
    } else if writable && mode & GROUP_WRITES != 0 {
        (Whose::Group(mode), format!("chmod g-w {shown}"))
    } else {
        return None;
    };
    Some(Trouble {
        path: path.to_owned(),
        whose,
        mend,
    })
}

fn name_of(uid: u32) -> String {
    if uid == 0 {
        "root".to_owned()
    } else {
        uid.to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(test: &str) -> Self {
            let name = format!("crossway-owner-{}-{test}", std::process::id());
            let folder = std::env::temp_dir().join(name);
            fs::create_dir_all(&folder).unwrap();
            mode(&folder, 0o755);
            Self(folder)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_file_is_judged_by_its_mode_and_by_the_folders_above_it() {
        let folder = Folder::new("above");
        let inner = folder.0.join("inner");
        fs::create_dir(&inner).unwrap();
        let file = inner.join("a.toml");
        fs::write(&file, "").unwrap();
        mode(&file, 0o644);
        mode(&inner, 0o755);
        assert_eq!(changers(&file), None);
        for (path, bits, expected) in [
            (
                &file,
                0o664,
                "has mode 0664: its group may write to it: chmod g-w",
            ),
            (
                &file,
                0o646,
                "has mode 0646: every user may write to it: chmod go-w",
            ),
            (
                &inner,
                0o775,
                "has mode 0775: its group may write to it: chmod g-w",
            ),
            (
                &folder.0,
                0o777,
                "has mode 0777: every user may write to it: chmod go-w",
            ),
        ] {
            let before = path.metadata().unwrap().mode() & 0o7777;
            mode(path, bits);
            let trouble = changers(&file).unwrap();
            assert_eq!(trouble.path, path.canonicalize().unwrap());
            assert!(trouble.to_string().contains(expected), "{trouble}");
            mode(path, before);
        }
        mode(&inner, 0o1777);
        assert_eq!(
            changers(&file),
            None,
            "ours stays ours in a folder like /tmp"
        );
        assert!(refuse_foreign(&inner).is_err());
        assert!(refuse_foreign_unless_sticky(&inner).is_ok());
        assert_eq!(changers(&folder.0.join("nothing")), None);
    }

    #[test]
    fn a_link_is_followed_where_people_may_have_made_it_and_nowhere_else() {
        let folder = Folder::new("link");
        let [file, link] = ["a.toml", "b.toml"].map(|name| folder.0.join(name));
        fs::write(&file, "").unwrap();
        mode(&file, 0o644);
        symlink(&file, &link).unwrap();
        assert_eq!(changers(&link), None);
        let refused = refuse_foreign(&link).unwrap_err().to_string();
        assert!(refused.contains("is a symbolic link"), "{refused}");
    }

    #[test]
    fn what_belongs_to_another_user_is_told_with_the_mend() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let folder = Folder::new("user");
        std::os::unix::fs::chown(&folder.0, Some(65534), None).unwrap();
        let refused = refuse_foreign(&folder.0).unwrap_err().to_string();
        assert!(
            refused.contains("belongs to uid 65534: chown root /"),
            "{refused}"
        );
    }
}
