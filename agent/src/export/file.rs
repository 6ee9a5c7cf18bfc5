//! JSON lines in a file that is followed by another when it is full; the oldest goes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use crate::config::FlowFile;

/// Who talked with whom is nobody's but its owner's.
const MODE: u32 = 0o600;
/// Written in one call.
const CHUNK: usize = 256 << 10;

/// The file, and those before it: `flows.jsonl`, `flows.jsonl.1`, …
#[derive(Debug)]
pub(super) struct Lines {
    config: FlowFile,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    size: u64,
    /// What was written last was cut off: the next line begins behind a line break.
    torn: bool,
}

impl Lines {
    pub(super) fn new(config: FlowFile) -> Self {
        Self { config, open: None }
    }

    /// Writes whole lines.
    ///
    /// # Errors
    /// The system's; the file is opened again the next time. The number of lines that were not written.
    pub(super) fn write(&mut self, lines: &[Vec<u8>]) -> Result<(), (usize, io::Error)> {
        let mut rest = lines;
        while !rest.is_empty() {
            let mut chunk = Vec::new();
            let mut taken = 0;
            while taken < rest.len() && chunk.len() < CHUNK {
                chunk.extend_from_slice(&rest[taken]);
                taken += 1;
            }
            if let Err(error) = self.write_chunk(chunk) {
                return Err((rest.len(), error));
            }
            rest = &rest[taken..];
        }
        Ok(())
    }

    fn write_chunk(&mut self, mut chunk: Vec<u8>) -> io::Result<()> {
        let most = u64::from(self.config.size_mib) << 20;
        if self.open.as_ref().is_some_and(|open| open.size >= most) {
            self.open = None;
            self.turn()?;
        }
        if self.open.is_none() || !self.is_in_place() {
            self.open = Some(self.open_file()?);
        }
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        if open.torn {
            chunk.insert(0, b'\n');
        }
        open.torn = true;
        open.file.write_all(&chunk)?;
        open.torn = false;
        open.size += chunk.len() as u64;
        Ok(())
    }

    /// Whether the open file is still the one of that name: others may have turned it.
    fn is_in_place(&self) -> bool {
        use std::os::unix::fs::MetadataExt;
        let id = |found: io::Result<fs::Metadata>| found.ok().map(|it| (it.dev(), it.ino()));
        let open = self.open.as_ref().and_then(|open| id(open.file.metadata()));
        open.is_some() && open == id(fs::metadata(&self.config.path))
    }

    fn open_file(&self) -> io::Result<Open> {
        let mut options = OpenOptions::new();
        let options = options.append(true).create(true).mode(MODE);
        let file = options
            .custom_flags(libc::O_NOFOLLOW)
            .open(&self.config.path)?;
        let size = file.metadata()?.len();
        Ok(Open {
            file,
            size,
            torn: false,
        })
    }

    /// The present file becomes number 1, and so on; the last is overwritten.
    fn turn(&self) -> io::Result<()> {
        let name = |number: u32| -> PathBuf {
            let mut name = self.config.path.clone().into_os_string();
            if number > 0 {
                name.push(format!(".{number}"));
            }
            name.into()
        };
        if self.config.count == 1 {
            return fs::remove_file(name(0));
        }
        for number in (0..self.config.count - 1).rev() {
            match fs::rename(name(number), name(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("crossway-flow-files-{}-{number}", std::process::id());
            let folder = std::env::temp_dir().join(name);
            fs::create_dir(&folder).unwrap();
            Self(folder)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    #[test]
    fn a_full_file_is_followed_by_another_and_the_oldest_goes() {
        let folder = Folder::new();
        let path = folder.0.join("flows.jsonl");
        let mut lines = Lines::new(FlowFile {
            path: path.clone(),
            size_mib: 1,
            count: 3,
        });
        let line = |number: usize| format!("{number:0>1023}\n").into_bytes();
        // A chunk is a quarter of a file.
        for number in 0..6 * 1024 {
            if number % 256 == 0 {
                let chunk: Vec<_> = (number..number + 256).map(line).collect();
                lines.write(&chunk).unwrap();
            }
        }
        let names = ["flows.jsonl", "flows.jsonl.1", "flows.jsonl.2"];
        let mut kept = String::new();
        for name in names.iter().rev() {
            let file = folder.0.join(name);
            assert_eq!(file.metadata().unwrap().len(), 1 << 20, "{name}");
            let mode = file.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            kept += &fs::read_to_string(file).unwrap();
        }
        let numbers: Vec<usize> = kept.lines().map(|line| line.parse().unwrap()).collect();
        assert_eq!(numbers, (3 * 1024..6 * 1024).collect::<Vec<_>>());
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 3);

        // Somebody else has turned it.
        fs::rename(&path, folder.0.join("old")).unwrap();
        lines.write(&[line(7)]).unwrap();
        assert_eq!(fs::read(&path).unwrap(), line(7));
    }

    #[test]
    fn a_file_that_cannot_be_written_says_how_much_was_lost_and_is_tried_again() {
        let folder = Folder::new();
        let path = folder.0.join("missing/flows.jsonl");
        let mut lines = Lines::new(FlowFile {
            path: path.clone(),
            size_mib: 1,
            count: 1,
        });
        let (lost, _) = lines
            .write(&[b"1\n".to_vec(), b"2\n".to_vec()])
            .unwrap_err();
        assert_eq!(lost, 2);
        fs::create_dir(folder.0.join("missing")).unwrap();
        lines.write(&[b"3\n".to_vec()]).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"3\n");
    }
}
