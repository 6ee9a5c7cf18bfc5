//! The lab: two sites on this machine, joined by two real agents.
//!
//! ```text
//!   host a ── gateway a ── WAN ── gateway b ── host b        namespaces cw-lab-host-a, cw-lab-gw-a, ...
//! ```

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use vm_tests::cleanup;
use vm_tests::crossway::Crossway;
use vm_tests::plan::{self, Shape};
use vm_tests::sys;
use vm_tests::topology::{Builder, Family, Topology};
use vm_tests::wait;

mod checks;
mod hints;
mod page;
mod scenario;
mod status;
mod table;

use scenario::Scenario;

/// Names of namespaces and gateways start with it.
pub(crate) const PREFIX: &str = "cw-lab";
/// The word by which `run` starts the lab as root.
pub(crate) const TASK: &str = "lab-as-root";
const PASSED: &str = "Both directions passed traffic with the true source address.";
const LOCK: &str = "crossway-lab";

/// What the user asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// What is played before the live status.
    scenario: Option<Scenario>,
    /// Length of the live status; without, until a signal.
    duration: Option<Duration>,
}

impl Options {
    pub(crate) fn parse(words: &[String]) -> Result<Self> {
        let mut options = Self {
            scenario: None,
            duration: None,
        };
        let mut words = words.iter().map(String::as_str);
        while let Some(word) = words.next() {
            let (option, value) = match word.split_once('=') {
                Some((option, value)) => (option, Some(value)),
                None => (word, words.next()),
            };
            match (option, value) {
                ("--for", Some(value)) => options.duration = Some(parse_duration(value)?),
                ("--scenario", Some(value)) => options.scenario = Some(Scenario::from_name(value)?),
                _ => bail!(
                    "the lab takes `--for 10s` and `--scenario {}`, not {word:?}. To run the connector: `cargo xtask run -- --config FILE`",
                    Scenario::names()
                ),
            }
        }
        Ok(options)
    }
}

/// Runs the lab as root; fails unless traffic passed both ways with its true source.
pub(crate) fn run(words: &[String]) -> Result<()> {
    let options = Options::parse(words)?;
    ensure!(sys::is_root(), "the lab needs root");
    let _lock = lock()?;
    sys::watch_stop_signals();
    for line in cleanup::remove_leftovers(PREFIX)? {
        eprintln!("removed what a killed lab left: {line}");
    }
    let outcome = match options.scenario {
        Some(scenario) => scenario::play(scenario, options.duration),
        None => work(options),
    };
    let left = cleanup::remove_leftovers(PREFIX)?;
    for line in &left {
        eprintln!("removed {line}");
    }
    match outcome {
        // A signal ends the live status; that is how the lab is left.
        Ok(()) => println!("The lab is gone; nothing of it is left."),
        Err(_) if sys::stop_requested() => bail!("interrupted before the checks were done"),
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Held while a lab stands or is cleaned up, so that nobody removes another's. An abstract socket
/// (unix(7)) goes with its process, whatever ends it.
pub(crate) fn lock() -> Result<UnixListener> {
    let address = SocketAddr::from_abstract_name(LOCK)?;
    UnixListener::bind_addr(&address).context("a lab is running already: end it with Ctrl-C first")
}

fn work(options: Options) -> Result<()> {
    println!("Building two sites: host a - gateway a - WAN - gateway b - host b");
    let topology = Builder::new(&["a", "b"]).prefix(PREFIX).build()?;
    let gateways = start_gateways(&topology)?;
    println!("Checking traffic both ways");
    if let Err(error) = checks::run(&topology) {
        for gateway in gateways.iter().filter(|_| !sys::stop_requested()) {
            eprintln!(
                "--- log of {}:\n{}",
                gateway.name(),
                gateway.log().trim_end()
            );
        }
        return Err(error);
    }
    println!("{PASSED}\n");
    let _traffic = checks::KeepTalking::start(&topology)?;
    let names: Vec<&str> = gateways.iter().map(Crossway::name).collect();
    status::show(&names, PASSED, &hints::of(&topology), options.duration);
    drop(gateways);
    Ok(())
}

fn start_gateways(topology: &Topology) -> Result<Vec<Crossway>> {
    let start = wait::now();
    let plans = plan::plan(topology, Shape::FullMesh, Family::V4)?;
    let mut gateways = Vec::new();
    for plan in &plans {
        let gateway = Crossway::start(topology, plan)?;
        println!("  agent {} runs (pid {})", gateway.name(), gateway.pid()?);
        gateways.push(gateway);
    }
    println!("  both answer after {:.1} s", start.elapsed().as_secs_f64());
    Ok(gateways)
}

/// `10s`, `2m`, `500ms` or a number of seconds.
pub(crate) fn parse_duration(text: &str) -> Result<Duration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "ms" => Some(0.001),
        "" | "s" => Some(1.0),
        "m" => Some(60.0),
        "h" => Some(3600.0),
        _ => None,
    };
    let number: Option<f64> = digits.parse().ok();
    match (number, unit) {
        (Some(number), Some(unit)) if (0.0..1e6).contains(&number) => {
            Ok(Duration::from_secs_f64(number * unit))
        }
        _ => bail!("{text:?} is no duration: expected something like 10s or 2m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Options::parse(&words)
    }

    #[test]
    fn a_duration_is_read_in_its_usual_forms() {
        for (line, milliseconds) in [
            ("--for 10s", 10_000),
            ("--for=2m", 120_000),
            ("--for 1.5", 1500),
        ] {
            let expected = Duration::from_millis(milliseconds);
            assert_eq!(parse(line).unwrap().duration, Some(expected), "{line}");
        }
        assert_eq!(parse("").unwrap().duration, None);
    }

    #[test]
    fn a_scenario_is_known_by_its_name() {
        let options = parse("--scenario gateway-kill --for 0s").unwrap();
        assert_eq!(options.scenario, Some(Scenario::GatewayKill));
        assert_eq!(options.duration, Some(Duration::ZERO));
        let message = parse("--scenario rain").unwrap_err().to_string();
        assert!(message.contains("split-brain"), "{message}");
    }

    #[test]
    fn anything_else_is_refused() {
        for line in [
            "--for",
            "--scenario",
            "--for soon",
            "--for 5 fortnights",
            "--config x",
            "--for -1s",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
