//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand, ValueEnum};

use crate::contender::Contender;
use crate::failover;
use crate::load::Load;
use crate::scale::{self, Part};

/// Traffic between two sites, against plain forwarding and other tunnels
#[derive(Debug, Parser)]
#[command(name = "bench", bin_name = "cargo xtask bench", max_term_width = 110)]
#[command(args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    sites: Sites,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// From this host to one where `iperf3 -s` runs, through whatever joins them
    To(RemoteArgs),
    /// The parts of the fast path one by one, under two minutes
    Micro {
        /// Write every sample, the machine and the settings
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
    },
    /// With many routes, sites, flows, and under floods
    Scale(Scale),
    /// How long traffic stops where a path, a carrier or a gateway fails; exit code 1 if Crossway missed a target
    Failover(Failover),
    /// What got worse from A to B beyond the noise; exit code 1 if any did
    Compare {
        #[arg(value_name = "A.json")]
        before: PathBuf,
        #[arg(value_name = "B.json")]
        after: PathBuf,
    },
}

#[derive(Debug, clap::Args)]
struct Sites {
    /// 3 runs of 2 s of fewer loads: a first look
    #[arg(long)]
    quick: bool,
    /// Runs of each contender, interleaved [default: 5]
    #[arg(long, value_name = "N", value_parser = above_0())]
    runs: Option<u32>,
    /// Seconds of each TCP transfer and each latency measurement [default: 5]
    #[arg(long, value_name = "N", value_parser = above_0())]
    seconds: Option<u32>,
    /// Milliseconds of each trial of the search for a UDP rate [default: 1000]
    #[arg(long, value_name = "N", value_parser = above_0())]
    trial_ms: Option<u32>,
    /// plain,crossway,crossway-boringtun (boringtun runs its sessions),wireguard-go,wireguard-go-debian,gotatun,boringtun,
    /// kernel-wireguard [default: all but wireguard-go-debian]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = Contender::from_name)]
    contenders: Option<Vec<Contender>>,
    /// More contenders than these
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = Contender::from_name)]
    with: Vec<Contender>,
    /// Fewer contenders than these
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = Contender::from_name)]
    without: Vec<Contender>,
    /// tcp-1,tcp-4,tcp-16,tcp-both,udp-64,udp-512,udp-1380,udp-imix,latency-idle,latency-half,latency-equal
    /// [default: all]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = Load::from_name)]
    loads: Option<Vec<Load>>,
    /// How the cables carry super-packets
    #[arg(long, value_name = "KIND", value_enum, default_value_t = Cable::Wire)]
    cable: Cable,
    /// Write every sample, the machine and the settings
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw the medians
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct Scale {
    /// One run of 2 s, and fewer routes
    #[arg(long)]
    quick: bool,
    /// Runs of each measurement [default: 3]
    #[arg(long, value_name = "N", value_parser = above_0())]
    runs: Option<u32>,
    /// Seconds of each transfer [default: 4]
    #[arg(long, value_name = "N", value_parser = above_0())]
    seconds: Option<u32>,
    /// routes,changes,sites,flows,flood,handshakes,metrics [default: all]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = Part::from_name)]
    parts: Option<Vec<Part>>,
    /// How many routes are replaced at once [default: 100000,1000000]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = above_0())]
    routes: Option<Vec<u32>>,
    /// Sites, of which one answers
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..), default_value_t = 2000)]
    sites: u16,
    /// Live flows
    #[arg(long, value_name = "N", value_parser = above_0(), default_value_t = 1_000_000)]
    flows: u32,
    /// Write every sample, the machine and the settings
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct Failover {
    /// 2 repetitions, and everything a little shorter
    #[arg(long)]
    quick: bool,
    /// Repetitions of each row [default: 20]
    #[arg(long, value_name = "N", value_parser = above_0())]
    runs: Option<u32>,
    /// cut-100,cut-30,carrier,drain,kill,preempt,handover,restart,flap,many [default: all]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = failover::Row::from_name)]
    rows: Option<Vec<failover::Row>>,
    /// crossway,wireguard-go+frr [default: both]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = failover::Contender::from_name)]
    contenders: Option<Vec<failover::Contender>>,
    /// Watch 200 links for 10 minutes under traffic instead of 30 s
    #[arg(long)]
    soak: bool,
    /// Write every sample, the machine and the settings
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw the medians
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    Sites(Args),
    Remote(RemoteArgs),
    Micro { json: Option<PathBuf> },
    Scale(scale::Args),
    Failover(failover::Args),
    Compare(PathBuf, PathBuf),
}

/// What the cables between the namespaces carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Cable {
    /// Every packet by itself, as on a wire
    Wire,
    /// TCP so, but UDP_SEGMENT datagrams cross in one piece, as `tso off gso off` alone leaves it
    UdpWhole,
    /// All super-packets cross in one piece, as inside one hypervisor
    Whole,
}

impl Cable {
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
#[derive(clap::Args, Clone, Debug, PartialEq, Eq)]
pub(crate) struct RemoteArgs {
    /// Address of the far host
    #[arg(value_name = "HOST")]
    pub(crate) server: String,
    /// What joins the hosts
    #[arg(long, value_name = "NAME", default_value = "tunnel")]
    pub(crate) label: String,
    /// Runs of each load
    #[arg(long, value_name = "N", value_parser = above_0(), default_value_t = 5)]
    pub(crate) runs: u32,
    /// Seconds of each transfer
    #[arg(long, value_name = "N", value_parser = above_0(), default_value_t = 5)]
    pub(crate) seconds: u32,
    /// Write every sample, the machine and the settings
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

impl Task {
    /// What this process was asked for. Help is printed, and wrong usage ends it with code 2.
    pub(crate) fn of_command_line() -> Result<Self> {
        Cli::parse().task()
    }
}

impl Cli {
    fn task(self) -> Result<Task> {
        Ok(match self.command {
            None => Task::Sites(self.sites.args()?),
            Some(Command::To(args)) => Task::Remote(args),
            Some(Command::Micro { json }) => Task::Micro { json },
            Some(Command::Scale(scale)) => Task::Scale(scale.args()),
            Some(Command::Failover(failover)) => Task::Failover(failover.args()),
            Some(Command::Compare { before, after }) => Task::Compare(before, after),
        })
    }
}

impl Sites {
    fn args(self) -> Result<Args> {
        let by_default = if self.quick {
            (3, 2, 400, Load::quick())
        } else {
            (5, 5, 1000, Load::all())
        };
        let (runs, seconds, trial_ms, loads) = by_default;
        let mut chosen = self.contenders.unwrap_or_else(default_contenders);
        chosen.extend(self.with);
        chosen.retain(|contender| !self.without.contains(contender));
        ensure!(!chosen.is_empty(), "no contender is left");
        let wanted = self.loads.unwrap_or(loads);
        let loads = Load::all().into_iter();
        Ok(Args {
            seconds: self.seconds.unwrap_or(seconds),
            trial: Duration::from_millis(self.trial_ms.unwrap_or(trial_ms).into()),
            runs: self.runs.unwrap_or(runs),
            // In the order of the table and of the runs, each once.
            loads: loads.filter(|load| wanted.contains(load)).collect(),
            contenders: Contender::all().filter(|c| chosen.contains(c)).collect(),
            cable: self.cable,
            json: self.json,
            svg: self.svg,
        })
    }
}

impl Scale {
    fn args(self) -> scale::Args {
        let (runs, seconds, routes) = if self.quick {
            (1, 2, vec![100_000])
        } else {
            (3, 4, vec![100_000, 1_000_000])
        };
        scale::Args {
            parts: self.parts.unwrap_or_else(Part::all),
            runs: self.runs.unwrap_or(runs),
            seconds: self.seconds.unwrap_or(seconds),
            flows: self.flows,
            sites: self.sites,
            routes: self.routes.unwrap_or(routes),
            json: self.json,
        }
    }
}

impl Failover {
    fn args(self) -> failover::Args {
        failover::Args {
            rows: self.rows.unwrap_or_else(failover::Row::all),
            contenders: self.contenders.unwrap_or_else(failover::Contender::all),
            runs: self.runs.unwrap_or(if self.quick { 2 } else { 20 }),
            quick: self.quick,
            soak: match (self.soak, self.quick) {
                (true, _) => Duration::from_mins(10),
                (false, true) => Duration::from_secs(3),
                (false, false) => Duration::from_secs(30),
            },
            json: self.json,
            svg: self.svg,
        }
    }
}

/// All but the old build: where the newest cannot be had, `--with` brings it in.
fn default_contenders() -> Vec<Contender> {
    let all = Contender::all();
    all.filter(|contender| contender.name() != "wireguard-go-debian")
        .collect()
}

fn above_0() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn task(line: &str) -> Result<Task> {
        let words = line.split_whitespace();
        Cli::try_parse_from(std::iter::once("bench").chain(words))?.task()
    }

    fn parse(line: &str) -> Result<Args> {
        match task(line)? {
            Task::Sites(args) => Ok(args),
            other => panic!("{line} is {other:?}"),
        }
    }

    #[test]
    fn the_definition_of_the_command_line_is_sound() {
        Cli::command().debug_assert();
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
        let Ok(Task::Scale(args)) = task("scale --quick --parts flows,flood --flows 5000") else {
            panic!("no task");
        };
        assert_eq!((args.runs, args.flows, args.sites), (1, 5000, 2000));
        assert_eq!(args.parts, [Part::Flows, Part::Flood]);
        assert!(task("scale --parts rain").is_err());
        assert!(task("scale --loads tcp-1").is_err());
    }

    #[test]
    fn failover_has_rows_and_contenders_of_its_own() {
        let line = "failover --quick --rows cut-30,kill --contenders wireguard-go+frr";
        let Ok(Task::Failover(args)) = task(line) else {
            panic!("no task");
        };
        assert_eq!((args.runs, args.quick, args.rows.len()), (2, true, 2));
        assert_eq!(args.contenders, [failover::Contender::Rival]);
        assert!(task("failover --rows rain").is_err());
        assert!(task("failover --contenders openvpn").is_err());
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
        assert!(message.contains("'none'"), "{message}");
        assert!(parse("--runs").is_err());
        assert!(parse("--fast").is_err());
        assert!(parse("--loads tcp-3").is_err());
        for line in ["compare", "to", "to --label x", "to 10.2.0.2 --runs"] {
            assert!(task(line).is_err(), "{line}");
        }
    }
}
