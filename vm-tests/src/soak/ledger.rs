//! The account of a segment: what was sent, what came, and under which names the rest was lost.
//!
//! Counts are taken while nothing flows, so they are exact. Where the design promises that nothing is lost, also
//! the stations of a packet's way must agree: what programs counted, what links carried, at each gateway and
//! between them.

use std::collections::BTreeMap;
use std::time::Duration;

use super::connections::Progress;
use super::disturbance::Promise;
use super::streams::{Streams, Tally};
use crate::kernel::Counts;

mod stations;

/// A thread that was held up for so long shows a machine on which lanes and BFD were, too.
const STARVED: Duration = Duration::from_millis(250);

/// Words of names under which a machine that is too busy loses packets: buffers that overflow.
const OVERFLOW: [&str; 4] = [
    "RcvbufErrors",
    "SndbufErrors",
    "TUN tx dropped",
    "handshake-queue-full",
];
/// What an agent has counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct AgentCounts {
    pub(super) pid: u64,
    /// By its programs.
    pub(super) to_sites: u64,
    pub(super) from_sites: u64,
    /// Of all links to sites.
    pub(super) links_sent: u64,
    pub(super) links_received: u64,
    /// Of those, what went to and came from gateways without an agent.
    pub(super) stock_sent: u64,
    pub(super) stock_received: u64,
    /// By reason: drops, and what was left to the stack because a site was down.
    pub(super) dropped: Counts,
    /// Handshakes of its links: the age of each session in seconds.
    pub(super) ages: BTreeMap<String, u64>,
}

/// All counts at a moment at which nothing flows.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshot {
    pub(super) streams: Vec<Tally>,
    pub(super) connections: Progress,
    /// By the gateway's name.
    pub(super) agents: BTreeMap<String, AgentCounts>,
    /// What the kernels and the paths counted.
    pub(super) kernel: Counts,
    /// For how long the machine had no time for one that asked for it, at the longest since the last snapshot.
    pub(super) held_up: Duration,
}

/// A segment between two snapshots.
#[derive(Clone, Debug, Default)]
pub(super) struct Account {
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) lost: i64,
    pub(super) duplicates: u64,
    pub(super) refused: u64,
    /// Lost under a name.
    pub(super) named: Counts,
    /// By a cut that counts nothing, or in the hands of a killed process.
    pub(super) unnamed: u64,
    pub(super) rekeys: u64,
    pub(super) bytes: u64,
    pub(super) connections: u64,
    /// The machine had too much else to do: links that are watched by the clock fail on it without a fault of theirs.
    pub(super) starved: bool,
    /// What must not be.
    pub(super) problems: Vec<String>,
}

impl Account {
    /// `ghosts` were sent beside the streams to where nobody answers; `last_words` is what agents that stopped said
    /// they had dropped, as of their start.
    pub(super) fn settle(
        before: &Snapshot,
        after: &Snapshot,
        promise: Promise,
        ghosts: u64,
        last_words: &Counts,
    ) -> Self {
        let mut account = Self {
            named: named(before, after, last_words),
            starved: after.held_up >= STARVED,
            ..Self::default()
        };
        account.add_streams(before, after);
        if promise == Promise::CutWan {
            account.add_cut_cable(before, after);
        }
        account.lost += ghosts as i64;
        account.sent += ghosts;
        account.bytes = after.connections.bytes - before.connections.bytes;
        account.connections = after.connections.finished - before.connections.finished;
        account.rekeys = rekeys(before, after);
        account.judge(promise);
        if promise == Promise::Lossless {
            let refused = after.connections.refused - before.connections.refused;
            if refused > 0 {
                let problem = format!("{refused} connections were refused");
                account.problems.push(problem);
            }
            account
                .problems
                .extend(stations::compare(before, after, account.named()));
        }
        account
    }

    /// How many packets have a name.
    pub(super) fn named(&self) -> u64 {
        self.named.values().sum()
    }

    fn add_streams(&mut self, before: &Snapshot, after: &Snapshot) {
        for (stream, (before, after)) in before.streams.iter().zip(&after.streams).enumerate() {
            let sent = after.sent - before.sent;
            let received = after.received - before.received;
            self.sent += sent;
            self.received += received;
            self.lost += sent as i64 - received as i64;
            self.duplicates += after.duplicates - before.duplicates;
            self.refused += after.refused - before.refused;
            let damaged = after.damaged - before.damaged;
            if damaged > 0 {
                let name = Streams::name(stream);
                self.problems
                    .push(format!("{damaged} packets came changed: {name}"));
            }
        }
    }

    /// A kernel that waits for a neighbour behind a dead cable forgets packets without a count: what links sent
    /// and others did not receive is what the cut took.
    fn add_cut_cable(&mut self, before: &Snapshot, after: &Snapshot) {
        let sum = |count: fn(&AgentCounts) -> u64| {
            let grown = after.agents.iter().filter_map(|(name, now)| {
                let then = before.agents.get(name)?;
                count(now).checked_sub(count(then))
            });
            grown.sum::<u64>()
        };
        let sent = sum(|counts| counts.links_sent - counts.stock_sent);
        let received = sum(|counts| counts.links_received - counts.stock_received);
        let counted = self.named();
        let cut = sent.saturating_sub(received).saturating_sub(counted);
        if cut > 0 {
            self.named.insert("cut cable".to_owned(), cut);
        }
    }

    fn judge(&mut self, promise: Promise) {
        let named = self.named();
        let lost = self.lost.max(0) as u64;
        self.unnamed = lost.saturating_sub(named);
        let allowed = match promise {
            Promise::Lossless | Promise::Named | Promise::CutWan => 0,
            Promise::Hands(allowed) => allowed,
            Promise::CutLan => u64::MAX,
        };
        if self.unnamed > allowed {
            self.problems.push(format!(
                "{lost} packets were lost, {} of them under no name",
                self.unnamed
            ));
        }
        if promise != Promise::Lossless {
            return;
        }
        let overflow = self.named.iter().filter(|(name, _)| is_overflow(name));
        let overflow: u64 = overflow.map(|(_, count)| count).sum();
        if lost > overflow && !self.starved {
            self.problems
                .push(format!("{lost} packets were lost where none may be"));
        }
        if self.duplicates > 0 {
            self.problems
                .push(format!("{} packets came twice", self.duplicates));
        }
    }
}

/// Whether a machine that is too busy loses packets under this name. A host's kernel may have no memory for an answer.
fn is_overflow(name: &str) -> bool {
    OVERFLOW.iter().any(|word| name.contains(word))
        || name.starts_with("host-") && name.contains("OutDiscards")
}

/// What every counter of lost packets has grown by.
fn named(before: &Snapshot, after: &Snapshot, last_words: &Counts) -> Counts {
    let mut named = Counts::new();
    let mut add = |name: &String, count: u64| {
        if count > 0 {
            *named.entry(name.clone()).or_default() += count;
        }
    };
    for (name, now) in &after.kernel {
        add(name, growth(before.kernel.get(name), Some(now)));
    }
    for (agent, now) in &after.agents {
        let then = before.agents.get(agent);
        let restarted = then.is_some_and(|then| then.pid != now.pid);
        for (name, count) in &now.dropped {
            let then = then.and_then(|then| then.dropped.get(name));
            add(name, growth(then, Some(count)));
        }
        // The last words are those of the one before, since its start.
        for (name, count) in last_words.iter().filter(|_| restarted) {
            let Some(reason) = name.strip_prefix(agent.as_str()) else {
                continue;
            };
            // What the TUN dropped is the kernel's count while there is a TUN.
            let then = match reason.trim() {
                "tun-queue" => before.kernel.get(&format!("{agent} TUN tx dropped")),
                _ => then.and_then(|then| then.dropped.get(name)),
            };
            add(name, growth(then, Some(count)));
        }
    }
    named
}

/// A counter that is lower than before has begun anew.
fn growth(before: Option<&u64>, after: Option<&u64>) -> u64 {
    let (before, after) = (before.copied().unwrap_or(0), after.copied().unwrap_or(0));
    after.checked_sub(before).unwrap_or(after)
}

fn rekeys(before: &Snapshot, after: &Snapshot) -> u64 {
    let mut count = 0;
    for (name, now) in &after.agents {
        let Some(then) = before.agents.get(name).filter(|then| then.pid == now.pid) else {
            continue;
        };
        let ages = now.ages.iter();
        let renewed =
            ages.filter(|(link, age)| then.ages.get(*link).is_some_and(|then| *age < then));
        count += renewed.count() as u64;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(sent: u64, received: u64) -> Snapshot {
        let tally = Tally {
            sent,
            received,
            ..Tally::default()
        };
        let agent = AgentCounts {
            to_sites: sent,
            links_sent: sent,
            from_sites: received,
            links_received: received,
            ..AgentCounts::default()
        };
        Snapshot {
            streams: vec![tally],
            agents: [("gw".to_owned(), agent)].into(),
            ..Snapshot::default()
        }
    }

    fn settle(after: &Snapshot, promise: Promise) -> Account {
        Account::settle(&snapshot(100, 100), after, promise, 0, &Counts::new())
    }

    #[test]
    fn a_segment_without_loss_has_no_problem_whatever_is_promised() {
        for promise in [Promise::Lossless, Promise::Named, Promise::CutLan] {
            let account = settle(&snapshot(200, 200), promise);
            assert_eq!(account.problems, Vec::<String>::new());
            assert_eq!((account.sent, account.lost), (100, 0));
        }
    }

    #[test]
    fn a_loss_needs_a_name_unless_the_test_cut_where_nothing_counts() {
        let mut after = snapshot(200, 190);
        assert_eq!(settle(&after, Promise::Named).problems.len(), 1);
        assert_eq!(settle(&after, Promise::Hands(9)).problems.len(), 1);
        assert!(settle(&after, Promise::Hands(10)).problems.is_empty());
        assert!(settle(&after, Promise::CutLan).problems.is_empty());
        after.kernel.insert("path-1 not forwarded".to_owned(), 10);
        assert!(settle(&after, Promise::Named).problems.is_empty());
        assert!(!settle(&after, Promise::Lossless).problems.is_empty());
        after.held_up = STARVED;
        after.agents = BTreeMap::new();
        assert!(settle(&after, Promise::Lossless).problems.is_empty());
        after.kernel = Counts::new();
        assert!(!settle(&after, Promise::Lossless).problems.is_empty());
    }

    #[test]
    fn a_buffer_that_overflows_is_the_machines_and_has_a_name() {
        let mut after = snapshot(200, 190);
        after.agents = BTreeMap::new();
        after.kernel.insert("host Udp RcvbufErrors".to_owned(), 10);
        let account = settle(&after, Promise::Lossless);
        assert_eq!(account.problems, Vec::<String>::new());
        for (name, excuses) in [
            ("host-a Ip6OutDiscards", true),
            ("gw-a Ip6OutDiscards", false),
        ] {
            after.kernel = Counts::from([(name.to_owned(), 10)]);
            let account = settle(&after, Promise::Lossless);
            assert_eq!(account.problems.is_empty(), excuses, "{name}");
        }
    }

    #[test]
    fn stations_that_disagree_show_a_hole_even_if_nothing_is_missed_at_the_end() {
        let mut after = snapshot(200, 200);
        after.agents.get_mut("gw").unwrap().to_sites += 3;
        let account = settle(&after, Promise::Lossless);
        assert_eq!(account.problems.len(), 1, "{:?}", account.problems);
        let agent = after.agents.get_mut("gw").unwrap();
        agent
            .dropped
            .insert("gw handshake-queue-full".to_owned(), 3);
        let account = settle(&after, Promise::Lossless);
        assert_eq!(account.problems, Vec::<String>::new());
    }

    #[test]
    fn a_counter_that_began_anew_counts_from_nothing_and_last_words_are_added() {
        let (mut before, mut after) = (snapshot(100, 100), snapshot(200, 190));
        let drops = |count: u64| Counts::from([("gw no-session".to_owned(), count)]);
        let (then, now) = (
            before.agents.get_mut("gw").unwrap(),
            after.agents.get_mut("gw").unwrap(),
        );
        (then.dropped, then.pid) = (drops(50), 1);
        (now.dropped, now.pid) = (drops(4), 2);
        let account = Account::settle(&before, &after, Promise::Named, 0, &drops(56));
        assert_eq!(account.named(), 10);
        assert!(account.problems.is_empty(), "{:?}", account.problems);
    }
}
