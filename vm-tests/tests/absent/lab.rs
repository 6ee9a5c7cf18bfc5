//! Two uplinks and two LANs at site `a`, each of which can be taken away and brought back.

use std::net::IpAddr;
use std::time::Duration;

use vm_tests::config::{self, Config, Lan};
use vm_tests::crossway::Crossway;
use vm_tests::failover::{Gateways, Settings};
use vm_tests::netns::Netns;
use vm_tests::process::ProcessGuard;
use vm_tests::topology::{Near, Redundant};
use vm_tests::traffic::{self, Capture};
use vm_tests::wait;

/// Handshakes, BFD and the hold-down of a virtual router; a debug build on a busy machine.
pub(crate) const UP: Duration = Duration::from_secs(30);
/// Of the LAN that the topology does not have.
const SECOND_LAN: &str = "10.11.0.0/24";
/// IPv6 inside the tunnel, which the topology does not have either: of both LANs and of the far one.
const LANS6: [&str; 2] = ["2001:db8:1::", "2001:db8:11::"];
const FAR6: &str = "2001:db8:2::";

/// The sites. The fields are dropped in this order.
pub(crate) struct Lab {
    /// Every packet of a site that a path's router saw.
    clear: Vec<Capture>,
    pub(crate) gateways: Gateways,
    second_host: Netns,
    second_lan: Netns,
    net: Redundant,
    made: u8,
}

/// How an interface comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A cable, with another index and MAC.
    Veth,
    /// A bridge with the cable in it: another type.
    Bridge,
}

impl Lab {
    /// Starts both gateways with both LANs and both uplinks, as `adjust` leaves the file of gateway `a`.
    pub(crate) fn start(adjust: impl Fn(&mut Config)) -> Self {
        let net = Redundant::with_paths(None, 2).unwrap();
        let create = |name: &str| Netns::create(&format!("{}-{name}", net.prefix())).unwrap();
        let settings = Settings {
            hold_down_ms: 0,
            ..Settings::default()
        };
        let gateways = Gateways::start(&net, &settings).unwrap();
        let mut lab = Self {
            clear: Vec::new(),
            gateways,
            second_host: create("host-c"),
            second_lan: create("lan-c"),
            net,
            made: 0,
        };
        lab.build_second_lan();
        lab.add_ipv6();
        for path in 0..2 {
            let router = lab.net.path(path);
            let directory = lab.net.directory();
            let of_sites = "net 10.0.0.0/8 or (net 2001:db8::/32 and not ip6 multicast)";
            let capture = Capture::start_in(directory, router, "any", of_sites).unwrap();
            lab.clear.push(capture);
        }
        lab.change_far(|config| {
            let lans6 = LANS6.map(|lan| format!("{lan}/64"));
            let prefixes = ["10.1.0.0/24", SECOND_LAN, &lans6[0], &lans6[1]];
            config.sites[0].routes = config::prefixes(&prefixes).unwrap();
        });
        // Not by a reload: what is adjusted may need a start.
        edit(lab.a(), |config| {
            config.gateway.lan.push(Lan::new("lan1"));
            let far6 = format!("{FAR6}/64").parse().unwrap();
            config.sites[0].routes.push(far6);
            adjust(config);
        });
        assert!(lab.a().stop().unwrap().success());
        lab.a().start_again().unwrap();
        lab.wait_until_all_is_back();
        lab
    }

    /// Gateway `a`.
    pub(crate) fn a(&mut self) -> &mut Crossway {
        self.gateways.replica(0)
    }

    /// Its namespace.
    pub(crate) fn host(&self) -> &Netns {
        &self.net.replicas[0].netns
    }

    pub(crate) fn far(&self) -> IpAddr {
        self.net.host_address(Near::B)
    }

    /// The hosts of both LANs.
    pub(crate) fn hosts(&self) -> [&Netns; 2] {
        [&self.net.host_a, &self.second_host]
    }

    /// Puts a changed file into force at gateway `a`.
    pub(crate) fn change(&mut self, change: impl Fn(&mut Config)) {
        edit(self.a(), change);
        self.a().command(&["reload"]).unwrap();
    }

    fn change_far(&self, change: impl Fn(&mut Config)) {
        edit(self.gateways.far(), change);
        self.gateways.far().command(&["reload"]).unwrap();
    }

    /// Takes an interface of gateway `a` away.
    pub(crate) fn remove(&self, name: &str) {
        let gateway = self.host();
        gateway.ip(&format!("link delete {name}")).unwrap();
        // The cable in it, of a bridge.
        let _ = gateway.ip(&format!("link delete {name}-port"));
    }

    /// Brings an interface back, with its addresses and routes.
    pub(crate) fn bring(&mut self, name: &str, kind: Kind) {
        self.made = self.made.wrapping_add(1);
        let made = self.made;
        let (far, port) = self.plug_of(name);
        let gateway = self.host();
        let cable = match kind {
            Kind::Veth => name.to_owned(),
            Kind::Bridge => format!("{name}-port"),
        };
        let ip = |words: &str| drop(gateway.ip(words).unwrap());
        let far_name = far.name();
        ip(&format!(
            "link add {cable} address 02:00:00:00:{made:02x}:01 type veth peer name {port} netns {far_name}"
        ));
        if kind == Kind::Bridge {
            ip(&format!("link add {name} type bridge mcast_snooping 0"));
            ip(&format!("link set {cable} master {name}"));
            ip(&format!("link set {cable} up"));
        }
        ip(&format!("link set {name} up"));
        far.ip(&format!("link set {port} up")).unwrap();
        self.readdress(name);
    }

    /// The namespace and the interface at the other end of an interface's cable.
    fn plug_of(&self, name: &str) -> (&Netns, String) {
        let port = self.net.replicas[0].port().to_owned();
        match name {
            "lan0" => (self.net.lan(), port),
            "lan1" => (&self.second_lan, "gateway".to_owned()),
            "wan0" => (self.net.path(0), port),
            "wan1" => (self.net.path(1), port),
            _ => panic!("no interface {name}"),
        }
    }

    /// Gives an interface, and the far end of its cable, what addresses and routes they have.
    pub(crate) fn readdress(&self, name: &str) {
        let (near, far) = (&self.net.replicas[0], &self.net.far);
        let (plug, port) = self.plug_of(name);
        let gateway = self.host();
        match name {
            "lan0" => {
                plug.ip(&format!("link set {port} master patch-{port}"))
                    .unwrap();
                gateway.ip("address replace 10.1.0.1/24 dev lan0").unwrap();
                add6(gateway, LANS6[0], "1", "lan0");
            }
            "lan1" => {
                plug.ip(&format!("link set {port} master br0")).unwrap();
                gateway.ip("address replace 10.11.0.1/24 dev lan1").unwrap();
                add6(gateway, LANS6[1], "1", "lan1");
            }
            _ => {
                let path = usize::from(name == "wan1");
                let (own, hop, to) = (near.wan[path], near.next_hop(path), far.wan[path]);
                for words in [
                    format!("address replace {own}/30 dev {name}"),
                    format!("route replace {to}/32 via {hop} dev {name}"),
                    format!("route replace default via {hop} dev {name} metric {path}"),
                ] {
                    gateway.ip(&words).unwrap();
                }
                plug.ip(&format!("address replace {hop}/30 dev {port}"))
                    .unwrap();
                // By which IPv6 that nobody encrypts would leave; the tunnel itself goes over IPv4.
                let uplink = format!("fd00:{path}::");
                add6(plug, &uplink, "1", &port);
                add6(gateway, &uplink, "2", name);
                let metric = 100 + path;
                gateway
                    .ip(&format!(
                        "-6 route replace default via {uplink}1 dev {name} metric {metric}"
                    ))
                    .unwrap();
            }
        }
        for host in self.hosts() {
            // They would ask for the old MAC for some seconds.
            host.ip("neigh flush all").unwrap();
        }
    }

    /// Pings from both hosts to the far one, whatever becomes of them, until dropped.
    pub(crate) fn endless_pings(&self) -> Vec<ProcessGuard> {
        let far = self.far().to_string();
        let hosts = self.hosts().into_iter().enumerate();
        let ping = |(number, host): (usize, &Netns)| {
            let log = self.net.directory().join(format!("endless-{number}.txt"));
            let words = ["-n", "-q", "-i", "0.01", &far];
            host.spawn("ping", "ping", &words, &log).unwrap()
        };
        hosts.map(ping).collect()
    }

    /// Waits until every link is up and both hosts reach the far one, by the fast path if there is one.
    pub(crate) fn wait_until_all_is_back(&self) {
        self.gateways.wait_until_up().unwrap();
        for host in self.hosts() {
            for far in [self.far(), far6()] {
                traffic::wait_for_ping(host, far, UP).unwrap();
            }
        }
    }

    /// Waits until a warning of gateway `a` has these words, or none has.
    pub(crate) fn wait_for_warning(&mut self, words: &str, there: bool) {
        let what = format!("{words:?} among the warnings: {there}");
        let a = self.a();
        wait::until(&what, UP, || {
            let warnings = a.status().ok()?.warnings;
            let found = warnings.iter().any(|warning| warning.contains(words));
            (found == there).then_some(())
        })
        .unwrap_or_else(|error| panic!("{error:#}: {:?}", a.status().unwrap().warnings));
    }

    /// Asserts that no packet of a site has ever left in the clear.
    pub(crate) fn assert_nothing_was_in_the_clear(&self) {
        for (path, capture) in self.clear.iter().enumerate() {
            let lines = capture.lines();
            assert_eq!(lines, Vec::<String>::new(), "in the clear on path {path}");
        }
    }

    /// `host-c eth0 ── br0 ── lan1`, and the default routes by which what nobody encrypts would leave.
    fn build_second_lan(&mut self) {
        let (host, lan) = (&self.second_host, &self.second_lan);
        lan.ip("link add br0 type bridge mcast_snooping 0").unwrap();
        lan.ip("link set br0 up").unwrap();
        let name = lan.name();
        host.ip(&format!(
            "link add eth0 type veth peer name host netns {name}"
        ))
        .unwrap();
        lan.ip("link set host master br0").unwrap();
        lan.ip("link set host up").unwrap();
        host.ip("link set eth0 up").unwrap();
        host.ip("address add 10.11.0.10/24 dev eth0").unwrap();
        host.ip("route add default via 10.11.0.1").unwrap();
        self.bring("lan1", Kind::Veth);
        for wan in ["wan0", "wan1"] {
            self.readdress(wan);
        }
    }

    /// IPv6 of the hosts and of the far gateway; that of gateway `a` is [`Self::readdress`]'s.
    fn add_ipv6(&self) {
        self.readdress("lan0");
        add6(&self.net.far.netns, FAR6, "1", "lan0");
        let [first, second] = self.hosts();
        for (host, network) in [
            (first, LANS6[0]),
            (second, LANS6[1]),
            (&self.net.host_b, FAR6),
        ] {
            add6(host, network, "10", "eth0");
            host.ip(&format!("-6 route add default via {network}1"))
                .unwrap();
        }
    }
}

/// The far host's address of IPv6.
pub(crate) fn far6() -> IpAddr {
    format!("{FAR6}10").parse().unwrap()
}

/// Gives an interface an address of IPv6, at once.
fn add6(netns: &Netns, network: &str, last: &str, interface: &str) {
    let words = format!("address replace {network}{last}/64 dev {interface} nodad");
    netns.ip(&words).unwrap();
}

fn edit(agent: &Crossway, change: impl Fn(&mut Config)) {
    let text = std::fs::read_to_string(agent.config()).unwrap();
    let mut config = Config::parse(&text, agent.config()).unwrap().config;
    // It is parsed with the paths from its folder.
    config.gateway.private_key_file = agent.key_file().into();
    change(&mut config);
    agent.write_config_text(&config.to_string()).unwrap();
}
