//! keepalived as a router of a pair (Debian's package `keepalived`): VRRPv3 with a virtual MAC.

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::netns::Netns;
use crate::process::{self, ProcessGuard};

const STOP_LIMIT: Duration = Duration::from_secs(3);

/// One virtual router.
#[derive(Clone, Debug)]
pub struct VirtualRouter {
    /// The interface that its hosts are on.
    pub interface: String,
    /// 1 to 255; both routers of a pair have the same.
    pub id: u8,
    /// The highest is master.
    pub priority: u8,
    /// Seconds between two advertisements, to the hundredth.
    pub advert_int: f32,
    /// The address that hosts send to, with its prefix length.
    pub address: (IpAddr, u8),
    /// Seconds that it waits before it takes its role back from another of lower priority.
    pub preempt_delay: u32,
    /// A shell command that succeeds while this router has a way to the far sites; it is run each second, and without
    /// success the router stands back.
    pub healthy: String,
}

/// A running keepalived. Dropped, it is gone.
#[derive(Debug)]
pub struct Keepalived {
    process: ProcessGuard,
}

/// The version of the installed package.
///
/// # Errors
/// It is not installed.
pub fn version() -> Result<String> {
    let output = Command::new("keepalived")
        .arg("--version")
        .output()
        .context("keepalived is not installed: run `cargo xtask setup test`")?;
    // It writes to standard error.
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let word = text.split_whitespace().nth(1).unwrap_or("?");
    Ok(word.trim_start_matches('v').to_owned())
}

impl Keepalived {
    /// Starts it in a namespace, its files in `directory`.
    pub fn start(netns: &Netns, directory: &Path, router: &VirtualRouter) -> Result<Self> {
        let name = format!("{}-keepalived", netns.name());
        let file = |suffix: &str| directory.join(format!("{name}.{suffix}"));
        fs::write(file("conf"), config(router))?;
        let mut command = netns.command("keepalived");
        command.args(["--dont-fork", "--log-console", "--vrrp", "--use-file"]);
        command.arg(file("conf")).arg("--pid").arg(file("pid"));
        command.arg("--vrrp_pid").arg(file("vrrp.pid"));
        let process = ProcessGuard::spawn(&name, &mut command, &file("log"))?;
        Ok(Self { process })
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        self.process.output()
    }

    /// Whether the namespace holds the address now.
    pub fn holds(netns: &Netns, address: IpAddr) -> Result<bool> {
        let text = process::ip(&format!("-n {} -brief address", netns.name()))?;
        Ok(text.contains(&format!(" {address}/")))
    }
}

impl Drop for Keepalived {
    fn drop(&mut self) {
        // The guard kills what does not end.
        let _ = self.process.terminate(STOP_LIMIT);
    }
}

fn config(router: &VirtualRouter) -> String {
    let VirtualRouter {
        interface,
        id,
        priority,
        advert_int,
        address: (address, length),
        preempt_delay,
        healthy,
    } = router;
    format!(
        "global_defs {{
  vrrp_version 3
  script_user root
  enable_script_security
}}
vrrp_script healthy {{
  script \"/bin/sh -c '{healthy}'\"
  interval 1
  fall 1
  rise 1
}}
vrrp_instance lan {{
  state BACKUP
  interface {interface}
  virtual_router_id {id}
  priority {priority}
  advert_int {advert_int}
  preempt_delay {preempt_delay}
  use_vmac
  vmac_xmit_base
  virtual_ipaddress {{
    {address}/{length}
  }}
  track_script {{
    healthy
  }}
}}
"
    )
}
