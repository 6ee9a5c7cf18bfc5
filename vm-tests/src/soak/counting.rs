//! What an agent says that it has counted.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::Value;

use super::ledger::AgentCounts;
use crate::crossway::Crossway;
use crate::failover::rows;
use crate::kernel::Counts;

/// Sites behind gateways that are no agents.
pub(super) const WITHOUT_AGENT: [&str; 2] = ["d", "ghost"];
/// Why programs leave packets to a kernel that has no way for them either, and may answer without counting.
const TO_STACK: [&str; 1] = ["site-down"];

/// All counts of an agent, by `name`.
pub(super) fn counts_of(name: &str, agent: &Crossway) -> Result<AgentCounts> {
    let links = agent.query(&["links"])?;
    let status = agent.query(&["status"])?;
    let drops = agent.query(&["drops"])?;
    let totals = &status["totals"];
    let mut counts = AgentCounts {
        pid: number(&status, "pid")?,
        to_sites: number(totals, "to_site_packets")?,
        from_sites: number(totals, "from_site_packets")?,
        ..AgentCounts::default()
    };
    for link in rows(&links, "links") {
        if !link["replica"].is_null() {
            continue;
        }
        let (sent, received) = (number(link, "tx_packets")?, number(link, "rx_packets")?);
        counts.links_sent += sent;
        counts.links_received += received;
        if WITHOUT_AGENT.contains(&text(link, "site")) {
            counts.stock_sent += sent;
            counts.stock_received += received;
        }
        let words = ["site", "gateway", "link"].map(|word| text(link, word));
        if let Some(age) = link["last_handshake_seconds"].as_u64() {
            counts.ages.insert(words.join("/"), age);
        }
    }
    let named = |list: &str, wanted: &dyn Fn(&str) -> bool| -> BTreeMap<String, u64> {
        let rows = rows(&drops, list).iter();
        let rows = rows.filter(|row| wanted(text(row, "reason")));
        rows.filter_map(|row| {
            let name = format!("{name} {}", text(row, "reason"));
            Some((name, row["packets"].as_u64()?)).filter(|(_, packets)| *packets > 0)
        })
        .collect()
    };
    counts.dropped = named("drops", &|_| true);
    counts
        .dropped
        .extend(named("to_stack", &|reason| TO_STACK.contains(&reason)));
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

pub(super) fn text<'a>(row: &'a Value, field: &str) -> &'a str {
    row[field].as_str().unwrap_or_default()
}

fn number(row: &Value, field: &str) -> Result<u64> {
    row[field]
        .as_u64()
        .with_context(|| format!("no {field} in {row}"))
}

/// For how many seconds the idlest flow of an agent's table has had no packet.
pub(super) fn idlest_flow(agent: &Crossway) -> Result<u64> {
    let answer = agent.query(&["flows"])?;
    let idle = rows(&answer, "flows").iter();
    let idle = idle.filter_map(|flow| flow["idle_seconds"].as_u64());
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
