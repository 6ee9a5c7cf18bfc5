//! The stations of a packet's way: what the programs saw against what the links carried at each agent, and what
//! links sent against what links received. A hole shows here even if nobody missed the packet.

use super::{AgentCounts, Snapshot, growth};

/// Reasons of the agent for packets that the programs had counted as on their way to a site.
const BEFORE_THE_LINK: [&str; 5] = [
    "no-endpoint",
    "handshake-queue-full",
    "handshake-timed-out",
    "peer-removed",
    "tun-malformed",
];
/// For packets that links brought and the programs did not see.
const BEHIND_THE_LINK: [&str; 1] = ["tun-write-failed"];

/// Packets of an agent in a segment.
#[derive(Clone, Copy, Debug, Default)]
struct Grown {
    to_sites: u64,
    from_sites: u64,
    sent: u64,
    received: u64,
    sent_to_stock: u64,
    received_from_stock: u64,
}

/// Where the stations do not agree; `named` packets may be missing between the gateways.
pub(super) fn compare(before: &Snapshot, after: &Snapshot, named: u64) -> Vec<String> {
    let mut problems = Vec::new();
    let (mut sent, mut received) = (0, 0);
    for (name, now) in &after.agents {
        let Some(then) = before.agents.get(name) else {
            continue;
        };
        let Some(grown) = Grown::between(then, now) else {
            problems.push(format!("{name} has counted backwards"));
            continue;
        };
        let dropped = |reasons: &[&str]| -> u64 {
            let keys = reasons.iter().map(|reason| format!("{name} {reason}"));
            keys.map(|key| growth(then.dropped.get(&key), now.dropped.get(&key)))
                .sum()
        };
        let in_tun = format!("{name} TUN tx dropped");
        let in_tun = growth(before.kernel.get(&in_tun), after.kernel.get(&in_tun));
        problems.extend(grown.disagreements(
            name,
            dropped(&BEFORE_THE_LINK) + in_tun,
            dropped(&BEHIND_THE_LINK),
        ));
        sent += grown.sent - grown.sent_to_stock;
        received += grown.received - grown.received_from_stock;
    }
    if !(received..=received + named).contains(&sent) {
        problems.push(format!(
            "the gateways sent each other {sent} packets and received {received}"
        ));
    }
    problems
}

impl Grown {
    /// `None` where a counter is lower than before.
    fn between(then: &AgentCounts, now: &AgentCounts) -> Option<Self> {
        let grown = |count: fn(&AgentCounts) -> u64| count(now).checked_sub(count(then));
        Some(Self {
            to_sites: grown(|counts| counts.to_sites)?,
            from_sites: grown(|counts| counts.from_sites)?,
            sent: grown(|counts| counts.links_sent)?,
            received: grown(|counts| counts.links_received)?,
            sent_to_stock: grown(|counts| counts.stock_sent)?,
            received_from_stock: grown(|counts| counts.stock_received)?,
        })
    }

    fn disagreements(self, name: &str, before: u64, behind: u64) -> Vec<String> {
        let Self {
            to_sites,
            from_sites,
            sent,
            received,
            ..
        } = self;
        let mut problems = Vec::new();
        if to_sites != sent + before {
            problems.push(format!(
                "{name}: its programs saw {to_sites} packets to sites, its links carried {sent} and {before} were dropped before"
            ));
        }
        if received != from_sites + behind {
            problems.push(format!(
                "{name}: its links brought {received} packets, its programs saw {from_sites} and {behind} were refused"
            ));
        }
        problems
    }
}
