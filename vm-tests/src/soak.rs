//! A long run of everything at once: four gateways with agents and one without carry a mix of traffic while a
//! schedule that follows from a seed stops, kills, cuts and reloads. Every packet is accounted for, and nothing
//! may leak.
//!
//! Time is cut into segments, at whose ends traffic pauses and all counts are taken ([`ledger`]): a disturbed one,
//! and one in which nothing is done and nothing may be lost.

mod canary;
mod connections;
mod counting;
mod disturb;
pub mod disturbance;
mod field;
mod files;
mod ground;
mod ledger;
pub mod schedule;
mod streams;
mod table;
mod vitals;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::{sys, wait};
use disturb::{IDLE_BOUND, disturb};
use disturbance::Disturbance;
use field::Field;
use ledger::{Account, Snapshot};
use schedule::Schedule;
use table::Table;
use vitals::Vitals;

/// An undisturbed segment.
const UNDISTURBED: Duration = Duration::from_secs(3);
/// Before and after a disturbance, in the same segment.
const MARGIN: Duration = Duration::from_millis(300);
/// Seconds after which an idle flow has left the tables: five minutes, and the time of a sweep.
const FLOWS_IDLE: u64 = 330;
/// After so many there is no use in going on.
const FEW_PROBLEMS: usize = 20;

/// What is to be played.
#[derive(Clone, Debug)]
pub struct Options {
    /// For how long; the last step may end later.
    pub span: Duration,
    /// From which the schedule follows.
    pub seed: u64,
    /// Names of namespaces and gateways start with it; without, with a unique one.
    pub prefix: Option<String>,
    /// Where logs are kept after a failure.
    pub logs: PathBuf,
    /// These steps alone instead of a schedule.
    pub steps: Option<Vec<Disturbance>>,
}

/// Plays it, shows how it goes, and ends with a table.
///
/// # Errors
/// A packet was lost without a name, something leaked, or did not recover: with the seed, the moment, and where the
/// logs are.
pub fn run(options: &Options) -> Result<()> {
    println!("seed {}", options.seed);
    let begun = wait::now();
    let mut soak = Soak {
        field: Field::start(options.prefix.as_deref()).context("nothing began")?,
        begun,
        span: options.span,
        firsts: Vec::new(),
        table: Table::default(),
    };
    let played = soak.play(options);
    let moment = begun.elapsed();
    let outcome = soak.end(options, played);
    outcome.with_context(|| {
        format!(
            "seed {}, after {moment:.0?}; logs are in {}",
            options.seed,
            options.logs.display()
        )
    })
}

struct Soak {
    field: Field,
    begun: Instant,
    span: Duration,
    /// What each agent held at its first checkpoint.
    firsts: Vec<Vitals>,
    table: Table,
}

impl Soak {
    fn play(&mut self, options: &Options) -> Result<()> {
        let mut schedule = Schedule::new(options.seed);
        let mut fixed = options.steps.clone().map(Vec::into_iter);
        let mut snapshot = self.field.snapshot()?;
        loop {
            snapshot = self.segment(&snapshot, Disturbance::None)?;
            self.check_vitals()?;
            let next = match &mut fixed {
                Some(steps) => steps.next(),
                None => (self.begun.elapsed() < self.span).then(|| schedule.step()),
            };
            let Some(next) = next.filter(|_| !sys::stop_requested()) else {
                return Ok(());
            };
            snapshot = self.segment(&snapshot, next)?;
            if self.table.problems.len() >= FEW_PROBLEMS {
                bail!("{FEW_PROBLEMS} problems are enough");
            }
        }
    }

    /// Plays one segment from a snapshot to the next.
    fn segment(&mut self, before: &Snapshot, what: Disturbance) -> Result<Snapshot> {
        let at = self.begun.elapsed();
        self.show_progress(at, what);
        self.field.resume()?;
        wait::pace(MARGIN);
        let context = || format!("at {at:.0?}: {what}");
        let done = disturb(&mut self.field, what).with_context(context)?;
        if what == Disturbance::None {
            wait::pace(UNDISTURBED);
        } else {
            self.field.recover().with_context(context)?;
        }
        self.field.pause().with_context(context)?;
        let after = self.field.snapshot().with_context(context)?;
        let mut account = Account::settle(
            before,
            &after,
            what.promise(),
            done.ghosts,
            &done.last_words,
        );
        if let Some(idle) = done.idle {
            self.table.idle = self.table.idle.max(idle);
            if idle > IDLE_BOUND {
                let problem = format!("an idle agent used {:.1} % of a core", idle * 100.0);
                account.problems.push(problem);
            }
        }
        Self::tell(at, what, &account);
        self.table.add(at, what, &account);
        Ok(after)
    }

    /// Nothing that an agent holds may have grown since its first checkpoint.
    fn check_vitals(&mut self) -> Result<()> {
        let at = self.begun.elapsed();
        let vitals = self.field.vitals()?;
        for (index, (now, agent)) in vitals.into_iter().zip(&self.field.agents).enumerate() {
            let name = self.field.short_name(agent.name());
            self.table.memory(name, now.memory);
            let Some(first) = self.firsts.get_mut(index) else {
                self.firsts.push(now);
                continue;
            };
            for grown in now.growth(first) {
                self.table.leak(at, &format!("{name}: {grown}"));
            }
        }
        Ok(())
    }

    fn show_progress(&self, at: Duration, what: Disturbance) {
        if std::io::stderr().is_terminal() {
            let (at, of) = (at.as_secs(), self.span.as_secs());
            let totals = self.table.totals();
            eprint!("\r\x1b[K{at} of {of} s: {what}; {totals}");
        }
    }

    fn tell(at: Duration, what: Disturbance, account: &Account) {
        let quiet = what == Disturbance::None && account.problems.is_empty();
        if quiet {
            return;
        }
        if std::io::stderr().is_terminal() {
            eprint!("\r\x1b[K");
        }
        println!(
            "{:>5.0} s  {what}: {}",
            at.as_secs_f64(),
            table::line(account)
        );
        for problem in &account.problems {
            println!("         PROBLEM {problem}");
        }
    }

    fn end(self, options: &Options, played: Result<()>) -> Result<()> {
        let Self {
            field, mut table, ..
        } = self;
        let failed = played.is_err() || !table.problems.is_empty();
        if failed {
            field.keep_logs(&options.logs)?;
        }
        if let Err(error) = played {
            println!("{table}");
            return Err(error);
        }
        let idle = field.idlest_flow()?;
        if idle > FLOWS_IDLE {
            let what = format!("a flow is in a table after {idle} s without a packet");
            table.leak(self.begun.elapsed(), &what);
        }
        for left in field.finish() {
            table.leak(self.begun.elapsed(), &left);
        }
        println!("{table}");
        match table.problems.len() {
            0 => Ok(()),
            count => bail!("{count} problems"),
        }
    }
}
