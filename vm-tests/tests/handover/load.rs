//! Take-overs under load: of the wire, of several lanes, of many sites.

use std::time::Duration;

use vm_tests::crossway::Crossway;
use vm_tests::pair::Pair;
use vm_tests::plan::{self, PeerPlan, Shape};
use vm_tests::topology::{Builder, Family, Site, Wan};
use vm_tests::traffic::{Iperf3, Probes};
use vm_tests::wait;

use super::{SHORT, UP, silent_site};

#[test]
fn under_full_load_both_ways_probes_and_connections_go_on() {
    let mut pair = Pair::start(|_| ()).unwrap();
    take_over_under_load(&mut pair);
}

#[test]
fn several_lanes_are_taken_over_with_their_flows() {
    let mut pair = Pair::start(|plans| {
        for plan in plans {
            plan.run_lanes(2, 2);
        }
    })
    .unwrap();
    take_over_under_load(&mut pair);
    let gap = *pair.a.gaps().last().unwrap();
    assert_eq!((gap.sessions, gap.handshakes), (2, 0));
}

/// What a supervisor makes of a kill, with one site and with two hundred of which one answers.
#[test]
fn a_gateway_of_two_hundred_sites_is_back_soon_after_a_kill_and_taken_over_without_a_gap() {
    let topology = Builder::new(&["a", "b"]).wan(Wan::Router).build().unwrap();
    let router = topology.router.as_ref().unwrap();
    router.ip("route add blackhole 198.18.0.0/15").unwrap();
    let mut plans = plan::plan(&topology, Shape::FullMesh, Family::V4).unwrap();
    // The one that answers is the last: its handshake waits for those of all others.
    let others = (1..200).map(|number| PeerPlan {
        site: format!("silent-{number}"),
        gateway: format!("silent-{number}"),
        endpoint: Some(format!("198.18.{}.1:51820", number % 256).parse().unwrap()),
        routes: vec![format!("10.77.{number}.0/24")],
        ..silent_site()
    });
    plans[0].peers.splice(0..0, others);
    let b = Crossway::start(&topology, &plans[1]).unwrap();
    let mut pair = Pair {
        a: Crossway::start(&topology, &plans[0]).unwrap(),
        b,
        plans,
        topology,
    };
    pair.wait_until_up().unwrap();
    let (one, other) = (&pair.topology.sites[0], &pair.topology.sites[1]);
    let address = |site: &Site| site.host_address(Family::V4);
    let probes = Probes::start((&one.host, address(one)), (&other.host, address(other))).unwrap();
    for round in 1..=3 {
        let begun = wait::now();
        pair.a.kill_and_restart(Duration::ZERO).unwrap();
        probes.steady_from(begun, SHORT, UP).unwrap();
        let ways = probes.since(begun);
        eprintln!("200 sites, kill -9 and start {round}: {ways:?}");
        assert!(
            ways.iter().all(|way| way.gap < Duration::from_secs(3)),
            "{ways:?}"
        );

        let begun = wait::now();
        pair.a.take_over().unwrap();
        let ways = probes.since(begun);
        let gap = *pair.a.gaps().last().unwrap();
        eprintln!("200 sites, take-over {round}: {gap:?}, {ways:?}");
        assert!(ways.iter().all(|way| way.lost == 0), "{ways:?}");
    }
}

fn take_over_under_load(pair: &mut Pair) {
    let (one, other) = (&pair.topology.sites[0], &pair.topology.sites[1]);
    let address = |site: &Site| site.host_address(Family::V4);
    let probes = Probes::start((&one.host, address(one)), (&other.host, address(other))).unwrap();
    let load = Iperf3 {
        streams: 4,
        seconds: 6,
    };
    let agent = &mut pair.a;
    std::thread::scope(|scope| {
        let loaded = scope.spawn(|| {
            load.run_both_ways(&pair.topology, one, other, address(other))
                .unwrap()
        });
        wait::pace(Duration::from_secs(1));
        let dropped = agent.dropped().unwrap();
        for round in 1..=4 {
            let begun = wait::now();
            assert!(agent.take_over().unwrap().success(), "{}", agent.log());
            let ways = probes.since(begun);
            let gap = *agent.gaps().last().unwrap();
            eprintln!("under load, take-over {round}: {gap:?}, probes {ways:?}");
            assert_eq!(gap.handshakes, 0);
            assert!(ways.iter().all(|way| way.gap < SHORT), "{ways:?}");
        }
        assert_eq!(agent.dropped().unwrap(), dropped);
        let reports = loaded.join().unwrap();
        eprintln!("load: {reports:?}");
        assert!(reports.iter().all(|way| way.bytes > 0.0));
    });
}
