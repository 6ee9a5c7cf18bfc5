//! Virtual routers come and go: with sites, with reloads, with the agent.

use std::path::PathBuf;
use std::time::Duration;

use vm_tests::crossway::Crossway;
use vm_tests::host_state::{HostState, files_of};
use vm_tests::shared_lan::{SharedLan, VIRTUAL};
use vm_tests::wait;

use super::{INTERVAL, Pair, be_router, devices, plans, routers, states, wait_for_state};

#[test]
fn a_clean_stop_leaves_the_host_as_it_was_also_after_a_kill() {
    let lan = SharedLan::build().unwrap();
    let plans = plans(&lan, [Some(150), Some(50)]).unwrap();
    let gateway = &lan.topology.site("a").gateway;
    let before = HostState::settled(gateway).unwrap();
    let mut a = Crossway::start(&lan.topology, &plans[0]).unwrap();
    for round in ["clean", "killed"] {
        wait_for_state(&a, "master");
        for virtual_address in VIRTUAL {
            let scope = if virtual_address.starts_with("fe80") {
                format!("{virtual_address}%eth0")
            } else {
                virtual_address.to_owned()
            };
            let pinged = lan.host().run(&format!("ping -n -c 1 -W 2 {scope}"));
            assert!(pinged.is_ok(), "{round}: {pinged:?}");
        }
        if round == "killed" {
            a.kill().unwrap();
            a.start_again().unwrap();
            wait_for_state(&a, "master");
        }
        assert!(a.stop().unwrap().success(), "{}", a.log());
        let after = HostState::of(gateway).unwrap();
        assert_eq!(before.difference(&after), "", "{round}");
        assert_eq!(files_of(a.name()), Vec::<PathBuf>::new(), "{round}");
        if round == "clean" {
            a.start_again().unwrap();
        }
    }
}

#[test]
fn a_reload_adds_changes_and_removes_virtual_routers() {
    let mut pair = Pair::start();
    let mut plan = pair.plans[0].clone();
    plan.configure_nothing();
    be_router(&mut plan, 40, INTERVAL);
    pair.a.write_config(&plan).unwrap();
    pair.a.command(&["reload"]).unwrap();
    wait_for_state(&pair.a, "backup");
    wait_for_state(&pair.c, "master");
    plan.configure_nothing();
    pair.a.write_config(&plan).unwrap();
    pair.a.command(&["reload"]).unwrap();
    assert_eq!(states(&pair.a), Vec::<String>::new());
    let gateway = &pair.lan.topology.site("a").gateway;
    assert_eq!(devices(gateway), Vec::<String>::new());
    pair.a.write_config(&pair.plans[0]).unwrap();
    pair.a.command(&["reload"]).unwrap();
    wait_for_state(&pair.a, "master");
    wait_for_state(&pair.c, "backup");
}

#[test]
fn a_gateway_that_reaches_no_site_leaves_the_lan_to_one_that_does() {
    let lan = SharedLan::build().unwrap();
    let plans = plans(&lan, [Some(150), Some(50)]).unwrap();
    let _d = Crossway::start(&lan.topology, &plans[3]).unwrap();
    let c = Crossway::start(&lan.topology, &plans[1]).unwrap();
    let a = Crossway::start(&lan.topology, &plans[0]).unwrap();
    wait_for_state(&c, "master");
    wait_for_state(&a, "backup");
    let router = &routers(&a)[0];
    assert_eq!(router.priority, 1, "{router:?}");
    assert_eq!(router.configured_priority, 150, "{router:?}");
    let shown = a.command(&["status"]).unwrap();
    assert!(shown.contains("1 of 150"), "{shown}");

    let _b = Crossway::start(&lan.topology, &plans[2]).unwrap();
    wait::until("gateway a to preempt", Duration::from_secs(20), || {
        (states(&a) == ["master", "master"]).then_some(())
    })
    .unwrap();
    wait_for_state(&c, "backup");
}
