//! Connections that stay open to be told of each new event.
//!
//! A follower takes events from the journal at its own pace: one that does not read waits in its own
//! task, holds nothing but a connection, and is told afterwards how many events it missed.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::server::line_of;
use super::users::Visit;
use super::{Request, Response};
use crate::journal::Journal;

/// What followers share.
#[derive(Clone, Debug)]
pub(super) struct Followers {
    journal: watch::Receiver<Journal>,
}

/// The place of one follower.
#[derive(Debug)]
pub(super) struct Place {
    permit: OwnedSemaphorePermit,
    journal: watch::Receiver<Journal>,
}

/// A connection that goes on.
#[derive(Debug)]
pub(super) struct Follow {
    place: Place,
    stream: UnixStream,
    next: u64,
}

impl Followers {
    pub(super) fn new(journal: watch::Receiver<Journal>) -> Self {
        Self { journal }
    }

    /// A place for a request that asks to follow; none is needed for any other.
    pub(super) fn admit(&self, request: &Request, asker: &Visit) -> Result<Option<Place>, String> {
        if !matches!(request, Request::Events(wanted) if wanted.follow) {
            return Ok(None);
        }
        Ok(Some(Place {
            permit: asker.follow()?,
            journal: self.journal.clone(),
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
            mut journal,
        } = self.place;
        let (mut reading, mut writing) = self.stream.into_split();
        let mut next = self.next;
        loop {
            let reply = journal.borrow_and_update().since(next);
            next = reply.next_sequence;
            if reply.missed > 0 || !reply.events.is_empty() {
                let line = line_of(&Response::Events(reply))?;
                tokio::select! {
                    written = writing.write_all(&line) => written?,
                    () = gone(&mut reading) => return Ok(()),
                }
            }
            tokio::select! {
                changed = journal.changed() => if changed.is_err() {
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
