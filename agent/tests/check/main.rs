//! What `crossway check` says about a file, section by section: every kind of fault with its exact text, and
//! files that must be accepted. Each accepted file is also written out and read again.

mod accepted;
mod discovery;
mod flows;
mod gateway;
mod health;
mod interfaces;
mod key_files;
mod links;
mod mapping;
mod metrics;
mod names;
mod policy;
mod remotes;
mod replicas;
mod round_trip;
mod sites;
mod toml;
mod vrrp;

use std::fmt::Debug;
use std::path::Path;

use crossway::config::{Accepted, Config, Rejected};

/// A file without fault, in which each case replaces one piece.
const GOOD: &str = r#"[gateway]
name = "berlin-1"
private_key_file = "berlin-1.key"
listen = "0.0.0.0:51820"
tunnel_addresses = ["10.255.0.1/32"]
lanes = "auto"
mtu = 1420
fast_path = true
[[gateway.lan]]
interface = "eth1"
vnet = "default"
xdp = "auto"
[[gateway.wan]]
interface = "eth0"
xdp = "native"

[[site]]
name = "paris"
routes = ["10.2.0.0/24", "2001:db8:2::/48"]
[[site.gateway]]
name = "paris-1"
public_key = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo="
endpoints = ["203.0.113.7:51820"]
lanes = 1
priority = 100
persistent_keepalive = 25

[[site]]
name = "rome"
routes = ["10.3.0.0/24"]
[[site.gateway]]
name = "rome-1"
public_key = "dw9XL3P5LVBwUdFzAoSVNGJhYnQhpZXsQBhPhaRgtFs="
endpoints = []
"#;

struct Case {
    about: &'static str,
    replace: &'static str,
    with: &'static str,
    errors: &'static [&'static str],
}

/// Each case is told in its very words.
fn tell_all(cases: &[Case]) {
    let mut wrong = Vec::new();
    for case in cases {
        assert!(
            GOOD.contains(case.replace),
            "{}: nothing to replace",
            case.about
        );
        let text = GOOD.replacen(case.replace, case.with, 1);
        let told = match parse(&text) {
            Ok(_) => "accepted".to_owned(),
            Err(rejected) => rejected.to_string(),
        };
        if told != case.errors.join("\n") {
            wrong.push(format!("{}:\n{told}\n", case.about));
        }
    }
    assert!(wrong.is_empty(), "not as expected:\n{}", wrong.join("\n"));
}

/// Reads a file of this text; what is accepted must mean the same when it is written out.
fn parse(text: &str) -> Result<Accepted, Rejected> {
    let file = Path::new("berlin.toml");
    let accepted = Config::parse(text, file)?;
    round_trip::check(&accepted.config);
    Ok(accepted)
}

/// What [`GOOD`] with these lines at its end means of it, or each error without its place.
fn said_of<T: Debug>(lines: &str, part: impl FnOnce(&Config) -> &T) -> String {
    match parse(&format!("{GOOD}{lines}")) {
        Ok(accepted) => format!("{:?}", part(&accepted.config)),
        Err(rejected) => {
            let errors = rejected.errors.iter();
            let texts: Vec<String> = errors
                .map(ToString::to_string)
                .map(|text| text[text.find(": ").unwrap() + 2..].to_owned())
                .collect();
            texts.join("\n")
        }
    }
}

fn warnings(result: Result<Accepted, Rejected>) -> Vec<String> {
    let accepted = result.unwrap_or_else(|rejected| panic!("{rejected}"));
    accepted.warnings.iter().map(ToString::to_string).collect()
}
