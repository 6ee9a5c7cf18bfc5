//! Frames again and again at a rate.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use crate::packet_socket::{Frames, PacketSocket};
use crate::wait;

/// Time between two system calls.
const BEAT: Duration = Duration::from_millis(1);

/// A thread that sends. Dropped, it ends.
#[derive(Debug)]
pub struct Flood {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<u64>>>,
}

impl Flood {
    /// Sends `frames` in turn, so many a second, until it is finished.
    pub fn start(socket: PacketSocket, frames: &Frames, per_second: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let batches = batches(frames, (per_second / 1000).max(1) as usize);
        let thread = thread::spawn(move || {
            let start = wait::now();
            let mut sent = 0;
            let mut due = Duration::ZERO;
            for batch in batches.iter().cycle() {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                sent += batch.len() as u64 - socket.send(batch)?;
                due += BEAT;
                thread::sleep(due.saturating_sub(start.elapsed()));
            }
            Ok(sent)
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }

    /// Ends it; the frames sent.
    pub fn finish(mut self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("it was finished before")?;
        let sent = thread.join();
        sent.map_err(|_| anyhow!("the flood's thread panicked"))?
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn batches(frames: &Frames, size: usize) -> Vec<Frames> {
    let frames: Vec<&[u8]> = frames.iter().collect();
    let batch = |chunk: &[&[u8]]| {
        let mut batch = Frames::default();
        for frame in chunk {
            batch.push(frame);
        }
        batch
    };
    frames.chunks(size).map(batch).collect()
}
