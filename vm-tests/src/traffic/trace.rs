//! The routers on a way, by `traceroute` and `mtr`.

use std::net::IpAddr;

use anyhow::{Context, Result, bail, ensure};

use crate::netns::Netns;

/// What traceroute sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Datagrams to ports that nobody listens on.
    Udp,
    /// Echo requests.
    Icmp,
}

/// The routers and the target, as traceroute lists them. A probe without an answer (`*`), a hop with
/// two addresses or a complaint (such as `!N`) is an error.
pub fn traceroute(from: &Netns, to: IpAddr, probe: Probe) -> Result<Vec<IpAddr>> {
    let flag = match probe {
        Probe::Udp => "-U",
        Probe::Icmp => "-I",
    };
    // Not fewer hops than the way has, or a router too many would go unseen; few, so that a failure is quick.
    let text = from.run(&format!("traceroute -n -m 8 -w 2 {flag} {to}"))?;
    hops_in(&text).with_context(|| format!("traceroute {flag} {to} wrote\n{text}"))
}

/// The routers and the target, as `mtr --report` lists them. A lost probe is an error.
pub fn mtr(from: &Netns, to: IpAddr) -> Result<Vec<IpAddr>> {
    let text = from.run(&format!("mtr -n --report -c 2 -i 0.2 -G 1 {to}"))?;
    parse_mtr(&text).with_context(|| format!("mtr {to} wrote\n{text}"))
}

/// The hops in what traceroute wrote, with the same demands: ` 1  10.1.0.1  0.049 ms  0.010 ms  0.009 ms`
pub fn hops_in(text: &str) -> Result<Vec<IpAddr>> {
    let hops = text.lines().skip(1).map(|line| {
        let mut address = None;
        for word in line.split_whitespace().skip(1) {
            if word == "ms" || word.parse::<f64>().is_ok() {
                continue;
            }
            let found: IpAddr = word
                .parse()
                .with_context(|| format!("{word} is no address"))?;
            ensure!(address.is_none(), "a hop with two addresses");
            address = Some(found);
        }
        address.context("a hop without an address")
    });
    hops.collect()
}

/// `  1.|-- 10.1.0.1    0.0%     3    0.1   0.1   0.1   0.1   0.0`
fn parse_mtr(text: &str) -> Result<Vec<IpAddr>> {
    let hops = text
        .lines()
        .filter(|line| line.contains("|--"))
        .map(|line| {
            let mut words = line.split_whitespace().skip(1);
            match (words.next(), words.next()) {
                (Some(address), Some("0.0%")) => address
                    .parse()
                    .with_context(|| format!("{address} is no address")),
                (address, loss) => bail!("a hop {address:?} with a loss of {loss:?}"),
            }
        });
    hops.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_hop_is_an_error() {
        let head = "traceroute to 10.2.0.10 (10.2.0.10), 8 hops max, 60 byte packets\n";
        let good =
            format!("{head} 1  10.1.0.1  0.049 ms  0.010 ms  0.009 ms\n 2  10.2.0.10  0.1 ms\n");
        let hops: Vec<IpAddr> = vec![[10, 1, 0, 1].into(), [10, 2, 0, 10].into()];
        assert_eq!(hops_in(&good).unwrap(), hops);
        assert!(hops_in(&format!("{head} 1  10.1.0.1  0.049 ms * *\n")).is_err());
        assert!(hops_in(&format!("{head} 1  * * *\n")).is_err());
        assert!(hops_in(&format!("{head} 1  10.1.0.1  0.049 ms !N\n")).is_err());
    }

    #[test]
    fn a_lost_probe_of_mtr_is_an_error() {
        let head = "HOST: here   Loss%   Snt   Last   Avg  Best  Wrst StDev\n";
        let good = format!("{head}  1.|-- 10.1.0.1    0.0%     3    0.1   0.1   0.1   0.1   0.0\n");
        assert_eq!(parse_mtr(&good).unwrap(), [IpAddr::from([10, 1, 0, 1])]);
        assert!(parse_mtr(&good.replace("0.0%", "33.3%")).is_err());
        assert!(parse_mtr(&good.replace("10.1.0.1", "???")).is_err());
    }
}
