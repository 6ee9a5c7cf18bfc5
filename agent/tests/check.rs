//! What `crossway check` says about a file: every kind of fault with its exact text, and files that
//! must be accepted.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crossway::config::{Config, Endpoint, Lanes, XdpChoice};
use crossway::disk::Disk;
use crossway::keys::{SecretKey, public_key_text};

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

#[test]
fn every_fault_is_told_with_line_value_reason_and_mend() {
    let mut wrong = Vec::new();
    for case in CASES {
        assert!(
            GOOD.contains(case.replace),
            "{}: nothing to replace",
            case.about
        );
        let text = GOOD.replacen(case.replace, case.with, 1);
        let told = match Config::parse(&text, Path::new("berlin.toml")) {
            Ok(_) => "accepted".to_owned(),
            Err(rejected) => rejected.to_string(),
        };
        if told != case.errors.join("\n") {
            wrong.push(format!("{}:\n{told}\n", case.about));
        }
    }
    assert!(wrong.is_empty(), "not as expected:\n{}", wrong.join("\n"));
}

#[test]
fn the_file_that_the_cases_start_from_is_accepted() {
    let accepted = Config::parse(GOOD, Path::new("/etc/crossway/berlin.toml")).unwrap();
    assert!(accepted.warnings.is_empty());
    let Config { gateway, sites } = accepted.config;
    assert_eq!(
        gateway.private_key_file,
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
    let accepted = Config::parse(text, Path::new("berlin.toml")).unwrap();
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
        let accepted = Config::parse(&text, Path::new("berlin.toml"));
        let accepted = accepted.unwrap_or_else(|rejected| panic!("{with}:\n{rejected}"));
        assert!(
            accepted.warnings.is_empty(),
            "{with}: {:?}",
            accepted.warnings
        );
    }
}

#[test]
fn a_default_route_and_a_file_without_sites_are_accepted_with_a_warning() {
    let text = GOOD.replace("\"10.3.0.0/24\"", "\"0.0.0.0/0\"");
    assert_eq!(
        warnings(Config::parse(&text, Path::new("berlin.toml"))),
        [
            "berlin.toml:30:11: warning: site \"rome\", routes: 0.0.0.0/0 sends all traffic without a \
             longer route to this site: write the networks behind the site if that is not meant"
        ]
    );
    let text = GOOD.split("[[site]]").next().unwrap();
    assert_eq!(
        warnings(Config::parse(text, Path::new("berlin.toml"))),
        [
            "berlin.toml:1:1: warning: no [[site]]: the gateway reaches nothing: add a [[site]] for each \
             site that it shall reach"
        ]
    );
}

#[test]
fn a_site_that_stands_back_for_nobody_is_accepted_with_a_warning() {
    let routes = "routes = [\"10.3.0.0/24\"]";
    let stands_back = |routes: &str| {
        let text = GOOD.replace("routes = [\"10.3.0.0/24\"]", routes);
        warnings(Config::parse(&text, Path::new("berlin.toml")))
    };
    // Its own shorter prefix goes with it.
    let alone = "routes = [\"10.3.0.0/24\", \"10.3.0.0/16\"]\non_down = \"next-shorter\"";
    assert_eq!(
        stands_back(alone),
        [
            "berlin.toml:30:11: warning: site \"rome\", on_down: next-shorter, but no other site has a \
             shorter prefix for 10.3.0.0/24 and 1 more: while this site is down, the kernel's own \
             routes take the packets, unencrypted: give another site a shorter prefix, or write \
             on_down = \"unreachable\", unless a line of your own is to take over"
        ]
    );
    let covered = "routes = [\"10.2.0.0/25\"]\non_down = \"next-shorter\"";
    assert_eq!(stands_back(covered), [""; 0]);
    assert_eq!(stands_back(routes), [""; 0]);
}

#[test]
fn an_endpoint_inside_a_route_is_accepted_with_a_warning() {
    let text = GOOD.replace("\"10.3.0.0/24\"", "\"203.0.113.0/24\"");
    assert_eq!(
        warnings(Config::parse(&text, Path::new("berlin.toml"))),
        [
            "berlin.toml:23:14: warning: site \"paris\", gateway \"paris-1\", endpoints: \
             203.0.113.7:51820 lies in a route of site \"rome\": the tunnel's own packets may go into \
             the tunnel: write an endpoint outside the routes, or longer prefixes in the routes"
        ]
    );
}

#[test]
fn a_hundred_thousand_wrong_routes_are_all_told() {
    let routes = "\"10.0.0.1/24\", ".repeat(100_000);
    let text = GOOD.replace("\"10.3.0.0/24\"", &routes);
    let rejected = Config::parse(&text, Path::new("berlin.toml")).unwrap_err();
    assert_eq!(rejected.errors.len(), 100_000);
    let last = 11 + 99_999 * "\"10.0.0.1/24\", ".len();
    assert_eq!(rejected.errors.last().unwrap().position, Some((30, last)));
}

#[test]
fn a_file_that_is_not_there_is_told_as_such() {
    let rejected = Config::load(Path::new("/nowhere/berlin.toml"), &Disk).unwrap_err();
    assert_eq!(
        rejected.to_string(),
        "/nowhere/berlin.toml: cannot be read: No such file or directory (os error 2): name a \
         readable TOML file"
    );
}

#[test]
fn key_files_are_looked_at() {
    let folder = Folder::new("key-files");
    let key = SecretKey::generate().unwrap();
    folder.write("berlin.toml", GOOD, 0o644);
    let file = folder.0.join("berlin.toml");
    let key_file = folder.0.join("berlin-1.key");
    let at = format!("{}:3:20: ", file.display());

    assert_eq!(
        warnings(Config::load(&file, &Disk)),
        [format!(
            "{at}warning: gateway, private_key_file: {0} does not exist here: \
             (umask 077; crossway keygen > {0})",
            key_file.display()
        )]
    );

    folder.write("berlin-1.key", &key.to_base64(), 0o644);
    assert_eq!(
        warnings(Config::load(&file, &Disk)),
        [format!(
            "{at}warning: gateway, private_key_file: {0} has mode 0644, others than its owner can \
             use the key: chmod 600 {0}",
            key_file.display()
        )]
    );

    folder.write("berlin-1.key", &key.to_base64(), 0o600);
    assert!(warnings(Config::load(&file, &Disk)).is_empty());

    folder.write("berlin-1.key", "no key at all", 0o600);
    assert_eq!(
        Config::load(&file, &Disk).unwrap_err().to_string(),
        format!(
            "{at}gateway, private_key_file: {} has 13 characters where a WireGuard key has 44: make a \
             new one with `crossway keygen`, or name the right file",
            key_file.display()
        )
    );
}

#[test]
fn our_own_public_key_at_a_site_is_refused() {
    let folder = Folder::new("own-key");
    let key = SecretKey::generate().unwrap();
    folder.write("berlin-1.key", &key.to_base64(), 0o600);
    let own = public_key_text(&key.public_key());
    let text = GOOD.replace("hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=", &own);
    folder.write("berlin.toml", &text, 0o644);
    let file = folder.0.join("berlin.toml");
    assert_eq!(
        Config::load(&file, &Disk).unwrap_err().to_string(),
        format!(
            "{}:22:14: site \"paris\", gateway \"paris-1\", public_key: {own} is the public key of \
             this gateway itself: write what `crossway pubkey < KEYFILE` prints on that gateway",
            file.display()
        )
    );
}

fn warnings(result: Result<crossway::config::Accepted, crossway::config::Rejected>) -> Vec<String> {
    let accepted = result.unwrap_or_else(|rejected| panic!("{rejected}"));
    accepted.warnings.iter().map(ToString::to_string).collect()
}

/// A folder of the test's own, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("crossway-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str, mode: u32) {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
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
            r#"berlin.toml:30:26: site "rome", routes: 10.2.0.0/24 is already a route of site "paris" (line 19): keep it at one site, or give the other a longer prefix"#,
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
        about: "two sites of one name",
        replace: r#"name = "rome""#,
        with: r#"name = "paris""#,
        errors: &[
            r#"berlin.toml:29:8: site "paris", name: paris is already a site (line 18): rename one of them"#,
        ],
    },
    Case {
        about: "two gateways of one name",
        replace: r#"name = "rome-1""#,
        with: r#"name = "paris-1""#,
        errors: &[
            r#"berlin.toml:32:8: site "rome", gateway "paris-1", name: paris-1 is already a gateway (line 21): rename one of them"#,
        ],
    },
    Case {
        about: "a gateway with our own name",
        replace: r#"name = "rome-1""#,
        with: r#"name = "berlin-1""#,
        errors: &[
            r#"berlin.toml:32:8: site "rome", gateway "berlin-1", name: berlin-1 is already a gateway (line 2): rename one of them"#,
        ],
    },
    Case {
        about: "a name with a space",
        replace: r#"name = "berlin-1""#,
        with: r#"name = "berlin 1""#,
        errors: &[
            r#"berlin.toml:2:8: gateway, name: "berlin 1" has the character ' ' in it: write 1 to 32 letters, digits, -, _ or ., a letter or digit first"#,
        ],
    },
    Case {
        about: "an empty name",
        replace: r#"name = "paris""#,
        with: r#"name = """#,
        errors: &[
            r#"berlin.toml:18:8: site "", name: "" is empty: write 1 to 32 letters, digits, -, _ or ., a letter or digit first"#,
        ],
    },
    Case {
        about: "a name that climbs out of its folder",
        replace: r#"name = "berlin-1""#,
        with: r#"name = "../berlin""#,
        errors: &[
            "berlin.toml:2:8: gateway, name: ../berlin has the character '/' in it: write 1 to 32 letters, digits, -, _ or ., a letter or digit first",
        ],
    },
    Case {
        about: "a name that starts with a dot",
        replace: r#"name = "berlin-1""#,
        with: r#"name = "..berlin""#,
        errors: &[
            "berlin.toml:2:8: gateway, name: ..berlin does not start with a letter or digit: write 1 to 32 letters, digits, -, _ or ., a letter or digit first",
        ],
    },
    Case {
        about: "a name that is too long",
        replace: r#"name = "rome""#,
        with: r#"name = "rome-rome-rome-rome-rome-rome-rome-rome-""#,
        errors: &[
            r#"berlin.toml:29:8: site "rome-rome-rome-rome-rome-rome-rome-rome-", name: rome-rome-rome-rome-rome-rome-rome-rome- has 40 characters: write 1 to 32 letters, digits, -, _ or ., a letter or digit first"#,
        ],
    },
    Case {
        about: "no name",
        replace: r#"name = "rome"
"#,
        with: "",
        errors: &[r#"berlin.toml:28:1: site #2: name is missing: write name = "paris""#],
    },
    Case {
        about: "a name of the wrong type",
        replace: r#"name = "rome""#,
        with: "name = 7",
        errors: &[
            r#"berlin.toml:29:8: site #2, name: expected a string, found the integer 7: write name = "paris""#,
        ],
    },
    Case {
        about: "one key at two gateways",
        replace: "dw9XL3P5LVBwUdFzAoSVNGJhYnQhpZXsQBhPhaRgtFs=",
        with: "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=",
        errors: &[
            r#"berlin.toml:33:14: site "rome", gateway "rome-1", public_key: hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo= is already the key of another gateway (line 22): each gateway has a key pair of its own, make one with `crossway keygen`"#,
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
            r#"berlin.toml:23:14: site "paris", gateway "paris-1", endpoints: vpn_paris.example.net:51820 is no host name: its parts are letters, digits and inner hyphens: write an address or a host name, such as 203.0.113.7:51820 or vpn.example.net:51820"#,
        ],
    },
    Case {
        about: "an endpoint with an empty label",
        replace: r#""203.0.113.7:51820""#,
        with: r#""vpn..example.net:51820""#,
        errors: &[
            r#"berlin.toml:23:14: site "paris", gateway "paris-1", endpoints: vpn..example.net:51820 is no host name: its parts have 1 to 63 characters, the whole at most 253: write an address or a host name, such as 203.0.113.7:51820 or vpn.example.net:51820"#,
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
            r#"berlin.toml:6:9: gateway, lanes: many is no number of lanes: write a number from 1 to 32, or lanes = "auto""#,
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
        about: "no lane of a far gateway",
        replace: "lanes = 1",
        with: "lanes = 0",
        errors: &[
            r#"berlin.toml:24:9: site "paris", gateway "paris-1", lanes: 0 is out of range: write a number from 1 to 32, such as 1"#,
        ],
    },
    Case {
        about: "an on_down that is none",
        replace: "routes = [\"10.3.0.0/24\"]",
        with: "routes = [\"10.3.0.0/24\"]\non_down = \"reject\"",
        errors: &[
            r#"berlin.toml:31:11: site "rome", on_down: reject is nothing that can be done: write "unreachable" (the sender is told), "drop" (without a word) or "next-shorter" (a shorter prefix takes over)"#,
        ],
    },
    Case {
        about: "an XDP mode that does not exist",
        replace: r#"xdp = "native""#,
        with: r#"xdp = "fast""#,
        errors: &[
            r#"berlin.toml:15:7: gateway.wan "eth0", xdp: fast is no XDP mode: write "auto", "native", "generic" or "off""#,
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
            r#"berlin.toml:10:13: gateway.lan "eth/1", interface: eth/1 is no interface name: Linux allows no space, slash or colon: `ip -brief link` lists the names"#,
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
        about: "one interface as LAN and WAN",
        replace: r#"interface = "eth0""#,
        with: r#"interface = "eth1""#,
        errors: &[
            r#"berlin.toml:14:13: gateway.wan "eth1", interface: eth1 is both LAN and WAN (line 10): keep the one that is true; a VLAN interface of its own can take the other role"#,
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
        about: "fast_path in words",
        replace: "fast_path = true",
        with: r#"fast_path = "yes""#,
        errors: &[
            r#"berlin.toml:8:13: gateway, fast_path: expected true or false, found the string "yes": write fast_path = true"#,
        ],
    },
    Case {
        about: "an unknown key with a near one",
        replace: "priority = 100",
        with: "prioritty = 100",
        errors: &[
            r#"berlin.toml:25:1: site "paris", gateway "paris-1": unknown key "prioritty": did you mean "priority"?"#,
        ],
    },
    Case {
        about: "an unknown key with none near",
        replace: "priority = 100",
        with: "weight = 100",
        errors: &[
            r#"berlin.toml:25:1: site "paris", gateway "paris-1": unknown key "weight": known here are name, public_key, preshared_key_file, endpoints, lanes, priority, persistent_keepalive, liveness, bfd, probe, link"#,
        ],
    },
    Case {
        about: "a private key in the file",
        replace: r#"private_key_file = "berlin-1.key""#,
        with: r#"private_key = "secret""#,
        errors: &[
            r#"berlin.toml:1:1: gateway: private_key_file is missing: write private_key_file = "/etc/crossway/gateway.key""#,
            r#"berlin.toml:3:1: gateway: unknown key "private_key": keep the key in a file of its own, mode 0600, and write private_key_file = "PATH""#,
        ],
    },
    Case {
        about: "an unknown section",
        replace: "[gateway]
",
        with: "[general]
x = 1
[gateway]
",
        errors: &[r#"berlin.toml:1:2: unknown key "general": known here are gateway, site"#],
    },
    Case {
        about: "a misspelt section",
        replace: r#"[[site]]
name = "rome""#,
        with: r#"[[sites]]
name = "rome""#,
        errors: &[r#"berlin.toml:28:3: unknown key "sites": did you mean "site"?"#],
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
    Case {
        about: "a value without quotes",
        replace: r#"name = "berlin-1""#,
        with: "name = berlin-1",
        errors: &[
            r#"berlin.toml:2:8: TOML: string values must be quoted, expected literal string: write "berlin-1""#,
        ],
    },
    Case {
        about: "a key twice",
        replace: "mtu = 1420",
        with: "mtu = 1420
mtu = 1400",
        errors: &["berlin.toml:8:1: TOML: duplicate key: mtu is there twice, keep one"],
    },
    Case {
        about: "a bracket that is not closed",
        replace: "[[gateway.lan]]",
        with: "[[gateway.lan]",
        errors: &["berlin.toml:9:15: TOML: unclosed array table, expected `]`"],
    },
    Case {
        about: "several faults at once",
        replace: r#"lanes = "auto"
mtu = 1420"#,
        with: "lanes = 99
mtu = 1
port = 3",
        errors: &[
            r#"berlin.toml:6:9: gateway, lanes: 99 is not possible: write a number from 1 to 32, or lanes = "auto""#,
            "berlin.toml:7:7: gateway, mtu: 1 is out of range: write a number from 576 to 65455, such as 1420",
            r#"berlin.toml:8:1: gateway: unknown key "port": known here are name, private_key_file, listen, tunnel_addresses, lanes, mtu, flows, fast_path, seccomp, control_group, lan, wan, health, vrrp, replica"#,
        ],
    },
];

/// A file with a health target in front of the first WAN, and what is said of it.
fn health(lines: &str) -> String {
    let marker = "[[gateway.wan]]";
    let text = GOOD.replacen(marker, &format!("[[gateway.health]]\n{lines}\n{marker}"), 1);
    match Config::parse(&text, Path::new("berlin.toml")) {
        Ok(accepted) => accepted
            .config
            .gateway
            .health
            .iter()
            .map(|target| format!("{target} {:?} {:?}", target.interval, target.timeout))
            .collect::<Vec<_>>()
            .join("\n"),
        Err(rejected) => rejected.to_string(),
    }
}

#[test]
fn health_targets_are_read_with_their_defaults_and_every_fault_is_told() {
    let second_lan = "target = \"10.1.0.10\"\n[[gateway.lan]]\ninterface = \"eth2\"";
    let cases = [
        ("target = \"10.1.0.10\"", "icmp 10.1.0.10 by eth1 1s 1s"),
        (
            "target = \"10.1.0.10:443\"\ninterval_ms = 200",
            "tcp 10.1.0.10:443 by eth1 200ms 200ms",
        ),
        (
            "target = \"[2001:db8::10]:22\"\nkind = \"tcp\"\ninterval_ms = 5000\ntimeout_ms = 300",
            "tcp [2001:db8::10]:22 by eth1 5s 300ms",
        ),
        (
            "kind = \"icmp\"",
            r#"berlin.toml:13:1: gateway.health #1: target is missing: write target = "10.2.0.10" or "10.2.0.10:443""#,
        ),
        (
            "target = \"10.1.0.10:443\"\nkind = \"icmp\"",
            r#"berlin.toml:14:10: gateway.health "10.1.0.10:443", target: 10.1.0.10:443 has a port, which ICMP has not: write 10.1.0.10, or kind = "tcp" to connect to port 443"#,
        ),
        (
            "target = \"2001:db8::10\"\nkind = \"tcp\"",
            r#"berlin.toml:14:10: gateway.health "2001:db8::10", target: 2001:db8::10 has no port: write [2001:db8::10]:443"#,
        ),
        (
            "target = \"10.1.0.10\"\nkind = \"http\"",
            r#"berlin.toml:15:8: gateway.health "10.1.0.10", kind: http is no kind of probe: write "icmp", or "tcp" with a port behind the target"#,
        ),
        (
            "target = \"server.lan\"",
            r#"berlin.toml:14:10: gateway.health "server.lan", target: server.lan is not an IP address, with or without a port: write the address of a host in this gateway's LAN, such as 10.2.0.10 or 10.2.0.10:443 (names are not taken: a name server that is away is no dead LAN)"#,
        ),
        (
            "target = \"127.0.0.1\"",
            r#"berlin.toml:14:10: gateway.health "127.0.0.1", target: 127.0.0.1 is not the address of a host in the LAN: write the address of a host that is always on"#,
        ),
        (
            "target = \"fe80::1\"",
            r#"berlin.toml:14:10: gateway.health "fe80::1", target: fe80::1 is link-local: it names no interface: write a global or unique local address of the host"#,
        ),
        (
            "target = \"10.1.0.10:0\"",
            r#"berlin.toml:14:10: gateway.health "10.1.0.10:0", target: 10.1.0.10:0 has no usable port: write a number from 1 to 65535 behind the colon"#,
        ),
        (
            "target = \"10.1.0.10\"\ninterval_ms = 50",
            r#"berlin.toml:15:15: gateway.health "10.1.0.10", interval_ms: 50 is out of range: write a number from 100 to 60000, such as 1000"#,
        ),
        (
            "target = \"10.1.0.10\"\ninterval_ms = 500\ntimeout_ms = 501",
            r#"berlin.toml:16:14: gateway.health "10.1.0.10", timeout_ms: 501 ms is longer than the interval of 500 ms: one probe would run into the next: write a number from 10 to 500, or a longer interval_ms"#,
        ),
        (
            "target = \"10.1.0.10\"\nfailures = 0",
            r#"berlin.toml:15:12: gateway.health "10.1.0.10", failures: 0 is out of range: write a number from 1 to 100, such as 3"#,
        ),
        (
            "target = \"10.1.0.10\"\ninterface = \"eth0\"",
            r#"berlin.toml:15:13: gateway.health "10.1.0.10", interface: eth0 is no LAN interface of this gateway: write one of [[gateway.lan]]: eth1"#,
        ),
        (
            second_lan,
            r#"berlin.toml:13:1: gateway.health "10.1.0.10": interface is missing: there are several LANs: write the one that the target is in, of eth1, eth2"#,
        ),
        (
            "target = \"10.1.0.10\"\n[[gateway.health]]\ntarget = \"10.1.0.10\"\nfailures = 9",
            r#"berlin.toml:15:1: gateway.health "10.1.0.10": the same target is there twice (line 13): keep one of them"#,
        ),
    ];
    for (lines, expected) in cases {
        assert_eq!(health(lines), expected, "{lines}");
    }
    let many: Vec<String> = (1..=17)
        .map(|last| format!("[[gateway.health]]\ntarget = \"10.1.0.{last}\""))
        .collect();
    let many = many.join("\n");
    let said = health(many.trim_start_matches("[[gateway.health]]\n"));
    assert!(
        said.contains("17 health targets are too many: one gateway takes 16"),
        "{said}"
    );
}
