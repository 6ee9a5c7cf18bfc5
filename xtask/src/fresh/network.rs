//! The way out of the new system: a network of its own, joined to this machine's by a program, so that neither
//! addresses nor firewall of this machine change.

use std::fs;
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use vm_tests::wait;

use super::mortal;

/// slirp4netns's interface in the new system.
pub(super) const INTERFACE: &str = "tap0";
/// Its name server.
pub(super) const NAME_SERVER: &str = "10.0.2.3";
/// It takes some milliseconds.
const LIMIT: Duration = Duration::from_secs(10);

/// slirp4netns. Dropped, it is ended.
#[derive(Debug)]
pub(super) struct Network(Child);

/// Connects the network namespace of a process that is about to be in one of its own.
pub(super) fn connect(pid: u32) -> Result<Network> {
    let own = fs::read_link("/proc/self/ns/net")?;
    let theirs = format!("/proc/{pid}/ns/net");
    wait::until("the new network namespace", LIMIT, || {
        fs::read_link(&theirs)
            .is_ok_and(|it| it != own)
            .then_some(())
    })?;
    let mut command = mortal("slirp4netns");
    command.args(["--configure", "--mtu=65520"]);
    command.args([&pid.to_string(), INTERFACE]);
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    Ok(Network(child.context("cannot start slirp4netns")?))
}

impl Drop for Network {
    fn drop(&mut self) {
        // It may have ended with the namespace.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
