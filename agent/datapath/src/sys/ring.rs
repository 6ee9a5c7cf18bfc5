//! Waiting for a ring buffer inside a tokio runtime.

use std::io;

use aya::maps::{MapData, RingBuf};
use aya_log::EbpfLogger;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Registers the ring of the programs' log with the runtime of the calling thread.
pub(crate) fn watch<T>(logger: EbpfLogger<T>) -> io::Result<AsyncFd<EbpfLogger<T>>> {
    // SAFETY: the logger owns the ring's map with its descriptor, gives no way to exchange it, and
    // returns the same one each time; it closes it only when the `AsyncFd` is dropped.
    unsafe { AsyncFd::register_with_interest(logger, Interest::READABLE) }
        .map_err(|error| error.into_parts().1)
}

/// Registers a ring of records with the runtime of the calling thread.
pub(crate) fn watch_records(ring: RingBuf<MapData>) -> io::Result<AsyncFd<RingBuf<MapData>>> {
    // SAFETY: the ring owns its map with the descriptor, and returns the same one each time; nobody here puts another
    // ring in its place. It closes it only when the `AsyncFd` is dropped.
    unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }
        .map_err(|error| error.into_parts().1)
}
