//! What costs speed, narrow ways, and a clock.

use std::fs;
use std::time::UNIX_EPOCH;

use vm_tests::config::{PathMtuMode, XdpChoice};
use vm_tests::wait;

use super::{Fault, HEALTHY};

pub(super) const FAULTS: &[Fault] = &[
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
];
