//! `bench failover`: for how long traffic stops, and what is lost, where a path, a carrier or a gateway fails, and
//! where one is taken out of service on purpose.

mod agents;
mod flap;
mod many;
mod ours;
mod pair;
mod paths;
mod rival;
mod stream;
mod target;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use vm_tests::failover::{Gateways, Settings};
use vm_tests::sys;
use vm_tests::topology::Redundant;

use crate::machine::Machine;
use crate::results::Results;
use crate::table;

use rival::Rival;
use stream::Sample;

/// What to measure, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Args {
    pub(crate) rows: Vec<Row>,
    pub(crate) contenders: Vec<Contender>,
    /// Repetitions of each row.
    pub(crate) runs: u32,
    /// The rival in one repetition of the rows that say most of it, and everything a little shorter.
    pub(crate) quick: bool,
    /// How long many links are watched under traffic.
    pub(crate) soak: Duration,
    pub(crate) json: Option<PathBuf>,
    pub(crate) svg: Option<PathBuf>,
}

/// What is done to the sites.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Row {
    PathCut100,
    PathCut30,
    CarrierLost,
    Drained,
    GatewayKilled,
    PreemptedBack,
    HandedOver,
    KilledAndRestarted,
    Flapping,
    ManyLinks,
}

/// Every row: its word in options, and its name.
const ROWS: [(Row, &str, &str); 10] = [
    (Row::PathCut100, "cut-100", "WAN path cut, BFD 100 ms x 3"),
    (Row::PathCut30, "cut-30", "WAN path cut, BFD 30 ms x 3"),
    (Row::CarrierLost, "carrier", "carrier of our own WAN lost"),
    (Row::Drained, "drain", "link drained"),
    (
        Row::GatewayKilled,
        "kill",
        "active gateway of a pair killed",
    ),
    (Row::PreemptedBack, "preempt", "gateway takes its role back"),
    (Row::HandedOver, "handover", "agent handed over under load"),
    (
        Row::KilledAndRestarted,
        "restart",
        "agent killed and restarted",
    ),
    (Row::Flapping, "flap", "WAN path down and up every 2 s"),
    (Row::ManyLinks, "many", "200 links, BFD 100 ms x 3"),
];

/// The rows in which the rival is measured where there is little time: it converges slowly after each.
const RIVAL_IN_BRIEF: [Row; 2] = [Row::PathCut100, Row::GatewayKilled];

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contender {
    Crossway,
    Rival,
}

pub(crate) const CROSSWAY: &str = "crossway";
const CONTENDERS: [(Contender, &str); 2] = [
    (Contender::Crossway, CROSSWAY),
    (Contender::Rival, "wireguard-go+frr"),
];

/// Timers of BFD, the same both ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bfd {
    interval_ms: u32,
    multiplier: u32,
}

const BFD_100: Bfd = Bfd {
    interval_ms: 100,
    multiplier: 3,
};

/// Milliseconds that a link of Crossway's must be back before it may take flows by itself: its default.
const HOLD_DOWN: u32 = 5000;

/// What joins the sites while a row is measured.
trait Joined {
    /// Waits until everything that may carry is up, and the first choice carries.
    fn ready(&self) -> Result<()>;

    /// What carries the flows from site a to b now.
    fn carrier(&self) -> Result<String>;

    /// Takes the first path out of service, at both ends.
    fn drain(&self) -> Result<()>;

    /// Puts it back.
    fn undrain(&self) -> Result<()>;
}

impl Args {
    /// Those of `rows` that are asked for of a contender.
    fn asked(&self, rows: &[Row], contender: Contender) -> Vec<Row> {
        let tells = |row: Row| {
            contender == Contender::Crossway || !self.quick || RIVAL_IN_BRIEF.contains(&row)
        };
        let asked = self.rows.iter().copied();
        asked
            .filter(|row| rows.contains(row) && tells(*row))
            .collect()
    }

    /// In how many repetitions a contender is measured.
    fn runs_of(&self, contender: Contender) -> u32 {
        match contender {
            Contender::Rival if self.quick => 1,
            _ => self.runs,
        }
    }
}

impl Row {
    pub(crate) fn all() -> Vec<Self> {
        ROWS.map(|(row, ..)| row).to_vec()
    }

    pub(crate) fn from_name(word: &str) -> Result<Self> {
        match ROWS.iter().find(|(_, known, _)| *known == word) {
            Some((row, ..)) => Ok(*row),
            None => bail!(
                "there is no row {word:?} of failover: known are {}",
                ROWS.map(|(_, known, _)| known).join(", ")
            ),
        }
    }

    /// In the table and the JSON file.
    fn name(self) -> &'static str {
        let named = ROWS.iter().find(|(row, ..)| *row == self);
        named.map_or("unnamed", |(.., name)| name)
    }
}

impl Contender {
    pub(crate) fn all() -> Vec<Self> {
        CONTENDERS.map(|(contender, _)| contender).to_vec()
    }

    pub(crate) fn from_name(word: &str) -> Result<Self> {
        match CONTENDERS.iter().find(|(_, known)| *known == word) {
            Some((contender, _)) => Ok(*contender),
            None => bail!(
                "there is no contender {word:?} of failover: known are {}",
                CONTENDERS.map(|(_, known)| known).join(", ")
            ),
        }
    }

    fn name(self) -> &'static str {
        let named = CONTENDERS.iter().find(|(contender, _)| *contender == self);
        named.map_or("unnamed", |(_, name)| name)
    }

    fn version(self) -> Result<String> {
        match self {
            Self::Crossway => ours::version(),
            Self::Rival => rival::version(),
        }
    }

    /// Starts it on all gateways and waits until it is ready.
    fn start<'a>(self, net: &'a Redundant, bfd: Bfd) -> Result<Box<dyn Joined + 'a>> {
        let settings = Settings {
            hold_down_ms: HOLD_DOWN,
            virtual_router: net.replicas.len() > 1,
            ..ours::settings(bfd)
        };
        let joined: Box<dyn Joined> = match self {
            Self::Crossway => Box::new(Gateways::start(net, &settings)?),
            Self::Rival => Box::new(Rival::start(net, bfd)?),
        };
        joined.ready()?;
        Ok(joined)
    }
}

/// Exit code 1 is for a target that was missed.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    sys::watch_stop_signals();
    let mut results = Results::new(Machine::here());
    results.machine.warn_if_busy();
    describe(&mut results, args);
    let present = present(&mut results, &args.contenders);
    ensure!(!present.is_empty(), "no contender can run here");
    let args = Args {
        contenders: present,
        ..args.clone()
    };
    paths::measure(&mut results, &args).context("two paths")?;
    pair::measure(&mut results, &args).context("a pair of gateways")?;
    agents::measure(&mut results, &args).context("an agent replaced")?;
    flap::measure(&mut results, &args).context("a flapping path")?;
    many::measure(&mut results, &args);
    ensure!(!sys::stop_requested(), "interrupted");
    results.finish();
    print!("{}", table::table(&results));
    let (verdict, missed) = target::verdict(&results, &args);
    print!("{verdict}");
    if let Some(file) = &args.json {
        results.write(file)?;
        println!("\nWritten to {}", file.display());
    }
    if let Some(file) = &args.svg {
        std::fs::write(file, crate::chart::svg(&results))
            .with_context(|| format!("cannot write {}", file.display()))?;
        println!("Drawn in {}", file.display());
    }
    Ok(ExitCode::from(u8::from(missed > 0)))
}

/// Those that can run here; the others go into the results with the reason.
fn present(results: &mut Results, contenders: &[Contender]) -> Vec<Contender> {
    let mut present = Vec::new();
    for &contender in contenders {
        match contender.version() {
            Ok(version) => {
                results
                    .versions
                    .insert(contender.name().to_owned(), version);
                present.push(contender);
            }
            Err(error) => leave_out(results, contender.name().to_owned(), &error),
        }
    }
    present
}

/// Starts a contender and does something with it. What goes wrong is told in the table, and the next goes on.
fn with(
    results: &mut Results,
    contender: Contender,
    what: &str,
    net: &Redundant,
    bfd: Bfd,
    play: impl FnOnce(&mut Results, &dyn Joined) -> Result<()>,
) {
    let started = contender.start(net, bfd);
    if let Err(error) = started.and_then(|joined| play(results, &*joined)) {
        leave_out(results, format!("{}, {what}", contender.name()), &error);
    }
}

/// Takes a sample of a row.
fn report(results: &mut Results, row: Row, contender: Contender, sample: &Sample) {
    sample.add(results, row.name(), contender.name());
    eprintln!(
        "  {}, {}: {} ms, {} lost",
        row.name(),
        contender.name(),
        table::number(sample.gap()),
        sample.lost()
    );
}

/// Says why something is not measured.
fn leave_out(results: &mut Results, what: String, error: &anyhow::Error) {
    let reason = format!("{error:#}").replace('\n', " ");
    eprintln!("leaving out {what}: {reason}");
    results.skipped.insert(what, reason);
}

fn describe(results: &mut Results, args: &Args) {
    let settings = [
        (
            "topology",
            "hosts a and b, a router on each path, one machine, veth wire-like, MTU 1500: one gateway at each site and two paths, or a pair of gateways at site a and one path",
        ),
        (
            "probes",
            "64 bytes of payload by UDP each millisecond, both ways; gap: the longest time without one, of the worse way; beside them a TCP transfer each way at 3 MB/s",
        ),
        (
            "rival",
            "wireguard-go, a BGP session with BFD in each tunnel (FRR), VRRPv3 with advertisements each 100 ms (keepalived)",
        ),
    ];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
    results.settings.extend(settings);
    let order = format!("{} repetitions of each row", args.runs);
    results.settings.insert("order".to_owned(), order);
}
