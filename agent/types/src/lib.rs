//! The words that all parts of the agent share: ids, prefixes, keys, addresses, packets and the bytes of a
//! hand-over. No I/O: no clock, no socket, no file.

#![warn(missing_docs)]

pub mod address;
pub mod checksum;
pub mod codec;
pub mod engine;
pub mod ids;
pub mod interface;
pub mod keys;
pub mod mapping;
pub mod marks;
pub mod name;
pub mod nearest;
pub mod packet;
pub mod prefix;
pub mod protocol;
pub mod routes;
pub mod shown;
