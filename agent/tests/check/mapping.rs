//! What `crossway check` says of `map`.

use crossway::config::Config;

use crate::{Case, GOOD, parse, tell_all};

fn with(routes_of_rome: &str) -> String {
    GOOD.replace("routes = [\"10.3.0.0/24\"]", routes_of_rome)
}

fn rome(text: &str) -> (Vec<String>, Vec<(String, String)>) {
    let accepted = parse(text).unwrap_or_else(|rejected| panic!("{rejected}"));
    let Config { sites, .. } = accepted.config;
    let routes = sites[1].routes.iter().map(ToString::to_string);
    let maps = sites[1].maps.iter();
    let maps = maps.map(|map| (map.real().to_string(), map.shown().to_string()));
    (routes.collect(), maps.collect())
}

#[test]
fn a_site_is_shown_under_what_its_map_says_in_either_form() {
    let expected = (
        vec!["10.101.0.0/24".to_owned(), "2001:db8:2::/64".to_owned()],
        vec![("10.2.0.0/24".to_owned(), "10.101.0.0/24".to_owned())],
    );
    let routes = "routes = [\"10.2.0.0/24\", \"2001:db8:2::/64\"]\n";
    for map in [
        "map = \"10.101.0.0/24\"",
        "map = { \"10.2.0.0/24\" = \"10.101.0.0/24\" }",
        "[site.map]\n\"10.2.0.0/24\" = \"10.101.0.0/24\"",
    ] {
        assert_eq!(rome(&with(&format!("{routes}{map}"))), expected, "{map}");
    }
}

#[test]
fn a_lan_is_shown_under_what_its_map_says() {
    let text = GOOD.replacen(
        "xdp = \"auto\"",
        "map = { \"10.2.0.0/24\" = \"10.103.0.0/24\", \"2001:db8::/48\" = \"fd00::/48\" }",
        1,
    );
    let config = parse(&text).unwrap_or_else(|rejected| panic!("{rejected}"));
    let maps = &config.config.gateway.lan[0].maps;
    assert_eq!(maps[0].shown().to_string(), "10.103.0.0/24");
    assert_eq!(maps[1].real().to_string(), "2001:db8::/48");
}

#[test]
fn every_fault_of_a_map_is_told_with_line_value_reason_and_mend() {
    tell_all(CASES);
}

const ROUTES: &str = "routes = [\"10.3.0.0/24\"]";

const CASES: &[Case] = &[
    Case {
        about: "a number",
        replace: ROUTES,
        with: "routes = [\"10.3.0.0/24\"]\nmap = 5",
        errors: &[
            r#"berlin.toml:31:7: site "rome", map: expected a table, found the integer 5: write map = { "10.3.0.0/24" = "10.101.0.0/24" }"#,
        ],
    },
    Case {
        about: "two prefixes and one to show them as",
        replace: ROUTES,
        with: "routes = [\"10.3.0.0/24\", \"10.4.0.0/24\"]\nmap = \"10.101.0.0/24\"",
        errors: &[
            r#"berlin.toml:31:7: site "rome", map: 10.101.0.0/24 does not say what it stands for: this site has not exactly one prefix of IPv4: write map = { "10.3.0.0/24" = "10.101.0.0/24" }"#,
        ],
    },
    Case {
        about: "another length",
        replace: ROUTES,
        with: "routes = [\"10.3.0.0/24\"]\nmap = \"10.101.0.0/16\"",
        errors: &[
            r#"berlin.toml:31:7: site "rome", map: 10.101.0.0/16 cannot stand for 10.3.0.0/24: it is not as long: hosts keep their bits behind the prefix: write 10.101.0.0/24"#,
        ],
    },
    Case {
        about: "another family",
        replace: ROUTES,
        with: "routes = [\"10.3.0.0/24\"]\nmap = { \"10.3.0.0/24\" = \"fd00::/24\" }",
        errors: &[
            r#"berlin.toml:31:25: site "rome", map: fd00::/24 cannot stand for 10.3.0.0/24: it is of another family: both are of IPv4, or both of IPv6"#,
        ],
    },
    Case {
        about: "itself",
        replace: ROUTES,
        with: "routes = [\"10.3.0.0/24\"]\nmap = \"10.3.0.0/24\"",
        errors: &[
            r#"berlin.toml:31:7: site "rome", map: 10.3.0.0/24 is shown as itself: write a prefix of the same length that nobody uses, or leave it out"#,
        ],
    },
    Case {
        about: "what is no route of the site, and what is no text",
        replace: ROUTES,
        with: "routes = [\"10.3.0.0/24\"]\nmap = { \"10.4.0.0/24\" = \"10.101.0.0/24\", \"10.3.0.0/24\" = 7 }",
        errors: &[
            r#"berlin.toml:31:25: site "rome", map: 10.4.0.0/24 is not in routes of this site: write in routes what the site itself has: add 10.4.0.0/24, or take it out of the map"#,
            r#"berlin.toml:31:58: site "rome", map: expected a string, found the integer 7: write "10.101.0.0/24""#,
        ],
    },
    Case {
        about: "host bits and multicast",
        replace: ROUTES,
        with: "routes = [\"10.3.0.0/24\"]\nmap = { \"10.3.0.1/24\" = \"224.0.0.0/24\" }",
        errors: &[
            r#"berlin.toml:31:9: site "rome", map: 10.3.0.1/24 has host bits set: did you mean 10.3.0.0/24?"#,
            r#"berlin.toml:31:25: site "rome", map: 224.0.0.0/24 is multicast: write unicast networks"#,
        ],
    },
    Case {
        about: "a prefix within another of the site",
        replace: ROUTES,
        with: "routes = [\"10.3.0.0/24\", \"10.3.0.0/16\"]\nmap = { \"10.3.0.0/24\" = \"10.101.0.0/24\" }",
        errors: &[
            r#"berlin.toml:31:25: site "rome", map: 10.3.0.0/24 overlaps 10.3.0.0/16 of this site: which of the two an address lies in would depend on the direction: map prefixes that do not overlap"#,
        ],
    },
    Case {
        about: "what is shown within another of the site",
        replace: ROUTES,
        with: "routes = [\"10.3.0.0/24\", \"10.101.0.0/16\"]\nmap = { \"10.3.0.0/24\" = \"10.101.0.0/24\" }",
        errors: &[
            r#"berlin.toml:31:25: site "rome", map: as shown here, 10.101.0.0/24 overlaps 10.101.0.0/16 of this site: which of the two an address lies in would depend on the direction: map prefixes that do not overlap"#,
        ],
    },
    Case {
        about: "what is shown is another site's",
        replace: ROUTES,
        with: "routes = [\"10.3.0.0/24\"]\nmap = \"10.2.0.0/24\"",
        errors: &[
            r#"berlin.toml:30:11: site "rome", routes: 10.2.0.0/24 is already a route of site "paris" (line 19): show it as one that is free, such as 10.101.0.0/24"#,
        ],
    },
    Case {
        about: "a LAN that is shown as a site's, and twice",
        replace: "xdp = \"auto\"",
        with: "map = { \"10.9.0.0/16\" = \"10.2.0.0/16\" }\n[[gateway.lan]]\ninterface = \"eth3\"\nmap = { \"10.9.1.0/24\" = \"10.99.0.0/24\" }",
        errors: &[
            r"berlin.toml:12:25: gateway, lan, map: 10.9.0.0/16 overlaps 10.9.1.0/24, which another line maps: map prefixes that do not overlap",
            r#"berlin.toml:12:25: gateway, lan, map: 10.2.0.0/16 overlaps 10.2.0.0/24 of site "paris": show the LAN as a prefix that no site has"#,
            r"berlin.toml:15:25: gateway, lan, map: 10.9.1.0/24 overlaps 10.9.0.0/16, which another line maps: map prefixes that do not overlap",
        ],
    },
];
