//! The file, and what is missing on this host.

use std::fs::{self, Permissions};
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;

use vm_tests::config::{HealthKind, HealthTarget, Wan};
use vm_tests::topology::Family;

use super::{FLOWS, Fault, HEALTHY};

pub(super) const FAULTS: &[Fault] = &[
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
