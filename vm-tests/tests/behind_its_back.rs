//! What others change on the gateway's host without a word to the agent: seen within seconds, and mended.
//!
//! ```text
//!  host a ── lan0 [gateway a: sysctls, nexthop objects and the TUN are changed] wan0 ── wan0 [gateway b] ── host b
//! ```

use std::time::Duration;

use vm_tests::api::RouteKind;
use vm_tests::config::Lan;
use vm_tests::pair::Pair;
use vm_tests::topology::Family;
use vm_tests::traffic;
use vm_tests::wait;

/// "Within seconds"; a busy machine needs some of them itself.
const NOTICED: Duration = Duration::from_secs(6);
const UP: Duration = Duration::from_secs(10);

/// `net.ipv4.conf.lan0.forwarding` as a path below `/proc/sys`.
fn path_of(key: &str) -> String {
    key.replace('.', "/")
}

#[test]
fn every_sysctl_that_it_keeps_is_mended() {
    let pair = Pair::start(|_| ()).unwrap();
    let gateway = &pair.site_a().gateway;
    let changes = pair.a.status().unwrap().host_changes;
    let kept: Vec<(String, String, String)> = changes
        .iter()
        .filter_map(|line| {
            let (key, rest) = line.split_once(": ")?;
            let (before, rest) = rest.split_once(" -> ")?;
            let set = rest.split_whitespace().next()?;
            let of = |text: &str| text.to_owned();
            key.starts_with("net.")
                .then(|| (path_of(key), of(before), of(set)))
        })
        .collect();
    assert!(kept.len() >= 4, "{changes:?}");
    for (path, before, set) in &kept {
        gateway.set_sysctl(path, before).unwrap();
        wait::until(&format!("{path} to be {set} again"), NOTICED, || {
            (gateway.sysctl(path).unwrap() == *set).then_some(())
        })
        .unwrap();
    }
    pair.wait_until_up().unwrap();
}

/// As a restart of the network or a hardening role does it.
#[test]
fn forwarding_that_is_switched_off_for_all_comes_back_also_where_it_was_on_before() {
    for before in ["0", "1"] {
        let mut pair = Pair::start(|_| ()).unwrap();
        assert!(pair.a.stop().unwrap().success());
        let gateway = &pair.site_a().gateway;
        gateway.set_sysctl("net/ipv4/ip_forward", before).unwrap();
        pair.a.start_again().unwrap();
        pair.wait_until_up().unwrap();
        let gateway = &pair.site_a().gateway;
        gateway.set_sysctl("net/ipv4/ip_forward", "1").unwrap();
        gateway.set_sysctl("net/ipv4/ip_forward", "0").unwrap();
        wait::until("lan0 to forward again", NOTICED, || {
            (gateway.sysctl("net/ipv4/conf/lan0/forwarding").unwrap() == "1").then_some(())
        })
        .unwrap();
        // Through the kernel stack as well.
        traffic::wait_for_ping(&pair.site_a().host, pair.far(Family::V4), UP).unwrap();
    }
}

#[test]
fn a_route_that_goes_with_its_nexthop_object_is_followed() {
    let pair = Pair::start(|_| ()).unwrap();
    let gateway = &pair.site_a().gateway;
    gateway.ip("nexthop add id 7 dev lan0").unwrap();
    gateway.ip("route add 10.2.0.128/25 nhid 7").unwrap();
    let becomes = |kind: RouteKind| {
        wait::until(
            &format!("10.2.0.200 to be of the {kind:?}"),
            NOTICED,
            || {
                let answer = pair.a.route("10.2.0.200").ok()?;
                (answer.kind == Some(kind)).then_some(())
            },
        )
        .unwrap();
    };
    becomes(RouteKind::Kernel);
    gateway.ip("nexthop delete id 7").unwrap();
    becomes(RouteKind::Site);
}

#[test]
fn the_tun_is_put_right_whatever_somebody_does_to_it() {
    let pair = Pair::start(|_| ()).unwrap();
    let gateway = &pair.site_a().gateway;
    let tun = pair.a.status().unwrap().tun.name;
    for change in ["down", "mtu 1300", "txqueuelen 0"] {
        gateway.ip(&format!("link set {tun} {change}")).unwrap();
        wait::until(&format!("{tun} to be as before {change}"), NOTICED, || {
            let shown = gateway.ip(&format!("link show {tun}")).ok()?;
            let right = ["UP", "mtu 1420", "qlen 500"];
            right.iter().all(|word| shown.contains(word)).then_some(())
        })
        .unwrap();
        pair.wait_until_up().unwrap();
        // The gateway's own packets go by the kernel's routes.
        traffic::wait_for_ping(gateway, pair.far(Family::V4), UP).unwrap();
    }
}

/// A host with the Internet's routes is not read anew for each that has to do with no site.
#[test]
fn routes_of_others_that_concern_nobody_cost_no_look_at_the_host() {
    let mut pair = Pair::start(|plans| {
        plans[0].configure(|config| config.gateway.lan = vec![Lan::new("lan0")]);
    })
    .unwrap();
    assert!(pair.a.stop().unwrap().success());
    pair.a.set_variable("CROSSWAY_LOG", "debug");
    pair.a.start_again().unwrap();
    pair.wait_until_up().unwrap();
    let gateway = &pair.site_a().gateway;
    let settled = wait_until_quiet(&pair);
    for round in 0..50 {
        for verb in ["add", "delete"] {
            gateway
                .ip(&format!("route {verb} 198.18.{round}.0/24 dev lan0"))
                .unwrap();
        }
    }
    // What comes after it is seen, and only that.
    gateway.ip("route add 10.2.0.128/25 dev lan0").unwrap();
    wait::until("a route that matters to be followed", NOTICED, || {
        let answer = pair.a.route("10.2.0.200").ok()?;
        (answer.kind == Some(RouteKind::Kernel)).then_some(())
    })
    .unwrap();
    let looks = by_the_agent(&pair) - settled;
    assert!(looks <= 3, "{looks} looks at all routes for one change");
}

/// How often the control loop has read all routes; the command line asks for them too, as `routes get`.
fn by_the_agent(pair: &Pair) -> usize {
    pair.a.log().matches("routes of the fast path").count()
}

fn wait_until_quiet(pair: &Pair) -> usize {
    let mut before = usize::MAX;
    wait::until("the agent to have nothing more to do", UP, || {
        let now = by_the_agent(pair);
        let quiet = now == before;
        before = now;
        wait::pace(Duration::from_millis(500));
        quiet.then_some(now)
    })
    .unwrap()
}
