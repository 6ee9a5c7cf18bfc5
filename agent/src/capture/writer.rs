//! Where the file goes. A thread of its own writes it, so that a reader that is slow, or stands still, keeps nobody
//! from ending the capture; what it does not take waits in the programs' ring, and is counted there when that is full.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use tokio::sync::mpsc::{self, error::TryRecvError};
use tokio::sync::oneshot;

/// Pieces that wait for the thread; each is what a batch of records has given.
const WAITING: usize = 4;
/// Packets are for nobody else's eyes.
const MODE: u32 = 0o600;

/// The thread.
pub(super) struct Writer {
    pieces: mpsc::Sender<Vec<u8>>,
    ended: oneshot::Receiver<io::Result<()>>,
}

impl Writer {
    /// Writes to a new file.
    ///
    /// # Errors
    /// There is something of that name already, or it cannot be made.
    pub(super) fn to_file(path: &Path) -> Result<Self> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(MODE)
            .open(path);
        let file: File = file.map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => anyhow!(
                "{} exists, and a capture overwrites nothing: remove it, or choose another name",
                path.display()
            ),
            _ => anyhow!(error).context(format!("make the file {}", path.display())),
        })?;
        Self::to(file)
    }

    /// Writes to standard output.
    pub(super) fn to_stdout() -> Result<Self> {
        Self::to(io::stdout())
    }

    fn to(mut out: impl Write + Send + 'static) -> Result<Self> {
        let (pieces, mut waiting) = mpsc::channel::<Vec<u8>>(WAITING);
        let (tell, ended) = oneshot::channel();
        let thread = std::thread::Builder::new().name("writer".to_owned());
        thread
            .spawn(move || {
                let written = write_all(&mut out, &mut waiting);
                // Closed before anybody hears of the end.
                drop(out);
                let _ = tell.send(written);
            })
            .context("start the thread that writes")?;
        Ok(Self { pieces, ended })
    }

    /// Waits until there is room for a piece; `false` where the thread has ended.
    pub(super) async fn room(&self) -> bool {
        self.pieces.reserve().await.is_ok()
    }

    /// Hands over a piece, for which there is room.
    pub(super) fn write(&self, piece: Vec<u8>) {
        // It fails if the thread has ended, which `finish` tells of.
        let _ = self.pieces.try_send(piece);
    }

    /// Hands over the last piece, and waits until all is written. May be cancelled.
    ///
    /// # Errors
    /// What could not be written; [`ErrorKind::BrokenPipe`] where the reader has gone.
    pub(super) async fn finish(self, last: Vec<u8>) -> io::Result<()> {
        let _ = self.pieces.send(last).await;
        drop(self.pieces);
        self.ended
            .await
            .unwrap_or_else(|_| Err(io::Error::other("the thread that writes has ended")))
    }
}

fn write_all(out: &mut impl Write, pieces: &mut mpsc::Receiver<Vec<u8>>) -> io::Result<()> {
    loop {
        let piece = match pieces.try_recv() {
            Ok(piece) => piece,
            Err(TryRecvError::Disconnected) => return out.flush(),
            Err(TryRecvError::Empty) => {
                // Who watches live sees what there is.
                out.flush()?;
                match pieces.blocking_recv() {
                    Some(piece) => piece,
                    None => return Ok(()),
                }
            }
        };
        out.write_all(&piece)?;
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
    }

    #[test]
    fn a_file_is_new_and_for_its_owner_alone() {
        let name = format!("crossway-capture-{}.pcapng", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_file(&path);
        runtime().block_on(async {
            let writer = Writer::to_file(&path).unwrap();
            assert!(writer.room().await);
            writer.write(b"one".to_vec());
            writer.finish(b"two".to_vec()).await.unwrap();
        });
        assert_eq!(std::fs::read(&path).unwrap(), b"onetwo");
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, MODE);
        let refused = Writer::to_file(&path).err().unwrap().to_string();
        assert!(refused.contains("overwrites nothing"), "{refused}");
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_reader_that_has_gone_is_noticed() {
        let (reader, pipe) = io::pipe().unwrap();
        drop(reader);
        runtime().block_on(async {
            let writer = Writer::to(pipe).unwrap();
            writer.write(b"one".to_vec());
            let error = writer.finish(Vec::new()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        });
    }

    #[test]
    fn a_reader_that_stands_still_holds_no_more_than_what_waits() {
        let (reader, pipe) = io::pipe().unwrap();
        runtime().block_on(async {
            let writer = Writer::to(pipe).unwrap();
            // More than a pipe holds: the thread stands.
            let mut taken = 0;
            for _ in 0..100 {
                if writer.pieces.try_send(vec![0; 1 << 20]).is_ok() {
                    taken += 1;
                }
            }
            assert!((WAITING..=WAITING + 1).contains(&taken), "{taken}");
            drop(reader);
            assert!(writer.finish(Vec::new()).await.is_err());
        });
    }
}
