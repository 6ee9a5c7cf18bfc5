//! What an agent says that it has counted.

use anyhow::Result;

use super::ledger::AgentCounts;
use crate::crossway::{Crossway, link_name};
use crate::kernel::Counts;

/// Sites behind gateways that are no agents.
pub(super) const WITHOUT_AGENT: [&str; 2] = ["d", "ghost"];
/// Why programs leave packets to a kernel that has no way for them either, and may answer without counting.
const TO_STACK: [&str; 1] = ["site-down"];

/// All counts of an agent, by `name`.
pub(super) fn counts_of(name: &str, agent: &Crossway) -> Result<AgentCounts> {
    let (links, status, drops) = (agent.links()?, agent.status()?, agent.drops()?);
    let mut counts = AgentCounts {
        pid: status.pid.into(),
        to_sites: status.totals.to_site_packets,
        from_sites: status.totals.from_site_packets,
        ..AgentCounts::default()
    };
    for link in links.into_iter().filter(|link| link.replica.is_none()) {
        counts.links_sent += link.tx_packets;
        counts.links_received += link.rx_packets;
        if WITHOUT_AGENT.contains(&link.site.as_str()) {
            counts.stock_sent += link.tx_packets;
            counts.stock_received += link.rx_packets;
        }
        if let Some(age) = link.last_handshake_seconds {
            counts.ages.insert(link_name(&link), age);
        }
    }
    let dropped = drops.drops.into_iter();
    let dropped = dropped.map(|count| (count.reason, count.packets));
    let to_stack = drops.to_stack.into_iter();
    let to_stack = to_stack.filter(|count| TO_STACK.contains(&count.reason.as_str()));
    counts.dropped = dropped
        .chain(to_stack.map(|count| (count.reason, count.packets)))
        .filter(|(_, packets)| *packets > 0)
        .map(|(reason, packets)| (format!("{name} {reason}"), packets))
        .collect();
    Ok(counts)
}

/// `… dropped while it ran reason=no-session packets=3 …`, as an agent logs it when it stops.
pub(super) fn last_words(agent: &str, log: &str) -> Counts {
    let lines = log.lines().filter_map(|line| {
        let (_, words) = line.split_once("dropped while it ran ")?;
        let field = |name: &str| words.split(' ').find_map(|word| word.strip_prefix(name));
        let reason = field("reason=")?.trim_matches('"');
        Some((
            format!("{agent} {reason}"),
            field("packets=")?.parse().ok()?,
        ))
    });
    lines.collect()
}

/// For how many seconds the idlest flow of an agent's table has had no packet.
pub(super) fn idlest_flow(agent: &Crossway) -> Result<u64> {
    let flows = agent.flows(&[])?.into_iter();
    let idle = flows.map(|(flow, _)| flow.idle_seconds);
    Ok(idle.max().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agents_last_words_are_its_drops() {
        let log = "INFO crossway: stopping\n\
            INFO crossway::gateway: dropped while it ran reason=\"no-session\" packets=3 bytes=96\n";
        let expected = Counts::from([("gw no-session".to_owned(), 3)]);
        assert_eq!(last_words("gw", log), expected);
    }
}
