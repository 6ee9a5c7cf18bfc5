//! What becomes of finished flows: they are told to who follows them ([`recent`]), and by a thread of their own
//! ([`writer`]) written to a file ([`mod@file`]) and sent to a collector ([`ipfix`]).
//!
//! The gateway's loop hands records over and never waits: where the thread does not keep up, records are counted
//! instead.

mod file;
pub mod ipfix;
pub mod recent;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::config::FlowExport;
use crate::control::message::{DropCount, FinishedRecord};
use crossway_sys::clock;
use writer::Writer;

/// Batches that may wait, each of a second's flows.
const WAITING: usize = 16;
/// How long the last records may take when the gateway ends.
const LAST_WORDS: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(10);

/// What the thread is given.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) records: Vec<FinishedRecord>,
    /// What was dropped so far, for the collector; empty where nothing is new.
    pub(crate) drops: Vec<DropCount>,
}

/// The thread that writes and sends, as long as the configuration has something to write to.
#[derive(Debug, Default)]
pub struct Export {
    config: FlowExport,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    batches: SyncSender<Batch>,
    thread: JoinHandle<()>,
    trouble: Arc<Trouble>,
}

/// What could not be written or sent.
#[derive(Debug, Default)]
pub(crate) struct Trouble {
    records: AtomicU64,
    file: std::sync::Mutex<Option<String>>,
    collector: std::sync::Mutex<Option<String>>,
}

impl Trouble {
    pub(crate) fn lost(&self, records: usize) {
        self.records.fetch_add(records as u64, Ordering::Relaxed);
    }

    pub(crate) fn set_file(&self, trouble: Option<String>) {
        *lock(&self.file) = trouble;
    }

    pub(crate) fn set_collector(&self, trouble: Option<String>) {
        *lock(&self.collector) = trouble;
    }

    fn warnings(&self) -> Vec<String> {
        let mut warnings: Vec<String> = [&self.file, &self.collector]
            .into_iter()
            .filter_map(|trouble| lock(trouble).clone())
            .collect();
        let lost = self.records.load(Ordering::Relaxed);
        if lost > 0 {
            warnings.push(format!(
                "{lost} records of finished flows could not be kept since the start of their export: \
                 `crossway flows --finished` has the last ones"
            ));
        }
        warnings
    }
}

impl Export {
    /// Writes and sends to what `config` names from now on.
    pub fn configure(&mut self, config: &FlowExport) {
        if self.config == *config {
            return;
        }
        // What it was given before, it still writes.
        self.running = None;
        self.config = config.clone();
        if *config == FlowExport::default() {
            return;
        }
        let (batches, waiting) = sync_channel(WAITING);
        let trouble = Arc::new(Trouble::default());
        let writer = Writer::new(config, Arc::clone(&trouble));
        let thread = std::thread::Builder::new()
            .name("flows".to_owned())
            .spawn(move || writer.run(&waiting));
        match thread {
            Ok(thread) => {
                self.running = Some(Running {
                    batches,
                    thread,
                    trouble,
                });
            }
            Err(error) => tracing::warn!(%error, "finished flows are not exported"),
        }
    }

    /// Hands records over. Without any, the thread looks whether templates are due.
    pub(crate) fn push(&self, batch: Batch) {
        let Some(running) = &self.running else {
            return;
        };
        match running.batches.try_send(batch) {
            Ok(()) => {}
            Err(TrySendError::Full(batch) | TrySendError::Disconnected(batch)) => {
                running.trouble.lost(batch.records.len());
            }
        }
    }

    /// As [`Self::push`], and waits for room: when the gateway ends, all its flows are over at once.
    pub(crate) fn push_waiting(&self, mut batch: Batch, end: Instant) {
        let Some(running) = &self.running else {
            return;
        };
        loop {
            match running.batches.try_send(batch) {
                Err(TrySendError::Full(back)) if clock::now() < end => batch = back,
                Err(TrySendError::Full(back) | TrySendError::Disconnected(back)) => {
                    return running.trouble.lost(back.records.len());
                }
                Ok(()) => return,
            }
            std::thread::sleep(POLL);
        }
    }

    /// When the last records must be written.
    pub(crate) fn end_of_last_words() -> Instant {
        clock::now() + LAST_WORDS
    }

    /// Whether anybody wants records.
    pub fn is_on(&self) -> bool {
        self.running.is_some()
    }

    /// What a person should look at.
    pub fn warnings(&self) -> Vec<String> {
        let running = self.running.as_ref();
        running.map_or_else(Vec::new, |running| running.trouble.warnings())
    }

    /// Waits until all that was handed over is written, but not for long.
    pub fn finish(&mut self) {
        let Some(Running {
            batches, thread, ..
        }) = self.running.take()
        else {
            return;
        };
        drop(batches);
        let end: Instant = clock::now() + LAST_WORDS;
        while !thread.is_finished() {
            if clock::now() >= end {
                tracing::warn!("the last finished flows could not be written in time");
                return;
            }
            std::thread::sleep(POLL);
        }
        drop(thread.join());
    }
}

fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
