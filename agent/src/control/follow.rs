//! Connections that stay open to be told of each new event, or each flow that is over.
//!
//! A follower takes them from where they are kept at its own pace: one that does not read waits in its own
//! task, holds nothing but a connection, and is told afterwards how many events it missed.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::server::line_of;
use super::users::Visit;
use super::{Request, Response};
use crate::export::recent::Recent;
use crate::journal::Journal;

/// What followers share.
#[derive(Clone, Debug)]
pub(super) struct Followers {
    journal: watch::Receiver<Journal>,
    finished: watch::Receiver<Recent>,
}

/// The place of one follower.
#[derive(Debug)]
pub(super) struct Place {
    permit: OwnedSemaphorePermit,
    source: Source,
}

/// What is followed.
#[derive(Debug)]
enum Source {
    Events(watch::Receiver<Journal>),
    Finished(watch::Receiver<Recent>),
}

impl Source {
    /// What is new since number `next`, if anything, and the number after it.
    fn since(&mut self, next: u64) -> (Option<Response>, u64) {
        match self {
            Self::Events(journal) => {
                let reply = journal.borrow_and_update().since(next);
                let next = reply.next_sequence;
                let new = reply.missed > 0 || !reply.events.is_empty();
                (new.then_some(Response::Events(reply)), next)
            }
            Self::Finished(finished) => {
                let reply = finished.borrow_and_update().since(next);
                let next = reply.next_sequence;
                let new = reply.missed > 0 || !reply.records.is_empty();
                (new.then_some(Response::FinishedFlows(reply)), next)
            }
        }
    }

    /// Waits for more; `false` when the gateway has ended.
    async fn changed(&mut self) -> bool {
        match self {
            Self::Events(journal) => journal.changed().await.is_ok(),
            Self::Finished(finished) => finished.changed().await.is_ok(),
        }
    }
}

/// A connection that goes on.
#[derive(Debug)]
pub(super) struct Follow {
    place: Place,
    stream: UnixStream,
    next: u64,
}

impl Followers {
    pub(super) fn new(
        journal: watch::Receiver<Journal>,
        finished: watch::Receiver<Recent>,
    ) -> Self {
        Self { journal, finished }
    }

    /// A place for a request that asks to follow; none is needed for any other.
    pub(super) fn admit(&self, request: &Request, asker: &Visit) -> Result<Option<Place>, String> {
        let source = match request {
            Request::Events(wanted) if wanted.follow => Source::Events(self.journal.clone()),
            Request::FinishedFlows(wanted) if wanted.follow => {
                Source::Finished(self.finished.clone())
            }
            _ => return Ok(None),
        };
        Ok(Some(Place {
            permit: asker.follow()?,
            source,
        }))
    }
}

impl Place {
    /// Takes over a connection that has been told all events before `next`.
    pub(super) fn follow(self, stream: UnixStream, next: u64) -> Follow {
        Follow {
            place: self,
            stream,
            next,
        }
    }
}

impl Follow {
    /// Tells each new event, until the reader goes or the gateway ends.
    pub(super) async fn run(self) -> io::Result<()> {
        let Place {
            permit: _permit,
            mut source,
        } = self.place;
        let (mut reading, mut writing) = self.stream.into_split();
        let mut next = self.next;
        loop {
            let (new, after) = source.since(next);
            next = after;
            if let Some(reply) = new {
                let line = line_of(&reply)?;
                tokio::select! {
                    written = writing.write_all(&line) => written?,
                    () = gone(&mut reading) => return Ok(()),
                }
                // There may be more than one answer takes.
                continue;
            }
            tokio::select! {
                changed = source.changed() => if !changed {
                    return writing.shutdown().await;
                },
                () = gone(&mut reading) => return Ok(()),
            }
        }
    }
}

/// Waits until the reader has closed its end; what it sends meanwhile means nothing.
async fn gone(reading: &mut OwnedReadHalf) {
    let mut ignored = [0; 64];
    while matches!(reading.read(&mut ignored).await, Ok(1..)) {}
}

#[cfg(test)]
mod tests;
