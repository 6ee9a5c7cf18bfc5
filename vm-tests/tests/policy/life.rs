//! Rules that change, and agents that come and go.

use std::time::Duration;

use vm_tests::topology::Family;
use vm_tests::traffic::{Numbered, SteadyTcp};
use vm_tests::wait;

use crate::scene::{RULES, SOON, Scene, Way, of};
use crate::talk::{ask, connected, exchange, listen, receive, send, udp};

const ANY_UDP: &str = r#"
    [[allow]]
    name = "datagrams"
    from = ["lan"]
    to = ["b"]
    ports = ["udp"]
"#;

/// Another rule that allows the same, and one in front of it that does not matter.
const ANY_UDP_OTHERWISE: &str = r#"
    [[allow]]
    name = "something-else"
    from = ["b"]
    to = ["lan"]
    ports = ["tcp/9"]

    [[allow]]
    name = "the-same"
    from = ["10.1.0.0/16"]
    to = ["10.2.0.0/16"]
    ports = ["udp/1-65535"]
"#;

#[test]
fn a_reload_ends_flows_that_are_not_allowed_any_more_and_no_others() {
    for way in Way::ALL {
        let scene = Scene::start(way, RULES);
        let [a, b] = scene.ends();
        let (at_a, at_b) = (udp(a, Family::V4, 9000), udp(b, Family::V4, 8000));
        ask(&at_a, &at_b);
        let [mut near, mut far] = connected(a, &listen(b, Family::V4, 8000));
        let without_udp = RULES.replace(", \"udp/8000\"", "");
        scene.set_rules("", &without_udp);
        let seen = scene.denied_on_the_way_to(b, 5, || send(&at_a, &at_b, 5));
        assert_eq!(of(&seen, 17, Some(8000)), 0, "{way:?}");
        let seen = scene.denied_on_the_way_to(a, 5, || send(&at_b, &at_a, 5));
        assert_eq!(of(&seen, 17, Some(9000)), 0, "{way:?}");
        exchange(&mut near, &mut far).unwrap();
        // Nobody is a judge where there are no rules.
        scene.set_rules("", "");
        send(&at_b, &at_a, 1);
        receive(&at_a, &at_b);
    }
}

#[test]
fn flows_that_stay_allowed_lose_no_packet_by_reloads() {
    const COUNT: u32 = 3000;
    for way in Way::ALL {
        let scene = Scene::start(way, ANY_UDP);
        let [a, b] = scene.ends();
        let [from, to] = [a, b].map(|site| (&site.host, site.host_address(Family::V4)));
        let each = Duration::from_millis(1);
        let mut stream = Numbered::start(from, to, COUNT, 200, each).unwrap();
        for _ in 0..5 {
            scene.set_rules("", ANY_UDP_OTHERWISE);
            scene.set_rules("denied = \"reject\"", ANY_UDP);
        }
        let sent = stream.all_sent().unwrap();
        wait::until("every datagram to arrive", SOON, || {
            (stream.report(sent).received == sent).then_some(())
        })
        .unwrap_or_else(|error| {
            let dropped = [0, 1].map(|at| scene.gateways[at].dropped().unwrap());
            let counters = b.host.run("cat /proc/net/snmp").unwrap();
            let udp: Vec<&str> = counters
                .lines()
                .filter(|line| line.starts_with("Udp:"))
                .collect();
            let report = stream.report(sent);
            panic!("{way:?} {report:?} {dropped:?} {udp:?}: {error:#}")
        });
        assert_eq!(scene.denied(), 0, "{way:?}");
    }
}

#[test]
fn a_successor_judges_from_its_first_packet_on() {
    for way in Way::ALL {
        let mut scene = Scene::start(way, RULES);
        let tcp = steady(&scene);
        let before = scene.denied();
        let [a, b] = scene.ends();
        let (other, asked) = (udp(b, Family::V4, 9000), udp(a, Family::V4, 8000));
        let wire = vm_tests::traffic::Recording::start(&scene.topology, &a.host, "eth0").unwrap();
        let (done, stop) = std::sync::mpsc::channel::<()>();
        let sender = std::thread::spawn(move || {
            while stop.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
                send(&other, &asked, 1);
            }
        });
        assert!(scene.gateways[0].take_over().unwrap().success());
        tcp.goes_on(SOON).unwrap();
        scene.gateways[0].kill().unwrap();
        scene.gateways[0].start_again().unwrap();
        scene.wait_until_up();
        tcp.goes_on(SOON).unwrap();
        assert!(tcp.is_alive());
        drop(done);
        sender.join().unwrap();
        assert!(before < u64::MAX);
        let seen = wire.finish().unwrap();
        assert_eq!(of(&seen, 17, Some(8000)), 0, "{way:?}");
        tcp.finish().unwrap();
    }
}

#[test]
fn answers_pass_a_hand_over_and_a_kill_where_their_opener_is_silent() {
    let mut scene = Scene::start(Way::Programs, RULES);
    let [a, b] = scene.ends();
    let (at_a, at_b) = (udp(a, Family::V4, 9000), udp(b, Family::V4, 8000));
    ask(&at_a, &at_b);
    let (from, to) = (at_b.try_clone().unwrap(), at_a.try_clone().unwrap());
    let (done, stop) = std::sync::mpsc::channel::<()>();
    let sender = std::thread::spawn(move || {
        while stop.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
            send(&from, &to, 1);
        }
    });
    assert!(scene.gateways[0].take_over().unwrap().success());
    assert_eq!(scene.denied(), 0, "by the successor");
    scene.gateways[0].kill().unwrap();
    scene.gateways[0].start_again().unwrap();
    scene.wait_until_up();
    drop(done);
    sender.join().unwrap();
    assert_eq!(scene.denied(), 0, "after the kill");
}

/// A connection to the one port that a rule has.
fn steady(scene: &Scene) -> SteadyTcp {
    let [a, b] = scene.ends();
    scene.set_rules("", &RULES.replace("tcp/8000", "tcp/1024-65535"));
    SteadyTcp::start(&a.host, &b.host, b.host_address(Family::V4)).unwrap()
}
