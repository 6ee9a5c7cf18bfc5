//! Waiting for a ring buffer inside a tokio runtime.

use std::io;

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
