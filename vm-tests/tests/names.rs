//! Endpoints that are names: nobody waits for them, all their addresses are tried, and what they led to is
//! remembered.
//!
//! ```text
//!  host a ── [gateway a: under test] wan0 ─────────────────── wan0 [gateway b] ── host b
//!                         203.0.113.1                         203.0.113.2
//!             its name server, 127.0.0.1, takes every question and answers none
//! ```

use std::fs;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::time::Duration;

use vm_tests::api::{LinkState, RouteKind};
use vm_tests::config::{self, Endpoint, RemoteGateway, Site};
use vm_tests::crossway::Crossway;
use vm_tests::netns::Netns;
use vm_tests::plan::{self, GatewayPlan, Shape};
use vm_tests::topology::{Builder, Family, LISTEN_PORT, Topology};
use vm_tests::traffic;
use vm_tests::wait;

const UP: Duration = Duration::from_secs(10);
/// Far below what one question to a silent name server takes, which is 10 s.
const AT_ONCE: Duration = Duration::from_secs(4);
/// A handshake is tried again after 5 s, another address after 10 s.
const NEXT_TRIED: Duration = Duration::from_secs(25);
const NAME: &str = "far.example";
/// Threads that look names up.
const MOST_THREADS: usize = 8;

#[test]
fn nobody_waits_for_a_name_server_that_does_not_answer() {
    let mut lab =
        Lab::start(|plan| plan.configure(|config| config.sites.extend((1..20).map(site_by_name))));
    let far = lab.topology.sites[1].host_address(Family::V4);
    traffic::wait_for_ping(lab.host(), far, UP).unwrap();

    let begin = wait::now();
    lab.plan
        .configure(|config| config.sites.push(site_by_name(20)));
    lab.a.write_config(&lab.plan).unwrap();
    let said = lab.a.command(&["reload"]).unwrap();
    assert!(said.contains("site named-20 added"), "{said}");
    lab.a.hang_up().unwrap();
    // While threads wait in vain.
    for _ in 0..10 {
        assert_eq!(lab.a.status().unwrap().sites.len(), 21);
    }
    // Of the site, but kept by the kernel from now on.
    let gateway = &lab.topology.sites[0].gateway;
    gateway.ip("route add 10.2.0.200/32 dev lan0").unwrap();
    wait::until("the host's change to be followed", AT_ONCE, || {
        let answer = lab.a.route("10.2.0.200").ok()?;
        (answer.kind == Some(RouteKind::Kernel)).then_some(())
    })
    .unwrap();
    assert!(begin.elapsed() < AT_ONCE, "{:?}", begin.elapsed());

    let warnings = wait::until("a warning", UP, || {
        let warnings = lab.a.status().ok()?.warnings;
        warnings
            .iter()
            .any(|warning| warning.contains("do not resolve"))
            .then_some(warnings)
    });
    eprintln!("{:?}", warnings.unwrap());
    let begin = wait::now();
    assert!(lab.a.stop().unwrap().success());
    assert!(begin.elapsed() < AT_ONCE, "{:?}", begin.elapsed());
}

#[test]
fn a_thousand_names_are_looked_up_by_a_few_threads() {
    let lab = Lab::start(|plan| {
        plan.configure(|config| config.sites.extend((0..1000).map(site_by_name)));
    });
    let far = lab.topology.sites[1].host_address(Family::V4);
    traffic::wait_for_ping(lab.host(), far, UP).unwrap();
    let names = |pid: u32| {
        let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        let threads =
            threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("comm")).ok());
        threads.filter(|name| name.trim() == "names").count()
    };
    let pid = lab.a.pid().unwrap();
    for _ in 0..20 {
        let begin = wait::now();
        assert_eq!(lab.a.status().unwrap().sites.len(), 1001);
        assert!(begin.elapsed() < AT_ONCE, "{:?}", begin.elapsed());
        let threads = names(pid);
        assert!((1..=MOST_THREADS).contains(&threads), "{threads}");
    }
}

#[test]
fn all_addresses_of_a_name_are_tried_and_the_good_one_is_remembered() {
    for dead in ["2001:db8:dead::2", "203.0.113.50"] {
        let mut lab = Lab::prepare(|plan| {
            plan.peers[0].endpoint = None;
            plan.dial_by_name(NAME, LISTEN_PORT);
        });
        // The resolver would put an address without a route last.
        let gateway = &lab.topology.sites[0].gateway;
        gateway
            .ip("-6 route add default via fd00:113::dead dev wan0")
            .unwrap();
        let hosts = lab.hosts(&format!("{dead} {NAME}\n203.0.113.2 {NAME}\n"));
        lab.a.set_hosts(&hosts);
        lab.a.start_again().unwrap();
        let (host, far) = (lab.host(), lab.topology.sites[1].host_address(Family::V4));
        traffic::wait_for_ping(host, far, NEXT_TRIED).unwrap();
        lab.ends_at("203.0.113.2");

        // Nobody knows the name any more.
        lab.hosts("");
        for kill in [false, true] {
            if kill {
                lab.a.kill().unwrap();
            } else {
                assert!(lab.a.stop().unwrap().success());
            }
            let begin = wait::now();
            lab.a.start_again().unwrap();
            assert!(begin.elapsed() < AT_ONCE, "{:?}", begin.elapsed());
            traffic::wait_for_ping(lab.host(), far, UP).unwrap();
            lab.ends_at("203.0.113.2");
        }
    }
}

#[test]
fn a_link_whose_name_nobody_knows_says_so() {
    let lab = Lab::start(|plan| plan.configure(|config| config.sites.push(site_by_name(1))));
    let why = |expected: &'static str| {
        wait::until(expected, UP * 3, || {
            let links = lab.a.links().unwrap();
            let link = links.into_iter().find(|link| link.site == "named-1")?;
            (link.state != LinkState::Up && link.why.contains(expected)).then_some(())
        })
        .unwrap();
    };
    why("1.sites.example is looked up");
    why("1.sites.example: ");
}

/// A site whose gateway is known by a name that nobody knows.
fn site_by_name(number: u16) -> Site {
    let [high, low] = number.to_be_bytes();
    let mut key = [7; 32];
    key[..2].copy_from_slice(&[high, low]);
    let mut gateway = RemoteGateway::new(format!("named-{number}-1"), key);
    let host = format!("{number}.sites.example");
    let port = LISTEN_PORT;
    gateway.links[0]
        .endpoints
        .push(Endpoint::Name { host, port });
    let routes = config::prefixes(&[format!("11.{high}.{low}.0/24")]).unwrap();
    let mut site = Site::new(format!("named-{number}"), routes);
    site.gateways.push(gateway);
    site
}

/// Two gateways; the first has a silent name server.
struct Lab {
    a: Crossway,
    _b: Crossway,
    plan: GatewayPlan,
    _name_server: UdpSocket,
    topology: Topology,
}

impl Lab {
    fn start(adjust: impl FnOnce(&mut GatewayPlan)) -> Self {
        let mut lab = Self::prepare(adjust);
        let begin = wait::now();
        lab.a.start_again().unwrap();
        assert!(begin.elapsed() < AT_ONCE, "{:?}", begin.elapsed());
        lab
    }

    fn prepare(adjust: impl FnOnce(&mut GatewayPlan)) -> Self {
        let topology = Builder::new(&["a", "b"]).build().unwrap();
        let mut plans = plan::plan(&topology, Shape::FullMesh, Family::V4).unwrap();
        plans[1].peers[0].endpoint = None;
        adjust(&mut plans[0]);
        let b = Crossway::start(&topology, &plans[1]).unwrap();
        let name_server = topology.sites[0]
            .gateway
            .enter(|| UdpSocket::bind("127.0.0.1:53"));
        let resolv_conf = topology.directory().join("resolv.conf");
        fs::write(&resolv_conf, "nameserver 127.0.0.1\n").unwrap();
        let mut a = Crossway::prepare(&topology, &plans[0]).unwrap();
        a.set_resolv_conf(&resolv_conf);
        Self {
            a,
            _b: b,
            plan: plans[0].clone(),
            _name_server: name_server.unwrap().unwrap(),
            topology,
        }
    }

    fn host(&self) -> &Netns {
        &self.topology.sites[0].host
    }

    /// Writes the file that the agent has as its /etc/hosts, in place: it sees this very file.
    fn hosts(&self, text: &str) -> PathBuf {
        let file = self.topology.directory().join("hosts");
        fs::write(&file, text).unwrap();
        file
    }

    fn ends_at(&self, address: &str) {
        let expected = Some(format!("{address}:{LISTEN_PORT}"));
        assert_eq!(self.a.links().unwrap()[0].endpoint, expected);
    }
}
