//! What `crossway check` says of `[gateway]` itself: `listen`, lanes, sizes, addresses, switches.

use crate::{Case, tell_all};

#[test]
fn every_fault_of_the_gateway_is_told_with_line_value_reason_and_mend() {
    tell_all(CASES);
}

const CASES: &[Case] = &[
    Case {
        about: "no listen",
        replace: r#"listen = "0.0.0.0:51820"
"#,
        with: "",
        errors: &[r#"berlin.toml:1:1: gateway: listen is missing: write listen = "0.0.0.0:51820""#],
    },
    Case {
        about: "listen on port 0",
        replace: r#""0.0.0.0:51820""#,
        with: r#""0.0.0.0:0""#,
        errors: &[
            "berlin.toml:4:10: gateway, listen: 0.0.0.0:0 has no usable port: write a number from 1 to 65535 behind the colon, such as 0.0.0.0:51820",
        ],
    },
    Case {
        about: "listen on a name",
        replace: r#""0.0.0.0:51820""#,
        with: r#""berlin.example.net:51820""#,
        errors: &[
            "berlin.toml:4:10: gateway, listen: berlin.example.net:51820 is not an IP address and port: write an address of this gateway, or 0.0.0.0:51820, or [::]:51820",
        ],
    },
    Case {
        about: "listen as a number",
        replace: r#""0.0.0.0:51820""#,
        with: "51820",
        errors: &[
            r#"berlin.toml:4:10: gateway, listen: expected a string, found the integer 51820: write listen = "0.0.0.0:51820""#,
        ],
    },
    Case {
        about: "listen on a multicast address",
        replace: r#""0.0.0.0:51820""#,
        with: r#""224.0.0.1:51820""#,
        errors: &[
            "berlin.toml:4:10: gateway, listen: 224.0.0.1:51820 is a multicast address: write an address of this gateway, or 0.0.0.0:51820",
        ],
    },
    Case {
        about: "too many lanes",
        replace: r#"lanes = "auto""#,
        with: "lanes = 33",
        errors: &[
            r#"berlin.toml:6:9: gateway, lanes: 33 is not possible: write a number from 1 to 32, or lanes = "auto""#,
        ],
    },
    Case {
        about: "lanes in words",
        replace: r#"lanes = "auto""#,
        with: r#"lanes = "many""#,
        errors: &[
            r#"berlin.toml:6:9: gateway, lanes: many is not a number of lanes: write a number from 1 to 32, or lanes = "auto""#,
        ],
    },
    Case {
        about: "lanes of the wrong type",
        replace: r#"lanes = "auto""#,
        with: "lanes = true",
        errors: &[
            r#"berlin.toml:6:9: gateway, lanes: expected a number or "auto", found the boolean true: write a number from 1 to 32, or lanes = "auto""#,
        ],
    },
    Case {
        about: "an MTU that is too small",
        replace: "mtu = 1420",
        with: "mtu = 500",
        errors: &[
            "berlin.toml:7:7: gateway, mtu: 500 is out of range: write a number from 576 to 65455, such as 1420",
        ],
    },
    Case {
        about: "too small a flow table",
        replace: "mtu = 1420",
        with: "mtu = 1420\nflows = 100",
        errors: &[
            "berlin.toml:8:9: gateway, flows: 100 is out of range: write a number from 16384 to 16777216, such as 262144",
        ],
    },
    Case {
        about: "an MTU that is too large",
        replace: "mtu = 1420",
        with: "mtu = 65500",
        errors: &[
            "berlin.toml:7:7: gateway, mtu: 65500 is out of range: write a number from 576 to 65455, such as 1420",
        ],
    },
    Case {
        about: "an MTU too small for IPv6",
        replace: "mtu = 1420",
        with: "mtu = 1200",
        errors: &[
            "berlin.toml:7:7: gateway, mtu: 1200 is too small for IPv6 (2001:db8:2::/48, line 19): write 1280 or more",
        ],
    },
    Case {
        about: "an MTU in words",
        replace: "mtu = 1420",
        with: r#"mtu = "1420""#,
        errors: &[
            r#"berlin.toml:7:7: gateway, mtu: expected a number, found the string "1420": write mtu = 1420"#,
        ],
    },
    Case {
        about: "a tunnel address that is none",
        replace: r#""10.255.0.1/32""#,
        with: r#""10.255.0.256/32""#,
        errors: &[
            "berlin.toml:5:21: gateway, tunnel_addresses: 10.255.0.256/32 is not an IP address: write it as 10.255.0.1/32 or 2001:db8::1/128",
        ],
    },
    Case {
        about: "a tunnel address with an impossible length",
        replace: r#""10.255.0.1/32""#,
        with: r#""10.255.0.1/40""#,
        errors: &[
            "berlin.toml:5:21: gateway, tunnel_addresses: 10.255.0.1/40 has no usable prefix length: write a number from 0 to 32 behind the slash",
        ],
    },
    Case {
        about: "a tunnel address on the loopback",
        replace: r#""10.255.0.1/32""#,
        with: r#""127.0.0.1/8""#,
        errors: &[
            "berlin.toml:5:21: gateway, tunnel_addresses: 127.0.0.1/8 cannot be an address of an interface: write a unicast address, such as 10.255.0.1/32",
        ],
    },
    Case {
        about: "a tunnel address twice",
        replace: r#"["10.255.0.1/32"]"#,
        with: r#"["10.255.0.1/32", "10.255.0.1/24"]"#,
        errors: &[
            "berlin.toml:5:38: gateway, tunnel_addresses: 10.255.0.1 is listed twice (line 5): keep one of them",
        ],
    },
    Case {
        about: "seccomp in words",
        replace: "fast_path = true",
        with: r#"seccomp = "off""#,
        errors: &[
            r#"berlin.toml:8:11: gateway, seccomp: expected true or false, found the string "off": write seccomp = true"#,
        ],
    },
    Case {
        about: "control_group as a number",
        replace: "fast_path = true",
        with: "control_group = 0",
        errors: &[
            r#"berlin.toml:8:17: gateway, control_group: expected a string, found the integer 0: write control_group = "crossway""#,
        ],
    },
    Case {
        about: "a class model that is none",
        replace: "fast_path = true",
        with: r#"dscp = "copy""#,
        errors: &[
            r#"berlin.toml:8:8: gateway, dscp: copy is no way to treat classes: write "pipe" (the class of a packet does not show outside) or "uniform" (datagrams have that of their packets)"#,
        ],
    },
    Case {
        about: "a way to find the MTU that is none",
        replace: "fast_path = true",
        with: r#"path_mtu = "probe""#,
        errors: &[
            r#"berlin.toml:8:12: gateway, path_mtu: probe is no way to find the MTU of a path: write "auto" (links are probed) or "fixed" (the WAN's MTU, or `mtu`, is taken)"#,
        ],
    },
    Case {
        about: "fast_path in words",
        replace: "fast_path = true",
        with: r#"fast_path = "yes""#,
        errors: &[
            r#"berlin.toml:8:13: gateway, fast_path: expected true or false, found the string "yes": write fast_path = true"#,
        ],
    },
];
