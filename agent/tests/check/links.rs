//! What `crossway check` says of gateways with several links, and of how links are watched.

use std::fmt::Write as _;
use std::time::Duration;

use crossway::config::LivenessMode;

use crate::parse;

const GOOD: &str = r#"
[gateway]
name = "berlin-1"
private_key_file = "berlin-1.key"
listen = "[::]:51820"
tunnel_addresses = ["10.255.0.1/32"]
[[gateway.lan]]
interface = "eth1"
[[gateway.wan]]
interface = "eth0"
[[gateway.wan]]
interface = "eth2"

[[site]]
name = "paris"
routes = ["10.2.0.0/24"]
hold_down_ms = 2000
  [[site.gateway]]
  name = "paris-1"
  public_key = "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08="
  priority = 200
  bfd = { interval_ms = 50, multiplier = 4 }
    [[site.gateway.link]]
    name = "isp-a"
    endpoint = "203.0.113.7:51820"
    wan = "eth0"
    [[site.gateway.link]]
    name = "isp-b"
    endpoint = "198.51.100.7:51820"
    wan = "eth2"
    priority = 150
    bfd = { interval_ms = 300 }
  [[site.gateway]]
  name = "paris-2"
  public_key = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo="
  endpoints = ["203.0.113.8:51820", "paris-2.example.net:51820"]
  liveness = "wireguard"
  probe = "10.2.0.10"
"#;

/// What is said of the good file with one passage replaced.
fn said(passage: &str, by: &str) -> String {
    assert_eq!(GOOD.matches(passage).count(), 1, "{passage}");
    let mut text = String::new();
    let (errors, warnings) = match parse(&GOOD.replace(passage, by)) {
        Ok(accepted) => (Vec::new(), accepted.warnings),
        Err(rejected) => (rejected.errors, rejected.warnings),
    };
    for diagnostic in errors.iter().chain(&warnings) {
        let _ = writeln!(text, "{diagnostic}");
    }
    text
}

#[test]
fn links_take_from_their_gateway_what_they_do_not_say() {
    let accepted = parse(GOOD).unwrap();
    assert!(accepted.warnings.is_empty(), "{:?}", accepted.warnings);
    let site = &accepted.config.sites[0];
    assert_eq!(site.hold_down, Duration::from_secs(2));
    let [first, second] = site.gateways.as_slice() else {
        panic!("two gateways");
    };
    let [isp_a, isp_b] = first.links.as_slice() else {
        panic!("two links");
    };
    assert_eq!((isp_a.priority, isp_b.priority), (200, 150));
    assert_eq!(isp_a.wan.as_deref(), Some("eth0"));
    let pace = |milliseconds, multiplier| (Duration::from_millis(milliseconds), multiplier);
    for (link, expected) in [(isp_a, pace(50, 4)), (isp_b, pace(300, 4))] {
        let found = link.liveness.pace;
        assert_eq!((found.interval, found.multiplier), expected);
        assert_eq!(link.liveness.mode, LivenessMode::Auto);
    }
    let [only] = second.links.as_slice() else {
        panic!("one link");
    };
    assert_eq!((only.name.as_deref(), only.endpoints.len()), (None, 2));
    assert_eq!(only.liveness.mode, LivenessMode::WireGuard);
    assert_eq!(only.liveness.probe, Some("10.2.0.10".parse().unwrap()));
}

#[test]
fn every_fault_of_a_link_is_told_with_line_value_reason_and_mend() {
    let paris_1 = r#"site "paris", gateway "paris-1""#;
    let cases = [
        (
            r#"name = "isp-b""#,
            r#"name = "isp-a""#,
            format!(r#"berlin.toml:28:12: {paris_1}, link "isp-a", name: isp-a is already a link of this gateway (line 24): rename one of them"#),
        ),
        (
            "    endpoint = \"198.51.100.7:51820\"\n    wan = \"eth2\"",
            "    endpoint = \"203.0.113.7:51820\"\n    wan = \"eth0\"",
            format!(r#"berlin.toml:29:16: {paris_1}, link "isp-b", endpoint: 203.0.113.7:51820 is the path of another link (line 25): give the link another endpoint or another wan, or remove it"#),
        ),
        (
            "    wan = \"eth0\"",
            "    wan = \"eth0\"\n    priority = 160",
            format!("berlin.toml:21:14: warning: {paris_1}, priority: it has no effect: every link of the gateway has a priority of its own: keep either this one or those of the links"),
        ),
        (
            r#"wan = "eth2""#,
            r#"wan = "eth7""#,
            format!(r#"berlin.toml:30:11: {paris_1}, link "isp-b", wan: eth7 is not a WAN of this gateway: write one of eth0, eth2, or add a [[gateway.wan]]"#),
        ),
        (
            "  priority = 200",
            "  priority = 200\n  endpoints = [\"203.0.113.7:51820\"]",
            format!("berlin.toml:22:15: {paris_1}, endpoints: the gateway lists its links as well: write each endpoint in its [[site.gateway.link]]"),
        ),
        (
            "interval_ms = 300",
            "interval_ms = 5",
            format!(r#"berlin.toml:32:27: {paris_1}, link "isp-b", bfd, interval_ms: 5 is out of range: write a number from 10 to 60000, such as 100"#),
        ),
        (
            "interval_ms = 300",
            "interval_ms = 10",
            format!(r#"berlin.toml:32:11: warning: {paris_1}, link "isp-b", bfd: a link counts as dead after 40 ms and 4 lost packets: a busy machine or one lost packet moves its flows: write interval_ms = 30, multiplier = 3 or more"#),
        ),
        (
            "interval_ms = 300",
            "local = \"10.255.0.1\"",
            format!(r#"berlin.toml:32:11: {paris_1}, link "isp-b", bfd: remote is missing: write both addresses that the far end's BFD knows, or none between Crossway gateways"#),
        ),
        (
            "interval_ms = 300",
            "local = \"10.255.0.1\", remote = \"fe80::2\"",
            format!(r#"berlin.toml:32:44: {paris_1}, link "isp-b", bfd, remote: 10.255.0.1 cannot talk to fe80::2: write two addresses of one family, such as 10.255.0.1 and 10.255.0.2"#),
        ),
        (
            r#"liveness = "wireguard""#,
            r#"liveness = "ping""#,
            r#"berlin.toml:37:14: site "paris", gateway "paris-2", liveness: ping is not a way to monitor a link: write "auto", "bfd" or "wireguard""#.to_owned(),
        ),
        (
            r#"liveness = "wireguard""#,
            "liveness = \"wireguard\"\n  bfd = { interval_ms = 100 }",
            r#"berlin.toml:38:9: site "paris", gateway "paris-2", bfd: liveness = "wireguard" uses no BFD: write liveness = "auto" or "bfd", or remove bfd"#.to_owned(),
        ),
        (
            r#"probe = "10.2.0.10""#,
            r#"probe = "2001:db8::1""#,
            r#"berlin.toml:33:3: site "paris", gateway "paris-2", probe: 2001:db8::1 cannot be probed: gateway, tunnel_addresses has no address of its family: add one that the far end routes back to this gateway
berlin.toml:33:3: warning: site "paris", gateway "paris-2", probe: 2001:db8::1 is in no route of this site: its answers would be dropped: name a host of the far LAN"#.to_owned(),
        ),
        (
            "  endpoints = [\"203.0.113.8:51820\", \"paris-2.example.net:51820\"]\n",
            "",
            r#"berlin.toml:34:10: warning: site "paris", gateway "paris-2": this replica has no endpoint: it is used only while it connects to this gateway: write where it is reached, if it can be"#.to_owned(),
        ),
        (
            "hold_down_ms = 2000",
            "hold_down_ms = 700000",
            r#"berlin.toml:17:16: site "paris", hold_down_ms: 700000 is out of range: write a number from 0 to 600000, such as 5000"#.to_owned(),
        ),
    ];
    let mut wrong = String::new();
    for (passage, by, expected) in cases {
        let found = said(passage, by);
        if found.trim_end() != expected {
            let _ = writeln!(wrong, "{by}:\n  {found}  {expected}");
        }
    }
    assert!(wrong.is_empty(), "not as expected:\n{wrong}");
}
