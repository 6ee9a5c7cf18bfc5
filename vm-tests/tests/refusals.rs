//! Starts that must be refused: with the reason, and with nothing left behind.
//!
//! ```text
//!  host a ── lan0 [gateway a: must not start] wan0 ── wan (router) ── wan0 [gateway b] lan0 ── host b
//!            10.1.0.1             203.0.113.5         .6   .10        203.0.113.9
//! ```

use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use vm_tests::crossway::Crossway;
use vm_tests::host_state::{HostState, files_of};
use vm_tests::keys::KeyPair;
use vm_tests::netns::Netns;
use vm_tests::pair::Pair;
use vm_tests::plan::{self, GatewayPlan, Shape};
use vm_tests::topology::{Builder, Family, LISTEN_PORT, Topology, Wan};
use vm_tests::traffic;

const UP: Duration = Duration::from_secs(10);

#[test]
fn a_route_that_swallows_the_tunnels_own_packets_is_refused() {
    let (topology, plan) = one_gateway();
    for (route, reason) in [
        (
            "203.0.113.0/24",
            "would swallow the endpoint 203.0.113.9 of its own gateway",
        ),
        ("0.0.0.0/1", "would swallow"),
        (
            "203.0.113.6/32",
            "would swallow 203.0.113.6, the router behind the uplink wan0",
        ),
        ("fd00:113:0:1::2/128", "the router behind the uplink wan0"),
    ] {
        let mut plan = plan.clone();
        plan.peers[0].routes.push(route.to_owned());
        if route == "0.0.0.0/1" {
            plan.peers[0].endpoint = Some("100.64.0.1:51820".parse().unwrap());
        }
        refuses(&topology, &plan, 1, &[&format!("route {route}"), reason]);
    }
}

#[test]
fn a_port_in_use_is_refused() {
    let (topology, plan) = one_gateway();
    let taken = topology.sites[0]
        .gateway
        .enter(|| UdpSocket::bind(("0.0.0.0", LISTEN_PORT)))
        .unwrap()
        .unwrap();
    let port = format!("UDP [::]:{LISTEN_PORT}: is another WireGuard or gateway on this port?");
    refuses(&topology, &plan, 1, &[&port]);
    drop(taken);
    Crossway::start(&topology, &plan).unwrap();
}

#[test]
fn a_private_key_that_is_missing_or_wrong_is_refused() {
    let (topology, plan) = one_gateway();
    let before = HostState::settled(&topology.sites[0].gateway).unwrap();
    let agent = Crossway::prepare(&topology, &plan).unwrap();
    let key = agent.key_file();
    let name = key.display().to_string();
    fs::remove_file(&key).unwrap();
    let (code, said) = agent.refused().unwrap();
    assert_ne!(code, 0);
    assert!(said.contains(&name) && said.contains("keygen"), "{said}");
    fs::write(&key, "not a key\n").unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let (code, said) = agent.refused().unwrap();
    assert_ne!(code, 0);
    assert!(said.contains(&name), "{said}");
    assert!(!said.contains("not a key"), "a key is never shown: {said}");
    nothing_is_left(&topology, &plan, &before);
}

#[test]
fn a_wrong_file_is_refused_with_code_2() {
    let (topology, mut plan) = one_gateway();
    // No port.
    plan.listen_port = 0;
    refuses(&topology, &plan, 2, &["listen"]);
}

#[test]
fn a_second_agent_of_the_same_name_is_refused_and_the_first_goes_on() {
    let (topology, plan) = one_gateway();
    let first = Crossway::start(&topology, &plan).unwrap();
    let running = HostState::settled(&topology.sites[0].gateway).unwrap();
    let files = files_of(first.name());
    let second = Crossway::prepare(&topology, &plan).unwrap();
    let (code, said) = second.refused().unwrap();
    assert_eq!(code, 1, "{said}");
    let expected = "a gateway of this name is already running";
    assert!(said.contains(expected), "{said}");
    assert!(first.status().is_ok());
    assert_eq!(files_of(first.name()), files);
    let after = HostState::of(&topology.sites[0].gateway).unwrap();
    assert_eq!(running.difference(&after), "");
}

/// In a container, say, that has the host's BPF file system and a `/run` of its own: what is in `/run` says nothing of
/// the first, and its programs and maps would be taken over.
#[test]
fn a_gateway_of_the_same_name_in_another_namespace_is_refused_whoever_of_the_firsts_agents_runs() {
    let mut pair = Pair::start(|_| ()).unwrap();
    let elsewhere = Netns::create(&format!("{}-elsewhere", pair.topology.prefix())).unwrap();
    let folder = pair.topology.directory().join("elsewhere");
    fs::create_dir(&folder).unwrap();
    let mut second = Crossway::prepare_in(&elsewhere, &folder, &pair.plans[0]).unwrap();
    let own_run = r#"mount -t tmpfs -o mode=755 tmpfs /run/crossway && exec "$@""#;
    second.set_wrapper(&["unshare", "--mount", "sh", "-c", own_run, "sh"]);
    for fast_path in [true, false] {
        let mut plan = pair.plans[0].clone();
        plan.configure(move |config| config.gateway.fast_path = fast_path);
        second.write_config(&plan).unwrap();
        let refuses = |pair: &Pair| {
            let (code, said) = second.refused().unwrap();
            assert_eq!(code, 1, "{said}");
            let holder = format!("process {} (", pair.a.pid().unwrap());
            for words in ["a gateway of the same name", &holder, "another name"] {
                assert!(said.contains(words), "{words}: {said}");
            }
            let status = pair.a.status().unwrap();
            assert!(status.fast_path, "{status:?}");
            pair.wait_until_up().unwrap();
        };
        refuses(&pair);
        assert!(pair.a.take_over().unwrap().success());
        refuses(&pair);
        // One that is killed holds nothing.
        pair.a.kill().unwrap();
        pair.a.start_again().unwrap();
        refuses(&pair);
    }
    let links = elsewhere.ip("-o link show").unwrap();
    assert!(!links.contains("cw-"), "{links}");
}

/// Names of network interfaces are short: two long names may give the same TUN.
#[test]
fn a_gateway_whose_tunnel_would_be_anothers_is_refused_and_the_other_goes_on() {
    let (topology, mut first) = one_gateway();
    let peer = far_gateway(&topology);
    let far = topology.sites[1].host_address(Family::V4);
    first.peers[0].public_key.clone_from(&peer.keys.public);
    first.name = format!("{}-one-long-name", topology.prefix());
    let mut second = first.clone();
    second.name = format!("{}-one-long-name-2", topology.prefix());
    second.listen_port += 1;
    second.keys = KeyPair::generate().unwrap();
    second.peers[0].routes = vec!["10.77.0.0/24".to_owned()];
    let mut b = peer;
    b.peers[0].public_key.clone_from(&first.keys.public);

    let _b = Crossway::start(&topology, &b).unwrap();
    let mut agent = Crossway::start(&topology, &first).unwrap();
    traffic::wait_for_ping(&topology.sites[0].host, far, UP).unwrap();
    let running = HostState::settled(&topology.sites[0].gateway).unwrap();
    let refused = Crossway::prepare(&topology, &second).unwrap();
    let (code, said) = refused.refused().unwrap();
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("cw-"), "{said}");
    let after = HostState::of(&topology.sites[0].gateway).unwrap();
    assert_eq!(running.difference(&after), "");
    assert_eq!(files_of(&second.name), Vec::<PathBuf>::new());
    let report = traffic::ping(&topology.sites[0].host, far, 20).unwrap();
    assert_eq!(report.received, 20);
    assert!(agent.stop().unwrap().success());
}

#[test]
fn two_gateways_of_different_names_share_a_host() {
    let topology = Builder::new(&["a", "b", "c"]).build().unwrap();
    let mut plans = plan::plan(&topology, Shape::Hub, Family::V4).unwrap();
    let before = HostState::settled(&topology.sites[0].gateway).unwrap();
    // Gateway a as two: one for site b, one for site c.
    let mut first = plans[0].clone();
    let mut second = plans[0].clone();
    first.name = format!("x{}", topology.prefix());
    second.name = format!("y{}", topology.prefix());
    first.peers.pop();
    second.peers.remove(0);
    second.keys = KeyPair::generate().unwrap();
    second.listen_port += 1;
    plans[2].peers[0].public_key.clone_from(&second.keys.public);
    let endpoint = plans[2].peers[0].endpoint.as_mut().unwrap();
    endpoint.set_port(second.listen_port);
    for spoke in &mut plans[1..] {
        spoke.peers[0].routes = topology.sites[0].routes();
    }
    let _spokes: Vec<_> = plans[1..]
        .iter()
        .map(|plan| Crossway::start(&topology, plan).unwrap())
        .collect();
    let mut first = Crossway::start(&topology, &first).unwrap();
    let mut second = Crossway::start(&topology, &second).unwrap();
    let ping = |site: usize| {
        for family in Family::ALL {
            let far = topology.sites[site].host_address(family);
            traffic::wait_for_ping(&topology.sites[0].host, far, UP).unwrap();
        }
    };
    ping(1);
    ping(2);
    for (agent, site) in [(&first, 1), (&second, 2)] {
        let sites = agent.sites().unwrap();
        let packets = sites[0].traffic.from_site_packets;
        assert!(packets >= 2, "site {site:?}: {sites:?}");
        let status = agent.status().unwrap();
        assert!(status.fast_path, "{status:?}");
    }
    assert!(first.stop().unwrap().success());
    ping(2);
    assert!(second.stop().unwrap().success());
    let after = HostState::of(&topology.sites[0].gateway).unwrap();
    assert_eq!(before.difference(&after), "");
}

/// A topology in which nothing runs, and the plan of gateway `a`.
fn one_gateway() -> (Topology, GatewayPlan) {
    let topology = Builder::new(&["a", "b"]).wan(Wan::Router).build().unwrap();
    let mut plans = plan::plan(&topology, Shape::FullMesh, Family::V4).unwrap();
    (topology, plans.swap_remove(0))
}

fn far_gateway(topology: &Topology) -> GatewayPlan {
    let mut plans = plan::plan(topology, Shape::FullMesh, Family::V4).unwrap();
    plans.swap_remove(1)
}

fn refuses(topology: &Topology, plan: &GatewayPlan, code: i32, reasons: &[&str]) {
    let before = HostState::settled(&topology.sites[0].gateway).unwrap();
    let agent = Crossway::prepare(topology, plan).unwrap();
    let (found, said) = agent.refused().unwrap();
    assert_eq!(found, code, "{said}");
    for reason in reasons {
        assert!(said.contains(reason), "{reason:?} is missing in: {said}");
    }
    nothing_is_left(topology, plan, &before);
}

fn nothing_is_left(topology: &Topology, plan: &GatewayPlan, before: &HostState) {
    let after = HostState::of(&topology.sites[0].gateway).unwrap();
    assert_eq!(before.difference(&after), "");
    assert_eq!(files_of(&plan.name), Vec::<PathBuf>::new());
}
