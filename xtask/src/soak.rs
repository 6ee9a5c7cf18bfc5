//! `cargo xtask soak`: everything at once for a long time; see [`vm_tests::soak`].

use std::env;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use vm_tests::soak::{self, Options};
use vm_tests::{cleanup, sys};

use crate::setup::{self, Purpose};
use crate::{build, cmd, environment};

/// The word by which it starts itself as root.
pub(crate) const TASK: &str = "soak-as-root";
/// Names of namespaces and gateways start with it.
const PREFIX: &str = "cw-soak";
const DEFAULT: Duration = Duration::from_mins(5);

/// `cargo xtask soak [--for 30m] [--seed N]`.
pub(crate) fn task(words: &[String]) -> Result<()> {
    parse(words)?;
    let toolchain = setup::ensure(Purpose::Test)?;
    build::build(&toolchain)?;
    if sys::is_root() {
        return run(words);
    }
    let own = env::current_exe().context("cannot find out which program this is")?;
    cmd::become_command(cmd::as_root(own).arg(TASK).args(words))
}

/// As root.
pub(crate) fn run(words: &[String]) -> Result<()> {
    let options = parse(words)?;
    ensure!(sys::is_root(), "a soak needs root");
    sys::watch_stop_signals();
    for line in cleanup::remove_leftovers(PREFIX)? {
        eprintln!("removed what a killed soak left: {line}");
    }
    soak::run(&options)
}

fn parse(words: &[String]) -> Result<Options> {
    let mut options = Options {
        span: DEFAULT,
        seed: 0,
        prefix: Some(PREFIX.to_owned()),
        logs: environment::workspace().join("target/soak"),
        steps: None,
    };
    let mut seed = None;
    let mut words = words.iter().map(String::as_str);
    while let Some(word) = words.next() {
        let (option, value) = match word.split_once('=') {
            Some((option, value)) => (option, Some(value)),
            None => (word, words.next()),
        };
        match (option, value) {
            ("--for", Some(value)) => options.span = parse_span(value)?,
            ("--seed", Some(value)) => {
                let number = value.parse();
                seed =
                    Some(number.with_context(|| format!("--seed takes a number, not {value:?}"))?);
            }
            _ => bail!("soak takes `--for 30m` and `--seed 7`, not {word:?}"),
        }
    }
    options.seed = seed.unwrap_or_else(seed_of_this_run);
    Ok(options)
}

/// `45s`, `30m` or `8h`.
fn parse_span(text: &str) -> Result<Duration> {
    let units = [('s', 1), ('m', 60), ('h', 3600)];
    let span = units.iter().find_map(|(unit, seconds)| {
        let number: u64 = text.strip_suffix(*unit)?.parse().ok()?;
        Some(Duration::from_secs(number.checked_mul(*seconds)?))
    });
    span.with_context(|| format!("--for takes a time such as 45s, 30m or 8h, not {text:?}"))
}

/// Another one each time, short enough to be typed.
fn seed_of_this_run() -> u64 {
    std::process::id().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_a_unit_and_seeds_are_numbers() {
        let words = ["--for", "30m", "--seed=7"].map(str::to_owned);
        let options = parse(&words).unwrap();
        assert_eq!((options.span, options.seed), (Duration::from_mins(30), 7));
        for wrong in [["--for", "30"], ["--seed", "x"], ["--far", "1s"]] {
            assert!(parse(&wrong.map(str::to_owned)).is_err(), "{wrong:?}");
        }
    }
}
