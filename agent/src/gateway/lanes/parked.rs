//! Lanes that were stopped, all of them to be started again unless somebody else takes them over.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context, Result};

use crate::lane::ParkedLane;
use crate::posture::capabilities::{Part, settle_thread};

/// The thread of a lane, while it has one.
#[derive(Clone, Debug, Default)]
pub(super) struct Thread(Arc<Mutex<Option<JoinHandle<io::Result<()>>>>>);

impl Thread {
    /// Takes it, to wait for its end.
    pub(super) fn take(&self) -> Option<JoinHandle<io::Result<()>>> {
        let mut thread = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        thread.take()
    }

    fn set(&self, thread: JoinHandle<io::Result<()>>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Some(thread);
    }
}

/// Stopped lanes. Dropped, they go on, whatever the way out was.
#[derive(Debug)]
pub(in crate::gateway) struct Parked {
    pub(super) lanes: Vec<ParkedLane>,
    /// Number and thread of each.
    pub(super) seats: Vec<(usize, Thread)>,
    /// How many lanes the gateway has.
    pub(super) count: usize,
}

impl Parked {
    /// None yet, of so many.
    pub(super) fn none_of(count: usize) -> Self {
        Self {
            lanes: Vec::with_capacity(count),
            seats: Vec::with_capacity(count),
            count,
        }
    }

    /// One more.
    pub(super) fn put(&mut self, number: usize, lane: ParkedLane, thread: &Thread) {
        self.lanes.push(lane);
        self.seats.push((number, thread.clone()));
    }

    /// All of them, in their order.
    pub(in crate::gateway) fn lanes(&self) -> &[ParkedLane] {
        &self.lanes
    }

    /// Another agent has them now.
    pub(in crate::gateway) fn leave(mut self) {
        self.lanes.clear();
    }

    /// Starts them again.
    ///
    /// # Errors
    /// Of the first that could not be; the others run.
    pub(in crate::gateway) fn resume(mut self) -> Result<()> {
        self.start()
    }

    fn start(&mut self) -> Result<()> {
        let settle = || settle_thread(Part::Lane);
        let mut result = Ok(());
        for (lane, (number, thread)) in self.lanes.drain(..).zip(&self.seats) {
            match lane.start(*number, self.count, settle) {
                Ok(started) => thread.set(started),
                Err(error) => {
                    let error = Err(error);
                    let error =
                        error.with_context(|| format!("to start the thread of lane {number}"));
                    result = result.and(error);
                }
            }
        }
        result
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        if let Err(error) = self.start() {
            tracing::error!("{error:#}");
        }
    }
}
