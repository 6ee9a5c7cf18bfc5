//! Every fault of a policy, told with what is wrong and the mend. Where it stands is told by
//! `crossway check`.

use super::{list, network, rule, words};
use crate::source::Entry;
use crate::{Policy, Source};

/// `problem: mend` of each finding, a warning as such.
fn told(source: Source) -> Vec<String> {
    let faults = match Policy::new(source, &network()) {
        Ok((_, warnings)) => warnings,
        Err(faults) => faults,
    };
    let line = |fault: &crate::Fault| {
        let kind = if fault.is_warning { "warning: " } else { "" };
        let place = fault.place.key.as_str().unwrap_or("whole");
        format!("{kind}{place}: {}: {}", fault.problem, fault.mend)
    };
    faults.iter().map(line).collect()
}

fn of(allow: Vec<Entry>) -> Vec<String> {
    told(Source {
        allow,
        ..Source::default()
    })
}

fn of_word(word: &str) -> String {
    of(vec![rule(&[word], &["any"], &[])]).join("\n")
}

fn of_port(word: &str) -> String {
    of(vec![rule(&["lan"], &["any"], &[word])]).join("\n")
}

#[test]
fn every_fault_of_an_address_word_is_told() {
    let general = "write any, lan, gateway, the name of a site, tag:NAME, an object or a prefix such as 10.2.0.0/24";
    let cases = [
        ("pariss", "from: pariss is no site, object or address: did you mean paris?".to_owned()),
        ("oslo", format!("from: oslo is no site, object or address: {general}")),
        ("a b\n", format!("from: \"a b\\n\" is no site, object or address: {general}")),
        ("", format!("from: \"\" is no site, object or address: {general}")),
        ("tag:cj", "from: no site has the tag cj: did you mean tag:ci?".to_owned()),
        ("tag:x-ray", "from: no site has the tag x-ray: write tags = [\"ci\"] at the sites that are meant".to_owned()),
        ("ci", "from: ci is no site, object or address: write any".to_owned()),
        ("10.2.0.1/24", "from: 10.2.0.1/24 has host bits set: did you mean 10.2.0.0/24?".to_owned()),
        ("10.2.0.0/33", "from: 10.2.0.0/33 has no usable prefix length: write a number from 0 to 32 behind the slash".to_owned()),
        ("::/200", "from: ::/200 has no usable prefix length: write a number from 0 to 128 behind the slash".to_owned()),
    ];
    for (word, expected) in cases {
        let told = of_word(word);
        assert!(told.starts_with(&expected), "{word}: {told}");
    }
    assert_eq!(of_word("10.2.0.7"), "");
}

#[test]
fn every_fault_of_a_port_word_is_told() {
    let cases = [
        (
            "tcp/70000",
            "ports: tcp/70000 is out of range: ports are 1 to 65535: write tcp/443, or tcp for all of them",
        ),
        (
            "udp/0",
            "ports: udp/0 is out of range: ports are 1 to 65535: write udp/443, or udp for all of them",
        ),
        (
            "tcp/",
            "ports: tcp/ has no usable port: ports are 1 to 65535: write tcp/443, or tcp for all of them",
        ),
        (
            "tcp/+1",
            "ports: tcp/+1 has no usable port: ports are 1 to 65535: write tcp/443, or tcp for all of them",
        ),
        (
            "tcp/90-80",
            "ports: tcp/90-80 is backwards: write tcp/80-90",
        ),
        ("icmp/8", "ports: icmp/8: icmp has no ports: write icmp"),
        ("47/1", "ports: 47/1: gre has no ports: write gre"),
        ("tpc/443", "ports: tpc is no protocol: did you mean tcp?"),
        (
            "/443",
            "ports: \"\" is no protocol: write tcp/443 or udp/5060-5061",
        ),
        (
            "443",
            "ports: 443 has no protocol: write tcp/443 or udp/443",
        ),
        (
            "80-90",
            "ports: 80-90 has no protocol: write tcp/80-90 or udp/80-90",
        ),
        (
            "80",
            "warning: ports: 80 is taken as the number of an IP protocol: if a port is meant, write tcp/80 or udp/80",
        ),
        (
            "ad-cor",
            "ports: ad-cor is no protocol and no group: did you mean ad-core?",
        ),
        (
            "ßß",
            "ports: \"ßß\" is no protocol and no group: write a protocol such as gre, ports such as tcp/443 or udp/5060-5061, or a group of [ports]",
        ),
    ];
    for (word, expected) in cases {
        assert_eq!(of_port(word), expected, "{word}");
    }
    for right in [
        "tcp",
        "6/443",
        "TCP/443",
        "47",
        "gre",
        "esp",
        "sctp/9",
        "any",
        "ipv6-icmp",
    ] {
        assert_eq!(of_port(right), "", "{right}");
    }
}

#[test]
fn names_that_come_back_to_themselves_are_told_with_the_way() {
    let told = told(Source {
        objects: vec![
            list("a", &["b", "10.1.0.0/24"]),
            list("b", &["c"]),
            list("c", &["a"]),
            list("self", &["self"]),
            list("twice", &["lan", "lan"]),
        ],
        ports: vec![list("x", &["y"]), list("y", &["x", "tcp/1"])],
        ..Source::default()
    });
    let expected = [
        "warning: whole: lan is listed twice: keep one of them",
        "whole: x holds itself: x → y → x: take one of the names out",
        "whole: a holds itself: a → b → c → a: take one of the names out",
        "whole: self holds itself: self → self: take one of the names out",
    ];
    assert_eq!(told, expected);
}

#[test]
fn names_that_mean_something_else_already_are_refused() {
    let told = told(Source {
        objects: vec![
            list("paris", &["lan"]),
            list("any", &["lan"]),
            list("10.1.0.1", &["lan"]),
            list("a/b", &["lan"]),
        ],
        ports: vec![list("web", &["tcp/1"]), list("tcp", &["tcp/1"])],
        ..Source::default()
    });
    let expected = [
        "whole: paris is the name of a site: write another name",
        "whole: any is a word of its own: write another name",
        "whole: 10.1.0.1 is a word of its own: write another name",
        "whole: the name a/b has the character '/' in it: write 1 to 32 letters, digits, -, _ or ., a letter or digit first",
        "whole: web is a group that is built in: write another name",
        "whole: tcp is a protocol: write another name",
    ];
    assert_eq!(told, expected);
}

#[test]
fn names_of_rules_are_unique() {
    let named = |name: &str| Entry {
        name: Some(name.to_owned()),
        from: words(&["lan"]),
        to: words(&["paris"]),
        ports: None,
    };
    let told = told(Source {
        allow: vec![named("web"), named("web"), named("gateway"), named("a b")],
        shadow: vec![named("web")],
        ..Source::default()
    });
    let expected = [
        "name: web is already allow #1: rename one of them",
        "name: gateway is the rule for what this gateway itself opens: write another name",
        "name: \"a b\" has the character ' ' in it: write 1 to 32 letters, digits, -, _ or ., a letter or digit first",
    ];
    assert_eq!(told, expected);
}

#[test]
fn what_is_probably_not_meant_is_a_warning() {
    let told = of(vec![
        rule(&["lan", "lan"], &["paris"], &["tcp/443"]),
        rule(&["lan"], &["paris"], &["tcp/443", "tcp/443"]),
        rule(&["10.9.0.0/24"], &["2001:db8:2::/48"], &[]),
        rule(&["10.9.0.0/24"], &["any"], &["icmpv6"]),
    ]);
    let nothing = "warning: whole: it allows nothing: from, to and ports have no family of addresses in common: \
                   write addresses of one family on both sides";
    let expected = [
        "warning: from: lan is listed twice: keep one of them",
        "warning: ports: tcp/443 is listed twice: keep one of them",
        "warning: whole: it allows the same as allow #1: keep one of them",
        nothing,
        nothing,
    ];
    assert_eq!(told, expected);
}

#[test]
fn too_many_rules_are_refused() {
    let allow: Vec<Entry> = (0..16_384)
        .map(|_| rule(&["lan"], &["any"], &["tcp/1"]))
        .collect();
    let told = of(allow);
    assert_eq!(
        told[0],
        "whole: 16384 rules are too many: one gateway takes 16383"
    );
}

#[test]
fn the_gateway_needs_an_address_to_be_named() {
    let network = crate::Network::default();
    let source = Source {
        allow: vec![rule(&["any"], &["gateway"], &[])],
        ..Source::default()
    };
    let faults = Policy::new(source, &network).unwrap_err();
    assert_eq!(
        faults[0].problem,
        "this gateway has no address in the tunnel"
    );
}
