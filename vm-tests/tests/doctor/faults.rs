//! The faults that are planted.

use std::fs::{self, Permissions};
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::time::UNIX_EPOCH;

use vm_tests::api::DoctorReport;
use vm_tests::config::{HealthKind, HealthTarget, PathMtuMode, Wan, XdpChoice};
use vm_tests::keys::KeyPair;
use vm_tests::topology::Family;
use vm_tests::wait;

use super::lab::{Lab, Place};

/// A fault.
pub(crate) struct Fault {
    pub(crate) name: &'static str,
    /// The check that must find it.
    pub(crate) check: &'static str,
    /// What the finding is about, or a part of that.
    pub(crate) about: &'static str,
    /// Other checks that find something of it.
    pub(crate) also: &'static [&'static str],
    /// Changes the lab before the start.
    pub(crate) prepare: fn(&mut Lab),
    /// Plants it in the running lab.
    pub(crate) plant: fn(&mut Lab),
    pub(crate) link_comes_up: bool,
    /// What has to be whole for it to show.
    pub(crate) needs: &'static [&'static str],
    /// What it breaks.
    pub(crate) breaks: &'static [&'static str],
}

impl Fault {
    /// Whether the doctor has named it.
    pub(crate) fn is_in(&self, report: &DoctorReport) -> bool {
        let mut findings = report.findings.iter();
        findings.any(|finding| finding.check == self.check && finding.subject.contains(self.about))
    }

    pub(crate) fn checks(&self) -> impl Iterator<Item = &'static str> {
        [self.check].into_iter().chain(self.also.iter().copied())
    }

    /// Whether both can show at once.
    pub(crate) fn goes_with(&self, other: &Self) -> bool {
        let hides =
            |one: &Self, other: &Self| one.breaks.iter().any(|part| other.needs.contains(part));
        !hides(self, other) && !hides(other, self)
    }
}

const NOTHING: fn(&mut Lab) = |_| {};

const HEALTHY: Fault = Fault {
    name: "",
    check: "",
    about: "",
    also: &[],
    prepare: NOTHING,
    plant: NOTHING,
    link_comes_up: true,
    needs: &[],
    breaks: &[],
};

/// A conversation shows in the flow table.
const FLOWS: &[&str] = &["link", "traffic", "fast", "flows", "lan", "routes of hosts"];

pub(crate) const FAULTS: &[Fault] = &[
    Fault {
        name: "sysctls that cannot be written",
        check: "forwarding",
        about: "net.ipv4.conf.lan0.forwarding",
        also: &["not-in-force", "host"],
        prepare: |lab| lab.wrapper = &["unshare", "--mount"],
        plant: |lab| {
            // For the agent alone, which would set it back.
            let pid = lab.gateway().pid().unwrap();
            for line in [
                "mount --bind /proc/sys /proc/sys",
                "mount -o remount,bind,ro /proc/sys",
            ] {
                let line = format!("nsenter --mount --target {pid} {line}");
                lab.netns().run(&line).unwrap();
            }
            let forwarding = "net/ipv4/conf/lan0/forwarding";
            lab.netns().set_sysctl(forwarding, "0").unwrap();
        },
        needs: &["file"],
        breaks: &["traffic", "sysctls"],
        ..HEALTHY
    },
    Fault {
        name: "the strict reverse path check",
        check: "rp-filter",
        about: "lan0",
        plant: |lab| {
            let near = lab.near();
            near.gateway
                .set_sysctl("net/ipv4/conf/lan0/rp_filter", "1")
                .unwrap();
            near.host.ip("address add 192.0.2.99/32 dev eth0").unwrap();
            // The gateway would not even answer ARP to that address.
            near.host
                .set_sysctl("net/ipv4/conf/eth0/arp_announce", "2")
                .unwrap();
            let to = lab.far().host_address(Family::V4).to_string();
            let words = ["ping", "-q", "-i", "0.1", "-I", "192.0.2.99", &to];
            lab.keep("ping", Place::NearHost, &words);
        },
        // What leads nowhere is refused before its source is looked at.
        needs: &["file", "lan", "link", "sysctls", "routes of hosts"],
        ..HEALTHY
    },
    Fault {
        name: "a FORWARD chain that drops",
        check: "firewall-forward",
        about: "inet one forward",
        plant: |lab| chain(lab, "one", "forward", "forward", "iifname lan0 drop"),
        breaks: &["stack"],
        ..HEALTHY
    },
    Fault {
        name: "a FORWARD chain that drops what is invalid",
        check: "firewall-forward",
        about: "inet two forward",
        plant: |lab| chain(lab, "two", "forward", "forward", "ct state invalid drop"),
        needs: &["fast"],
        ..HEALTHY
    },
    Fault {
        name: "an INPUT chain that drops",
        check: "firewall-input",
        about: "inet three input",
        also: &["link-down"],
        plant: |lab| chain(lab, "three", "input", "input", "udp dport 51820 drop"),
        needs: &["file"],
        breaks: &["link", "heard"],
        ..HEALTHY
    },
    Fault {
        name: "an OUTPUT chain that drops",
        check: "firewall-output",
        about: "inet four output",
        also: &["link-down"],
        plant: |lab| {
            chain(
                lab,
                "four",
                "output",
                "output",
                "oifname wan0 meta l4proto udp drop",
            );
        },
        needs: &["file"],
        breaks: &["link"],
        ..HEALTHY
    },
    Fault {
        name: "a rule of the older iptables in FORWARD",
        check: "firewall-forward",
        about: "filter FORWARD (IPv4)",
        plant: |lab| {
            let netns = lab.netns();
            netns.run("iptables-legacy -N inner").unwrap();
            netns
                .run("iptables-legacy -A FORWARD ! -i wan0 -j inner")
                .unwrap();
            netns
                .run("iptables-legacy -A inner -i lan+ -j DROP")
                .unwrap();
        },
        breaks: &["stack"],
        ..HEALTHY
    },
    Fault {
        name: "the policy of the older iptables",
        check: "firewall-input",
        about: "filter INPUT (IPv4)",
        also: &["link-down"],
        plant: |lab| {
            let netns = lab.netns();
            netns
                .run("iptables-legacy -A INPUT -p tcp -j ACCEPT")
                .unwrap();
            netns
                .run("iptables-legacy -A INPUT -p icmp -j ACCEPT")
                .unwrap();
            netns.run("iptables-legacy -P INPUT DROP").unwrap();
        },
        needs: &["file"],
        breaks: &["link", "heard"],
        ..HEALTHY
    },
    Fault {
        name: "a narrow path",
        check: "path-mtu",
        about: "b/",
        prepare: |lab| {
            lab.plans[0].configure(|config| config.gateway.path_mtu = PathMtuMode::Fixed);
        },
        plant: |lab| {
            let router = lab.topology.router.as_ref().unwrap();
            router.ip("link set wan2 mtu 1400").unwrap();
            lab.far().gateway.ip("link set wan0 mtu 1400").unwrap();
        },
        needs: &["file", "mtu", "endpoint", "echo"],
        ..HEALTHY
    },
    Fault {
        name: "a WAN that is too narrow for IPv6 in the tunnel",
        check: "host",
        about: "WAN wan0",
        plant: |lab| {
            lab.netns().ip("link set wan0 mtu 1300").unwrap();
        },
        breaks: &["mtu"],
        ..HEALTHY
    },
    Fault {
        name: "a card without UDP segmentation",
        check: "nic-offload",
        about: "wan0",
        plant: |lab| {
            lab.netns()
                .run("ethtool -K wan0 tx-udp-segmentation off")
                .unwrap();
        },
        needs: &["file"],
        ..HEALTHY
    },
    Fault {
        name: "XDP in generic mode",
        check: "xdp",
        about: "wan0",
        prepare: |lab| {
            lab.plans[0].configure(|config| config.gateway.wan[0].xdp = XdpChoice::Generic);
        },
        needs: &["fast"],
        ..HEALTHY
    },
    Fault {
        name: "no fast path",
        check: "fast-path",
        about: "fast_path",
        prepare: |lab| lab.plans[0].configure(|config| config.gateway.fast_path = false),
        breaks: &["fast"],
        ..HEALTHY
    },
    Fault {
        name: "a clock that was ahead",
        check: "clock",
        about: "clock",
        prepare: |lab| {
            let now = wait::date().duration_since(UNIX_EPOCH).unwrap();
            let ahead = now.as_millis() + 120_000;
            let file = format!("/run/crossway/{}.handshakes", lab.plans[0].name);
            fs::create_dir_all("/run/crossway").unwrap();
            fs::write(file, format!("{ahead}\n")).unwrap();
        },
        ..HEALTHY
    },
    Fault {
        name: "a far gateway that has stopped",
        check: "link-down",
        about: "b/",
        plant: |lab| {
            lab.far_gateway().stop().unwrap();
        },
        // A gateway without its LAN has taken the link out of service itself.
        needs: &["lan"],
        breaks: &["link", "dialled"],
        ..HEALTHY
    },
    Fault {
        name: "a wrong public key",
        check: "keys",
        about: "unknown-peer",
        also: &["link-down"],
        prepare: |lab| lab.plans[0].peers[0].public_key = KeyPair::generate().unwrap().public,
        link_comes_up: false,
        needs: &["heard", "dialled"],
        breaks: &["link"],
        ..HEALTHY
    },
    Fault {
        name: "no route to the far gateway",
        check: "endpoint-route",
        about: "b/",
        also: &["link-down"],
        plant: |lab| {
            lab.netns().ip("route del default").unwrap();
        },
        needs: &["file", "endpoint"],
        breaks: &["link", "echo"],
        ..HEALTHY
    },
    Fault {
        name: "a host without a route back",
        check: "one-way",
        about: "10.1.0.10",
        plant: |lab| {
            // Known to the gateway as a neighbour.
            lab.near().host.run("ping -c 1 10.1.0.1").unwrap();
            lab.near().host.ip("route del default").unwrap();
            let to = lab.near().host_address(Family::V4).to_string();
            lab.keep("ask", Place::FarHost, &["ping", "-q", "-i", "0.2", &to]);
        },
        needs: FLOWS,
        breaks: &["routes of hosts"],
        ..HEALTHY
    },
    Fault {
        name: "a far host without a route back",
        check: "one-way",
        about: "10.2.0.10",
        plant: |lab| {
            lab.far().host.ip("route del default").unwrap();
            let to = lab.far().host_address(Family::V4).to_string();
            lab.keep("ask", Place::NearHost, &["ping", "-q", "-i", "0.2", &to]);
        },
        needs: FLOWS,
        breaks: &["routes of hosts"],
        ..HEALTHY
    },
    Fault {
        name: "a host that is not there",
        check: "one-way",
        about: "10.1.0.77",
        plant: |lab| {
            lab.keep(
                "ask-none",
                Place::FarHost,
                &["ping", "-q", "-i", "0.2", "10.1.0.77"],
            );
        },
        needs: FLOWS,
        ..HEALTHY
    },
    Fault {
        name: "a part of the LAN at a site",
        check: "overlap",
        about: "10.1.0.128/25",
        prepare: |lab| {
            lab.plans[0].peers[0]
                .routes
                .push("10.1.0.128/25".to_owned());
        },
        needs: &["file"],
        ..HEALTHY
    },
    Fault {
        name: "a network of this host in a site",
        check: "overlap",
        about: "10.2.0.200/29",
        plant: |lab| {
            lab.netns().ip("link add docker0 type bridge").unwrap();
            lab.netns()
                .ip("address add 10.2.0.201/29 dev docker0")
                .unwrap();
            lab.netns().ip("link set docker0 up").unwrap();
        },
        needs: &["file"],
        ..HEALTHY
    },
    Fault {
        name: "a route of somebody else for a site",
        check: "foreign-route",
        about: "site route 10.2.0.0/24",
        plant: |lab| {
            let route = "route add 10.2.0.0/24 via 203.0.113.6 metric 1";
            lab.netns().ip(route).unwrap();
        },
        breaks: &["traffic"],
        ..HEALTHY
    },
    Fault {
        name: "a key that all can read",
        check: "config",
        about: ".toml",
        plant: |lab| {
            let file = lab.gateway().key_file();
            fs::set_permissions(file, Permissions::from_mode(0o644)).unwrap();
        },
        needs: &["file"],
        ..HEALTHY
    },
    Fault {
        name: "a mistake in the file",
        check: "config",
        about: ".toml:1:",
        plant: |lab| lab.gateway().write_config_text("nonsense = 1\n").unwrap(),
        breaks: &["file"],
        ..HEALTHY
    },
    Fault {
        name: "more conversations than the table holds",
        check: "flow-table",
        about: "flows",
        prepare: |lab| lab.plans[0].configure(|config| config.gateway.flows = 16_384),
        plant: |lab| {
            let to = lab.far().host_address(Family::V4);
            let host = &lab.near().host;
            let socket = host
                .enter(|| UdpSocket::bind("0.0.0.0:0").unwrap())
                .unwrap();
            for port in 1..30_000_u16 {
                // What the queue does not take is lost; the others are enough.
                let _ = socket.send_to(b"a conversation", (to, port));
            }
        },
        needs: FLOWS,
        breaks: &["flows"],
        ..HEALTHY
    },
    Fault {
        name: "a name that does not resolve",
        check: "names",
        about: "nowhere.invalid",
        also: &["link-down"],
        prepare: |lab| {
            lab.plans[0].dial_by_name("nowhere.invalid", 51820);
            lab.plans[1].peers[0].endpoint = None;
        },
        link_comes_up: false,
        breaks: &["link", "endpoint", "dialled"],
        ..HEALTHY
    },
    Fault {
        name: "a WAN that is not there",
        check: "host",
        about: "WAN interface ppp0",
        prepare: |lab| lab.plans[0].configure(|config| config.gateway.wan.push(Wan::new("ppp0"))),
        ..HEALTHY
    },
    Fault {
        name: "a LAN that is down",
        check: "lan",
        about: "LAN",
        also: &["host"],
        plant: |lab| {
            lab.netns().ip("link set lan0 down").unwrap();
        },
        breaks: &["lan", "traffic"],
        ..HEALTHY
    },
    Fault {
        name: "a host of the LAN that must answer",
        check: "lan",
        about: "10.1.0.88",
        prepare: |lab| {
            lab.plans[0].configure(|config| {
                let target =
                    HealthTarget::new("10.1.0.88".parse().unwrap(), HealthKind::Icmp, "lan0");
                config.gateway.health.push(target);
            });
        },
        needs: &["lan"],
        breaks: &["lan", "traffic"],
        ..HEALTHY
    },
    Fault {
        name: "the far gateway behind the tunnel itself",
        check: "own-packets",
        about: "",
        also: &["link-down"],
        plant: |lab| {
            let (tun, far) = (lab.tun(), lab.far().wan_address(Family::V4));
            lab.netns()
                .ip(&format!("route add {far}/32 dev {tun}"))
                .unwrap();
        },
        needs: &["endpoint", "echo"],
        breaks: &["link", "echo"],
        ..HEALTHY
    },
    Fault {
        name: "an address to listen on that nobody has",
        check: "host",
        about: "no interface",
        also: &["link-down"],
        prepare: |lab| {
            lab.plans[0]
                .configure(|config| config.gateway.listen = "192.0.2.1:51820".parse().unwrap());
        },
        link_comes_up: false,
        breaks: &["link", "heard"],
        ..HEALTHY
    },
    Fault {
        name: "a link that was drained",
        check: "drained",
        about: "b/",
        plant: |lab| {
            lab.gateway().command(&["drain", "b"]).unwrap();
        },
        needs: &["link"],
        breaks: &["traffic"],
        ..HEALTHY
    },
];

/// A chain of nftables at a hook of IP, with one rule.
fn chain(lab: &mut Lab, table: &str, name: &str, hook: &str, rule: &str) {
    let netns = lab.netns();
    for line in [
        format!("nft add table inet {table}"),
        format!("nft add chain inet {table} {name} {{ type filter hook {hook} priority 0 ; }}"),
        format!("nft add rule inet {table} {name} {rule}"),
    ] {
        netns.run(&line).unwrap();
    }
}
