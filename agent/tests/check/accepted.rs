//! Files that must be accepted.

use std::fs;
use std::path::Path;

use crossway::config::{Config, Endpoint, FlowExport, Lanes, Policy, XdpChoice};

use crate::{GOOD, parse, round_trip};

#[test]
fn the_file_that_the_cases_start_from_is_accepted() {
    let accepted = Config::parse(GOOD, Path::new("/etc/crossway/berlin.toml")).unwrap();
    assert!(accepted.warnings.is_empty());
    let Config {
        gateway,
        sites,
        metrics,
        flows,
        discovery,
        policy,
    } = accepted.config;
    assert_eq!(metrics, None);
    assert_eq!(flows, FlowExport::default());
    assert_eq!(discovery, None);
    assert_eq!(policy, Policy::default());
    assert_eq!(
        gateway.private_key_file.path,
        Path::new("/etc/crossway/berlin-1.key")
    );
    assert_eq!(gateway.lanes, Lanes::Auto);
    assert_eq!(gateway.mtu, Some(1420));
    assert_eq!(gateway.tun_name(), "cw-berlin-1");
    assert_eq!(gateway.wan[0].xdp, XdpChoice::Native);
    let paris = &sites[0].gateways[0];
    assert_eq!(
        paris.links[0].endpoints,
        [Endpoint::Address("203.0.113.7:51820".parse().unwrap())]
    );
    assert_eq!(
        (paris.links[0].priority, paris.persistent_keepalive),
        (100, Some(25))
    );
    assert!(sites[1].gateways[0].links[0].endpoints.is_empty());
}

/// The example of the design, with real keys.
#[test]
fn the_documented_example_is_accepted() {
    let text = r#"
[gateway]
name = "berlin-1"
private_key_file = "/etc/crossway/berlin-1.key"   # mode 0600, else a warning that says how to mend it
listen = "0.0.0.0:51820"                          # lane i listens on port + i
tunnel_addresses = ["10.255.0.1/32"]              # this gateway's own address inside the tunnel
lanes = "auto"                                    # or a number
[[gateway.lan]]
interface = "eth1"
vnet = "default"
xdp = "auto"
[[gateway.wan]]
interface = "eth0"

[[site]]
name = "paris"
vnet = "default"
routes = ["10.2.0.0/24", "2001:db8:2::/48"]
  [[site.gateway]]
  name = "paris-1"
  public_key = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo="
  endpoints = ["203.0.113.7:51820"]               # host names are re-resolved
  lanes = 1                                       # 1 = any stock WireGuard peer
  priority = 100
"#;
    let accepted = parse(text).unwrap();
    assert!(accepted.warnings.is_empty());
    assert!(accepted.config.gateway.fast_path);
    assert!(accepted.config.gateway.seccomp);
    assert_eq!(accepted.config.gateway.control_group, None);
}

/// Both ends of the set-up in the README.
#[test]
fn the_packaged_examples_are_accepted_and_face_each_other() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let [berlin, paris] = ["berlin", "paris"].map(|place| {
        let file = workspace.join(format!("agent/packaging/example-{place}.toml"));
        let text = fs::read_to_string(&file).unwrap();
        // Not `load`: the key files are those of the machines that the examples are for.
        let accepted = Config::parse(&text, &file).unwrap();
        assert!(accepted.warnings.is_empty());
        round_trip::check(&accepted.config);
        accepted.config
    });
    for (here, there) in [(&berlin, &paris), (&paris, &berlin)] {
        let [site] = &here.sites[..] else {
            panic!("one site is enough for an example")
        };
        assert_eq!(site.gateways[0].name, there.gateway.name);
        assert_eq!(here.gateway.listen, there.gateway.listen);
    }
}

#[test]
fn unusual_but_right_files_are_accepted() {
    for (replace, with) in [
        (
            "[[gateway.wan]]\ninterface = \"eth0\"\nxdp = \"native\"\n",
            "[[gateway.wan]]\ninterface = \"eth0.100\"\n[[gateway.wan]]\ninterface = \"wwan0\"\nxdp = \"off\"\n",
        ),
        (
            "[\"203.0.113.7:51820\"]",
            "[\"vpn.example.net:51820\", \"203.0.113.7:51820\"]",
        ),
        ("lanes = \"auto\"", "lanes = 1"),
        ("mtu = 1420\n", ""),
        (
            "tunnel_addresses = [\"10.255.0.1/32\"]\n",
            "tunnel_addresses = [\"10.255.0.1/24\", \"2001:db8::1\"]\n",
        ),
        ("\"10.3.0.0/24\"", "\"10.2.0.128/25\""),
        ("\"10.3.0.0/24\"", "\"10.3.0.7\""),
        ("\"0.0.0.0:51820\"", "\"[::]:51820\""),
        ("priority = 100\n", ""),
    ] {
        assert!(GOOD.contains(replace), "nothing to replace: {replace}");
        let text = GOOD.replacen(replace, with, 1);
        let accepted = parse(&text);
        let accepted = accepted.unwrap_or_else(|rejected| panic!("{with}:\n{rejected}"));
        assert!(
            accepted.warnings.is_empty(),
            "{with}: {:?}",
            accepted.warnings
        );
    }
}
