//! The kernel's doors on the fast path: the TUN queue and the UDP socket, each in batches, and the
//! offload formats between them.
//!
//! Everything here is called by the one thread of a lane; nothing blocks but [`crossway_sys::poll::wait`].

pub mod offload;
pub mod split;
pub mod tun;
pub mod udp;
pub mod virtio;
