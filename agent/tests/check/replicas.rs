//! What `crossway check` says about `[[gateway.replica]]`.

use std::fs;

use crossway::config::{Accepted, Config, KeyFile, LivenessMode};
use crossway::disk::Disk;
use crossway::keys::{SecretKey, public_key_text};

use crate::parse;

const KEY: &str = "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=";
const PARIS_KEY: &str = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=";

/// A file whose table of a replica, from line 9, has these lines.
fn file(replica: &str) -> String {
    format!(
        r#"[gateway]
name = "berlin-1"
private_key_file = "berlin-1.key"
listen = "0.0.0.0:51820"
[[gateway.lan]]
interface = "eth1"
[[gateway.wan]]
interface = "eth0"
{replica}
[[site]]
name = "paris"
routes = ["10.2.0.0/24"]
[[site.gateway]]
name = "paris-1"
public_key = "{PARIS_KEY}"
endpoints = ["203.0.113.7:51820"]
"#
    )
}

fn replica(name: &str, key: &str, more: &str) -> String {
    format!("[[gateway.replica]]\nname = \"{name}\"\npublic_key = \"{key}\"\n{more}")
}

fn accepted(replica: &str) -> Accepted {
    parse(&file(replica)).unwrap()
}

fn refusal(replica: &str) -> String {
    match parse(&file(replica)) {
        Ok(_) => "accepted".to_owned(),
        Err(rejected) => rejected.to_string(),
    }
}

#[test]
fn a_replica_is_one_link_watched_by_bfd() {
    let text = replica(
        "berlin-2",
        KEY,
        "endpoint = \"10.1.0.3:51820\"\nbfd = { interval_ms = 50, multiplier = 4 }\npreshared_key_file = \"psk\"",
    );
    let Accepted { config, warnings } = accepted(&text);
    assert!(warnings.is_empty(), "{warnings:?}");
    let [replica] = &config.gateway.replicas[..] else {
        panic!("{:?}", config.gateway.replicas);
    };
    assert_eq!((replica.name.as_str(), replica.lanes), ("berlin-2", 1));
    assert_eq!(public_key_text(&replica.public_key), KEY);
    assert_eq!(replica.preshared_key_file, Some(KeyFile::from("psk")));
    let [link] = &replica.links[..] else {
        panic!("{:?}", replica.links);
    };
    assert_eq!(link.endpoints[0].to_string(), "10.1.0.3:51820");
    assert_eq!(link.liveness.mode, LivenessMode::Bfd);
    assert_eq!(link.liveness.pace.multiplier, 4);
}

#[test]
fn a_replica_without_an_endpoint_is_warned_of() {
    let Accepted { warnings, .. } = accepted(&replica("berlin-2", KEY, ""));
    let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            r#"berlin.toml:9:1: warning: gateway.replica "berlin-2": this replica has no endpoint: flows are replicated only while it connects to this gateway: write where it is reached on the LAN, or on a cable of its own, such as endpoint = "10.1.0.3:51820""#
        ]
    );
}

#[test]
fn an_endpoint_behind_a_site_is_warned_of() {
    let Accepted { warnings, .. } =
        accepted(&replica("berlin-2", KEY, "endpoint = \"10.2.0.3:51820\""));
    assert_eq!(
        warnings[0].to_string(),
        r#"berlin.toml:12:12: warning: gateway.replica "berlin-2", endpoint: 10.2.0.3:51820 lies in a route of site "paris": the tunnel's own packets may go into the tunnel: write an endpoint outside the routes, or longer prefixes in the routes"#
    );
}

#[test]
fn each_fault_is_told_with_line_value_reason_and_mend() {
    let endpoint = "endpoint = \"10.1.0.3:51820\"";
    let good = replica("berlin-2", KEY, endpoint);
    let other_key = "dw9XL3P5LVBwUdFzAoSVNGJhYnQhpZXsQBhPhaRgtFs=";
    let cases = [
        (
            replica("berlin-1", KEY, endpoint),
            r#"berlin.toml:10:8: gateway.replica "berlin-1", name: berlin-1 is already a gateway (line 2): rename one of them"#,
        ),
        (
            replica("paris-1", KEY, endpoint),
            r#"berlin.toml:17:8: site "paris", gateway "paris-1", name: paris-1 is already a gateway (line 10): rename one of them"#,
        ),
        (
            replica("berlin-2", PARIS_KEY, endpoint),
            r#"berlin.toml:18:14: site "paris", gateway "paris-1", public_key: hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo= is already the key of another gateway (line 11): each gateway has a key pair of its own, make one with `crossway keygen`"#,
        ),
        (
            good.clone() + "\n" + &replica("berlin-3", other_key, endpoint),
            r#"berlin.toml:16:12: gateway.replica "berlin-3", endpoint: 10.1.0.3:51820 is already the endpoint of another replica (line 12): each replica has an address of its own on the LAN"#,
        ),
        (
            replica("berlin-2", KEY, "endpoint = \"127.0.0.1:51820\""),
            r#"berlin.toml:12:12: gateway.replica "berlin-2", endpoint: 127.0.0.1:51820 is this gateway itself: write the replica's own address on the LAN, not the one that both share"#,
        ),
        (
            replica("berlin-2", KEY, "endpoint = \"[2001:db8::3]:51820\""),
            r#"berlin.toml:12:12: gateway.replica "berlin-2", endpoint: [2001:db8::3]:51820 is an IPv6 address, but listen is 0.0.0.0:51820: write listen = "[::]:51820""#,
        ),
        (
            replica("berlin-2", KEY, "endpoint = \"10.1.0.3\""),
            r#"berlin.toml:12:12: gateway.replica "berlin-2", endpoint: 10.1.0.3 has no port: write 10.1.0.3:51820, or the port that it listens on"#,
        ),
        (
            replica("berlin-2", KEY, "routes = [\"10.1.0.0/24\"]"),
            r#"berlin.toml:12:1: gateway.replica "berlin-2": unknown key "routes": the known keys are name, public_key, preshared_key_file, endpoint, bfd, engine"#,
        ),
        (
            "[[gateway.replica]]\nname = \"berlin-2\"".to_owned(),
            r#"berlin.toml:9:1: gateway.replica "berlin-2": public_key is missing: write public_key = what `crossway pubkey` prints there"#,
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(refusal(&text), expected);
    }
}

#[test]
fn nine_replicas_are_too_many() {
    let many = (1..=9_u8).map(|number| {
        let key = public_key_text(&[number; 32]);
        replica(&format!("r{number}"), &key, "")
    });
    let told = refusal(&many.collect::<Vec<_>>().join("\n"));
    assert_eq!(
        told,
        "berlin.toml:41:1: gateway, replica: 9 replicas are too many: one gateway takes 8"
    );
}

#[test]
fn the_own_key_is_refused() {
    let folder = std::env::temp_dir().join(format!("crossway-replica-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let own = SecretKey::generate().unwrap();
    fs::write(folder.join("berlin-1.key"), own.to_base64().as_str()).unwrap();
    let own = public_key_text(&own.public_key());
    let path = folder.join("berlin.toml");
    fs::write(
        &path,
        file(&replica("berlin-2", &own, "endpoint = \"10.1.0.3:51820\"")),
    )
    .unwrap();
    let told = Config::load(&path, &Disk).unwrap_err().to_string();
    fs::remove_dir_all(&folder).unwrap();
    let expected = format!(
        r#"gateway.replica "berlin-2", public_key: {own} is the public key of this gateway itself"#
    );
    assert!(told.contains(&expected), "{told}");
}
