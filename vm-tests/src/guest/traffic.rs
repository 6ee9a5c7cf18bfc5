//! Traffic between guests: `ping`, `traceroute`, and TCP whose content is checked (`src/bin/guest-traffic.rs`).

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::Guest;
use crate::traffic::{HostSegments, Segments, hops_in, replies_in};

/// TCP port of the server in every host.
pub const PORT: u16 = 5000;
const PROGRAM: &str = "/usr/bin/guest-traffic";
const SERVED: &str = "/var/log/served";

/// A connection, as its server saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// The client.
    pub source: IpAddr,
    /// Bytes of content.
    pub bytes: u64,
    /// What went wrong, if anything did.
    pub error: Option<String>,
}

/// A connection, as its client saw it: the server has confirmed the content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// Its own address and port.
    pub client: SocketAddr,
    /// Bytes of content.
    pub bytes: u64,
    /// What TCP made of them.
    pub segments: Segments,
}

impl Guest {
    /// Starts the server of TCP traffic on a port.
    pub fn serve_tcp(&mut self, port: u16) -> Result<()> {
        self.spawn(
            &format!("{PROGRAM} serve {port}"),
            &format!("{SERVED}-{port}"),
        )?;
        Ok(())
    }

    /// The connections that the server has taken to their end.
    pub fn served(&mut self, port: u16) -> Result<Vec<Taken>> {
        let text = self.run(&format!("cat {SERVED}-{port}"))?;
        let lines = text.lines();
        lines
            .map(|line| serde_json::from_str(line).with_context(|| format!("served: {text}")))
            .collect()
    }

    /// Sends so many bytes to a server; an error if they did not arrive as they were.
    pub fn send_tcp(&mut self, to: IpAddr, port: u16, bytes: u64) -> Result<Sent> {
        let line = format!("{PROGRAM} send {to} {port} {bytes}");
        let text = self.run(&line)?;
        serde_json::from_str(&text).with_context(|| format!("`{line}` said {text}"))
    }

    /// What its TCP has sent and received so far.
    pub fn tcp_segments(&mut self) -> Result<HostSegments> {
        HostSegments::parse(&self.run("cat /proc/net/snmp")?)
    }

    /// Starts slow traffic to a server, which goes on until [`Self::finish_steady_tcp`].
    pub fn start_steady_tcp(&mut self, to: IpAddr, port: u16) -> Result<()> {
        let line = format!("{PROGRAM} send {to} {port} {}", stop_file(port));
        self.spawn(&line, &steady_log(port))?;
        Ok(())
    }

    /// Has slow traffic come to its end, and what it came to as soon as that is known.
    pub fn finish_steady_tcp(&mut self, port: u16) -> Result<Option<Sent>> {
        self.write(&stop_file(port), "", 0o644)?;
        let text = self.run(&format!("cat {}", steady_log(port)))?;
        if text.trim().is_empty() {
            return Ok(None);
        }
        let sent = serde_json::from_str(&text).with_context(|| format!("slow TCP said {text}"))?;
        Ok(Some(sent))
    }

    /// Three requests, all of which must be answered.
    pub fn ping(&mut self, to: IpAddr) -> Result<()> {
        let text = self.run(&format!("ping -n -q -c 3 -i 0.2 -W 5 {to}"))?;
        let report = replies_in(&text).with_context(|| format!("ping {to} wrote {text}"))?;
        ensure!(
            (report.sent, report.received) == (3, 3),
            "{} pings {to}: {report:?}",
            self.name()
        );
        Ok(())
    }

    /// Whether one request is answered within a second.
    pub fn reaches(&mut self, to: IpAddr) -> bool {
        self.run(&format!("ping -n -q -c 1 -W 1 {to}")).is_ok()
    }

    /// The routers to a host, and the host.
    pub fn traceroute(&mut self, to: IpAddr) -> Result<Vec<IpAddr>> {
        // One probe after another: emulated routers are slow with many at a time.
        let text = self.run(&format!("traceroute -n -m 8 -w 5 -q 1 -N 1 {to}"))?;
        hops_in(&text).with_context(|| format!("traceroute {to} wrote {text}"))
    }
}

fn stop_file(port: u16) -> String {
    format!("/run/stop-{port}")
}

fn steady_log(port: u16) -> String {
    format!("/var/log/steady-{port}")
}
