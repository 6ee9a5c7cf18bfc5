//! A configuration that is written out means the same when it is read again: for every file that the other
//! tests accept, and for random ones.

mod generator;

use std::path::Path;

use crossway::config::Config;

use self::generator::Generator;

/// Writes `config` out, reads that, and finds the same.
pub(crate) fn check(config: &Config) {
    let text = config.to_string();
    match Config::parse(&text, Path::new("berlin.toml")) {
        Ok(again) => assert_eq!(again.config, *config, "written as:\n{text}"),
        Err(rejected) => panic!("written as:\n{text}\n{rejected}"),
    }
}

#[test]
fn what_is_written_out_is_in_the_words_of_the_documentation() {
    let config = Config::parse(WHOLE, Path::new("berlin.toml"))
        .unwrap()
        .config;
    assert_eq!(config.to_string(), WHOLE);
}

#[test]
fn a_long_list_has_a_line_for_each_value() {
    let routes: Vec<String> = (0..9).map(|third| format!("10.2.{third}.0/24")).collect();
    let listed = format!("routes = {routes:?}");
    let text = crate::GOOD.replace(
        "routes = [\"10.3.0.0/24\"]",
        &listed.replace("10.2", "10.3"),
    );
    let written = crate::parse(&text).unwrap().config.to_string();
    assert!(
        written.contains("routes = [\n  \"10.3.0.0/24\",\n  \"10.3.1.0/24\",\n"),
        "{written}"
    );
}

#[test]
fn random_configurations_are_the_same_when_read_again() {
    for seed in 0..400 {
        let config = Generator::new(seed).config();
        let checked = std::panic::catch_unwind(|| check(&config));
        assert!(checked.is_ok(), "seed {seed}");
    }
}

/// A file with something of everything, as it is written out.
const WHOLE: &str = r#"policy = "closed"
denied = "reject"

[gateway]
name = "berlin-1"
private_key_file = "/etc/crossway/berlin-1.key"
listen = "[::]:51820"
tunnel_addresses = ["10.255.0.1/32"]
mtu = 1400
path_mtu = "fixed"
engine = "boringtun"
dscp = "uniform"
fast_path = false
flows = 65536
history_mib = 0
lanes = 2
control_group = "staff"
seccomp = false

[[gateway.lan]]
interface = "eth1"

[[gateway.lan]]
interface = "eth2"
xdp = "off"

[[gateway.wan]]
interface = "eth0"
xdp = "native"

[[gateway.vrrp]]
interface = "eth1"
id = 51
addresses = ["10.1.0.254", "fe80::254"]
priority = 150
advertisement_interval = 300
preempt = false
track_weight = 60

[[gateway.vrrp]]
interface = "eth2"
id = 51
addresses = ["10.9.0.254"]
track = false

[[gateway.health]]
target = "10.1.0.10:443"
interface = "eth1"
interval_ms = 500
timeout_ms = 100
failures = 5

[[gateway.replica]]
name = "berlin-2"
public_key = "dw9XL3P5LVBwUdFzAoSVNGJhYnQhpZXsQBhPhaRgtFs="
endpoint = "10.1.0.3:51820"
bfd = { interval_ms = 50 }

[metrics]
listen = "192.0.2.1:19586"
certificate_file = "/etc/crossway/metrics.crt"
key_file = "/etc/crossway/metrics.key"
client_ca_file = "/etc/crossway/readers.crt"

[[site]]
name = "paris"
routes = ["10.2.0.0/24", "2001:db8:2::/48"]
tags = ["ci"]
hold_down_ms = 2000
on_down = "drop"

  [[site.gateway]]
  name = "paris-1"
  public_key = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo="
  preshared_key_file = "/etc/crossway/paris-1.psk"
  engine = "crossway"
  lanes = 2
  persistent_keepalive = 0

    [[site.gateway.link]]
    name = "isp-a"
    endpoint = "203.0.113.7:51820"
    wan = "eth0"
    priority = 200
    liveness = "bfd"
    bfd = { multiplier = 4, local = "10.255.0.1", remote = "10.255.0.2" }

    [[site.gateway.link]]
    name = "isp-b"
    endpoint = "paris.example.net:51820"
    probe = "10.2.0.10"

[flows]
file = "/var/log/crossway/flows.jsonl"
file_mib = 8
files = 2
collector = "192.0.2.9:4739"
domain = 1
enterprise = 64512
template_seconds = 30

[discovery]
database = "/srv/berlin-1.services.db"
services = 4096
networks = ["100.64.0.0/10"]

[objects]
servers = ["10.2.0.0/28", "tag:ci"]
"db.old" = ["10.2.0.99"]

[ports]
erp = ["tcp/8000-8010", "web"]

[[allow]]
name = "erp"
from = ["lan"]
to = ["servers", "db.old"]
ports = ["erp", "icmp"]

[[allow]]
from = ["paris"]
to = ["any"]

[[shadow]]
from = ["lan"]
to = ["servers"]
ports = ["erp"]

[[never]]
name = "no-telnet"
from = ["lan"]
to = ["any"]
ports = ["tcp/23"]

[[expect]]
from = ["lan"]
to = ["10.2.0.1"]
ports = ["tcp/443"]
"#;
