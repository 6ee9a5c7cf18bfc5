//! Two sites, all of whose machines are guests with virtio network cards: traffic through them, changes
//! while a connection lives, and the loss of a gateway.
//!
//! ```text
//!   host a ── gateway a ═══ WAN ═══ gateway b ── host b        each a machine with its own kernel;
//!   10.1.0.10                              10.2.0.10            the wires are bridges and taps
//! ```

use std::time::Duration;

use anyhow::Result;
use vm_tests::api::{self, Flow, SiteState};
use vm_tests::crossway::Counters;
use vm_tests::guest::traffic::{PORT, Sent};
use vm_tests::guest::{Card, Guest, GuestGateway, Place, ring};
use vm_tests::plan::{self, GatewayPlan, Shape};
use vm_tests::topology::{Builder, Family, Site, Topology};
use vm_tests::traffic::HostSegments;
use vm_tests::wait;

/// Thousands of packets, and seconds of an emulated processor.
const TRANSFER: u64 = 2 << 20;
/// Port of the connection that lives through everything.
const STEADY: u16 = PORT + 1;
/// A handshake, and whatever is before it in an emulated processor.
const UP: Duration = Duration::from_mins(1);
/// Packets that show that a connection goes on: more than a host sends again by itself meanwhile.
const GOES_ON: u64 = 20;
/// After a minute of silence TCP asks again within another.
const AGAIN: Duration = Duration::from_mins(3);
/// Between two questions, which are dear for an emulated processor.
const GAP: Duration = Duration::from_millis(500);

#[test]
fn guests_are_joined_and_a_connection_outlives_reload_restart_and_loss_of_a_gateway() {
    let start = wait::now();
    let topology = Builder::new(&["a", "b"]).build().unwrap();
    let plans = plans(&topology);
    let [a, b] = [&topology.sites[0], &topology.sites[1]];
    let hosts = [a, b].map(|site| {
        let machine = ring::host(Card::new("eth0")).unwrap();
        Place::prepare(&site.host, machine).unwrap()
    });
    let gateways = [a, b].map(|site| {
        let machine = ring::gateway(1, vec![Card::new("lan0"), Card::new("wan0")]).unwrap();
        Place::prepare(&site.gateway, machine).unwrap()
    });
    let (mut guests, mut agents) = ring::both(
        || {
            let boot = |index: usize| boot_host(&topology, &hosts[index], index);
            let (a, b) = ring::both(|| boot(0), || boot(1))?;
            Ok([a, b])
        },
        || {
            let directory = topology.directory();
            let start =
                |index: usize| GuestGateway::start(&gateways[index], &plans[index], directory);
            let (a, b) = ring::both(|| start(0), || start(1))?;
            Ok([a, b])
        },
    )
    .unwrap();
    let ready = start.elapsed();

    everything_passes(&mut guests, &mut agents, [a, b]);
    let passed = start.elapsed();

    let [host_a, host_b] = &mut guests;
    host_a
        .start_steady_tcp(b.host_address(Family::V6), STEADY)
        .unwrap();
    reload_is_not_noticed(&mut agents, &plans);
    agents[0].stop_agent().unwrap();
    agents[0].start_agent().unwrap();
    goes_on(&mut agents[1]);
    let restarted = start.elapsed();

    let [mut gateway_a, mut gateway_b] = agents;
    gateway_a.kill().unwrap();
    let down = wait_for_site(&mut gateway_b, "a", SiteState::Down);
    let why = &down.links[0].why;
    assert!(why.contains("BFD"), "{down:?}");
    assert!(!host_b.reaches(a.host_address(Family::V4)));
    let lost = start.elapsed();

    let mut gateway_a = GuestGateway::start(&gateways[0], &plans[0], topology.directory()).unwrap();
    wait_for_site(&mut gateway_b, "a", SiteState::Active);
    goes_on(&mut gateway_b);
    let sent = wait::try_until("the end of the connection", AGAIN, || {
        wait::pace(GAP);
        host_a.finish_steady_tcp(STEADY)
    });
    let sent = sent.unwrap();
    let taken = host_b.served(STEADY).unwrap();
    assert_eq!((taken.len(), taken[0].bytes), (1, sent.bytes), "{taken:?}");
    host_b.ping(a.host_address(Family::V4)).unwrap();
    for gateway in [&mut gateway_a, &mut gateway_b] {
        nothing_was_dropped(gateway);
    }
    println!(
        "note: ready after {:.0} s, checked traffic {:.0}, reload and restart {:.0}, down ({why}) {:.0}, back {:.0}",
        ready.as_secs_f64(),
        passed.as_secs_f64(),
        restarted.as_secs_f64(),
        lost.as_secs_f64(),
        start.elapsed().as_secs_f64(),
    );
}

/// BFD at a pace that an emulated processor keeps.
fn plans(topology: &Topology) -> Vec<GatewayPlan> {
    let mut plans = plan::plan(topology, Shape::FullMesh, Family::V4).unwrap();
    plan::give_tunnel_addresses(topology, &mut plans);
    for plan in &mut plans {
        plan.watch_each(1000, 5);
    }
    plans
}

fn boot_host(topology: &Topology, place: &Place<'_>, index: usize) -> Result<Guest> {
    let mut host = place.boot(topology.sites[index].host.name(), topology.directory())?;
    host.serve_tcp(PORT)?;
    host.serve_tcp(STEADY)?;
    Ok(host)
}

/// Both families, both ways: pings, the routers on the way, TCP with its content and its counters.
fn everything_passes(hosts: &mut [Guest; 2], gateways: &mut [GuestGateway; 2], sites: [&Site; 2]) {
    for (gateway, far) in gateways.iter_mut().zip([sites[1], sites[0]]) {
        wait_for_site(gateway, &far.name, SiteState::Active);
    }
    for family in Family::ALL {
        for (from, to) in [(0, 1), (1, 0)] {
            let (near, far) = (sites[from], sites[to]);
            let target = far.host_address(family);
            let host = &mut hosts[from];
            host.ping(target).unwrap();
            let way = [
                near.gateway_address(family),
                far.tunnel_address(family),
                target,
            ];
            assert_eq!(host.traceroute(target).unwrap(), way);

            let before = host.tcp_segments().unwrap();
            let sent = host.send_tcp(target, PORT, TRANSFER).unwrap();
            assert_eq!(sent.client.ip(), near.host_address(family));
            let served = hosts[to].served(PORT).unwrap();
            let taken = served.last().unwrap();
            assert_eq!((taken.source, taken.bytes), (sent.client.ip(), TRANSFER));
            assert_eq!(taken.error, None);
            the_gateways_agree(&mut hosts[from], before, gateways, from, &sent);
        }
    }
    for gateway in gateways {
        nothing_was_dropped(gateway);
    }
}

/// What the client's host says of its TCP, and both flow tables: equal as soon as the last segments are in.
fn the_gateways_agree(
    host: &mut Guest,
    before: HostSegments,
    gateways: &mut [GuestGateway; 2],
    from: usize,
    sent: &Sent,
) {
    let segments = &sent.segments;
    let mut last = String::new();
    let agreed = wait::try_until("the counters to agree", UP, || {
        let near = flow_of(&mut gateways[from], sent, |flow| flow.local_port);
        let far = flow_of(&mut gateways[1 - from], sent, |flow| flow.remote_port);
        let host = host.tcp_segments()?.since(before);
        last = format!("{segments:?} {host:?}\nnear {near:?}\nfar {far:?}");
        let bytes = host.bytes_sent(segments, sent.client.is_ipv4());
        let near_agrees = (near.to_site_packets, near.from_site_packets)
            == (host.sent, host.received)
            && near.to_site_bytes == bytes;
        // The WAN's cards may be too slow for a burst, which is then sent again.
        let far_agrees = near == far.seen_from_afar()
            || segments.sent_again > 0 && far.from_site_packets <= near.to_site_packets;
        wait::pace(GAP);
        Ok((near_agrees && far_agrees).then_some(()))
    });
    agreed.unwrap_or_else(|error| panic!("{error:#}: {last:?}"));
}

fn flow_of(gateway: &mut GuestGateway, sent: &Sent, port: impl Fn(&Flow) -> u16) -> Counters {
    let flows = gateway.flows(&[]).unwrap();
    let mut flows = flows
        .into_iter()
        .filter(|(flow, _)| flow.protocol_number == 6 && port(flow) == sent.client.port());
    let (_, counters) = flows.next().unwrap();
    assert!(flows.next().is_none(), "two flows for {sent:?}");
    counters
}

/// A configuration with one more route takes effect at once, and the connection goes on.
fn reload_is_not_noticed(gateways: &mut [GuestGateway; 2], plans: &[GatewayPlan]) {
    goes_on(&mut gateways[1]);
    let mut plan = plans[0].clone();
    plan.peers[0].routes.push("192.0.2.0/24".into());
    let gateway = &mut gateways[0];
    gateway.write_config(&plan).unwrap();
    let said = gateway.command(&["reload"]).unwrap();
    let route = gateway.command(&["routes", "get", "192.0.2.1"]).unwrap();
    assert!(route.contains("192.0.2.0/24"), "{said}\n{route}");
    goes_on(&mut gateways[1]);
    nothing_was_dropped(&mut gateways[0]);
}

/// More packets come from the far site.
fn goes_on(gateway: &mut GuestGateway) {
    let before = gateway.site("a").unwrap().from_site_packets;
    wait::try_until("the connection to go on", AGAIN, || {
        wait::pace(GAP);
        let now = gateway.site("a")?.from_site_packets;
        Ok((now >= before + GOES_ON).then_some(()))
    })
    .unwrap();
}

fn wait_for_site(gateway: &mut GuestGateway, name: &str, state: SiteState) -> api::Site {
    let mut last = None;
    let found = wait::try_until(&format!("site {name} to be {state:?}"), UP, || {
        let mut sites = gateway.sites()?.into_iter();
        last = sites.find(|site| site.name == name);
        if last.as_ref().is_some_and(|site| site.state == state) {
            return Ok(last.clone());
        }
        wait::pace(GAP);
        Ok(None)
    });
    found.unwrap_or_else(|error| panic!("{error:#}: {last:?}"))
}

fn nothing_was_dropped(gateway: &mut GuestGateway) {
    let mut dropped = gateway.dropped().unwrap();
    // What the far side sealed before it knew that a machine which is new has forgotten the session.
    dropped.retain(|(reason, _)| reason != "no-session");
    assert_eq!(dropped, []);
    let status = gateway.status().unwrap();
    assert!(status.fast_path, "{status:?}");
    assert_eq!(status.warnings, Vec::<String>::new(), "{status:?}");
}
