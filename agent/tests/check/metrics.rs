//! What `crossway check` says of `[metrics]`.

use crossway::config::{Metrics, MetricsDoor, MetricsTls};

use crate::{Case, GOOD, parse, tell_all, warnings};

/// The line before the first site: 17.
const BEFORE: &str = "[[site]]\nname = \"paris\"\n";

macro_rules! section {
    ($keys:literal) => {
        concat!("[metrics]\n", $keys, "\n[[site]]\nname = \"paris\"\n")
    };
}

#[test]
fn every_fault_of_metrics_is_told_with_line_value_reason_and_mend() {
    tell_all(CASES);
}

const CASES: &[Case] = &[
    Case {
        about: "neither address nor socket",
        replace: BEFORE,
        with: section!(""),
        errors: &[
            r#"berlin.toml:17:1: metrics: listen is missing: write listen = "127.0.0.1:19586", or socket = "/run/crossway/metrics.socket""#,
        ],
    },
    Case {
        about: "both",
        replace: BEFORE,
        with: section!("listen = \"127.0.0.1:19586\"\nsocket = \"m.socket\""),
        errors: &[
            "berlin.toml:19:10: metrics, socket: there are listen and socket: keep one of them",
        ],
    },
    Case {
        about: "a name",
        replace: BEFORE,
        with: section!(r#"listen = "localhost:19586""#),
        errors: &[
            r#"berlin.toml:18:10: metrics, listen: localhost:19586 is not an IP address and port: write an address of this gateway and a port, such as "127.0.0.1:19586""#,
        ],
    },
    Case {
        about: "port 0",
        replace: BEFORE,
        with: section!(r#"listen = "127.0.0.1:0""#),
        errors: &[
            r#"berlin.toml:18:10: metrics, listen: nobody can connect to 127.0.0.1:0: write an address of this gateway and a port, such as "127.0.0.1:19586""#,
        ],
    },
    Case {
        about: "a certificate without its key",
        replace: BEFORE,
        with: section!("listen = \"127.0.0.1:19586\"\ncertificate_file = \"m.crt\""),
        errors: &[
            "berlin.toml:19:20: metrics: key_file is missing: TLS needs certificate_file and key_file",
        ],
    },
    Case {
        about: "readers' certificates without one of ours",
        replace: BEFORE,
        with: section!("listen = \"127.0.0.1:19586\"\nclient_ca_file = \"ca.crt\""),
        errors: &[
            "berlin.toml:19:18: metrics: certificate_file is missing: TLS needs certificate_file and key_file",
        ],
    },
    Case {
        about: "TLS on a socket",
        replace: BEFORE,
        with: section!("socket = \"m.socket\"\nkey_file = \"m.key\""),
        errors: &[
            "berlin.toml:19:12: metrics, key_file: it has no meaning without listen: leave it out",
        ],
    },
    Case {
        about: "a group of an address",
        replace: BEFORE,
        with: section!("listen = \"127.0.0.1:19586\"\ngroup = \"prometheus\""),
        errors: &[
            "berlin.toml:19:9: metrics, group: it has no meaning without socket: leave it out",
        ],
    },
    Case {
        about: "a path that no socket can have",
        replace: BEFORE,
        with: section!(
            r#"socket = "/run/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa""#
        ),
        errors: &[
            "berlin.toml:18:10: metrics, socket: the path has 113 characters: the kernel takes 107: choose a shorter one",
        ],
    },
    Case {
        about: "a key that nobody knows",
        replace: BEFORE,
        with: section!("lisen = \"127.0.0.1:19586\"\nsocket = \"m.socket\""),
        errors: &[r#"berlin.toml:18:1: metrics: unknown key "lisen": did you mean "listen"?"#],
    },
];

fn with(keys: &str) -> String {
    GOOD.replacen(BEFORE, &format!("[metrics]\n{keys}\n{BEFORE}"), 1)
}

fn door(keys: &str) -> MetricsDoor {
    let Metrics { door } = parse(&with(keys)).unwrap().config.metrics.unwrap();
    door
}

#[test]
fn an_address_a_certificate_and_a_socket_are_understood() {
    let listen = "127.0.0.1:19586".parse().unwrap();
    let plain = door(r#"listen = "127.0.0.1:19586""#);
    assert_eq!(plain, MetricsDoor::Address { listen, tls: None });

    let secure = door(
        "listen = \"127.0.0.1:19586\"\ncertificate_file = \"m.crt\"\nkey_file = \"/etc/m.key\"\nclient_ca_file = \"ca.crt\"",
    );
    let tls = Some(MetricsTls {
        certificate_file: "m.crt".into(),
        key_file: "/etc/m.key".into(),
        client_ca_file: Some("ca.crt".into()),
    });
    assert_eq!(secure, MetricsDoor::Address { listen, tls });

    let socket = door("socket = \"/run/crossway/m.socket\"\ngroup = \"prometheus\"");
    let (path, group) = ("/run/crossway/m.socket".into(), Some("prometheus".into()));
    assert_eq!(socket, MetricsDoor::Socket { path, group });
}

#[test]
fn an_address_that_strangers_reach_is_warned_of_unless_they_are_asked_who_they_are() {
    let warned = |keys: &str| warnings(parse(&with(keys)));
    let tls = "certificate_file = \"m.crt\"\nkey_file = \"m.key\"";
    for keys in [
        r#"listen = "192.0.2.1:19586""#.to_owned(),
        format!("listen = \"[::]:19586\"\n{tls}"),
    ] {
        let [warning] = &warned(&keys)[..] else {
            panic!("one warning")
        };
        assert!(warning.contains("can read names of sites"), "{warning}");
    }
    for keys in [
        r#"listen = "[::1]:19586""#.to_owned(),
        format!("listen = \"[::]:19586\"\n{tls}\nclient_ca_file = \"ca.crt\""),
    ] {
        assert_eq!(warned(&keys), [""; 0]);
    }
}
