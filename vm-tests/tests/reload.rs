//! A changed configuration file under a running gateway.
//!
//! ```text
//!  host a ── [gateway a: its file changes] ──┬─────────────── wan (router)
//!            10.1.0.1     203.0.113.5        │
//!                                            ├── [gateway b] ── host b 10.2.0.10   traffic runs on
//!                                            └── [gateway c] ── host c 10.3.0.10   comes, goes, moves
//! ```

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use vm_tests::api::{LinkState, RoutesReply, Site, Status};
use vm_tests::crossway::Crossway;
use vm_tests::keys::KeyPair;
use vm_tests::netns::Netns;
use vm_tests::plan::{self, GatewayPlan, Shape};
use vm_tests::topology::{Builder, Family, Topology};
use vm_tests::traffic::{self, SteadyPing, SteadyTcp};
use vm_tests::wait;

const UP: Duration = Duration::from_secs(10);

#[test]
fn a_site_comes_and_goes_while_another_loses_no_packet() {
    let mut mesh = Mesh::start(|plan| drop(plan.peers.pop()));
    let (a, b, c) = mesh.hosts();
    let to_b = SteadyPing::start(a, b, mesh.topology.directory()).unwrap();
    let tcp = SteadyTcp::start(a, &mesh.topology.sites[1].host, b).unwrap();
    mesh.unreachable(c);

    for round in 0..3 {
        let said = mesh.reload(|_| ());
        assert!(said.contains("site c added"), "{said}");
        traffic::wait_for_ping(a_host(&mesh.topology), c, UP).unwrap();
        assert_eq!(mesh.site_names(), ["b", "c"]);
        assert_eq!(mesh.site_of("10.3.0.10"), "c");
        let said = mesh.reload(|plan| drop(plan.peers.pop()));
        assert!(said.contains("site c removed"), "{said}");
        assert_eq!(mesh.site_names(), ["b"]);
        assert_eq!(mesh.site_of("10.3.0.10"), "", "round {round}");
        assert!(!mesh.kernel_routes().contains("10.3.0.0/24"));
        mesh.unreachable(c);
    }

    tcp.goes_on(UP).unwrap();
    tcp.finish().unwrap();
    let replies = to_b.finish(UP).unwrap();
    assert_eq!(replies.lost(), 0, "of {}", replies.replies.len());
}

#[test]
fn a_wrong_file_changes_nothing_and_says_why() {
    let mesh = Mesh::start(|_| ());
    let (a, b, _) = mesh.hosts();
    let ping = SteadyPing::start(a, b, mesh.topology.directory()).unwrap();
    let before = mesh.state();
    let good = fs::read_to_string(mesh.agent.config()).unwrap();
    let bad = good.replace("10.2.0.0/24", "10.2.0.1/24");
    fs::write(mesh.agent.config(), &bad).unwrap();

    let (code, said) = mesh.agent.failing_command(&["reload"]).unwrap();
    assert_eq!(code, 2, "{said}");
    let expected = "10.2.0.1/24 has host bits set: did you mean 10.2.0.0/24?";
    assert!(said.contains(expected), "{said}");
    assert!(said.contains("keeps its configuration"), "{said}");
    assert_eq!(mesh.state(), before);

    let logged = || mesh.agent.log().matches(expected).count();
    let before_signal = logged();
    mesh.agent.hang_up().unwrap();
    wait::until("the log to say why", UP, || {
        (logged() > before_signal).then_some(())
    })
    .unwrap();
    assert_eq!(mesh.state(), before);

    fs::remove_file(mesh.agent.config()).unwrap();
    let (code, said) = mesh.agent.failing_command(&["reload"]).unwrap();
    assert_eq!(code, 2, "{said}");
    assert_eq!(mesh.state(), before);

    fs::write(mesh.agent.config(), &good).unwrap();
    let said = mesh.agent.command(&["reload"]).unwrap();
    assert!(said.contains("Nothing changed"), "{said}");
    assert_eq!(ping.finish(UP).unwrap().lost(), 0);
}

#[test]
fn a_route_that_swallows_an_endpoint_is_refused_by_a_reload_too() {
    let mut mesh = Mesh::start(|_| ());
    let before = mesh.state();
    mesh.plan.peers[0].routes.push("203.0.113.0/24".to_owned());
    mesh.agent.write_config(&mesh.plan).unwrap();
    let (code, said) = mesh.agent.failing_command(&["reload"]).unwrap();
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("203.0.113.0/24 would swallow"), "{said}");
    assert_eq!(mesh.state(), before);
}

#[test]
fn a_prefix_moves_from_one_site_to_another() {
    // 10.9.0.0/24 is on the loopback of both hosts; which of them answers shows where packets went.
    let mut mesh = Mesh::start(|plan| plan.peers[0].routes.push("10.9.0.0/24".to_owned()));
    for site in &mesh.topology.sites[1..] {
        site.host.ip("address add 10.9.0.9/32 dev lo").unwrap();
        let gateway = site.host_address(Family::V4);
        let route = format!("route add 10.9.0.0/24 via {gateway}");
        site.gateway.ip(&route).unwrap();
    }
    let (a, b, c) = mesh.hosts();
    let moved = "10.9.0.9".parse().unwrap();
    traffic::wait_for_ping(a, moved, UP).unwrap();
    traffic::wait_for_ping(a, c, UP).unwrap();
    assert_eq!(mesh.site_of("10.9.0.9"), "b");
    let across = SteadyPing::start(a, moved, mesh.topology.directory()).unwrap();
    let ping = SteadyPing::start(a, b, mesh.topology.directory()).unwrap();
    let at_c = mesh.packets_from("c");

    let said = mesh.reload(|plan| plan.peers[1].routes.push("10.9.0.0/24".to_owned()));
    assert!(said.contains("routes"), "{said}");
    assert_eq!(mesh.site_of("10.9.0.9"), "c");
    traffic::wait_for_ping(a_host(&mesh.topology), moved, UP).unwrap();
    assert!(mesh.packets_from("c") > at_c);
    assert_eq!(across.finish(UP).unwrap().lost(), 0);
    assert_eq!(ping.finish(UP).unwrap().lost(), 0);
}

#[test]
fn an_endpoint_that_changes_is_dialled_anew() {
    // The first dial goes to the router, where nobody listens.
    let mut mesh = Mesh::start(|plan| {
        plan.peers[1].endpoint = Some("203.0.113.14:1".parse().unwrap());
    });
    let (a, b, c) = mesh.hosts();
    let ping = SteadyPing::start(a, b, mesh.topology.directory()).unwrap();
    mesh.unreachable(c);
    let right = mesh.topology.sites[2].endpoint(Family::V4);
    let said = mesh.reload(|_| ());
    assert!(said.contains("dialled anew"), "{said}");
    traffic::wait_for_ping(a_host(&mesh.topology), c, UP).unwrap();
    let links = mesh.agent.links().unwrap();
    assert_eq!(links[1].endpoint, Some(right.to_string()), "{links:?}");
    assert_eq!(links[1].state, LinkState::Up, "{links:?}");
    assert_eq!(ping.finish(UP).unwrap().lost(), 0);
}

#[test]
fn a_pre_shared_key_that_is_replaced_in_its_file_is_in_force_after_a_reload() {
    let topology = Builder::new(&["a", "b"]).build().unwrap();
    let mut plans = plan::plan(&topology, Shape::FullMesh, Family::V4).unwrap();
    let file = topology.directory().join("shared.psk");
    // A key of any 32 bytes.
    let write = |key: &str| {
        fs::write(&file, key).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    };
    write(&KeyPair::generate().unwrap().private);
    for plan in &mut plans {
        plan.share_key(&file);
    }
    plans[1].peers[0].endpoint = None;
    let start = |plan| Crossway::start(&topology, plan).unwrap();
    let [a, mut b] = [&plans[0], &plans[1]].map(start);
    let far = topology.sites[1].host_address(Family::V4);
    let host = &topology.sites[0].host;
    traffic::wait_for_ping(host, far, UP).unwrap();
    let unchanged = a.command(&["reload"]).unwrap();
    assert!(unchanged.contains("Nothing changed"), "{unchanged}");

    write(&KeyPair::generate().unwrap().private);
    for agent in [&a, &b] {
        let said = agent.command(&["reload"]).unwrap();
        assert!(said.contains("begins anew"), "{said}");
    }
    traffic::wait_for_ping(host, far, UP).unwrap();
    wait::until("BFD, which sees at once that b is gone", UP, || {
        (a.links().unwrap()[0].why == "BFD is up").then_some(())
    })
    .unwrap();
    // One end begins anew, with what is in the file: the other has that too.
    b.kill().unwrap();
    b.start_again().unwrap();
    traffic::wait_for_ping(host, far, UP).unwrap();

    // One end alone has the next: the old is not in force any more.
    write(&KeyPair::generate().unwrap().private);
    a.command(&["reload"]).unwrap();
    wait::until("the link without a session", UP, || {
        let links = a.links().unwrap();
        (links[0].state != LinkState::Up).then_some(())
    })
    .unwrap();
    assert_eq!(traffic::ping(host, far, 1).unwrap().received, 0);
}

#[test]
fn a_private_key_that_is_replaced_in_its_file_needs_a_restart() {
    let mesh = Mesh::start(|_| ());
    let before = mesh.state();
    fs::write(mesh.agent.key_file(), KeyPair::generate().unwrap().private).unwrap();
    let (code, said) = mesh.agent.failing_command(&["reload"]).unwrap();
    assert_eq!(code, 2, "{said}");
    assert!(
        said.contains("the key in ") && said.contains("restart it"),
        "{said}"
    );
    assert_eq!(mesh.state(), before);
}

#[test]
fn a_setting_that_needs_a_restart_is_refused_with_its_mend() {
    let mut mesh = Mesh::start(|_| ());
    let before = mesh.state();
    mesh.plan.listen_port += 1;
    mesh.plan
        .configure(|config| config.gateway.fast_path = false);
    mesh.agent.write_config(&mesh.plan).unwrap();
    let (code, said) = mesh.agent.failing_command(&["reload"]).unwrap();
    assert_eq!(code, 2, "{said}");
    for setting in ["gateway.listen", "gateway.fast_path"] {
        let expected = format!("{setting} has changed and cannot change while the gateway runs");
        assert!(said.contains(&expected), "{said}");
    }
    assert!(
        said.contains("restart it, or put the old value back"),
        "{said}"
    );
    assert_eq!(mesh.state(), before);
}

#[test]
fn a_file_that_the_kernel_refuses_is_taken_back_and_can_be_mended() {
    let mut mesh = Mesh::start(|plan| drop(plan.peers.pop()));
    let (a, b, c) = mesh.hosts();
    let ping = SteadyPing::start(a, b, mesh.topology.directory()).unwrap();
    // Of the very metric that our routes have.
    let taken = "blackhole 10.3.0.0/24 metric 30199";
    let gateway = |words: &str| mesh.topology.sites[0].gateway.ip(words).unwrap();
    gateway(&format!("route add {taken}"));
    let before = mesh.state();

    mesh.agent.write_config(&mesh.whole).unwrap();
    let (code, said) = mesh.agent.failing_command(&["reload"]).unwrap();
    assert_eq!(code, 1, "{said}");
    let why = "route 10.3.0.0/24 with metric 30199 exists on another interface";
    assert_eq!(said.matches(why).count(), 1, "{said}");
    let back = "the previous configuration is in force again";
    assert!(said.contains(back), "{said}");
    assert_eq!(mesh.state(), before);
    assert_eq!(mesh.agent.status().unwrap().warnings, Vec::<String>::new());
    mesh.unreachable(c);

    gateway(&format!("route del {taken}"));
    let said = mesh.reload(|_| ());
    assert!(said.contains("site c added"), "{said}");
    traffic::wait_for_ping(a_host(&mesh.topology), c, UP).unwrap();
    assert_eq!(mesh.site_names(), ["b", "c"]);
    assert_eq!(ping.finish(UP).unwrap().lost(), 0);
}

#[test]
fn what_failed_before_is_not_held_against_a_reload_and_heals_by_itself() {
    let mut mesh = Mesh::start(|_| ());
    let b = mesh.hosts().1;
    let taken = "blackhole 10.2.0.0/24 metric 30199";
    let gateway = |mesh: &Mesh, words: &str| mesh.topology.sites[0].gateway.ip(words).unwrap();
    let warnings = |mesh: &Mesh| mesh.agent.status().unwrap().warnings.join("\n");
    gateway(&mesh, &format!("route replace {taken}"));
    wait::until("a warning", UP, || {
        let warnings = warnings(&mesh);
        let words = "route 10.2.0.0/24 with metric 30199 exists";
        (warnings.matches(words).count() == 1).then_some(())
    })
    .unwrap();

    let said = mesh.reload(|plan| drop(plan.peers.pop()));
    assert!(said.contains("site c removed"), "{said}");
    assert_eq!(mesh.site_names(), ["b"]);

    gateway(&mesh, &format!("route del {taken}"));
    wait::until("the warning to go", UP, || {
        (warnings(&mesh).is_empty()).then_some(())
    })
    .unwrap();
    assert!(mesh.kernel_routes().contains("10.2.0.0/24 dev"));
    traffic::wait_for_ping(a_host(&mesh.topology), b, UP).unwrap();
}

/// Three gateways, all Crossway. Gateway `b` and `c` know both others from the start.
struct Mesh {
    agent: Crossway,
    _far: Vec<Crossway>,
    /// What the file of `agent` says now.
    plan: GatewayPlan,
    /// The whole mesh, as [`Mesh::reload`] begins from it.
    whole: GatewayPlan,
    topology: Topology,
}

impl Mesh {
    /// Starts with gateway `a` as `adjust` leaves its plan, and waits until host `b` answers. Only `a` dials.
    fn start(adjust: impl FnOnce(&mut GatewayPlan)) -> Self {
        let topology = Builder::new(&["a", "b", "c"]).build().unwrap();
        let mut plans = plan::plan(&topology, Shape::FullMesh, Family::V4).unwrap();
        for far in &mut plans[1..] {
            far.peers[0].endpoint = None;
        }
        let whole = plans[0].clone();
        adjust(&mut plans[0]);
        let start = |plan| Crossway::start(&topology, plan).unwrap();
        let far = plans[1..].iter().map(start).collect();
        let mesh = Self {
            agent: start(&plans[0]),
            _far: far,
            plan: plans[0].clone(),
            whole,
            topology,
        };
        let (a, b, _) = mesh.hosts();
        traffic::wait_for_ping(a, b, UP).unwrap();
        mesh
    }

    /// Writes the whole mesh as `adjust` leaves it, reloads, and returns what was said.
    fn reload(&mut self, adjust: impl FnOnce(&mut GatewayPlan)) -> String {
        self.plan = self.whole.clone();
        adjust(&mut self.plan);
        self.agent.write_config(&self.plan).unwrap();
        self.agent.command(&["reload"]).unwrap()
    }

    /// Host `a`, and the addresses of the other two.
    fn hosts(&self) -> (&Netns, IpAddr, IpAddr) {
        let far = |site: usize| self.topology.sites[site].host_address(Family::V4);
        (a_host(&self.topology), far(1), far(2))
    }

    fn unreachable(&self, address: IpAddr) {
        let report = traffic::ping(a_host(&self.topology), address, 1).unwrap();
        assert_eq!(report.received, 0);
    }

    fn site_names(&self) -> Vec<String> {
        let sites = self.agent.sites().unwrap();
        let status = self.agent.status().unwrap();
        let names = |sites: &[Site]| -> Vec<String> {
            let sites = sites.iter();
            sites.map(|site| site.name.clone()).collect()
        };
        assert_eq!(names(&sites), names(&status.sites));
        names(&sites)
    }

    /// The site that an address belongs to, by `routes get`; empty for none.
    fn site_of(&self, address: &str) -> String {
        let answer = self.agent.route(address).unwrap();
        answer.site.unwrap_or_default()
    }

    fn packets_from(&self, name: &str) -> u64 {
        self.agent.site(name).unwrap().from_site_packets
    }

    fn kernel_routes(&self) -> String {
        let gateway = &self.topology.sites[0].gateway;
        gateway.ip("route show table all").unwrap() + &gateway.ip("-6 route").unwrap()
    }

    /// All that a reload may change: sites, routes of the tables and of the kernel, settings.
    fn state(&self) -> (Vec<String>, RoutesReply, String, Status) {
        let routes = self.agent.ask(&["routes", "list"]).unwrap();
        let status = self.agent.status().unwrap();
        let settings = Status {
            listen: status.listen,
            tun: status.tun,
            fast_path: status.fast_path,
            attachments: status.attachments,
            host_changes: status.host_changes,
            ..Status::default()
        };
        (self.site_names(), routes, self.kernel_routes(), settings)
    }
}

fn a_host(topology: &Topology) -> &Netns {
    &topology.sites[0].host
}
