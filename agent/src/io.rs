//! The kernel's doors on the fast path: the TUN queue and the UDP socket, each in batches, and the
//! offload formats between them.
//!
//! Everything here is called by the one thread of a lane; nothing blocks but [`poll::wait`].

pub mod checksum;
pub mod offload;
pub mod poll;
pub mod split;
pub mod tun;
pub mod udp;
pub mod virtio;
