//! What passes which way.

use std::process::Command;
use std::time::Duration;

use vm_tests::engine::Engine;
use vm_tests::process;
use vm_tests::topology::Family;
use vm_tests::traffic::{Probe, RawSocket, UdpEcho, ping, traceroute, udp_echo, wait_for_ping};
use vm_tests::wait;

use crate::scene::{RULES, SOON, Scene, Way, of};
use crate::talk::{LIMIT, SHORT, ask, connect, connected, listen, send, udp};

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;

#[test]
fn what_no_rule_allows_never_arrives_and_answers_do() {
    for way in Way::ALL {
        answers_pass_and_nothing_else(&Scene::start(way, RULES));
    }
}

#[test]
fn it_is_the_same_with_the_sessions_of_boringtun() {
    let engine = Some(Engine::Boringtun);
    for way in Way::ALL {
        answers_pass_and_nothing_else(&Scene::with(way, "", RULES, engine));
    }
}

fn answers_pass_and_nothing_else(scene: &Scene) {
    let [a, b] = scene.ends();
    for family in Family::ALL {
        // The first handshake, on a busy machine.
        wait_for_ping(&a.host, b.host_address(family), SOON).unwrap();
        let (at_b, at_a) = (udp(b, family, 8000), udp(a, family, 9000));
        ask(&at_a, &at_b);
        let listener = listen(b, family, 8000);
        let [_near, _far] = connected(a, &listener);
        assert_eq!(
            ping(&a.host, b.host_address(family), 3).unwrap().received,
            3
        );

        // From here, to a port that no rule has.
        let other = udp(b, family, 8001);
        let seen = scene.denied_on_the_way_to(b, 5, || send(&at_a, &other, 5));
        assert_eq!(of(&seen, UDP, Some(8001)), 0);
        let closed = listen(b, family, 8001);
        let seen = scene.denied_on_the_way_to(b, 1, || {
            connect(a, &closed, SHORT).unwrap_err();
        });
        assert_eq!(of(&seen, TCP, Some(8001)), 0);

        // From there, whatever it is: also to the port that is open the other way.
        let here = listen(a, family, 8000);
        let asked = udp(a, family, 8000);
        let seen = scene.denied_on_the_way_to(a, 9, || {
            send(&other, &asked, 5);
            connect(b, &here, SHORT).unwrap_err();
            assert_eq!(
                ping(&b.host, a.host_address(family), 3).unwrap().received,
                0
            );
        });
        let icmp = if family == Family::V4 { ICMP } else { 58 };
        assert_eq!(of(&seen, UDP, None) + of(&seen, TCP, None), 0);
        // Neighbour discovery is on the LAN.
        let far = b.host_address(family);
        let from_far = seen.iter().filter(|packet| packet.source == far);
        assert_eq!(from_far.filter(|packet| packet.protocol == icmp).count(), 0);
        // A known flow is not opened anew by its other end.
        ask(&at_a, &at_b);
    }
}

#[test]
fn a_hub_judges_what_it_passes_on() {
    let rules = r#"
        [[allow]]
        from = ["b"]
        to = ["c"]
        ports = ["tcp/8000", "udp/8000"]
    "#;
    for way in Way::ALL {
        let scene = Scene::hub(way, rules);
        let [b, c] = ["b", "c"].map(|name| scene.site(name));
        let (at_b, at_c) = (udp(b, Family::V4, 9000), udp(c, Family::V4, 8000));
        ask(&at_b, &at_c);
        let [_near, _far] = connected(b, &listen(c, Family::V4, 8000));
        let (other, asked) = (udp(c, Family::V4, 9000), udp(b, Family::V4, 8000));
        let listener = listen(b, Family::V4, 8000);
        let seen = scene.denied_on_the_way_to(b, 6, || {
            send(&other, &asked, 5);
            connect(c, &listener, SHORT).unwrap_err();
        });
        assert_eq!(of(&seen, UDP, None) + of(&seen, TCP, None), 0, "{way:?}");
        let closed = udp(c, Family::V4, 8001);
        let seen = scene.denied_on_the_way_to(c, 5, || send(&at_b, &closed, 5));
        assert_eq!(of(&seen, UDP, None), 0, "{way:?}");
    }
}

#[test]
fn errors_about_allowed_packets_pass_a_closed_policy() {
    let rules = r#"
        [[allow]]
        from = ["lan"]
        to = ["b"]
        ports = ["icmp", "udp/53"]
    "#;
    for way in Way::ALL {
        let scene = Scene::start(way, rules);
        let [a, b] = scene.ends();
        for family in Family::ALL {
            let target = b.host_address(family);
            for probe in [Probe::Udp, Probe::Icmp] {
                let hops = traceroute(&a.host, target, probe).unwrap();
                let way = [a.gateway_address(family), b.tunnel_address(family), target];
                assert_eq!(hops, way);
            }
        }
        // A router behind the tunnel whose next link takes less.
        b.gateway.ip("link set lan0 mtu 1290").unwrap();
        b.host.ip("link set eth0 mtu 1290").unwrap();
        wait::try_until("host a to be told what host b's LAN takes", SOON, || {
            let to = b.host_address(Family::V4).to_string();
            let words = ["-n", "-M", "do", "-c", "2", "-i", "0.2", "-s", "1350", &to];
            let output = a.host.command("ping").args(words).output()?;
            let said = [output.stdout, output.stderr].concat();
            Ok(String::from_utf8_lossy(&said)
                .contains("1290")
                .then_some(()))
        })
        .unwrap();
    }
}

#[test]
fn fragments_of_large_datagrams_go_where_a_rule_lets_the_first_one() {
    let rules = r#"
        [[allow]]
        from = ["lan"]
        to = ["b"]
        ports = ["udp"]
    "#;
    let gap = Duration::from_millis(2);
    for way in Way::ALL {
        let scene = Scene::start(way, rules);
        let [a, b] = scene.ends();
        for family in Family::ALL {
            let echo = UdpEcho::start(&b.host, b.host_address(family)).unwrap();
            wait::try_until("an echo of 4000 bytes", SOON, || {
                let report = udp_echo(&a.host, echo.address(), 1, 4000, gap)?;
                Ok((report.received == 1).then_some(()))
            })
            .unwrap();
            let report = udp_echo(&a.host, echo.address(), 10, 4000, gap).unwrap();
            assert_eq!(report.received, 10, "{way:?} {family:?}");
            // The other way the first ones are denied, so that nobody can join the rest.
            let back = UdpEcho::start(&a.host, a.host_address(family)).unwrap();
            let before = scene.denied();
            let report = udp_echo(&b.host, back.address(), 10, 4000, gap).unwrap();
            assert_eq!(report.received, 0, "{way:?} {family:?}");
            assert!(scene.denied() >= before + 10);
        }
    }
}

#[test]
fn protocols_without_ports_pass_by_name_and_others_do_not() {
    let rules = r#"
        [[allow]]
        from = ["lan"]
        to = ["b"]
        ports = ["gre", "esp", "sctp"]
    "#;
    for way in Way::ALL {
        let scene = Scene::start(way, rules);
        let [a, b] = scene.ends();
        for family in Family::ALL {
            let (to_b, to_a) = (b.host_address(family), a.host_address(family));
            let sockets = |protocol: u8| {
                let at_a = RawSocket::open(&a.host, protocol, to_b).unwrap();
                (at_a, RawSocket::open(&b.host, protocol, to_a).unwrap())
            };
            for protocol in [47, 50, 132] {
                let (at_a, at_b) = sockets(protocol);
                let payload = vec![0; 64];
                // The end that no rule lets begin.
                let seen = scene.denied_on_the_way_to(a, 1, || at_b.send(&payload).unwrap());
                assert_eq!(of(&seen, protocol, None), 0, "{way:?} {protocol}");
                at_a.send(&payload).unwrap();
                assert_eq!(at_b.receive(LIMIT).unwrap(), (to_a, payload.clone()));
                at_b.send(&payload).unwrap();
                assert_eq!(at_a.receive(LIMIT).unwrap(), (to_b, payload));
            }
            let (at_a, _at_b) = sockets(253);
            let seen = scene.denied_on_the_way_to(b, 1, || at_a.send(&[0; 64]).unwrap());
            assert_eq!(of(&seen, 253, None), 0, "{way:?}");
        }
    }
}

#[test]
fn programs_that_are_detached_behind_the_agents_back_leave_no_gap() {
    let scene = Scene::start(Way::Programs, RULES);
    let [a, b] = scene.ends();
    let (at_a, at_b) = (udp(a, Family::V4, 9000), udp(b, Family::V4, 8000));
    ask(&at_a, &at_b);
    let [mut near, mut far] = connected(a, &listen(b, Family::V4, 8000));
    let (other, asked) = (udp(b, Family::V4, 9000), udp(a, Family::V4, 8000));
    let closed = udp(b, Family::V4, 8001);
    let there = vm_tests::traffic::Recording::start(&scene.topology, &b.host, "eth0").unwrap();
    let seen = scene.denied_on_the_way_to(a, 600, || {
        for round in 0..300 {
            if round == 100 {
                detach(&scene);
            }
            send(&other, &asked, 1);
            send(&at_a, &closed, 1);
        }
    });
    assert_eq!(of(&seen, UDP, Some(8000)), 0);
    assert_eq!(of(&there.finish().unwrap(), UDP, Some(8001)), 0);
    wait::try_until("the agent to know", SOON, || {
        let status = scene.first().status()?;
        let warned = status
            .warnings
            .iter()
            .any(|line| line.contains("lanes judge"));
        Ok((!status.policy.by_programs && warned).then_some(()))
    })
    .unwrap();
    // What was allowed goes on, answers first.
    send(&at_b, &at_a, 1);
    crate::talk::receive(&at_a, &at_b);
    crate::talk::exchange(&mut near, &mut far).unwrap();
}

/// As an administrator would: the pins stay, the programs are off.
fn detach(scene: &Scene) {
    let pins = scene.first().status().unwrap().pins;
    for link in std::fs::read_dir(format!("{pins}/links")).unwrap() {
        let mut command = Command::new("bpftool");
        command.args(["link", "detach", "pinned"]);
        process::run(command.arg(link.unwrap().path())).unwrap();
    }
}
