//! Connections that stay open to be told of each new event, each flow that is over, or each new line of the log.
//!
//! A follower takes them from where they are kept at its own pace: one that does not read waits in its own task, holds
//! nothing but a connection, and is told afterwards how many it missed.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::message::LogRequest;
use super::server::line_of;
use super::users::Visit;
use super::{Request, Response};
use crate::export::recent::Recent;
use crate::journal::Journal;
use crate::logging::Ring;

/// What can be followed.
#[derive(Clone, Debug)]
pub struct Streams {
    /// The events.
    pub journal: watch::Receiver<Journal>,
    /// Flows that are over.
    pub finished: watch::Receiver<Recent>,
    /// What the agent says.
    pub log: watch::Receiver<Ring>,
}

/// What followers share.
#[derive(Clone, Debug)]
pub(super) struct Followers(Streams);

/// What is followed.
#[derive(Debug)]
enum Followed {
    Events(watch::Receiver<Journal>),
    Finished(watch::Receiver<Recent>),
    Log(watch::Receiver<Ring>, LogRequest),
}

/// The place of one follower.
#[derive(Debug)]
pub(super) struct Place {
    permit: OwnedSemaphorePermit,
    followed: Followed,
}

/// A connection that goes on.
#[derive(Debug)]
pub(super) struct Follow {
    place: Place,
    stream: UnixStream,
    next: u64,
}

impl Followers {
    pub(super) fn new(streams: Streams) -> Self {
        Self(streams)
    }

    /// A place for a request that asks to follow; none is needed for any other.
    pub(super) fn admit(&self, request: &Request, asker: &Visit) -> Result<Option<Place>, String> {
        let Streams {
            journal,
            finished,
            log,
        } = &self.0;
        let followed = match request {
            Request::Events(wanted) if wanted.follow => Followed::Events(journal.clone()),
            Request::FinishedFlows(wanted) if wanted.follow => Followed::Finished(finished.clone()),
            Request::Log(wanted) if wanted.follow => Followed::Log(log.clone(), wanted.clone()),
            _ => return Ok(None),
        };
        Ok(Some(Place {
            permit: asker.follow()?,
            followed,
        }))
    }
}

impl Place {
    /// Takes over a connection that has been told all before number `next`.
    pub(super) fn follow(self, stream: UnixStream, next: u64) -> Follow {
        Follow {
            place: self,
            stream,
            next,
        }
    }
}

/// Number of what comes next, in an answer to a follower.
pub(super) fn next_of(response: &Response) -> Option<u64> {
    match response {
        Response::Events(told) => Some(told.next_sequence),
        Response::FinishedFlows(told) => Some(told.next_sequence),
        Response::Log(told) => Some(told.next_sequence),
        _ => None,
    }
}

impl Followed {
    /// What is new since number `next`, if there is anything to tell, and the number behind it.
    fn news(&mut self, next: u64) -> (Option<Response>, u64) {
        match self {
            Self::Events(journal) => {
                let reply = journal.borrow_and_update().since(next);
                let next = reply.next_sequence;
                let any = reply.missed > 0 || !reply.events.is_empty();
                (any.then_some(Response::Events(reply)), next)
            }
            Self::Finished(finished) => {
                let reply = finished.borrow_and_update().since(next);
                let next = reply.next_sequence;
                let any = reply.missed > 0 || !reply.records.is_empty();
                (any.then_some(Response::FinishedFlows(reply)), next)
            }
            Self::Log(log, wanted) => {
                let log = log.borrow_and_update();
                let mut reply = log.since(next, wanted);
                // Lines that are not for this reader are no reason to wake it.
                while reply.lines.is_empty()
                    && reply.missed == 0
                    && reply.next_sequence < log.next()
                {
                    reply = log.since(reply.next_sequence, wanted);
                }
                let next = reply.next_sequence;
                let any = reply.missed > 0 || !reply.lines.is_empty();
                (any.then_some(Response::Log(reply)), next)
            }
        }
    }

    /// Waits for more; an error when the gateway ends.
    async fn changed(&mut self) -> Result<(), watch::error::RecvError> {
        match self {
            Self::Events(journal) => journal.changed().await,
            Self::Finished(finished) => finished.changed().await,
            Self::Log(log, _) => log.changed().await,
        }
    }
}

impl Follow {
    /// Tells what is new, until the reader goes or the gateway ends.
    pub(super) async fn run(self) -> io::Result<()> {
        let Place {
            permit: _permit,
            mut followed,
        } = self.place;
        let (mut reading, mut writing) = self.stream.into_split();
        let mut next = self.next;
        loop {
            let (news, behind) = followed.news(next);
            next = behind;
            if let Some(news) = news {
                let line = line_of(&news)?;
                tokio::select! {
                    written = writing.write_all(&line) => written?,
                    () = gone(&mut reading) => return Ok(()),
                }
                // There may be more than one answer takes.
                continue;
            }
            tokio::select! {
                changed = followed.changed() => if changed.is_err() {
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
