//! The catalogue in a file, so that it outlives restarts: SQLite, for its owner alone.
//!
//! One agent at a time writes to it. The lock is a file beside it and goes with its holder however that ends; at a hand-over
//! the next agent waits for it. Between two transactions SQLite holds no lock of its own, so that others may look inside.

mod lock;
mod rows;
mod schema;

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crossway_sys::owner;
use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use thiserror::Error;

use self::lock::Lock;
use crate::catalogue::{Changes, Kept};

/// Who is answered by whom is nobody's business but root's.
const MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;
/// How long somebody else who looks inside is waited for.
const BUSY: Duration = Duration::from_secs(1);

/// Why the database cannot be used.
#[derive(Debug, Error)]
pub enum StoreError {
    /// Another process has it, as the agent before does until it has written all.
    #[error("another process has it open: give each gateway a `database` of its own")]
    InUse,
    /// It was written by a version that knows more.
    #[error("it is of schema {0}, and this version knows {known}: run the newer version, or name another `database`", known = schema::VERSION)]
    Newer(i64),
    /// Another application's.
    #[error("it is a database of something else: name another `database`")]
    Foreign,
    /// The file or its folder.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// SQLite's own words.
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
}

impl StoreError {
    /// Whether the file is no database any more.
    fn is_damage(&self) -> bool {
        let Self::Sqlite(error) = self else {
            return false;
        };
        matches!(
            error.sqlite_error_code(),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
        ) || matches!(
            error,
            rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::IntegralValueOutOfRange(..)
        )
    }

    /// Whether somebody else reads or writes it at the moment.
    pub fn is_busy(&self) -> bool {
        match self {
            Self::InUse => true,
            Self::Sqlite(error) => matches!(
                error.sqlite_error_code(),
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
            ),
            _ => false,
        }
    }
}

/// The open database.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    path: PathBuf,
    /// Device and inode of the file.
    file: Option<(u64, u64)>,
    /// Where a damaged one was put.
    set_aside: Option<PathBuf>,
    _lock: Lock,
}

impl Store {
    /// Opens the database at `path`, or makes it. One that is damaged is put aside under another name, in which `now`
    /// (milliseconds since the epoch) stands, and a new one is made.
    ///
    /// # Errors
    /// See [`StoreError`]; nothing was changed then.
    pub fn open(path: &Path, now: u64) -> Result<Self, StoreError> {
        make_folder(path)?;
        let lock = Lock::take(path)?;
        let (connection, set_aside) = match connect(path) {
            Err(error) if error.is_damage() => {
                let aside = put_aside(path, now)?;
                (connect(path)?, Some(aside))
            }
            opened => (opened?, None),
        };
        Ok(Self {
            connection,
            path: path.to_owned(),
            file: file_at(path),
            set_aside,
            _lock: lock,
        })
    }

    /// Whether the open file is still the one of that name: it may have been removed.
    pub fn is_in_place(&self) -> bool {
        self.file.is_some() && self.file == file_at(&self.path)
    }

    /// Where a damaged database was put when this was opened.
    pub fn set_aside(&self) -> Option<&Path> {
        self.set_aside.as_deref()
    }

    /// All that was kept. `flow_table` says which flow table this is; of living flows of another all are over.
    ///
    /// # Errors
    /// SQLite's.
    pub fn load(&self, flow_table: Option<&str>) -> Result<Kept, StoreError> {
        rows::load(&self.connection, flow_table)
    }

    /// As [`Self::load`]; a database in which something is found to be damaged only now is put aside, and a new one made.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn load_or_begin_anew(
        mut self,
        flow_table: Option<&str>,
        now: u64,
    ) -> Result<(Self, Kept), StoreError> {
        match self.load(flow_table) {
            Err(error) if error.is_damage() => {
                tracing::warn!(file = %self.path.display(), %error, "the catalogue of services is damaged");
                self = self.begin_anew(now)?;
                let kept = self.load(flow_table)?;
                Ok((self, kept))
            }
            loaded => Ok((self, loaded?)),
        }
    }

    /// Puts the file aside and makes a new one.
    fn begin_anew(self, now: u64) -> Result<Self, StoreError> {
        let Self {
            connection,
            path,
            _lock: lock,
            ..
        } = self;
        // Whether it can be closed in order says nothing that matters now.
        drop(connection);
        let aside = put_aside(&path, now)?;
        let connection = connect(&path)?;
        Ok(Self {
            connection,
            file: file_at(&path),
            path,
            set_aside: Some(aside),
            _lock: lock,
        })
    }

    /// Writes what has changed, all of it or nothing.
    ///
    /// # Errors
    /// SQLite's.
    pub fn save(
        &mut self,
        changes: &Changes<'_>,
        flow_table: Option<&str>,
    ) -> Result<(), StoreError> {
        rows::save(&mut self.connection, changes, flow_table)
    }

    /// As [`Self::save`] of `everything`, into a new file in place of a damaged one.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn replace_damaged(
        self,
        everything: &Changes<'_>,
        flow_table: Option<&str>,
        now: u64,
    ) -> Result<Self, StoreError> {
        let mut new = self.begin_anew(now)?;
        new.save(everything, flow_table)?;
        Ok(new)
    }
}

/// Whether an error of [`Store::save`] means that the file is damaged.
pub fn is_damage(error: &StoreError) -> bool {
    error.is_damage()
}

fn make_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    if !folder.exists() {
        // Its last part alone: what is mistyped is not made.
        fs::DirBuilder::new()
            .mode(FOLDER_MODE)
            .create(folder)
            .map_err(|error| {
                io::Error::new(error.kind(), format!("{}: {error}", folder.display()))
            })?;
    }
    match owner::changers(folder) {
        Some(trouble) => Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("somebody else could replace it: {trouble}"),
        )),
        None => Ok(()),
    }
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    let is_new = !path.exists();
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    // SQLite makes it for all to read, less the umask; by its path, for a descriptor of ours that is closed would take
    // SQLite's locks with it (fcntl(2)).
    let mode = Mode::from_bits_truncate(MODE);
    // Not chmod(2), which the agent's filter of system calls does not have.
    fchmodat(AT_FDCWD, path, mode, FchmodatFlags::FollowSymlink).map_err(io::Error::from)?;
    schema::prepare(&connection, is_new)?;
    Ok(connection)
}

/// `services.db` becomes `services.db.damaged-1795969293978`, and its journal likewise, for SQLite would play that back
/// into the new one.
fn put_aside(path: &Path, now: u64) -> io::Result<PathBuf> {
    let aside = with_suffix(path, &format!(".damaged-{now}"));
    fs::rename(path, &aside)?;
    for journal in ["-journal", "-wal", "-shm"] {
        match fs::rename(with_suffix(path, journal), with_suffix(&aside, journal)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(aside)
}

fn file_at(path: &Path) -> Option<(u64, u64)> {
    let found = fs::metadata(path).ok()?;
    Some((found.dev(), found.ino()))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests;
