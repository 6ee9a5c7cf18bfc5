//! What becomes of packets to a site that is down, by its `on_down`.
//!
//! ```text
//!  host a ── [gateway a: its file names a key for site b that nobody has, and later the right one]
//!  10.1.0.10  10.1.0.1    │
//!                         ├── [gateway b] ── host b 10.2.0.10
//!                         └── [gateway c] ── host c 10.3.0.10, and 10.2.0.10 again, for a route that
//!                                            is shorter than that of site b
//! ```

use std::fs;
use std::net::IpAddr;
use std::process::Stdio;
use std::time::Duration;

use vm_tests::api::SiteState;
use vm_tests::crossway::Crossway;
use vm_tests::host_state::{HostState, files_of};
use vm_tests::keys::KeyPair;
use vm_tests::pair::Pair;
use vm_tests::plan::{self, Shape};
use vm_tests::topology::{Builder, Family, Site};
use vm_tests::traffic;
use vm_tests::wait;

const UP: Duration = Duration::from_secs(10);
/// A link that begins anew has 15 s to connect.
const DOWN: Duration = Duration::from_secs(25);

#[test]
fn a_host_is_told_at_once_and_its_traffic_is_back_with_the_site() {
    let pair = Pair::start(|_| ()).unwrap();
    // Asking has it look: the change is recorded.
    let sites = pair.a.sites().unwrap();
    assert_eq!(sites[0].state, SiteState::Active);
    let far = Far::cut(&pair, "");
    assert_eq!(far.kernel_routes(), ["unreachable"; 2]);
    for family in Family::ALL {
        let said = far.ping(family);
        assert!(said.contains("nreachable"), "{family:?}: {said}");
    }
    // The flows of the pings before were known to the programs.
    assert!(pair.a.left_to_stack("site-down").unwrap() > 0);
    let why = pair.a.route("10.2.0.10").unwrap();
    assert_eq!(why.kernel, "unreachable 10.2.0.0/24");

    far.mend();
    pair.wait_until_up().unwrap();
    assert_eq!(far.kernel_routes(), ["unicast"; 2]);
    let events = pair.a.command(&["events"]).unwrap();
    for (kind, change) in [
        ("site", "Active -> Down: "),
        ("site", "Down -> Active: every link is up"),
        (
            "link",
            "Connecting -> Down: no answer from 203.0.113.2:51820",
        ),
        ("configuration", "applied: link to "),
    ] {
        let mut lines = events.lines();
        assert!(
            lines.any(|line| line.contains(kind) && line.contains(change)),
            "{kind} {change} in\n{events}"
        );
    }
}

#[test]
fn a_killed_far_gateway_is_unreachable_within_seconds_and_comes_back() {
    let mut pair = Pair::start(|_| ()).unwrap();
    for _ in 0..2 {
        wait::until("BFD to come up", UP, || {
            let links = pair.a.links().unwrap();
            (links[0].why == "BFD is up").then_some(())
        })
        .unwrap();
        pair.b.kill().unwrap();
        let far = Far::of(&pair);
        wait::until(
            "the kernel's routes to change",
            Duration::from_secs(3),
            || (far.kernel_routes() == ["unreachable"; 2]).then_some(()),
        )
        .unwrap();
        assert!(far.ping(Family::V4).contains("nreachable"));
        drop(far);
        pair.b.start_again().unwrap();
        pair.wait_until_up().unwrap();
    }
}

#[test]
fn a_host_hears_nothing_where_the_file_says_drop() {
    let pair = Pair::start(|_| ()).unwrap();
    let far = Far::cut(&pair, "on_down = \"drop\"");
    assert_eq!(far.kernel_routes(), ["blackhole"; 2]);
    for family in Family::ALL {
        let said = far.ping(family);
        assert!(!said.contains("nreachable"), "{family:?}: {said}");
        assert!(said.contains("100% packet loss"), "{family:?}: {said}");
    }
    far.mend();
    pair.wait_until_up().unwrap();
}

#[test]
fn what_a_killed_agent_made_unreachable_is_taken_over_and_given_back_at_a_clean_stop() {
    let mut pair = Pair::start(|_| ()).unwrap();
    pair.a.stop().unwrap();
    let before = HostState::settled(&pair.site_a().gateway).unwrap();
    pair.a.start_again().unwrap();
    pair.wait_until_up().unwrap();
    let far = Far::cut(&pair, "");
    assert_eq!(far.kernel_routes(), ["unreachable"; 2]);
    drop(far);

    pair.a.kill().unwrap();
    let left = pair.site_a().gateway.ip("-4 route show proto 199").unwrap();
    assert!(left.contains("unreachable 10.2.0.0/24"), "{left}");
    // The same wrong key: for its first seconds the site counts as on its way.
    pair.a.start_again().unwrap();
    let far = Far::of(&pair);
    assert_eq!(far.kernel_routes(), ["unicast"; 2]);
    far.wait_until_down();
    assert_eq!(far.kernel_routes(), ["unreachable"; 2]);
    drop(far);
    // Killed, and then the file no longer has the routes that were left.
    pair.a.kill().unwrap();
    let mut plan = pair.plans[0].clone();
    plan.peers[0].routes = vec!["10.99.0.0/24".to_owned()];
    pair.a.write_config(&plan).unwrap();
    pair.a.start_again().unwrap();
    let now = pair.site_a().gateway.ip("-4 route show proto 199").unwrap();
    assert!(
        now.contains("10.99.0.0/24") && !now.contains("10.2.0.0"),
        "{now}"
    );

    assert!(pair.a.stop().unwrap().success());
    let after = HostState::of(&pair.site_a().gateway).unwrap();
    assert_eq!(before.difference(&after), "");
    assert_eq!(
        files_of(pair.a.name()),
        [""; 0].map(std::path::PathBuf::from)
    );
}

#[test]
fn a_shorter_prefix_of_another_site_takes_over_and_hands_back() {
    let topology = Builder::new(&["a", "b", "c"]).build().unwrap();
    let mut plans = plan::plan(&topology, Shape::FullMesh, Family::V4).unwrap();
    let shorter = ["10.0.0.0/14".to_owned(), "2001:db8::/44".to_owned()];
    plans[0].peers[1].routes.extend(shorter);
    let [a, b, c] = [0, 1, 2].map(|at| &topology.sites[at]);
    stand_in(c, b);
    let mut agents: Vec<_> = plans
        .iter()
        .map(|plan| Crossway::start(&topology, plan).unwrap())
        .collect();
    let all_reach_b = || {
        for family in Family::ALL {
            traffic::wait_for_ping(&a.host, b.host_address(family), UP).unwrap();
        }
    };
    all_reach_b();
    let text = fs::read_to_string(agents[0].config()).unwrap();
    let withdrawn = "name = \"b\"\non_down = \"next-shorter\"";
    let good = text.replace("name = \"b\"", withdrawn);
    let bad = good.replace(&plans[1].keys.public, &KeyPair::generate().unwrap().public);
    for round in 0..2 {
        fs::write(agents[0].config(), &bad).unwrap();
        agents[0].command(&["reload"]).unwrap();
        wait::until("site c to have the route", DOWN, || {
            (site_of(&agents[0], "10.2.0.10") == "c").then_some(())
        })
        .unwrap();
        assert_eq!(site_of(&agents[0], "2001:db8:2::10"), "c");
        let before = packets_from(&agents[0], "c");
        all_reach_b();
        let after = packets_from(&agents[0], "c");
        assert!(after >= before + 2, "round {round}: {before} to {after}");
        let routes = a.gateway.ip("-4 route show proto 199").unwrap();
        assert!(!routes.contains("10.2.0.0/24"), "{routes}");

        fs::write(agents[0].config(), &good).unwrap();
        agents[0].command(&["reload"]).unwrap();
        wait::until("site b to have its route", UP, || {
            (site_of(&agents[0], "10.2.0.10") == "b").then_some(())
        })
        .unwrap();
        let before = packets_from(&agents[0], "b");
        all_reach_b();
        assert!(packets_from(&agents[0], "b") >= before + 2);
    }
    assert!(agents[0].stop().unwrap().success());
}

/// Site b as gateway a sees it.
struct Far<'a> {
    pair: &'a Pair,
    /// The file with the right key.
    good: String,
}

impl<'a> Far<'a> {
    fn of(pair: &'a Pair) -> Self {
        Self {
            pair,
            good: fs::read_to_string(pair.a.config()).unwrap(),
        }
    }

    /// Has gateway a look for a key that nobody has, while a ping in each family is in its flow
    /// table, and waits until the site is down.
    fn cut(pair: &'a Pair, line: &str) -> Self {
        let mut far = Self::of(pair);
        far.good = far
            .good
            .replace("name = \"b\"", &format!("name = \"b\"\n{line}"));
        let other = KeyPair::generate().unwrap().public;
        let bad = far.good.replace(&pair.plans[1].keys.public, &other);
        fs::write(pair.a.config(), bad).unwrap();
        pair.a.command(&["reload"]).unwrap();
        far.wait_until_down();
        far
    }

    fn wait_until_down(&self) {
        wait::until("the kernel's routes to change", DOWN, || {
            let routes = self.kernel_routes();
            routes.iter().all(|word| word != "unicast").then_some(())
        })
        .unwrap();
    }

    fn mend(&self) {
        fs::write(self.pair.a.config(), &self.good).unwrap();
        self.pair.a.command(&["reload"]).unwrap();
    }

    /// What the kernel does with packets to the site, a word for each family.
    fn kernel_routes(&self) -> Vec<String> {
        let words = Family::ALL.map(|family| {
            let flag = if family == Family::V4 { "-4" } else { "-6" };
            let prefix = self.pair.site_b().route(family);
            let command = format!("{flag} -d route show {prefix} proto 199");
            let text = self.pair.site_a().gateway.ip(&command).unwrap();
            assert_eq!(text.lines().count(), 1, "{text}");
            text.split_whitespace().next().unwrap().to_owned()
        });
        words.to_vec()
    }

    /// What a ping from host a to host b says.
    fn ping(&self, family: Family) -> String {
        let far: IpAddr = self.pair.far(family);
        let output = self
            .pair
            .site_a()
            .host
            .command("ping")
            .args(["-n", "-c", "2", "-i", "0.2", "-W", "1"])
            .arg(far.to_string())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// Gives the host of one site the addresses of the host of another, too.
fn stand_in(site: &Site, other: &Site) {
    for family in Family::ALL {
        let (address, via) = (other.host_address(family), site.host_address(family));
        let length = if family == Family::V4 { 32 } else { 128 };
        site.host
            .ip(&format!("address add {address}/{length} dev lo"))
            .unwrap();
        site.gateway
            .ip(&format!("route add {address}/{length} via {via}"))
            .unwrap();
    }
}

fn site_of(agent: &Crossway, address: &str) -> String {
    let answer = agent.route(address).unwrap();
    answer.site.unwrap_or_default()
}

fn packets_from(agent: &Crossway, site: &str) -> u64 {
    agent.site(site).unwrap().from_site_packets
}
