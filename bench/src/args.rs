//! The command line.

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};

use crate::contender::Contender;

/// What `--help` prints.
pub(crate) const USAGE: &str = "\
cargo xtask bench [--seconds N] [--runs N] [--streams 1,4] [--json FILE] [--without crossway] [--with wireguard-go] [--with boringtun]
  --seconds N   seconds of each transfer (default 5)
  --runs N      runs of each contender, interleaved (default 5)
  --streams L   numbers of parallel TCP streams, separated by commas (default 1,4)
  --json FILE   also write every sample, the machine and the settings
  --with NAME   another tunnel: wireguard-go, boringtun";

/// What to measure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Args {
    pub(crate) seconds: u32,
    pub(crate) runs: u32,
    pub(crate) streams: Vec<u32>,
    pub(crate) json: Option<PathBuf>,
    /// Plain forwarding first.
    pub(crate) contenders: Vec<Contender>,
}

impl Args {
    pub(crate) fn parse(words: impl Iterator<Item = String>) -> Result<Self> {
        let mut args = Self {
            seconds: 5,
            runs: 5,
            streams: vec![1, 4],
            json: None,
            contenders: vec![Contender::Plain, Contender::CROSSWAY],
        };
        let mut words = words;
        while let Some(option) = words.next() {
            let mut value = || {
                words
                    .next()
                    .with_context(|| format!("{option} needs a value\n{USAGE}"))
            };
            match option.as_str() {
                "--seconds" => args.seconds = number(&option, &value()?)?,
                "--runs" => args.runs = number(&option, &value()?)?,
                "--streams" => {
                    let list = value()?;
                    let numbers = list.split(',').map(|word| number(&option, word));
                    args.streams = numbers.collect::<Result<_>>()?;
                }
                "--json" => args.json = Some(value()?.into()),
                "--with" => {
                    let contender = Contender::from_name(&value()?)?;
                    if !args.contenders.contains(&contender) {
                        args.contenders.push(contender);
                    }
                }
                "--without" => {
                    let contender = Contender::from_name(&value()?)?;
                    args.contenders.retain(|other| *other != contender);
                }
                "--help" | "-h" => {
                    println!("{USAGE}");
                    std::process::exit(0);
                }
                _ => bail!("unknown option {option}\n{USAGE}"),
            }
        }
        ensure!(!args.contenders.is_empty(), "nothing is left to measure");
        Ok(args)
    }
}

fn number(option: &str, word: &str) -> Result<u32> {
    let number = word.parse().ok().filter(|number| *number > 0);
    number.with_context(|| format!("{option} takes a whole number above 0, not {word:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args> {
        Args::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn without_words_plain_forwarding_meets_crossway() {
        let args = parse("").unwrap();
        assert_eq!(args.contenders, [Contender::Plain, Contender::CROSSWAY]);
        assert_eq!(args.streams, [1, 4]);
    }

    #[test]
    fn contenders_are_added_once_and_taken_away() {
        let args = parse("--with wireguard-go --with wireguard-go --without crossway").unwrap();
        let names: Vec<_> = args.contenders.iter().map(|c| c.name()).collect();
        assert_eq!(names, ["plain", "wireguard-go"]);
    }

    #[test]
    fn nonsense_is_refused_with_the_value() {
        let message = parse("--runs none").unwrap_err().to_string();
        assert!(message.contains("\"none\""), "{message}");
        assert!(parse("--runs").is_err());
        assert!(parse("--fast").is_err());
    }
}
