//! The running gateway, asked and answered: one JSON request and one JSON reply, each on a line, per
//! connection of a Unix socket. Only who follows the events gets more replies, as they come.
//!
//! [`server`] takes the connections and hands each [`Request`] to the gateway's own loop as a
//! [`ControlRequest`]; the loop owns all state and answers when it gets to it. [`client`] is the other
//! end, for the command line. [`message`] (crate `crossway-api`) is what they say: its field names are the stable names of
//! `--json`.

pub mod admission;
pub mod client;
mod follow;
pub mod server;
mod users;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crossway_sys::run_folder;
use thiserror::Error;
use tokio::sync::oneshot;

pub use self::admission::Asker;
pub use self::follow::Streams;
pub use self::server::Server;
pub use crossway_api::filter::{
    FlowDirection, FlowEnds, FlowFilter, FlowSort, FlowView, PolicyOfFlow,
};
pub use crossway_api::message::{Request, Response};
pub use crossway_api::overlaps::overlaps;
pub use crossway_api::service_filter::{ServiceFilter, ServiceSort};
pub use crossway_api::{filter, message, protocol};

/// A request on its way to the gateway's loop. A `reply` that is dropped unused tells the asker that
/// the gateway is stopping.
#[derive(Debug)]
pub struct ControlRequest {
    /// What is asked.
    pub request: Request,
    /// Who asks.
    pub asker: Asker,
    /// Where the answer goes. It fails if the asker has gone, which nobody needs to know.
    pub reply: oneshot::Sender<Response>,
}

/// What was asked for is wrong: a name that is not there, words that do not go together.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct Wrong(pub String);

/// The answer that an error is.
pub fn refusal(error: &anyhow::Error) -> Response {
    let message = format!("{error:#}");
    if error.is::<Wrong>() {
        Response::usage(message)
    } else {
        Response::error(message)
    }
}

/// The folder of the control sockets.
pub fn run_dir() -> PathBuf {
    run_folder::path()
}

/// The control socket of the gateway named `gateway`.
pub fn socket_path(gateway: &str) -> PathBuf {
    socket_in(&run_dir(), gateway)
}

fn socket_in(folder: &Path, gateway: &str) -> PathBuf {
    folder.join(format!("{gateway}.sock"))
}

/// The gateway that a socket belongs to.
fn gateway_of(socket: &Path) -> Option<&str> {
    let is_socket = socket.extension() == Some(OsStr::new("sock"));
    socket.file_stem()?.to_str().filter(|_| is_socket)
}
