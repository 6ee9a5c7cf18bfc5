//! What `crossway check` says of `[[site.gateway]]`: keys, endpoints, numbers.

use crossway::engine::Engine;

use crate::{Case, GOOD, parse, tell_all, warnings};

#[test]
fn every_fault_of_a_far_gateway_is_told_with_line_value_reason_and_mend() {
    tell_all(CASES);
}

#[test]
fn an_endpoint_inside_a_route_is_accepted_with_a_warning() {
    let text = GOOD.replace("\"10.3.0.0/24\"", "\"203.0.113.0/24\"");
    assert_eq!(
        warnings(parse(&text)),
        [
            "berlin.toml:23:14: warning: site \"paris\", gateway \"paris-1\", endpoints: \
             203.0.113.7:51820 lies in a route of site \"rome\": the tunnel's own packets may go into \
             the tunnel: write an endpoint outside the routes, or longer prefixes in the routes"
        ]
    );
}

#[test]
fn a_far_gateway_has_the_engine_of_the_gateway_unless_it_names_one() {
    let listen = "listen = \"0.0.0.0:51820\"";
    let paris = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=\"";
    for (gateway, far, expected) in [
        ("", "", [Engine::Crossway; 2]),
        ("engine = \"boringtun\"", "", [Engine::Boringtun; 2]),
        (
            "",
            "engine = \"boringtun\"",
            [Engine::Boringtun, Engine::Crossway],
        ),
        (
            "engine = \"boringtun\"",
            "engine = \"crossway\"",
            [Engine::Crossway, Engine::Boringtun],
        ),
    ] {
        let text = GOOD
            .replacen(listen, &format!("{listen}\n{gateway}"), 1)
            .replacen(paris, &format!("{paris}\n{far}"), 1);
        let config = parse(&text).unwrap().config;
        let sites = config.sites.iter();
        let engines: Vec<Engine> = sites.map(|site| site.gateways[0].engine).collect();
        assert_eq!(engines, expected, "{text}");
    }
}

const CASES: &[Case] = &[
    Case {
        about: "one key at two gateways",
        replace: "dw9XL3P5LVBwUdFzAoSVNGJhYnQhpZXsQBhPhaRgtFs=",
        with: "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=",
        errors: &[
            r#"berlin.toml:33:14: site "rome", gateway "rome-1", public_key: hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo= is already the key of another gateway (line 22): each gateway has a key pair of its own, make one with `crossway keygen`"#,
        ],
    },
    Case {
        about: "an engine that is none",
        replace: "dw9XL3P5LVBwUdFzAoSVNGJhYnQhpZXsQBhPhaRgtFs=\"",
        with: "dw9XL3P5LVBwUdFzAoSVNGJhYnQhpZXsQBhPhaRgtFs=\"\n  engine = \"wireguard-go\"",
        errors: &[
            r#"berlin.toml:34:12: site "rome", gateway "rome-1", engine: wireguard-go is no engine of a tunnel: write "crossway" (the fastest) or "boringtun" (the one with the longest record)"#,
        ],
    },
    Case {
        about: "a key that is too short",
        replace: "dw9XL3P5LVBwUdFzAoSVNGJhYnQhpZXsQBhPhaRgtFs=",
        with: "dw9XL3P5LVBw",
        errors: &[
            r#"berlin.toml:33:14: site "rome", gateway "rome-1", public_key: dw9XL3P5LVBw has 12 characters where a WireGuard key has 44: write what `crossway pubkey < KEYFILE` prints on that gateway"#,
        ],
    },
    Case {
        about: "a key with a wrong letter",
        replace: "dw9XL3P5LVBwUdFzAoSVNGJhYnQhpZXsQBhPhaRgtFs=",
        with: "dw9XL3P5LVBwUdFzAoSVNGJhYnQhpZXsQBhPhaRg-Fs=",
        errors: &[
            r#"berlin.toml:33:14: site "rome", gateway "rome-1", public_key: dw9XL3P5LVBwUdFzAoSVNGJhYnQhpZXsQBhPhaRg-Fs= is not base64 of 32 bytes (letters, digits, + and /, then one = at the end): write what `crossway pubkey < KEYFILE` prints on that gateway"#,
        ],
    },
    Case {
        about: "a key of zeros",
        replace: "dw9XL3P5LVBwUdFzAoSVNGJhYnQhpZXsQBhPhaRgtFs=",
        with: "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        errors: &[
            r#"berlin.toml:33:14: site "rome", gateway "rome-1", public_key: AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA= is all zero: write what `crossway pubkey < KEYFILE` prints on that gateway"#,
        ],
    },
    Case {
        about: "no public key",
        replace: r#"public_key = "dw9XL3P5LVBwUdFzAoSVNGJhYnQhpZXsQBhPhaRgtFs="
"#,
        with: "",
        errors: &[
            r#"berlin.toml:31:1: site "rome", gateway "rome-1": public_key is missing: write public_key = what `crossway pubkey` prints there"#,
        ],
    },
    Case {
        about: "an endpoint without a port",
        replace: r#""203.0.113.7:51820""#,
        with: r#""203.0.113.7""#,
        errors: &[
            r#"berlin.toml:23:14: site "paris", gateway "paris-1", endpoints: 203.0.113.7 has no port: write 203.0.113.7:51820, or the port that it listens on"#,
        ],
    },
    Case {
        about: "an endpoint with port 0",
        replace: r#""203.0.113.7:51820""#,
        with: r#""203.0.113.7:0""#,
        errors: &[
            r#"berlin.toml:23:14: site "paris", gateway "paris-1", endpoints: 203.0.113.7:0 has no usable port: write a number from 1 to 65535 behind the colon, such as 203.0.113.7:51820"#,
        ],
    },
    Case {
        about: "an endpoint with a port that is too large",
        replace: r#""203.0.113.7:51820""#,
        with: r#""203.0.113.7:70000""#,
        errors: &[
            r#"berlin.toml:23:14: site "paris", gateway "paris-1", endpoints: 203.0.113.7:70000 has no usable port: write a number from 1 to 65535 behind the colon, such as 203.0.113.7:51820"#,
        ],
    },
    Case {
        about: "an endpoint with a line break in it: one finding is one line",
        replace: r#""203.0.113.7:51820""#,
        with: r#""a\nb", "2001:db8::7:\n", "1:2:3:4:5:6:7:8:518""#,
        errors: &[
            r#"berlin.toml:23:14: site "paris", gateway "paris-1", endpoints: "a\nb" has no port: write 203.0.113.7:51820"#,
            r#"berlin.toml:23:22: site "paris", gateway "paris-1", endpoints: "2001:db8::7:\n" has no usable port: write a number from 1 to 65535 behind the colon, such as 203.0.113.7:51820"#,
            r#"berlin.toml:23:40: site "paris", gateway "paris-1", endpoints: 1:2:3:4:5:6:7:8:518 is an IPv6 address without brackets: write [1:2:3:4:5:6:7:8]:518"#,
        ],
    },
    Case {
        about: "an IPv6 endpoint without brackets",
        replace: r#""203.0.113.7:51820""#,
        with: r#""2001:db8::7:51820""#,
        errors: &[
            r#"berlin.toml:23:14: site "paris", gateway "paris-1", endpoints: 2001:db8::7:51820 is an IPv6 address without brackets: write [2001:db8::7]:51820"#,
        ],
    },
    Case {
        about: "an IPv6 endpoint without brackets and port",
        replace: r#""203.0.113.7:51820""#,
        with: r#""2001:db8::7""#,
        errors: &[
            r#"berlin.toml:23:14: site "paris", gateway "paris-1", endpoints: 2001:db8::7 is an IPv6 address without brackets: write [2001:db8::7]:51820"#,
        ],
    },
    Case {
        about: "an IPv6 endpoint with a broken address",
        replace: r#""203.0.113.7:51820""#,
        with: r#""[2001:db8::g]:51820""#,
        errors: &[
            r#"berlin.toml:23:14: site "paris", gateway "paris-1", endpoints: [2001:db8::g]:51820 has no IPv6 address between brackets: write it as [2001:db8::1]:51820"#,
        ],
    },
    Case {
        about: "an IPv6 endpoint where listen is IPv4",
        replace: r#""203.0.113.7:51820""#,
        with: r#""[2001:db8::7]:51820""#,
        errors: &[
            r#"berlin.toml:23:14: site "paris", gateway "paris-1", endpoints: [2001:db8::7]:51820 is an IPv6 address, but listen is 0.0.0.0:51820: write listen = "[::]:51820""#,
        ],
    },
    Case {
        about: "an IPv4 endpoint where listen is one IPv6 address",
        replace: r#""0.0.0.0:51820""#,
        with: r#""[2001:db8::5]:51820""#,
        errors: &[
            r#"berlin.toml:23:14: site "paris", gateway "paris-1", endpoints: 203.0.113.7:51820 is an IPv4 address, but listen is [2001:db8::5]:51820: write listen = "[::]:51820""#,
        ],
    },
    Case {
        about: "an endpoint that looks like IPv4",
        replace: r#""203.0.113.7:51820""#,
        with: r#""203.0.113.700:51820""#,
        errors: &[
            r#"berlin.toml:23:14: site "paris", gateway "paris-1", endpoints: 203.0.113.700:51820 is not an IPv4 address: write an address or a host name, such as 203.0.113.7:51820 or vpn.example.net:51820"#,
        ],
    },
    Case {
        about: "an endpoint that is no host name",
        replace: r#""203.0.113.7:51820""#,
        with: r#""vpn_paris.example.net:51820""#,
        errors: &[
            r#"berlin.toml:23:14: site "paris", gateway "paris-1", endpoints: vpn_paris.example.net:51820 is not a host name: its parts are letters, digits and inner hyphens: write an address or a host name, such as 203.0.113.7:51820 or vpn.example.net:51820"#,
        ],
    },
    Case {
        about: "an endpoint with an empty label",
        replace: r#""203.0.113.7:51820""#,
        with: r#""vpn..example.net:51820""#,
        errors: &[
            r#"berlin.toml:23:14: site "paris", gateway "paris-1", endpoints: vpn..example.net:51820 is not a host name: its parts have 1 to 63 characters, the whole at most 253: write an address or a host name, such as 203.0.113.7:51820 or vpn.example.net:51820"#,
        ],
    },
    Case {
        about: "an endpoint without a host",
        replace: r#""203.0.113.7:51820""#,
        with: r#"":51820""#,
        errors: &[
            r#"berlin.toml:23:14: site "paris", gateway "paris-1", endpoints: :51820 has nothing in front of the port: write an address or a host name, such as 203.0.113.7:51820 or vpn.example.net:51820"#,
        ],
    },
    Case {
        about: "an endpoint that is any address",
        replace: r#""203.0.113.7:51820""#,
        with: r#""0.0.0.0:51820""#,
        errors: &[
            r#"berlin.toml:23:14: site "paris", gateway "paris-1", endpoints: 0.0.0.0:51820 is not the address of one host: write where the gateway is reached, such as 203.0.113.7:51820"#,
        ],
    },
    Case {
        about: "an endpoint twice",
        replace: r#"["203.0.113.7:51820"]"#,
        with: r#"["203.0.113.7:51820", "203.0.113.7:51820"]"#,
        errors: &[
            r#"berlin.toml:23:35: site "paris", gateway "paris-1", endpoints: 203.0.113.7:51820 is listed twice (line 23): keep one of them"#,
        ],
    },
    Case {
        about: "no lane of a far gateway",
        replace: "lanes = 1",
        with: "lanes = 0",
        errors: &[
            r#"berlin.toml:24:9: site "paris", gateway "paris-1", lanes: 0 is out of range: write a number from 1 to 32, such as 1"#,
        ],
    },
    Case {
        about: "a keepalive below 0",
        replace: "persistent_keepalive = 25",
        with: "persistent_keepalive = -1",
        errors: &[
            r#"berlin.toml:26:24: site "paris", gateway "paris-1", persistent_keepalive: -1 is out of range: write a number from 0 to 65535, such as 25"#,
        ],
    },
    Case {
        about: "a keepalive that is too long",
        replace: "persistent_keepalive = 25",
        with: "persistent_keepalive = 65536",
        errors: &[
            r#"berlin.toml:26:24: site "paris", gateway "paris-1", persistent_keepalive: 65536 is out of range: write a number from 0 to 65535, such as 25"#,
        ],
    },
    Case {
        about: "a negative priority",
        replace: "priority = 100",
        with: "priority = -1",
        errors: &[
            r#"berlin.toml:25:12: site "paris", gateway "paris-1", priority: -1 is out of range: write a number from 0 to 65535, such as 100"#,
        ],
    },
];
