//! Two hundred links with BFD on one gateway: what they cost, and whether one is taken for dead while both cores
//! are busy.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use vm_tests::api::{Link, LinkState};
use vm_tests::failover::{Gateways, Settings, link_address};
use vm_tests::netns::Netns;
use vm_tests::topology::{Near, Redundant, Replica};
use vm_tests::{process, wait};

use crate::cpu;
use crate::results::{Better, Results};

use super::{Args, BFD_100, Contender, Row, leave_out, ours};

const LINKS: u8 = 200;
/// Of a look at the processor time without traffic.
const CALM: Duration = Duration::from_secs(4);
/// iperf3 starts and ends within it.
const START: Duration = Duration::from_secs(10);

/// Links that were not up all the time.
pub(super) const FALSE_ALARMS: &str = "false alarms";

pub(super) fn measure(results: &mut Results, args: &Args) {
    let row = Row::ManyLinks;
    if args.rows.contains(&row)
        && args.contenders.contains(&Contender::Crossway)
        && let Err(error) = watch(results, args)
    {
        leave_out(results, format!("crossway, {}", row.name()), &error);
    }
}

fn watch(results: &mut Results, args: &Args) -> Result<()> {
    let net = Redundant::with_paths(None, 1)?;
    give_addresses(&net)?;
    let settings = Settings {
        links: Some(LINKS),
        ..ours::settings(BFD_100)
    };
    let mut ours = Gateways::start(&net, &settings)?;
    // Each link's clock of seconds begins anew: what is younger at the end has changed.
    ensure!(wait::pace(Duration::from_secs(1)), "interrupted");
    let start = wait::now();

    let pid = ours.replica(0).pid()?;
    let before = cpu::seconds_of(pid)?;
    let span = if args.quick { CALM / 2 } else { CALM };
    ensure!(wait::pace(span), "interrupted");
    let calm = (cpu::seconds_of(pid)? - before) / start.elapsed().as_secs_f64();

    let busy = fill_both_cores(&net, args.soak)?;
    let span = start.elapsed();
    let alarms = ours
        .all()
        .map(|agent| changed(&agent.links()?, span))
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
    add("under TCP for s", Better::Neither, args.soak.as_secs_f64());
    add("machine busy %", Better::Neither, busy * 100.0);
    eprintln!(
        "  {}: {:.1} % of a core, {alarms} false alarms",
        Row::ManyLinks.name(),
        calm * 100.0
    );
    Ok(())
}

/// TCP both ways for `span`, as much as passes; the share of both cores that was busy.
fn fill_both_cores(net: &Redundant, span: Duration) -> Result<f64> {
    let log = |name: &str| net.directory().join(name);
    let (seconds, to) = (
        span.as_secs().to_string(),
        net.host_address(Near::B).to_string(),
    );
    let server = ["-s", "-1"];
    let mut server = net
        .host_b
        .spawn("iperf3 -s", "iperf3", &server, &log("iperf3-s.log"))?;
    server.wait_until("listen", START, || {
        server_listens(&net.host_b).then_some(())
    })?;
    let before = cpu::busy_seconds()?;
    let start = wait::now();
    let words = ["-c", &to, "-P", "4", "--bidir", "-t", &seconds];
    let mut client = net
        .host_a
        .spawn("iperf3 -c", "iperf3", &words, &log("iperf3-c.log"))?;
    let status = client.wait(span + START)?;
    ensure!(status.success(), "{}", client.tail());
    let cores = std::thread::available_parallelism()?.get() as f64;
    Ok((cpu::busy_seconds()? - before) / start.elapsed().as_secs_f64() / cores)
}

fn server_listens(netns: &Netns) -> bool {
    netns
        .run("ss -Hltn sport = 5201")
        .is_ok_and(|listening| !listening.is_empty())
}

/// Links of an agent that are not up, or came up within `span`; the reason of one is told.
fn changed(links: &[Link], span: Duration) -> Result<usize> {
    ensure!(links.len() == usize::from(LINKS), "{} links", links.len());
    let is_young = |link: &Link| link.since_seconds < span.as_secs();
    let links = links.iter();
    let changed: Vec<&Link> = links
        .filter(|link| link.state != LinkState::Up || is_young(link))
        .collect();
    if let Some(link) = changed.first() {
        let (state, since, why) = (link.state.as_str(), link.since_seconds, &link.why);
        let name = link.link.as_deref().unwrap_or_default();
        eprintln!("  {name}: {state} since {since} s, not {span:?}: {why}");
    }
    Ok(changed.len())
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
