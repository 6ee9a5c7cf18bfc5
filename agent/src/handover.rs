//! The hand-over of a running gateway from one agent to the next, without a gap that anybody notices.
//!
//! ```text
//!  next agent (`run --take-over`)                    running agent
//!    reads its file, loads the programs
//!    Ask            ─────────────────────────────▶   looks after itself: every lane answers
//!                   ◀─────────────────────────────   Offer (or Refused): numbers of sites and links
//!    plans, builds the routes
//!    Go             ─────────────────────────────▶   parks its lanes                      ┐
//!                   ◀─────────────────────────────   state, sockets, TUN queues           │ the gap
//!    gives the sessions to lanes of its own                                               │
//!    Taken          ─────────────────────────────▶   the point of no return               │
//!    starts the lanes                                                                     ┘
//!                   ◀─────────────────────────────   GatewayExport: what is not urgent
//!    takes over host, maps, programs                 ends, and leaves the host as it is
//! ```
//! Until `Taken` the running agent goes on as if nothing had happened when anything fails: it starts
//! the very lanes that it has parked. From `Taken` on it never sends again, so no counter of a session
//! can be used by both.
//!
//! All of it goes over a socket of its own beside the control socket, which only the agent's own user
//! may open, for it carries session keys. The next agent reads the private key from its file.
//! [`gateway`](crate::gateway) has both sides; here are their words.

pub mod priority;
pub mod socket;

use std::path::PathBuf;

use crate::control::run_dir;

/// Version of the state: of everything that [`codec::Writer`](crossway_types::codec::Writer) is given. An agent of another version
/// hands over sockets, queues and numbers, and the sessions begin anew.
pub const STATE_VERSION: u32 = 1;

/// Where the agent of the gateway named `gateway` is asked to hand over. Not `.sock`, which is how
/// control sockets are found.
pub fn socket_path(gateway: &str) -> PathBuf {
    run_dir().join(format!("{gateway}.handover"))
}
