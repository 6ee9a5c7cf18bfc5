//! What the replicas of a gateway tell each other of their flows, so that counters and times go on where
//! another takes a flow over. Pure: time and bytes come in, bytes and decisions come out.
//!
//! Whoever forwards a flow tells of it: [`pass`] says which flows of the table are due, [`datagram`] writes
//! and reads them, [`outbox`] spreads the datagrams over time, [`merge`] says what becomes of a flow at the
//! other end. Nothing is acknowledged: a flow that goes on is told again, and one that rests was told twice.

pub mod datagram;
pub mod merge;
pub mod outbox;
pub mod pass;
