//! Capturing the packets of chosen flows, inside of the tunnel and outside, into a pcapng file.
//!
//! This runs in the process of the command line, as root, and not in the agent: that process loads programs of its own
//! ([`crate::datapath::capture`]), asks the agent only for names ([`ground`]), and takes all with it when it ends. No
//! packet passes the control socket.

mod choice;
mod comment;
mod encoder;
mod ground;
mod outer;
mod pcapng;
mod session;
mod writer;

pub use self::choice::{Choice, Skin, UnknownSite};
pub use self::session::{Bounds, capture};
