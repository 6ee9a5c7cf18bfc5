//! What a soak ends with.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::disturbance::Disturbance;
use super::ledger::Account;
use super::vitals::MEMORY_BOUND;
use crate::kernel::Counts;

/// Segments of one kind, together.
#[derive(Clone, Debug, Default)]
struct Row {
    segments: u64,
    sent: u64,
    lost: i64,
    named: u64,
    unnamed: u64,
    duplicates: u64,
    refused: u64,
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    rows: BTreeMap<&'static str, Row>,
    names: Counts,
    memory: BTreeMap<String, (u64, u64)>,
    rekeys: u64,
    connections: u64,
    bytes: u64,
    leaks: u64,
    starved: u64,
    /// The largest share of a core that an idle agent used.
    pub(super) idle: f64,
    /// What must not have been.
    pub(super) problems: Vec<String>,
}

impl Table {
    pub(super) fn add(&mut self, at: Duration, what: Disturbance, account: &Account) {
        let row = self.rows.entry(what.name()).or_default();
        row.segments += 1;
        row.sent += account.sent;
        row.lost += account.lost;
        row.named += account.named();
        row.unnamed += account.unnamed;
        row.duplicates += account.duplicates;
        row.refused += account.refused;
        for (name, count) in &account.named {
            *self.names.entry(name.clone()).or_default() += count;
        }
        self.rekeys += account.rekeys;
        self.starved += u64::from(account.starved);
        self.connections += account.connections;
        self.bytes += account.bytes;
        let problems = account.problems.iter();
        let problems = problems.map(|problem| format!("{at:.0?} {what}: {problem}"));
        self.problems.extend(problems);
    }

    /// Notes what an agent holds.
    pub(super) fn memory(&mut self, agent: &str, bytes: u64) {
        let entry = self.memory.entry(agent.to_owned());
        let (first, most) = entry.or_insert((bytes, bytes));
        *most = bytes.max(*most).max(*first);
    }

    /// Notes a leak.
    pub(super) fn leak(&mut self, at: Duration, what: &str) {
        self.leaks += 1;
        println!("         LEAK {what}");
        self.problems.push(format!("{at:.0?} leak: {what}"));
    }

    /// For the live line.
    pub(super) fn totals(&self) -> String {
        let sent: u64 = self.rows.values().map(|row| row.sent).sum();
        let lost: i64 = self.rows.values().map(|row| row.lost).sum();
        let problems = self.problems.len();
        format!("{sent} packets, {lost} lost, {problems} problems")
    }
}

/// A segment in a line.
pub(super) fn line(account: &Account) -> String {
    let mut parts = vec![format!("{} packets, {} lost", account.sent, account.lost)];
    if account.lost > 0 || !account.problems.is_empty() {
        let named = account.named.iter();
        let named: Vec<String> = named
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        parts.push(format!("[{}]", named.join(", ")));
    }
    if account.duplicates > 0 {
        parts.push(format!("and {} came twice", account.duplicates));
    }
    parts.join(" ")
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n{:<24}{:>9}{:>11}{:>9}{:>9}{:>9}{:>7}{:>9}",
            "SEGMENTS", "COUNT", "PACKETS", "LOST", "NAMED", "IN CUT", "TWICE", "REFUSED"
        )?;
        for (name, row) in &self.rows {
            writeln!(
                f,
                "{name:<24}{:>9}{:>11}{:>9}{:>9}{:>9}{:>7}{:>9}",
                row.segments,
                row.sent,
                row.lost,
                row.named,
                row.unnamed,
                row.duplicates,
                row.refused
            )?;
        }
        writeln!(
            f,
            "\nLOST UNDER THESE NAMES (control packets and TCP's among them)"
        )?;
        for (name, count) in &self.names {
            writeln!(f, "  {count:>9}  {name}")?;
        }
        writeln!(
            f,
            "\nTCP: {} connections, {} MB unchanged; {} rekeys",
            self.connections,
            self.bytes / 1_000_000,
            self.rekeys
        )?;
        writeln!(
            f,
            "Most of a core that an idle agent used: {:.1} %",
            self.idle * 100.0
        )?;
        for (agent, (first, most)) in &self.memory {
            let (first, most) = (first >> 20, most >> 20);
            writeln!(
                f,
                "{agent}: {first} MiB at first, {most} MiB at most (bound: {} more)",
                MEMORY_BOUND >> 20
            )?;
        }
        writeln!(
            f,
            "Segments in which the machine held up a thread for 250 ms or more: {}",
            self.starved
        )?;
        let leaks = match self.leaks {
            0 => "none".to_owned(),
            count => count.to_string(),
        };
        writeln!(f, "Leaks: {leaks}")?;
        if self.problems.is_empty() {
            return write!(f, "Every packet is accounted for.");
        }
        writeln!(f, "\nPROBLEMS")?;
        for problem in &self.problems {
            writeln!(f, "  {problem}")?;
        }
        Ok(())
    }
}
