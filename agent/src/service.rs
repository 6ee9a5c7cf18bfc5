//! What the service manager is told: sd_notify(3), which systemd reads from a socket it names in the
//! environment. Without one, nothing is told.

use std::io;
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use crate::handover::socket::send_with_descriptors;
use crossway_sys::poll;

/// Environment variable that names the socket.
const SOCKET_VARIABLE: &str = "NOTIFY_SOCKET";
/// How long systemd may take to read what it was told.
const PATIENCE: Duration = Duration::from_secs(2);

/// The gateway forwards.
pub(crate) fn ready() {
    tell("READY=1");
}

/// The gateway is putting the host back.
pub(crate) fn stopping() {
    tell("STOPPING=1");
}

/// Another process is the gateway's agent now. Returns when that is known, so that our own end is not
/// taken for the service's.
pub(crate) fn succeeded_by(pid: libc::pid_t) {
    tell(&format!("MAINPID={pid}"));
}

fn tell(state: &str) {
    let Some(name) = std::env::var_os(SOCKET_VARIABLE) else {
        return;
    };
    let told = address(name.as_encoded_bytes()).and_then(|address| notify(&address, state));
    if let Err(error) = told {
        tracing::warn!(%error, state, "the service manager could not be told");
    }
}

/// A path, or a name of the abstract namespace behind an `@`.
fn address(name: &[u8]) -> io::Result<SocketAddr> {
    use std::os::unix::ffi::OsStrExt;
    match name.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(name)),
    }
}

/// Tells it, and waits until it was read: a descriptor is sent behind it, which the reader closes
/// (`BARRIER=1`, systemd 246; an older one closes it too).
fn notify(address: &SocketAddr, state: &str) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(address)?;
    socket.send(state.as_bytes())?;
    let (waiting, given) = io::pipe()?;
    send_with_descriptors(&socket, b"BARRIER=1", &[given.as_fd()])?;
    drop(given);
    poll::wait_hang_up(waiting.as_fd(), PATIENCE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manager_has_read_what_it_was_told_when_the_call_returns() {
        let name = format!("crossway-notify-{}", std::process::id());
        let listening = address(format!("@{name}").as_bytes()).unwrap();
        let manager = UnixDatagram::bind_addr(&listening).unwrap();
        let reader = std::thread::spawn(move || {
            let mut texts = Vec::new();
            for _ in 0..2 {
                let mut text = [0; 64];
                // Read without room for descriptors, which closes them.
                let length = manager.recv(&mut text).unwrap();
                texts.push(String::from_utf8_lossy(&text[..length]).into_owned());
            }
            texts
        });
        notify(&listening, "MAINPID=4711").unwrap();
        assert_eq!(reader.join().unwrap(), ["MAINPID=4711", "BARRIER=1"]);
    }

    #[test]
    fn a_path_is_an_address_too() {
        let path = address(b"/run/systemd/notify").unwrap();
        assert_eq!(
            path.as_pathname(),
            Some(std::path::Path::new("/run/systemd/notify"))
        );
    }
}
