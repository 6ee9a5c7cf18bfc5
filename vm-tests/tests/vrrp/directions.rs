//! Both directions of a flow by the gateway that serves the LAN, beside firewalls that know connections.

use vm_tests::crossway::Crossway;
use vm_tests::shared_lan::{FAR, SharedLan};
use vm_tests::traffic::{self, SteadyPing, SteadyTcp};
use vm_tests::{stateful_firewall, wait};

use super::{INTERVAL, TAKE_OVER, UP, address, be_router, wait_for_priority, wait_for_state};

/// The far gateway learns by BFD which of the two serves the LAN. The one that takes over has seen none of the
/// connections begin, and a firewall of its host must not be asked about them.
#[test]
fn both_directions_move_together_and_connections_go_on() {
    let lan = SharedLan::build().unwrap();
    let firewalls = ["a", "c"].map(|site| &lan.topology.site(site).gateway);
    for gateway in firewalls {
        stateful_firewall::lay(gateway).unwrap();
    }
    let mut plans = lan.replica_plans().unwrap();
    for (plan, priority) in plans.iter_mut().zip([150, 50]) {
        be_router(plan, priority, INTERVAL);
    }
    let b = Crossway::start(&lan.topology, &plans[2]).unwrap();
    let c = Crossway::start(&lan.topology, &plans[1]).unwrap();
    let mut a = Crossway::start(&lan.topology, &plans[0]).unwrap();
    wait_for_state(&a, "master");
    wait_for_state(&c, "backup");
    for far in FAR {
        traffic::wait_for_ping(lan.host(), address(far), UP).unwrap();
    }
    wait_for_priority(&a);
    wait_for_priority(&c);
    wait_until_standby(&b, c.name());
    let far_host = &lan.topology.site("b").host;
    let start = || {
        let directory = lan.topology.directory();
        let pings = FAR.map(|far| SteadyPing::start(lan.host(), address(far), directory).unwrap());
        let tcp = SteadyTcp::start(lan.host(), far_host, address(FAR[0])).unwrap();
        let back = SteadyTcp::start(far_host, lan.host(), address("2001:db8:1::10")).unwrap();
        (pings, [tcp, back])
    };
    let finish = |what: &str, (pings, connections): ([SteadyPing; 2], [SteadyTcp; 2])| {
        let gaps = pings.map(|ping| {
            let replies = ping.finish(UP).unwrap();
            let gap = replies.longest_gap();
            eprintln!("{what}: longest gap {gap:?}, {} lost", replies.lost());
            gap
        });
        for connection in connections {
            connection.goes_on(UP).unwrap();
            connection.finish().unwrap();
        }
        gaps.into_iter().max().unwrap()
    };

    let traffic = start();
    assert!(a.stop().unwrap().success());
    wait_for_state(&c, "master");
    assert!(finish("clean stop", traffic) < TAKE_OVER);

    let traffic = start();
    a.start_again().unwrap();
    wait_for_state(&a, "master");
    wait_until_standby(&b, c.name());
    assert!(finish("preempted", traffic) < TAKE_OVER);

    let traffic = start();
    a.kill().unwrap();
    wait_for_state(&c, "master");
    assert!(finish("killed", traffic) < TAKE_OVER);
    assert_eq!(stateful_firewall::dropped(firewalls[1]).unwrap(), 0);
}

/// Until a far gateway knows that `replica` is not the one that serves its LAN.
fn wait_until_standby(far: &Crossway, replica: &str) {
    wait::until(&format!("{replica} to be the standby"), UP, || {
        let reply = far.links().unwrap();
        let mut links = reply.iter();
        let link = links.find(|link| link.gateway == replica)?;
        link.why.contains("standby").then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}: {}", far.command(&["links"]).unwrap()));
}
