//! What `crossway check` says of `[[gateway.health]]`.

use crate::{GOOD, parse};

/// A file with a health target in front of the first WAN, and what is said of it.
fn health(lines: &str) -> String {
    let marker = "[[gateway.wan]]";
    let text = GOOD.replacen(marker, &format!("[[gateway.health]]\n{lines}\n{marker}"), 1);
    match parse(&text) {
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
            r#"berlin.toml:14:10: gateway.health "10.1.0.10:443", target: 10.1.0.10:443 has a port, but ICMP has none: write 10.1.0.10, or kind = "tcp" to connect to port 443"#,
        ),
        (
            "target = \"2001:db8::10\"\nkind = \"tcp\"",
            r#"berlin.toml:14:10: gateway.health "2001:db8::10", target: 2001:db8::10 has no port: write [2001:db8::10]:443"#,
        ),
        (
            "target = \"10.1.0.10\"\nkind = \"http\"",
            r#"berlin.toml:15:8: gateway.health "10.1.0.10", kind: http is not a kind of probe: write "icmp", or "tcp" with a port behind the target"#,
        ),
        (
            "target = \"server.lan\"",
            r#"berlin.toml:14:10: gateway.health "server.lan", target: server.lan is not an IP address, with or without a port: write the address of a host in this gateway's LAN, such as 10.2.0.10 or 10.2.0.10:443 (no host name: an unreachable name server does not mean a dead LAN)"#,
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
            r#"berlin.toml:15:13: gateway.health "10.1.0.10", interface: eth0 is not a LAN interface of this gateway: write one of [[gateway.lan]]: eth1"#,
        ),
        (
            second_lan,
            r#"berlin.toml:13:1: gateway.health "10.1.0.10": interface is missing: there are several LANs: write the one that the target is on: eth1, eth2"#,
        ),
        (
            "target = \"10.1.0.10\"\n[[gateway.health]]\ntarget = \"10.1.0.10\"\nfailures = 9",
            r#"berlin.toml:15:1: gateway.health "10.1.0.10": the same target is listed twice (line 13): keep one of them"#,
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
