//! `cargo xtask blast [--count 10m] [--seed N]`: malformed packets against a live pair, as the namespace ring does in
//! short.

use anyhow::{Context, Result, bail, ensure};

use crate::setup::{self, Purpose};
use crate::{build, cmd, environment};

const USAGE: &str = "blast takes --count N (such as 500k or 10m) and --seed N";
const COUNT: u64 = 10_000_000;
const SEED: u64 = 1;

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let (count, seed) = parse(arguments)?;
    let toolchain = setup::ensure(Purpose::Lab)?;
    build::build(&toolchain)?;
    let words = [
        "build",
        "--quiet",
        "--release",
        "-p",
        "vm-tests",
        "--example",
        "blast",
    ];
    cmd::run("building the blaster", &mut cmd::cargo(&words))?;
    let program = environment::workspace().join("target/release/examples/blast");
    let numbers = [count, seed].map(|number| number.to_string());
    cmd::become_command(cmd::as_root(program).args(numbers))
}

fn parse(arguments: &[String]) -> Result<(u64, u64)> {
    let (mut count, mut seed) = (COUNT, SEED);
    let mut words = arguments.iter();
    while let Some(option) = words.next() {
        let value = words.next().context(USAGE)?;
        match option.as_str() {
            "--count" => count = number(value)?,
            "--seed" => seed = number(value)?,
            _ => bail!("there is no option {option}: {USAGE}"),
        }
    }
    ensure!(count > 0, "no packets: {USAGE}");
    Ok((count, seed))
}

fn number(word: &str) -> Result<u64> {
    let (digits, unit) = match word.strip_suffix(['k', 'm']) {
        Some(digits) if word.ends_with('k') => (digits, 1000),
        Some(digits) => (digits, 1_000_000),
        None => (word, 1),
    };
    let number = digits
        .parse()
        .ok()
        .and_then(|number: u64| number.checked_mul(unit));
    number.with_context(|| format!("{word:?} is no number: {USAGE}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<(u64, u64)> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        parse(&words)
    }

    #[test]
    fn counts_have_units_and_nonsense_is_refused() {
        assert_eq!(parsed("").unwrap(), (10_000_000, 1));
        assert_eq!(parsed("--count 10m --seed 7").unwrap(), (10_000_000, 7));
        assert_eq!(parsed("--count 500k").unwrap(), (500_000, 1));
        for line in [
            "--count",
            "--count many",
            "--count 0",
            "--speed 9",
            "--count 99999999999999m",
        ] {
            assert!(parsed(line).is_err(), "{line}");
        }
    }
}
