//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::contender::Contender;
use crate::failover;
use crate::load::Load;
use crate::scale::{self, Part};

/// What `--help` prints.
pub(crate) const USAGE: &str = "\
cargo xtask bench [OPTIONS]                   between two sites, against plain forwarding and other tunnels
cargo xtask bench to HOST [--runs N] [--seconds N] [--label NAME] [--json FILE]
                                              from this host to one where `iperf3 -s` runs, through whatever joins them
cargo xtask bench micro [--json FILE]         the parts of the fast path one by one, under two minutes
cargo xtask bench scale [OPTIONS]             with many routes, sites, flows, and under floods
cargo xtask bench failover [OPTIONS]          how long traffic stops where a path, a carrier or a gateway fails
cargo xtask bench compare A.json B.json       what got worse from A to B beyond the noise; exit code 1 if any did

  --quick            3 runs of 2 s of fewer loads: a first look
  --runs N           runs of each contender, interleaved (default 5)
  --seconds N        seconds of each TCP transfer and each latency measurement (default 5)
  --trial-ms N       milliseconds of each trial of the search for a UDP rate (default 1000)
  --contenders LIST  plain,crossway,crossway-boringtun (boringtun runs its sessions),
                     wireguard-go,wireguard-go-debian,gotatun,boringtun,kernel-wireguard
  --with LIST, --without LIST
                     more or fewer contenders than the default, which is all but wireguard-go-debian
  --loads LIST       tcp-1,tcp-4,tcp-16,tcp-both,udp-64,udp-512,udp-1380,udp-imix,
                     latency-idle,latency-half,latency-equal (default all)
  --cable KIND       wire: every packet by itself, as on a wire (default); udp-whole: so for TCP, but UDP_SEGMENT
                     datagrams cross in one piece, as `tso off gso off` alone leaves it; whole: all super-packets
                     cross in one piece, as inside one hypervisor
  --json FILE        write every sample, the machine and the settings
  --svg FILE         draw the medians

scale takes --quick, --runs N (default 3), --seconds N (default 4), --json FILE, and
  --parts LIST       routes,sites,flows,flood,handshakes (default all)
  --routes LIST      how many are replaced at once (default 100000,1000000)
  --sites N          of which one answers (default 2000)
  --flows N          live flows (default 1000000)

failover takes --quick, --runs N (repetitions, default 20), --json FILE, --svg FILE, and
  --rows LIST        cut-100,cut-30,carrier,drain,kill,preempt,handover,restart,flap,many (default all)
  --soak             watch 200 links for 10 minutes under traffic instead of 30 s
  --contenders LIST  crossway,wireguard-go+frr
                     exit code 1 if Crossway missed a target";

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    Sites(Args),
    Remote(RemoteArgs),
    Micro { json: Option<PathBuf> },
    Scale(scale::Args),
    Failover(failover::Args),
    Compare(PathBuf, PathBuf),
    Help,
}

/// What the cables between the namespaces carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cable {
    /// Every packet by itself.
    Wire,
    /// TCP packet by packet, UDP super-packets in one piece.
    UdpWhole,
    /// All super-packets in one piece.
    Whole,
}

impl Cable {
    fn from_name(name: &str) -> Result<Self> {
        match name {
            "wire" => Ok(Self::Wire),
            "udp-whole" => Ok(Self::UdpWhole),
            "whole" => Ok(Self::Whole),
            _ => bail!("--cable {name}: write wire, udp-whole or whole"),
        }
    }

    /// The features of its ends, as `ethtool -K` takes them.
    pub(crate) fn features(self) -> &'static str {
        match self {
            Self::Wire => "tso off gso off tx-udp-segmentation off gro on",
            Self::UdpWhole => "tso off gso off tx-udp-segmentation on gro on",
            Self::Whole => "tso on gso on tx-udp-segmentation on gro on",
        }
    }
}

/// What to measure between the sites.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Args {
    pub(crate) seconds: u32,
    pub(crate) trial: Duration,
    pub(crate) runs: u32,
    pub(crate) loads: Vec<Load>,
    pub(crate) contenders: Vec<Contender>,
    pub(crate) cable: Cable,
    pub(crate) json: Option<PathBuf>,
    pub(crate) svg: Option<PathBuf>,
}

/// What to measure from this host to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RemoteArgs {
    pub(crate) server: String,
    pub(crate) label: String,
    pub(crate) runs: u32,
    pub(crate) seconds: u32,
    pub(crate) json: Option<PathBuf>,
}

impl Task {
    pub(crate) fn parse(words: impl Iterator<Item = String>) -> Result<Self> {
        let words: Vec<String> = words.collect();
        if words.iter().any(|word| word == "--help" || word == "-h") {
            return Ok(Self::Help);
        }
        match words.first().map(String::as_str) {
            Some("micro") => match &words[1..] {
                [] => Ok(Self::Micro { json: None }),
                [option, file] if option == "--json" => Ok(Self::Micro {
                    json: Some(file.into()),
                }),
                _ => bail!("micro takes nothing but --json FILE\n{USAGE}"),
            },
            Some("to") => RemoteArgs::parse(&words[1..]).map(Self::Remote),
            Some("scale") => parse_scale(words.into_iter().skip(1)).map(Self::Scale),
            Some("failover") => parse_failover(words.into_iter().skip(1)).map(Self::Failover),
            Some("compare") => match &words[1..] {
                [before, after] => Ok(Self::Compare(before.into(), after.into())),
                _ => bail!("compare takes two files\n{USAGE}"),
            },
            _ => Args::parse(words.into_iter()).map(Self::Sites),
        }
    }
}

impl RemoteArgs {
    fn parse(words: &[String]) -> Result<Self> {
        let (server, options) = words
            .split_first()
            .filter(|(server, _)| !server.starts_with('-'))
            .with_context(|| format!("to takes the far host's address\n{USAGE}"))?;
        let mut args = Self {
            server: server.clone(),
            label: "tunnel".to_owned(),
            runs: 5,
            seconds: 5,
            json: None,
        };
        let mut words = options.iter().cloned();
        while let Some(option) = words.next() {
            let mut value = || value_of(&option, &mut words);
            match option.as_str() {
                "--label" => args.label = value()?,
                "--runs" => args.runs = number(&option, &value()?)?,
                "--seconds" => args.seconds = number(&option, &value()?)?,
                "--json" => args.json = Some(value()?.into()),
                _ => bail!("unknown option {option} of `to`\n{USAGE}"),
            }
        }
        Ok(args)
    }
}

impl Args {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let mut args = Self {
            seconds: 5,
            trial: Duration::from_secs(1),
            runs: 5,
            loads: Load::all(),
            contenders: default_contenders(),
            cable: Cable::Wire,
            json: None,
            svg: None,
        };
        while let Some(option) = words.next() {
            let mut value = || value_of(&option, &mut words);
            match option.as_str() {
                "--quick" => args.make_quick(),
                "--seconds" => args.seconds = number(&option, &value()?)?,
                "--trial-ms" => {
                    args.trial = Duration::from_millis(number(&option, &value()?)?.into());
                }
                "--runs" => args.runs = number(&option, &value()?)?,
                "--loads" => args.loads = list(&value()?, Load::from_name)?,
                "--contenders" => args.contenders = list(&value()?, Contender::from_name)?,
                "--with" => args
                    .contenders
                    .extend(list(&value()?, Contender::from_name)?),
                "--without" => {
                    let without = list(&value()?, Contender::from_name)?;
                    args.contenders.retain(|other| !without.contains(other));
                }
                "--cable" => args.cable = Cable::from_name(&value()?)?,
                "--json" => args.json = Some(value()?.into()),
                "--svg" => args.svg = Some(value()?.into()),
                _ => bail!("unknown option {option}\n{USAGE}"),
            }
        }
        // In the order of the table and of the runs, each once.
        let chosen = std::mem::take(&mut args.contenders);
        args.contenders = Contender::all().filter(|c| chosen.contains(c)).collect();
        let chosen = std::mem::take(&mut args.loads);
        args.loads = Load::all();
        args.loads.retain(|load| chosen.contains(load));
        ensure!(!args.contenders.is_empty(), "no contender is left");
        Ok(args)
    }

    fn make_quick(&mut self) {
        self.runs = 3;
        self.seconds = 2;
        self.trial = Duration::from_millis(400);
        self.loads = Load::quick();
    }
}

fn parse_scale(mut words: impl Iterator<Item = String>) -> Result<scale::Args> {
    let mut args = scale::Args {
        parts: Part::all(),
        runs: 3,
        seconds: 4,
        flows: 1_000_000,
        sites: 2000,
        routes: vec![100_000, 1_000_000],
        json: None,
    };
    while let Some(option) = words.next() {
        let mut value = || value_of(&option, &mut words);
        match option.as_str() {
            "--quick" => {
                (args.runs, args.seconds) = (1, 2);
                args.routes = vec![100_000];
            }
            "--runs" => args.runs = number(&option, &value()?)?,
            "--seconds" => args.seconds = number(&option, &value()?)?,
            "--flows" => args.flows = number(&option, &value()?)?,
            "--sites" => args.sites = number(&option, &value()?)?.try_into()?,
            "--routes" => args.routes = list(&value()?, |word| number(&option, word))?,
            "--parts" => args.parts = list(&value()?, Part::from_name)?,
            "--json" => args.json = Some(value()?.into()),
            _ => bail!("unknown option {option} of scale\n{USAGE}"),
        }
    }
    Ok(args)
}

fn parse_failover(mut words: impl Iterator<Item = String>) -> Result<failover::Args> {
    let mut args = failover::Args {
        rows: failover::Row::all(),
        contenders: failover::Contender::all(),
        runs: 20,
        quick: false,
        soak: Duration::from_secs(30),
        json: None,
        svg: None,
    };
    while let Some(option) = words.next() {
        let mut value = || value_of(&option, &mut words);
        match option.as_str() {
            "--quick" => {
                (args.runs, args.quick) = (2, true);
                args.soak = Duration::from_secs(3);
            }
            "--soak" => args.soak = Duration::from_mins(10),
            "--runs" => args.runs = number(&option, &value()?)?,
            "--rows" => args.rows = list(&value()?, failover::Row::from_name)?,
            "--contenders" => {
                args.contenders = list(&value()?, failover::Contender::from_name)?;
            }
            "--json" => args.json = Some(value()?.into()),
            "--svg" => args.svg = Some(value()?.into()),
            _ => bail!("unknown option {option} of failover\n{USAGE}"),
        }
    }
    Ok(args)
}

/// All but the old build: where the newest cannot be had, `--with` brings it in.
fn default_contenders() -> Vec<Contender> {
    let all = Contender::all();
    all.filter(|contender| contender.name() != "wireguard-go-debian")
        .collect()
}

/// The word behind an option.
fn value_of(option: &str, words: &mut impl Iterator<Item = String>) -> Result<String> {
    let value = words.next();
    value.with_context(|| format!("{option} needs a value\n{USAGE}"))
}

fn list<T>(words: &str, parse: impl Fn(&str) -> Result<T>) -> Result<Vec<T>> {
    words.split(',').map(parse).collect()
}

fn number(option: &str, word: &str) -> Result<u32> {
    let number = word.parse().ok().filter(|number| *number > 0);
    number.with_context(|| format!("{option} takes a whole number above 0, not {word:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args> {
        match Task::parse(line.split_whitespace().map(str::to_owned))? {
            Task::Sites(args) => Ok(args),
            other => panic!("{line} is {other:?}"),
        }
    }

    fn names(args: &Args) -> Vec<&str> {
        args.contenders.iter().map(|c| c.name()).collect()
    }

    #[test]
    fn without_words_everything_meets_but_the_old_build() {
        let args = parse("").unwrap();
        assert!(names(&args).contains(&"crossway"));
        assert!(!names(&args).contains(&"wireguard-go-debian"));
        assert_eq!(args.loads, Load::all());
    }

    #[test]
    fn contenders_are_added_once_and_taken_away_and_stand_in_one_order() {
        let args = parse("--contenders crossway,plain --with gotatun,plain --without crossway");
        assert_eq!(names(&args.unwrap()), ["plain", "gotatun"]);
    }

    #[test]
    fn scale_has_options_of_its_own() {
        let parse = |line: &str| Task::parse(line.split_whitespace().map(str::to_owned));
        let Ok(Task::Scale(args)) = parse("scale --quick --parts flows,flood --flows 5000") else {
            panic!("no task");
        };
        assert_eq!((args.runs, args.flows, args.sites), (1, 5000, 2000));
        assert_eq!(args.parts, [Part::Flows, Part::Flood]);
        assert!(parse("scale --parts rain").is_err());
        assert!(parse("scale --loads tcp-1").is_err());
    }

    #[test]
    fn failover_has_rows_and_contenders_of_its_own() {
        let parse = |line: &str| Task::parse(line.split_whitespace().map(str::to_owned));
        let line = "failover --quick --rows cut-30,kill --contenders wireguard-go+frr";
        let Ok(Task::Failover(args)) = parse(line) else {
            panic!("no task");
        };
        assert_eq!((args.runs, args.quick, args.rows.len()), (2, true, 2));
        assert_eq!(args.contenders, [failover::Contender::Rival]);
        assert!(parse("failover --rows rain").is_err());
        assert!(parse("failover --contenders openvpn").is_err());
    }

    #[test]
    fn quick_can_be_refined() {
        let args = parse("--quick --runs 1 --loads udp-imix,tcp-1").unwrap();
        assert_eq!((args.runs, args.seconds), (1, 2));
        assert_eq!(args.loads, [Load::Tcp(1), Load::UdpImix]);
    }

    #[test]
    fn nonsense_is_refused_with_the_value() {
        let message = parse("--runs none").unwrap_err().to_string();
        assert!(message.contains("\"none\""), "{message}");
        assert!(parse("--runs").is_err());
        assert!(parse("--fast").is_err());
        assert!(parse("--loads tcp-3").is_err());
        for line in ["compare", "to", "to --label x", "to 10.2.0.2 --runs"] {
            let words = line.split_whitespace().map(str::to_owned);
            assert!(Task::parse(words).is_err(), "{line}");
        }
    }
}
