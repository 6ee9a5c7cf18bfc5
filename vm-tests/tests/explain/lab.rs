//! Two sites, and beside gateway a what random packets may run into.

use std::net::IpAddr;
use std::time::Duration;

use vm_tests::crossway::{self, Crossway};
use vm_tests::netns::Netns;
use vm_tests::plan::{self, Shape};
use vm_tests::topology::{Builder, Family, Topology};
use vm_tests::traffic::{self, wire};

const UP: Duration = Duration::from_secs(20);
/// A host of network a that is host a as well.
pub(crate) const ALIASES: [&str; 2] = ["10.1.0.77", "2001:db8:1::77"];
/// Behind the interface ext0 of gateway a.
pub(crate) const OUTSIDE: [&str; 2] = ["192.0.2.7", "2001:db8:e::7"];
/// In routes of gateway a that lead nowhere: blackhole, unreachable, prohibit.
pub(crate) const NOWHERE: [[&str; 3]; 2] = [
    ["198.18.1.1", "198.18.2.1", "198.18.3.1"],
    ["2001:db8:f1::1", "2001:db8:f2::1", "2001:db8:f3::1"],
];

pub(crate) struct Lab {
    pub(crate) gateways: Vec<Crossway>,
    pub(crate) topology: Topology,
}

impl Lab {
    pub(crate) fn start(fast_path: bool) -> Self {
        let topology = Builder::new(&["a", "b"]).build().unwrap();
        let gateway = &topology.sites[0].gateway;
        for line in [
            "link add ext0 type veth peer name ext1",
            "link set ext0 up",
            "link set ext1 up",
            "address add 192.0.2.1/24 dev ext0",
            "address add 2001:db8:e::1/64 dev ext0 nodad",
            "neigh replace 192.0.2.7 lladdr 02:00:00:00:0e:07 dev ext0 nud permanent",
            "neigh replace 2001:db8:e::7 lladdr 02:00:00:00:0e:07 dev ext0 nud permanent",
            "route add blackhole 198.18.1.0/24",
            "route add unreachable 198.18.2.0/24",
            "route add prohibit 198.18.3.0/24",
            "-6 route add blackhole 2001:db8:f1::/48",
            "-6 route add unreachable 2001:db8:f2::/48",
            "-6 route add prohibit 2001:db8:f3::/48",
        ] {
            gateway.ip(line).unwrap();
        }
        for site in &topology.sites {
            answer_everybody(&site.gateway);
            know_neighbours(site);
            site.host.run("ethtool -K eth0 gro off").unwrap();
        }
        let mut plans = plan::plan(&topology, Shape::FullMesh, Family::V4).unwrap();
        plan::give_tunnel_addresses(&topology, &mut plans);
        for plan in &mut plans {
            plan.watch_by_wireguard();
            plan.configure(move |config| config.gateway.fast_path = fast_path);
        }
        let gateways = crossway::start_all(&topology, &plans).unwrap();
        let [a, b] = [&topology.sites[0], &topology.sites[1]];
        for family in Family::ALL {
            traffic::wait_for_ping(&a.host, b.host_address(family), UP).unwrap();
        }
        Self { gateways, topology }
    }

    /// Adds rules to the files of the gateways, and has them read.
    pub(crate) fn close(&self, rules: [&str; 2]) {
        for (gateway, rules) in self.gateways.iter().zip(rules) {
            let before = std::fs::read_to_string(gateway.config()).unwrap();
            gateway.write_config_text(&(before + rules)).unwrap();
            gateway.command(&["reload"]).unwrap();
        }
    }

    pub(crate) fn hosts(&self, family: Family) -> [IpAddr; 2] {
        [0, 1].map(|site| self.topology.sites[site].host_address(family))
    }
}

/// As many ICMP errors as there are packets to send them for. Older kernels have the second for all namespaces.
fn answer_everybody(gateway: &Netns) {
    gateway.set_sysctl("net/ipv4/icmp_ratelimit", "0").unwrap();
    let _ = gateway.set_sysctl("net/ipv4/icmp_msgs_per_sec", "100000");
    let _ = gateway.set_sysctl("net/ipv4/icmp_msgs_burst", "10000");
    gateway.set_sysctl("net/ipv6/icmp/ratelimit", "0").unwrap();
}

/// Hosts need no discovery, which would be among what is seen.
fn know_neighbours(site: &vm_tests::topology::Site) {
    let text = |mac: wire::Mac| mac.map(|byte| format!("{byte:02x}")).join(":");
    let host = text(wire::mac_of(&site.host, "eth0").unwrap());
    let gateway = text(wire::mac_of(&site.gateway, "lan0").unwrap());
    let hosts = Family::ALL.map(|family| site.host_address(family));
    let aliases = ALIASES.iter().map(|alias| alias.parse().unwrap());
    let aliases = aliases.filter(|_| site.number == 1);
    for address in hosts.into_iter().chain(aliases) {
        let line = format!("neigh replace {address} lladdr {host} dev lan0 nud permanent");
        site.gateway.ip(&line).unwrap();
    }
    for family in Family::ALL {
        let address = site.gateway_address(family);
        let line = format!("neigh replace {address} lladdr {gateway} dev eth0 nud permanent");
        site.host.ip(&line).unwrap();
    }
}
