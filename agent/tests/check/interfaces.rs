//! What `crossway check` says of `[[gateway.lan]]` and `[[gateway.wan]]`.

use crate::{Case, tell_all};

#[test]
fn every_fault_of_an_interface_is_told_with_line_value_reason_and_mend() {
    tell_all(CASES);
}

const CASES: &[Case] = &[
    Case {
        about: "an XDP mode that does not exist",
        replace: r#"xdp = "native""#,
        with: r#"xdp = "fast""#,
        errors: &[
            r#"berlin.toml:15:7: gateway.wan "eth0", xdp: fast is not an XDP mode: write "auto", "native", "generic" or "off""#,
        ],
    },
    Case {
        about: "native XDP on a LAN",
        replace: r#"xdp = "auto""#,
        with: r#"xdp = "native""#,
        errors: &[
            r#"berlin.toml:12:7: gateway.lan "eth1", xdp: native is not possible: this version has no XDP program for a LAN: write xdp = "auto" or "off" here; [[gateway.wan]] takes all four"#,
        ],
    },
    Case {
        about: "generic XDP on a LAN",
        replace: r#"xdp = "auto""#,
        with: r#"xdp = "generic""#,
        errors: &[
            r#"berlin.toml:12:7: gateway.lan "eth1", xdp: generic is not possible: this version has no XDP program for a LAN: write xdp = "auto" or "off" here; [[gateway.wan]] takes all four"#,
        ],
    },
    Case {
        about: "an interface name that is too long",
        replace: r#"interface = "eth1""#,
        with: r#"interface = "enp0s31f6-of-berlin""#,
        errors: &[
            r#"berlin.toml:10:13: gateway.lan "enp0s31f6-of-berlin", interface: enp0s31f6-of-berlin has 19 bytes, Linux allows 15: `ip -brief link` lists the names"#,
        ],
    },
    Case {
        about: "an interface name with a slash",
        replace: r#"interface = "eth1""#,
        with: r#"interface = "eth/1""#,
        errors: &[
            r#"berlin.toml:10:13: gateway.lan "eth/1", interface: eth/1 is not an interface name: Linux allows no space, slash or colon: `ip -brief link` lists the names"#,
        ],
    },
    Case {
        about: "an empty interface name",
        replace: r#"interface = "eth1""#,
        with: r#"interface = """#,
        errors: &[
            r#"berlin.toml:10:13: gateway.lan "", interface: "" is empty: `ip -brief link` lists the names"#,
        ],
    },
    Case {
        about: "the loopback as LAN",
        replace: r#"interface = "eth1""#,
        with: r#"interface = "lo""#,
        errors: &[
            r#"berlin.toml:10:13: gateway.lan "lo", interface: lo is the loopback interface: no host is behind it: `ip -brief link` lists the names"#,
        ],
    },
    Case {
        about: "the tunnel as LAN",
        replace: r#"interface = "eth1""#,
        with: r#"interface = "cw-berlin-1""#,
        errors: &[
            r#"berlin.toml:10:13: gateway.lan "cw-berlin-1", interface: cw-berlin-1 is the name of this gateway's own tunnel device: name the interface that the hosts or the uplink are on"#,
        ],
    },
    Case {
        about: "one interface twice as LAN",
        replace: "[[gateway.wan]]",
        with: r#"[[gateway.lan]]
interface = "eth1"
[[gateway.wan]]"#,
        errors: &[
            r#"berlin.toml:14:13: gateway.lan "eth1", interface: eth1 is listed twice (line 10): keep one of them"#,
        ],
    },
    Case {
        about: "no interface",
        replace: r#"interface = "eth1"
"#,
        with: "",
        errors: &[
            r#"berlin.toml:9:1: gateway.lan #1: interface is missing: write interface = "eth1""#,
        ],
    },
    Case {
        about: "no LAN",
        replace: r#"[[gateway.lan]]
interface = "eth1"
vnet = "default"
xdp = "auto"
"#,
        with: "",
        errors: &[
            "berlin.toml:1:1: gateway: lan is missing: add [[gateway.lan]] with the interface that this site's hosts are on",
        ],
    },
    Case {
        about: "no WAN",
        replace: r#"[[gateway.wan]]
interface = "eth0"
xdp = "native"
"#,
        with: "",
        errors: &["berlin.toml:1:1: gateway: wan is missing: add [[gateway.wan]] with the uplink"],
    },
    Case {
        about: "a LAN that is one table",
        replace: "[[gateway.lan]]",
        with: "[gateway.lan]",
        errors: &[
            "berlin.toml:9:1: gateway, lan: expected a list of tables, found a table: write [[gateway.lan]]",
        ],
    },
    Case {
        about: "another virtual network",
        replace: r#"vnet = "default""#,
        with: r#"vnet = "guests""#,
        errors: &[
            r#"berlin.toml:11:8: gateway.lan "eth1", vnet: guests is not possible: this version has one virtual network: write vnet = "default" or leave the key out"#,
        ],
    },
];
