//! Waiting for a ring buffer inside a tokio runtime.

use std::io;

use aya::maps::{MapData, RingBuf};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Registers the ring with the runtime of the calling thread.
pub(crate) fn watch(ring: RingBuf<MapData>) -> io::Result<AsyncFd<RingBuf<MapData>>> {
    // SAFETY: the ring owns its map with the map's descriptor, gives no way to exchange it, and
    // returns the same one each time; it closes it only when the `AsyncFd` is dropped.
    unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }
        .map_err(|error| error.into_parts().1)
}
