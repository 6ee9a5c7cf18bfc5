//! What `crossway check` says of rules: where each fault stands. Every fault of a word is told by
//! the tests of `agent/policy`.

use crate::{GOOD, parse, warnings};

/// What is said of a file with these lines in front and at its end.
fn said(head: &str, lines: &str) -> String {
    match parse(&format!("{head}{GOOD}{lines}")) {
        Ok(accepted) => accepted.config.policy.rules.iter().fold(
            format!("open {}", accepted.config.policy.is_open()),
            |text, rule| format!("{text}, {}", rule.name),
        ),
        Err(rejected) => rejected.to_string(),
    }
}

#[test]
fn a_file_without_rules_is_open_and_one_with_rules_is_closed() {
    let rule = "[[allow]]\nfrom = [\"lan\"]\nto = [\"paris\"]\n";
    let named = "[[allow]]\nname = \"web\"\nfrom = [\"rome\"]\nto = [\"any\"]\nports = [\"web\"]\n";
    let cases = [
        ("", "", "open true"),
        ("policy = \"open\"\n", "", "open true"),
        ("policy = \"closed\"\n", "", "open false, gateway"),
        ("", rule, "open false, allow #1, gateway"),
        (
            "policy = \"closed\"\n",
            &format!("{rule}{named}"),
            "open false, allow #1, web, gateway",
        ),
        ("allow = []\n", "", "open true"),
    ];
    for (head, lines, expected) in cases {
        assert_eq!(said(head, lines), expected, "{head}{lines}");
    }
    let closed = warnings(parse(&format!("policy = \"closed\"\n{GOOD}")));
    assert_eq!(
        closed,
        [
            "berlin.toml:1:10: warning: policy: it is closed, and no [[allow]] lets anything pass: add the rules"
        ]
    );
}

#[test]
fn every_fault_of_a_rule_is_told_with_line_value_reason_and_mend() {
    let cases = [
        (
            "policy = \"close\"\ndenied = \"refuse\"\n",
            "",
            "berlin.toml:1:10: policy: close is not a known policy: write \"open\" (every site reaches everything) or \"closed\" (only what an [[allow]] lets pass)\n\
             berlin.toml:2:10: denied: refuse is not a known answer: write \"drop\" (silently) or \"reject\" (the sender gets an ICMP message, or a reset of TCP)",
        ),
        (
            "policy = \"open\"\n",
            "[[allow]]\nfrom = [\"lan\"]\nto = [\"paris\"]\n",
            "berlin.toml:1:10: policy: it is open, but there are rules ([[allow]], 1): take out one of the two; rules that are tried only are [[shadow]]",
        ),
        (
            "",
            "[[allow]]\nfrom = []\nports = [\"tcp\", 7]\n",
            "berlin.toml:35:1: allow #1: to is missing: write to = [\"10.2.0.0/24\"], or [\"any\"]\n\
             berlin.toml:36:8: allow #1, from: the list is empty: write [\"paris\"], or take it out\n\
             berlin.toml:37:17: allow #1, ports: expected a string, found the integer 7: write \"tcp/443\"",
        ),
        (
            "",
            "[[allow]]\nname = \"web\"\nfrom = [\"lan\", \"pariss\"]\nto = [\"10.2.0.1/24\"]\nports = [\"tcp/443\", \"tcp/70000\"]\nport = []\n",
            "berlin.toml:37:16: allow \"web\", from: pariss is no site, object or address: did you mean paris?\n\
             berlin.toml:38:7: allow \"web\", to: 10.2.0.1/24 has host bits set: did you mean 10.2.0.0/24?\n\
             berlin.toml:39:21: allow \"web\", ports: tcp/70000 is out of range: ports are 1 to 65535: write tcp/443, or tcp for all of them\n\
             berlin.toml:40:1: allow \"web\": unknown key \"port\": did you mean \"ports\"?",
        ),
        (
            "",
            "[objects]\na = [\"b\"]\nb = [\"lan\", \"a\"]\nc = \"lan\"\nd = []\n[ports]\nweb = [\"tcp/80\"]\n",
            "berlin.toml:36:1: objects, a: a holds itself: a → b → a: take one of the names out\n\
             berlin.toml:38:1: objects, c: expected a list, found the string \"lan\": write [\"10.2.0.0/24\"]\n\
             berlin.toml:39:5: objects, d: the list is empty: write [\"10.2.0.0/24\"], or take it out\n\
             berlin.toml:41:1: ports, web: web is a group that is built in: write another name",
        ),
        (
            "",
            "[[shadow]]\nname = \"a\"\nfrom = [\"lan\"]\nto = [\"paris\"]\n[[shadow]]\nname = \"a\"\nfrom = [\"lan\"]\nto = [\"tag:ci\"]\n",
            "berlin.toml:40:8: shadow \"a\", name: a is already shadow #1: rename one of them\n\
             berlin.toml:42:7: shadow \"a\", to: no site has the tag ci: write tags = [\"ci\"] at the sites that are meant",
        ),
        (
            "allow = 7\n",
            "",
            "berlin.toml:1:9: allow: expected a list of tables, found the integer 7: write [[allow]]",
        ),
    ];
    for (head, lines, expected) in cases {
        assert_eq!(said(head, lines), expected, "{head}{lines}");
    }
}

#[test]
fn what_is_claimed_of_rules_is_proven_and_a_failed_proof_is_an_error() {
    let rules = "[[allow]]\nname = \"web\"\nfrom = [\"lan\"]\nto = [\"paris\"]\nports = [\"tcp/80\", \"tcp/443\"]\n";
    let claim = |kind: &str, to: &str, ports: &str| {
        let claim = format!(
            "[[{kind}]]\nfrom = [\"10.1.0.0/16\"]\nto = [\"{to}\"]\nports = [\"{ports}\"]\n"
        );
        said("", &format!("{rules}{claim}"))
    };
    let kept = "open false, web, gateway";
    assert_eq!(claim("never", "paris", "tcp/22"), kept);
    assert_eq!(claim("expect", "10.2.0.0/25", "tcp/443"), kept);
    assert_eq!(
        claim("never", "10.2.0.64/26", "tcp"),
        "berlin.toml:40:1: never #1: web allows 10.1.0.1 → 10.2.0.65 tcp/80: narrow the rule, or this"
    );
    assert_eq!(
        claim("expect", "10.2.0.0/23", "tcp/443"),
        "berlin.toml:40:1: expect #1: no rule allows 10.1.0.0 → 10.2.1.0 tcp/443: widen a rule, or narrow this"
    );
    // Nothing is proven of rules that could not be read.
    let unread = "[[allow]]\nfrom = [\"lan\"]\nto = [\"pariss\"]\n[[expect]]\nfrom = [\"lan\"]\nto = [\"paris\"]\n";
    assert_eq!(said("", unread).lines().count(), 1);
}

#[test]
fn tags_of_a_site_are_names_that_stand_there_once() {
    let tagged = |tags: &str| {
        let text = GOOD.replace(
            "name = \"rome\"\n",
            &format!("name = \"rome\"\ntags = {tags}\n"),
        );
        match parse(&text) {
            Ok(accepted) => accepted.config.sites[1].tags.join(" "),
            Err(rejected) => rejected.to_string(),
        }
    };
    assert_eq!(tagged("[\"ci\", \"dmz\"]"), "ci dmz");
    assert_eq!(tagged("[]"), "");
    assert_eq!(
        tagged("[\"ci\", \"ci\", \"a b\"]"),
        "berlin.toml:30:15: site \"rome\", tags: ci is listed twice: keep one of them\n\
         berlin.toml:30:21: site \"rome\", tags: \"a b\" has the character ' ' in it: write 1 to 32 letters, digits, -, _ or ., a letter or digit first"
    );
}
