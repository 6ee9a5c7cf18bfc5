//! ICMP echo by the `ping` of iputils.

use std::net::IpAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::netns::Netns;
use crate::wait;

/// What came back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PingReport {
    /// Requests sent.
    pub sent: u32,
    /// Replies received, duplicates not counted.
    pub received: u32,
    /// Mean round-trip time in milliseconds, if any reply came.
    pub mean_ms: Option<f64>,
}

/// Sends `count` requests of 56 bytes, 50 ms apart, and waits at most two seconds for the last reply.
/// Lost replies are no error.
pub fn ping(from: &Netns, to: IpAddr, count: u32) -> Result<PingReport> {
    let mut command = from.command("ping");
    command.args([
        "-n",
        "-q",
        "-i",
        "0.05",
        "-W",
        "2",
        "-c",
        &count.to_string(),
    ]);
    let output = command
        .arg(to.to_string())
        .stdin(Stdio::null())
        .output()
        .context("cannot start `ping` (package iputils-ping)")?;
    let text = String::from_utf8_lossy(&output.stdout);
    replies_in(&text).with_context(|| {
        let errors = String::from_utf8_lossy(&output.stderr);
        format!("`ping {to}` said: {text}{errors}")
    })
}

/// Sends `count` requests of 56 bytes from here, `interval` apart; the round-trip times in milliseconds
/// of those that were answered, in their order.
pub fn round_trips(to: &str, count: u32, interval: Duration) -> Result<Vec<f64>> {
    let output = Command::new("ping")
        .args(["-n", "-W", "2", "-c", &count.to_string()])
        .args(["-i", &format!("{:.3}", interval.as_secs_f64()), to])
        .stdin(Stdio::null())
        .output()
        .context("cannot start `ping` (package iputils-ping)")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let times: Vec<f64> = text.lines().filter_map(round_trip).collect();
    ensure!(
        !times.is_empty(),
        "`ping {to}` got no answer: {text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(times)
}

fn round_trip(line: &str) -> Option<f64> {
    let (_, time) = line.split_once("time=")?;
    time.split_whitespace().next()?.parse().ok()
}

/// Waits until one ping is answered: the tunnel is up.
pub fn wait_for_ping(from: &Netns, to: IpAddr, limit: Duration) -> Result<()> {
    let what = format!("{} to reach {to}", from.name());
    wait::try_until(&what, limit, || {
        let mut command: Command = from.command("ping");
        let status = command
            .args(["-n", "-q", "-c", "1", "-W", "1"])
            .arg(to.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        Ok(status.success().then_some(()))
    })
}

/// Reads the two summary lines that `ping` wrote.
pub fn replies_in(text: &str) -> Option<PingReport> {
    let counts = text.lines().find(|line| line.contains("transmitted"))?;
    let number = |field: &str| {
        let part = counts.split(',').find(|part| part.contains(field))?;
        part.split_whitespace().next()?.parse().ok()
    };
    let times = text.lines().find(|line| line.starts_with("rtt"));
    Some(PingReport {
        sent: number("transmitted")?,
        received: number("received")?,
        mean_ms: times.and_then(|line| line.split('=').nth(1)?.split('/').nth(1)?.parse().ok()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_tells_its_time() {
        let line = "64 bytes from 10.2.0.2: icmp_seq=3 ttl=62 time=0.187 ms";
        assert_eq!(round_trip(line), Some(0.187));
        assert_eq!(
            round_trip("From 10.1.0.1 icmp_seq=4 Time to live exceeded"),
            None
        );
    }

    #[test]
    fn the_summary_is_read_with_and_without_replies() {
        let good = "\n--- 10.2.0.10 ping statistics ---\n\
            5 packets transmitted, 4 received, +1 errors, 20% packet loss, time 203ms\n\
            rtt min/avg/max/mdev = 0.301/0.412/0.612/0.101 ms\n";
        let lost = "3 packets transmitted, 0 received, 100% packet loss, time 100ms\n";
        assert_eq!(
            replies_in(good),
            Some(PingReport {
                sent: 5,
                received: 4,
                mean_ms: Some(0.412)
            })
        );
        assert_eq!(replies_in(lost).unwrap().mean_ms, None);
        assert_eq!(replies_in("ping: connect: Network is unreachable"), None);
    }
}
