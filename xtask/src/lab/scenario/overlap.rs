//! Three sites, two of which have the same addresses: each is reached under a prefix of its own.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use vm_tests::config;
use vm_tests::crossway::{self, Crossway};
use vm_tests::plan::{self, GatewayPlan, Shape};
use vm_tests::sys;
use vm_tests::topology::{Builder, Family, Site, Topology};
use vm_tests::traffic;

use super::PREFIX;
use super::status;

const DRAWING: &str = "
   host a 10.1.0.10 -- gateway a --+      the others know site a as 10.101.0.0/24
                                   +-- WAN -- gateway c -- host c 10.3.0.10
   host b 10.1.0.10 -- gateway b --+      the others know site b as 10.102.0.0/24
";
/// From the agents' start to the first packet through.
const UP_LIMIT: Duration = Duration::from_secs(20);
const BYTES: u64 = 8 << 20;
const PASSED: &str = "Both sites with 10.1.0.0/24 are reached at once, and reach each other.";

/// Builds the sites, shows that all reach each other, and then the live status.
pub(super) fn play(duration: Option<Duration>) -> Result<()> {
    println!("Building three sites, two with the same addresses:\n{DRAWING}");
    let topology = Builder::new(&["a", "b", "c"])
        .alike(&["a", "b"])
        .prefix(PREFIX)
        .build()?;
    let mut plans = plan::plan(&topology, Shape::FullMesh, Family::V4)?;
    plans.iter_mut().try_for_each(show_sites)?;
    let gateways = crossway::start_all(&topology, &plans)?;
    println!(
        "Every gateway has, for each of the other sites that is like another one, a line such as"
    );
    println!("  [[site]] name = \"b\", routes = [\"10.1.0.0/24\"], map = \"10.102.0.0/24\"\n");
    for [from, to] in [["c", "a"], ["c", "b"], ["a", "b"], ["b", "a"]] {
        ensure!(!sys::stop_requested(), "interrupted");
        try_it(topology.site(from), topology.site(to))?;
    }
    println!("\n{PASSED}\n");
    let at_c = &gateways[2];
    for command in [
        &["sites"][..],
        &["routes", "get", "10.102.0.10"],
        &["flows", "--protocol", "tcp"],
        &["explain", "10.3.0.10", "10.102.0.10"],
    ] {
        println!("gateway c$ crossway {}", command.join(" "));
        println!("{}", at_c.command(command)?);
    }
    if duration != Some(Duration::ZERO) {
        let names: Vec<&str> = gateways.iter().map(Crossway::name).collect();
        status::show(&names, PASSED, &hints(&topology), duration);
    }
    Ok(())
}

/// What the others know a site as.
fn shown(site: &str) -> Option<&'static str> {
    match site {
        "a" => Some("10.101.0.0/24"),
        "b" => Some("10.102.0.0/24"),
        _ => None,
    }
}

/// The address of a site's host as the others know it.
fn host(site: &Site) -> Result<IpAddr> {
    let address = site.host_address(Family::V4);
    let Some(shown) = shown(&site.name) else {
        return Ok(address);
    };
    let map = config::mapping(&site.route(Family::V4), shown)?;
    map.to_shown(address).context("the host is in its site")
}

/// IPv4 alone, so that there is less to read.
fn show_sites(plan: &mut GatewayPlan) -> Result<()> {
    for peer in &mut plan.peers {
        peer.routes.retain(|route| !route.contains(':'));
    }
    for peer in plan.peers.clone() {
        let Some(shown) = shown(&peer.site) else {
            continue;
        };
        let map = config::mapping(&peer.routes[0], shown)?;
        plan.configure(move |config| {
            let mut sites = config.sites.iter_mut();
            if let Some(site) = sites.find(|site| site.name == peer.site) {
                config::show(site, &[map]);
            }
        });
    }
    Ok(())
}

fn try_it(from: &Site, to: &Site) -> Result<()> {
    let (source, target) = (host(from)?, host(to)?);
    traffic::wait_for_ping(&from.host, target, UP_LIMIT).context("no packet came through")?;
    let server = (&to.host, to.host_address(Family::V4));
    let report = traffic::tcp_transfer_to(&from.host, target, server, BYTES)?;
    ensure!(
        report.source_seen == source,
        "host {} saw {} instead of {source}",
        to.name,
        report.source_seen
    );
    println!(
        "  ok  host {} -> host {} as {target}: ping, {} MiB by TCP at {:.0} Mbit/s; it saw {source}",
        from.name,
        to.name,
        report.bytes >> 20,
        report.mbit_per_second()
    );
    Ok(())
}

fn hints(topology: &Topology) -> String {
    let (host, gateway) = (
        topology.site("c").host.name(),
        topology.site("c").gateway.name(),
    );
    let crossway = format!("sudo {} --gateway {gateway}", crossway::binary().display());
    format!(
        "Try in another terminal:
  sudo ip netns exec {host} ping 10.101.0.10        # host a
  sudo ip netns exec {host} ping 10.102.0.10        # host b
  sudo ip netns exec {} tcpdump -ni eth0        # what host b sees
  {crossway} flows
  {crossway} explain 10.3.0.10 10.102.0.10
",
        topology.site("b").host.name()
    )
}
