//! What `crossway check` says of TOML itself and of unknown keys.

use std::fs;
use std::path::Path;

use crossway::config::Config;

use crate::{Case, GOOD, parse, tell_all};

#[test]
fn every_fault_of_toml_is_told_with_line_value_reason_and_mend() {
    tell_all(CASES);
}

#[test]
fn files_of_windows_are_read_and_their_faults_have_the_same_places() {
    let [plain, wrong] = [GOOD.to_owned(), GOOD.replace("mtu = 1420", "mtu = 1")];
    let windows = |text: &str| format!("\u{feff}{}", text.replace('\n', "\r\n"));
    let accepted = parse(&windows(&plain)).unwrap();
    assert!(accepted.warnings.is_empty(), "{:?}", accepted.warnings);
    assert_eq!(accepted.config, parse(&plain).unwrap().config);
    let told = |text: &str| parse(text).unwrap_err().to_string();
    assert_eq!(told(&windows(&wrong)), told(&wrong));
    let first_line = "[gateway]";
    let wrong = GOOD.replace(first_line, "[[gateway]]");
    assert_eq!(told(&windows(&wrong)), told(&wrong));
}

#[test]
fn a_file_in_another_encoding_is_told_as_such() {
    let file = std::env::temp_dir().join(format!("crossway-utf16-{}.toml", std::process::id()));
    let utf16: Vec<u8> = GOOD.encode_utf16().flat_map(u16::to_le_bytes).collect();
    fs::write(&file, [&[0xff, 0xfe], &utf16[..]].concat()).unwrap();
    let rejected = Config::load(Path::new(&file), &crossway::disk::Disk).unwrap_err();
    fs::remove_file(&file).unwrap();
    assert_eq!(
        rejected.to_string(),
        format!(
            "{}: cannot be read: stream did not contain valid UTF-8: save it as UTF-8",
            file.display()
        )
    );
}

const CASES: &[Case] = &[
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
            r#"berlin.toml:25:1: site "paris", gateway "paris-1": unknown key "weight": the known keys are name, public_key, preshared_key_file, endpoints, engine, lanes, priority, persistent_keepalive, liveness, bfd, probe, link"#,
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
        errors: &[
            r#"berlin.toml:1:2: unknown key "general": the known keys are gateway, metrics, flows, discovery, site, policy, denied, objects, ports, allow, shadow, never, expect"#,
        ],
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
        errors: &["berlin.toml:8:1: TOML: duplicate key: mtu appears twice: keep one"],
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
            r#"berlin.toml:8:1: gateway: unknown key "port": the known keys are name, private_key_file, listen, tunnel_addresses, engine, dscp, lanes, mtu, path_mtu, flows, fast_path, history_mib, seccomp, control_group, lan, wan, health, vrrp, replica"#,
        ],
    },
];
