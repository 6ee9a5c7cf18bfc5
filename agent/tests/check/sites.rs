//! What `crossway check` says of `[[site]]`: routes, `on_down`, and that it has a gateway.

use crate::{Case, GOOD, parse, tell_all, warnings};

#[test]
fn every_fault_of_a_site_is_told_with_line_value_reason_and_mend() {
    tell_all(CASES);
}

#[test]
fn a_site_that_stands_back_for_nobody_is_accepted_with_a_warning() {
    let routes = "routes = [\"10.3.0.0/24\"]";
    let stands_back = |routes: &str| {
        let text = GOOD.replace("routes = [\"10.3.0.0/24\"]", routes);
        warnings(parse(&text))
    };
    // Its own shorter prefix goes with it.
    let alone = "routes = [\"10.3.0.0/24\", \"10.3.0.0/16\"]\non_down = \"next-shorter\"";
    assert_eq!(
        stands_back(alone),
        [
            "berlin.toml:30:11: warning: site \"rome\", on_down: next-shorter, but no other site has a \
             shorter prefix for 10.3.0.0/24 and 1 more: while this site is down, the kernel's own \
             routes take the packets, unencrypted: give another site a shorter prefix, or write \
             on_down = \"unreachable\", unless a line of your own should take over"
        ]
    );
    let covered = "routes = [\"10.2.0.0/25\"]\non_down = \"next-shorter\"";
    assert_eq!(stands_back(covered), [""; 0]);
    assert_eq!(stands_back(routes), [""; 0]);
}

#[test]
fn a_default_route_and_a_file_without_sites_are_accepted_with_a_warning() {
    let text = GOOD.replace("\"10.3.0.0/24\"", "\"0.0.0.0/0\"");
    assert_eq!(
        warnings(parse(&text)),
        [
            "berlin.toml:30:11: warning: site \"rome\", routes: 0.0.0.0/0 sends all traffic without a \
             longer route to this site: if that is not meant, write the networks behind the site"
        ]
    );
    let text = GOOD.split("[[site]]").next().unwrap();
    assert_eq!(
        warnings(parse(text)),
        [
            "berlin.toml:1:1: warning: no [[site]]: the gateway reaches nothing: add a [[site]] for each site that it should reach"
        ]
    );
}

#[test]
fn a_hundred_thousand_wrong_routes_are_all_told() {
    let routes = "\"10.0.0.1/24\", ".repeat(100_000);
    let text = GOOD.replace("\"10.3.0.0/24\"", &routes);
    let rejected = parse(&text).unwrap_err();
    assert_eq!(rejected.errors.len(), 100_000);
    let last = 11 + 99_999 * "\"10.0.0.1/24\", ".len();
    assert_eq!(rejected.errors.last().unwrap().position, Some((30, last)));
}

const CASES: &[Case] = &[
    Case {
        about: "a route with host bits",
        replace: r#""10.2.0.0/24""#,
        with: r#""10.2.0.1/24""#,
        errors: &[
            r#"berlin.toml:19:11: site "paris", routes: 10.2.0.1/24 has host bits set: did you mean 10.2.0.0/24?"#,
        ],
    },
    Case {
        about: "an IPv6 route with host bits",
        replace: r#""2001:db8:2::/48""#,
        with: r#""2001:db8:2::1/48""#,
        errors: &[
            r#"berlin.toml:19:26: site "paris", routes: 2001:db8:2::1/48 has host bits set: did you mean 2001:db8:2::/48?"#,
        ],
    },
    Case {
        about: "a route that is no prefix",
        replace: r#""10.2.0.0/24""#,
        with: r#""paris-lan""#,
        errors: &[
            r#"berlin.toml:19:11: site "paris", routes: paris-lan is not an IP prefix: write it as 10.2.0.0/24 or 2001:db8:2::/48"#,
        ],
    },
    Case {
        about: "a route with an impossible length",
        replace: r#""10.2.0.0/24""#,
        with: r#""10.2.0.0/33""#,
        errors: &[
            r#"berlin.toml:19:11: site "paris", routes: 10.2.0.0/33 has no usable prefix length: write a number from 0 to 32 behind the slash"#,
        ],
    },
    Case {
        about: "a route of the wrong type",
        replace: r#""10.2.0.0/24""#,
        with: "10",
        errors: &[
            r#"berlin.toml:19:11: site "paris", routes: expected a string, found the integer 10: write "10.2.0.0/24""#,
        ],
    },
    Case {
        about: "an empty route",
        replace: r#""10.2.0.0/24""#,
        with: r#""""#,
        errors: &[
            r#"berlin.toml:19:11: site "paris", routes: "" is not an IP prefix: write it as 10.2.0.0/24 or 2001:db8:2::/48"#,
        ],
    },
    Case {
        about: "a multicast route",
        replace: r#""10.2.0.0/24""#,
        with: r#""239.0.0.0/8""#,
        errors: &[
            r#"berlin.toml:19:11: site "paris", routes: 239.0.0.0/8 is multicast: write the unicast networks behind the site"#,
        ],
    },
    Case {
        about: "a link-local route",
        replace: r#""2001:db8:2::/48""#,
        with: r#""fe80::/64""#,
        errors: &[
            r#"berlin.toml:19:26: site "paris", routes: fe80::/64 is link-local: write the unicast networks behind the site"#,
        ],
    },
    Case {
        about: "routes that are no list",
        replace: r#"routes = ["10.3.0.0/24"]"#,
        with: r#"routes = "10.3.0.0/24""#,
        errors: &[
            r#"berlin.toml:30:10: site "rome", routes: expected a list, found the string "10.3.0.0/24": write routes = ["10.2.0.0/24"]"#,
        ],
    },
    Case {
        about: "an empty list of routes",
        replace: r#"routes = ["10.3.0.0/24"]"#,
        with: "routes = []",
        errors: &[
            r#"berlin.toml:30:10: site "rome", routes: the list is empty: write routes = ["10.2.0.0/24"], or remove the site"#,
        ],
    },
    Case {
        about: "no routes",
        replace: r#"routes = ["10.3.0.0/24"]
"#,
        with: "",
        errors: &[
            r#"berlin.toml:28:1: site "rome": routes is missing: write routes = ["10.2.0.0/24"]"#,
        ],
    },
    Case {
        about: "a prefix at two sites",
        replace: r#"["10.3.0.0/24"]"#,
        with: r#"["10.3.0.0/24", "10.2.0.0/24"]"#,
        errors: &[
            r#"berlin.toml:30:26: site "rome", routes: 10.2.0.0/24 is already a route of site "paris" (line 19): keep it at one site, give the other a longer prefix or, if both have these addresses, show one as another with map = { "10.2.0.0/24" = "10.101.0.0/24" }"#,
        ],
    },
    Case {
        about: "a prefix twice at one site",
        replace: r#"["10.3.0.0/24"]"#,
        with: r#"["10.3.0.0/24", "10.3.0.0/24"]"#,
        errors: &[
            r#"berlin.toml:30:26: site "rome", routes: 10.3.0.0/24 is listed twice (line 30): keep one of them"#,
        ],
    },
    Case {
        about: "an on_down that is none",
        replace: "routes = [\"10.3.0.0/24\"]",
        with: "routes = [\"10.3.0.0/24\"]\non_down = \"reject\"",
        errors: &[
            r#"berlin.toml:31:11: site "rome", on_down: reject is not a known on_down action: write "unreachable" (the sender gets an ICMP message), "drop" (silently) or "next-shorter" (a shorter prefix takes over)"#,
        ],
    },
    Case {
        about: "a site without a gateway",
        replace: r#"[[site]]
name = "rome""#,
        with: r#"[[site]]
name = "oslo"
routes = ["10.4.0.0/24"]
[[site]]
name = "rome""#,
        errors: &[
            r#"berlin.toml:28:1: site "oslo": gateway is missing: add a [[site.gateway]] with name and public_key"#,
        ],
    },
];
