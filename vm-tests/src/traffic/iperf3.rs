//! Throughput by iperf3.

use std::fs;
use std::net::IpAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::process;
use crate::topology::{Site, Topology};

const PORT: u16 = 5201;
const START_LIMIT: Duration = Duration::from_secs(5);

/// A TCP run from one host to another.
#[derive(Clone, Copy, Debug)]
pub struct Iperf3 {
    /// Parallel streams.
    pub streams: u32,
    /// Seconds that are sent.
    pub seconds: u32,
}

/// What the receiver counted.
#[derive(Clone, Copy, Debug)]
pub struct Iperf3Report {
    /// Bytes received, all streams.
    pub bytes: f64,
    /// Rate in Gbit/s.
    pub gbit_per_second: f64,
    /// TCP segments sent again.
    pub retransmits: u64,
}

impl Iperf3 {
    /// Starts a server on the host of `to`, runs a client on the host of `from`, and ends both.
    pub fn run(
        self,
        topology: &Topology,
        from: &Site,
        to: &Site,
        address: IpAddr,
    ) -> Result<Iperf3Report> {
        let json = self.json(topology, from, to, address, &[])?;
        Iperf3Report::read(&json, "").with_context(|| format!("iperf3 wrote {json}"))
    }

    /// As [`Self::run`], with as many streams the other way at the same time: the way there, the way back.
    pub fn run_both_ways(
        self,
        topology: &Topology,
        from: &Site,
        to: &Site,
        address: IpAddr,
    ) -> Result<[Iperf3Report; 2]> {
        let json = self.json(topology, from, to, address, &["--bidir"])?;
        Iperf3Report::read_both(&json)
    }

    /// Runs a client here against a server that runs elsewhere (`iperf3 -s`): the way there and, with
    /// `both`, the way back at the same time.
    pub fn run_here(self, server: &str, both: bool) -> Result<Vec<Iperf3Report>> {
        let mut command = Command::new("iperf3");
        let options: &[&str] = if both { &["--bidir"] } else { &[] };
        let text = self.client(&mut command, server, &PORT.to_string(), options)?;
        let json = serde_json::from_str(&text).context("iperf3 did not write JSON")?;
        if both {
            return Ok(Iperf3Report::read_both(&json)?.to_vec());
        }
        let report = Iperf3Report::read(&json, "");
        Ok(vec![
            report.with_context(|| format!("iperf3 wrote {json}"))?,
        ])
    }

    fn json(
        self,
        topology: &Topology,
        from: &Site,
        to: &Site,
        address: IpAddr,
        options: &[&str],
    ) -> Result<Value> {
        let log = topology.directory().join("iperf3-server.log");
        let (port, target) = (PORT.to_string(), address.to_string());
        let server_args = ["-s", "-1", "-p", &port, "-B", &target];
        let mut server = to
            .host
            .spawn("iperf3 server", "iperf3", &server_args, &log)?;
        let pid = server.pid();
        server.wait_until("listen", START_LIMIT, || listens(pid, PORT).then_some(()))?;
        let mut command = from.host.command("iperf3");
        let text = self.client(&mut command, &target, &port, options)?;
        serde_json::from_str(&text).context("iperf3 did not write JSON")
    }

    fn client(
        self,
        command: &mut Command,
        target: &str,
        port: &str,
        options: &[&str],
    ) -> Result<String> {
        command.args([
            "-c",
            target,
            "-p",
            port,
            "-P",
            &self.streams.to_string(),
            "-t",
            &self.seconds.to_string(),
            "--connect-timeout",
            "5000",
            "-J",
        ]);
        process::run(command.args(options))
    }
}

impl Iperf3Report {
    fn read_both(json: &Value) -> Result<[Self; 2]> {
        let read = |way| Self::read(json, way).with_context(|| format!("iperf3 wrote {json}"));
        Ok([read("")?, read("_bidir_reverse")?])
    }

    /// `way` ends the names of the sums: nothing, or what iperf3 appends for the way back.
    fn read(json: &Value, way: &str) -> Option<Self> {
        let end = &json["end"];
        let received = &end[format!("sum_received{way}")];
        Some(Self {
            bytes: received["bytes"].as_f64()?,
            gbit_per_second: received["bits_per_second"].as_f64()? / 1e9,
            retransmits: end[format!("sum_sent{way}")]["retransmits"]
                .as_u64()
                .unwrap_or(0),
        })
    }
}

/// Whether the network namespace of a process has a TCP socket that listens on `port`
/// (state 0A in `/proc/<pid>/net/tcp`, proc(5)).
fn listens(pid: u32, port: u16) -> bool {
    let wanted = format!(":{port:04X}");
    ["tcp", "tcp6"].iter().any(|table| {
        let text = fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        text.lines().any(|line| {
            let mut fields = line.split_whitespace();
            fields.nth(1).is_some_and(|local| local.ends_with(&wanted))
                && fields.nth(1) == Some("0A")
        })
    })
}
