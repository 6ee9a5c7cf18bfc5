//! Real traffic between the hosts, both ways, and whether the far host saw the true source.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use vm_tests::process::ProcessGuard;
use vm_tests::sys;
use vm_tests::topology::{Family, Site, Topology};
use vm_tests::traffic;

/// From the agents' start to the first packet through: handshakes and a lost first one or two.
const UP_LIMIT: Duration = Duration::from_secs(20);
const PINGS: u32 = 5;
const TCP_BYTES: u64 = 32 << 20;

/// Runs all checks, one line each; fails with the number of those that did not pass.
pub(super) fn run(topology: &Topology) -> Result<()> {
    let (a, b) = (&topology.sites[0], &topology.sites[1]);
    traffic::wait_for_ping(&a.host, b.host_address(Family::V4), UP_LIMIT)
        .context("no packet came through the tunnel")?;
    let mut failed = 0;
    for (from, to) in [(a, b), (b, a)] {
        for family in Family::ALL {
            for (name, check) in [("ping", ping as Check), ("TCP", tcp)] {
                ensure!(!sys::stop_requested(), "interrupted");
                let line = format!(
                    "{name:<4}  host {} -> host {}  {:<16}",
                    from.name,
                    to.name,
                    to.host_address(family)
                );
                match check(from, to, family) {
                    Ok(result) => println!("  ok      {line}  {result}"),
                    Err(error) => {
                        println!("  FAILED  {line}  {error:#}");
                        failed += 1;
                    }
                }
            }
        }
    }
    if failed > 0 {
        bail!("{failed} of the lab's 8 checks failed");
    }
    Ok(())
}

/// Two hosts that keep pinging each other, so that the live status has something to show.
pub(super) struct KeepTalking {
    #[expect(dead_code, reason = "held until the lab ends")]
    pings: Vec<ProcessGuard>,
}

impl KeepTalking {
    pub(super) fn start(topology: &Topology) -> Result<Self> {
        let (a, b) = (&topology.sites[0], &topology.sites[1]);
        let log = topology.directory().join("pings.log");
        let mut pings = Vec::new();
        for (from, to, family) in [(a, b, Family::V4), (b, a, Family::V6)] {
            let target = to.host_address(family).to_string();
            let words = ["-n", "-q", "-i", "0.2", &target];
            pings.push(from.host.spawn("ping", "ping", &words, &log)?);
        }
        Ok(Self { pings })
    }
}

type Check = fn(&Site, &Site, Family) -> Result<String>;

fn ping(from: &Site, to: &Site, family: Family) -> Result<String> {
    let report = traffic::ping(&from.host, to.host_address(family), PINGS)?;
    ensure!(
        report.received == report.sent,
        "{} of {} replies",
        report.received,
        report.sent
    );
    let mean = report.mean_ms.unwrap_or_default();
    Ok(format!(
        "{}/{} replies, {mean:.2} ms",
        report.received, report.sent
    ))
}

fn tcp(from: &Site, to: &Site, family: Family) -> Result<String> {
    let report = traffic::tcp_transfer(&from.host, &to.host, to.host_address(family), TCP_BYTES)?;
    let source: IpAddr = from.host_address(family);
    ensure!(
        report.source_seen == source,
        "the far host saw {} instead of {source}",
        report.source_seen
    );
    Ok(format!(
        "{} MiB, {:.0} Mbit/s, source seen: {source}",
        report.bytes >> 20,
        report.mbit_per_second()
    ))
}
