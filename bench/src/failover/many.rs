//! Two hundred links with BFD on one gateway: what they cost, and whether one is taken for dead while both cores
//! are busy.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use vm_tests::netns::Netns;
use vm_tests::topology::{Near, Redundant, Replica};
use vm_tests::{process, wait};

use crate::results::{Better, Results};
use crate::udp::pattern::Pattern;
use crate::udp::{FLAT_OUT, Udp};

use super::ours::{Ours, Settings, link_address, rows};
use super::{Args, BFD_100, Contender, Row, leave_out};

const LINKS: u8 = 200;
/// Of a look at the processor time without traffic.
const CALM: Duration = Duration::from_secs(4);
/// Ticks in a second that the kernel reports in (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

/// Links that were not up all the time.
pub(super) const FALSE_ALARMS: &str = "false alarms";

pub(super) fn measure(results: &mut Results, args: &Args) -> Result<()> {
    let row = Row::ManyLinks;
    if !args.rows.contains(&row) || !args.contenders.contains(&Contender::Crossway) {
        return Ok(());
    }
    if let Err(error) = watch(results, args) {
        leave_out(results, format!("crossway, {}", row.name()), &error);
    }
    Ok(())
}

fn watch(results: &mut Results, args: &Args) -> Result<()> {
    let net = Redundant::with_paths(None, 1)?;
    give_addresses(&net)?;
    let settings = Settings {
        bfd: BFD_100,
        hold_down: None,
        links: Some(LINKS),
    };
    let mut ours = Ours::start(&net, settings)?;
    ours.up()?;
    // Each link's clock of seconds begins anew: what is younger at the end has changed.
    ensure!(wait::pace(Duration::from_secs(2)), "interrupted");
    let start = wait::now();

    let pid = ours.first().pid()?;
    let before = processor_seconds(pid)?;
    ensure!(wait::pace(CALM), "interrupted");
    let calm = (processor_seconds(pid)? - before) / start.elapsed().as_secs_f64();

    let from = (&net.host_a, net.host_address(Near::A));
    let to = (&net.host_b, net.host_address(Near::B));
    let mut udp = Udp::between(from, to)?;
    udp.beside(Pattern::BACKGROUND, FLAT_OUT, || {
        ensure!(wait::pace(args.soak), "interrupted");
        Ok(())
    })?;
    let alarms = ours
        .agents()
        .iter()
        .map(|agent| {
            let links = agent.query(&["links"])?;
            let links = rows(&links, "links");
            ensure!(links.len() == usize::from(LINKS), "{} links", links.len());
            let younger = |seconds: u64| seconds < start.elapsed().as_secs();
            let changed = links.iter().filter(|link| {
                link["state"] != "Up" || link["since_seconds"].as_u64().is_none_or(younger)
            });
            Ok(changed.count())
        })
        .sum::<Result<usize>>()?;
    let mut add = |figure, better, value: f64| {
        results.add(
            Row::ManyLinks.name(),
            Contender::Crossway.name(),
            figure,
            better,
            value,
        );
    };
    add("CPU % of a core", Better::Lower, calm * 100.0);
    add(FALSE_ALARMS, Better::Lower, alarms as f64);
    add(
        "seconds with both cores busy",
        Better::Neither,
        args.soak.as_secs_f64(),
    );
    eprintln!(
        "  {}: {:.1} % of a core, {alarms} false alarms",
        Row::ManyLinks.name(),
        calm * 100.0
    );
    Ok(())
}

/// Both gateways have an address for each link, and each is reached from its counterpart.
fn give_addresses(net: &Redundant) -> Result<()> {
    let near = &net.replicas[0];
    let path = net.path(0);
    for (gateway, own, other) in [(near, Near::A, Near::B), (&net.far, Near::B, Near::A)] {
        let lines: Vec<String> = (1..=LINKS)
            .flat_map(|number| {
                let (source, target) = (link_address(own, number), link_address(other, number));
                let hop = next_hop(gateway);
                [
                    format!("address add {source}/32 dev wan0"),
                    format!("route add {target}/32 via {hop} dev wan0 src {source}"),
                ]
            })
            .collect();
        batch(net, &gateway.netns, &lines)?;
        path.ip(&format!(
            "route add {}/24 via {}",
            link_address(own, 0),
            gateway.wan[0]
        ))?;
    }
    Ok(())
}

fn next_hop(gateway: &Replica) -> String {
    gateway.next_hop(0).to_string()
}

/// Many words for `ip` at once.
fn batch(net: &Redundant, netns: &Netns, lines: &[String]) -> Result<()> {
    let file = net.directory().join(format!("{}.batch", netns.name()));
    fs::write(&file, lines.join("\n") + "\n")?;
    let mut ip = Command::new("ip");
    process::run(ip.args(["-n", netns.name(), "-batch"]).arg(file))?;
    Ok(())
}

/// User and system time of a process (proc(5)).
fn processor_seconds(pid: u32) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in front may hold blanks; it ends with the last parenthesis.
    let (_, rest) = text.rsplit_once(')').context("no process")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|word| word.parse::<f64>().ok());
    let (user, system) = ticks(11).zip(ticks(12)).context("a line of another form")?;
    Ok((user + system) / TICKS_PER_SECOND)
}
