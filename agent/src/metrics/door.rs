//! The listening socket: opened by the control side, shared with the thread that answers, and handed to the next
//! agent.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use serde::{Deserialize, Serialize};

use crate::config::MetricsDoor;
use crate::control::Server;
use crate::control::admission;
use crate::control::server::{BindError, SharedSocket};

/// Where a door is, as one agent tells it to the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Told {
    /// Of TCP.
    Address(SocketAddr),
    /// Of a Unix socket.
    Socket(std::path::PathBuf),
}

/// A door that is open.
#[derive(Debug)]
pub(super) enum Door {
    Address(TcpListener),
    Socket(SharedSocket),
}

/// What takes connections, on the other thread.
#[derive(Debug)]
pub(super) enum Listener {
    Address(TcpListener),
    Socket(UnixListener),
}

/// Where the configuration wants it.
pub(super) fn wanted(door: &MetricsDoor) -> Told {
    match door {
        MetricsDoor::Address { listen, .. } => Told::Address(*listen),
        MetricsDoor::Socket { path, .. } => Told::Socket(path.clone()),
    }
}

impl Door {
    /// Opens it.
    ///
    /// # Errors
    /// Why that is not possible, with the mend.
    pub(super) fn open(door: &MetricsDoor) -> Result<Self> {
        match door {
            MetricsDoor::Address { listen, .. } => {
                let listener = TcpListener::bind(listen);
                let listener = listener.with_context(|| mend_of_address(*listen))?;
                Ok(Self::Address(listener))
            }
            MetricsDoor::Socket { path, group } => open_socket(path, group.as_deref()),
        }
    }

    /// Goes on with one that an agent before us has opened.
    pub(super) fn taken_over(door: &MetricsDoor, listener: OwnedFd) -> io::Result<Self> {
        match door {
            MetricsDoor::Address { .. } => Ok(Self::Address(listener.into())),
            MetricsDoor::Socket { path, .. } => {
                let socket = Server::taken_over(listener, path)?;
                Ok(Self::Socket(socket.share()?))
            }
        }
    }

    /// For the thread that answers.
    pub(super) fn listener(&self) -> io::Result<Listener> {
        let listener = self.as_fd().try_clone_to_owned()?;
        Ok(match self {
            Self::Address(_) => {
                let listener = TcpListener::from(listener);
                listener.set_nonblocking(true)?;
                Listener::Address(listener)
            }
            Self::Socket(_) => {
                let listener = UnixListener::from(listener);
                listener.set_nonblocking(true)?;
                Listener::Socket(listener)
            }
        })
    }

    /// Another agent has it now.
    pub(super) fn leave(&self) {
        if let Self::Socket(socket) = self {
            socket.leave();
        }
    }
}

impl AsFd for Door {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Address(listener) => listener.as_fd(),
            Self::Socket(socket) => socket.listener(),
        }
    }
}

fn mend_of_address(listen: SocketAddr) -> String {
    let mend = "is another program or gateway on this port, or the address of no interface? A port below 1024 can \
                only be taken at a start";
    format!("TCP {listen}: {mend}")
}

fn open_socket(path: &Path, group: Option<&str>) -> Result<Door> {
    let shown = path.display();
    let group = match group {
        Some(name) => admission::group(Some(name)).context("group")?,
        None => None,
    };
    let server = Server::bind(path).map_err(|error| match error {
        BindError::InUse(_) => {
            anyhow!("{shown}: another program answers there: choose another path")
        }
        BindError::NoSocket(_) => anyhow!("{shown} exists and is not a socket: remove it"),
        BindError::Io(_, error) => anyhow!("{shown}: {error}"),
    })?;
    if let Some(group) = group {
        server.admit_group(group).map_err(|error| match error {
            BindError::Io(_, error) => anyhow!(
                "{shown} cannot be given to its group: {error}: a running gateway may not; restart it"
            ),
            other => other.into(),
        })?;
    }
    Ok(Door::Socket(server.share()?))
}
