//! What the running gateway warns of, and how its LAN is.

use super::finding;
use crate::control::message::{Finding, Health, Severity, Warning};
use crate::doctor::facts::Facts;

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let Some(running) = &facts.running else {
        return Vec::new();
    };
    let looked_at_file = facts.config.is_some();
    let warned = running.status.warned.iter();
    // The file was read anew.
    let warned = warned.filter(|warning| !(looked_at_file && warning.source == "config"));
    warned
        .map(pass_on)
        .chain(lan(&running.status.health))
        .collect()
}

fn pass_on(warning: &Warning) -> Finding {
    let (severity, check, why) = kind(&warning.source);
    let (what, mend) = split(&warning.text);
    finding(
        check,
        severity,
        subject_of(&warning.text),
        [what.to_owned(), why.to_owned(), mend.to_owned()],
    )
}

/// How much a warning matters, by where it comes from; the check's word, and why it matters.
fn kind(source: &str) -> (Severity, &'static str, &'static str) {
    use Severity::{Note, Problem, Slow};
    match source {
        "config" => (
            Problem,
            "config",
            "the file is taken, but it is probably not meant so",
        ),
        "routes" => (
            Problem,
            "foreign-route",
            "the kernel sends what is for the site elsewhere",
        ),
        "names" => (
            Problem,
            "names",
            "a link without an address of its far gateway cannot come up",
        ),
        "own-packets" | "swallowed" => (
            Problem,
            "own-packets",
            "the tunnel's own packets go into the tunnel, and the link goes down",
        ),
        "paths" => (
            Problem,
            "endpoint-route",
            "datagrams for the far gateway do not leave this host",
        ),
        "firewall" => (
            Problem,
            "firewall-forward",
            "the firewall of this host drops packets between the LAN and the tunnel",
        ),
        "fast-path" => (
            Slow,
            "fast-path",
            "packets take a slower way through the kernel",
        ),
        "virtual-routers" => (
            Problem,
            "virtual-router",
            "the hosts of the LAN may have no gateway, or two",
        ),
        "posture" => (
            Note,
            "posture",
            "the gateway forwards, with more rights or fewer powers than it should have",
        ),
        "not-in-force" => (
            Problem,
            "not-in-force",
            "the gateway could not make the host as its configuration says",
        ),
        "health" => (Problem, "lan", "whether the LAN is alive is not known"),
        _ => (
            Problem,
            "host",
            "interfaces or addresses of this host are not as the configuration says",
        ),
    }
}

/// Parts a warning into what it says and its mend, which stands behind the last semicolon.
fn split(text: &str) -> (&str, &str) {
    match text.rsplit_once("; ") {
        Some((what, mend)) => (what, mend),
        None => match text.rsplit_once(": ") {
            // A sentence that ends with what to do.
            Some((what, mend)) => (what, mend),
            None => (text, "see the log of the gateway"),
        },
    }
}

/// What a warning is about: its first words, up to what they say of it.
fn subject_of(text: &str) -> String {
    let ends = [
        ": ", " is ", " has ", " does ", " drops ", " gets ", " cannot ",
    ];
    let end = ends.iter().filter_map(|end| text.find(end)).min();
    text[..end.unwrap_or(text.len())].to_owned()
}

fn lan(health: &Health) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !health.lan_alive {
        let what = format!("the LAN is dead: {}", health.why);
        let why =
            "far gateways send the site's traffic to another gateway, if there is one".to_owned();
        let mend =
            "bring the LAN interface up, or mend what is on it (`crossway status`)".to_owned();
        let problem = Severity::Problem;
        findings.push(finding("lan", problem, "LAN", [what, why, mend]));
    }
    for target in health
        .targets
        .iter()
        .filter(|target| target.state == "down")
    {
        let what = format!(
            "the {} health target {} on {} does not answer: {}",
            target.kind, target.target, target.interface, target.why
        );
        let why = "where every target is dead, this gateway steps back".to_owned();
        let mend = format!("`ping -I {} {}`", target.interface, target.target);
        let problem = Severity::Problem;
        findings.push(finding("lan", problem, &target.target, [what, why, mend]));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_parted_into_what_it_says_and_its_mend() {
        let text = "the nftables chain inet f forward drops packets from lan0 to cw-a: what the stack carries is lost; \
                    accept them there: nft insert rule inet f forward accept";
        let warning = Warning {
            source: "firewall".to_owned(),
            text: text.to_owned(),
        };
        let found = pass_on(&warning);
        assert_eq!(found.check, "firewall-forward");
        assert_eq!(found.subject, "the nftables chain inet f forward");
        assert!(found.what.ends_with("is lost"), "{found:?}");
        assert!(found.mend.starts_with("accept them there"), "{found:?}");
    }

    #[test]
    fn a_dead_lan_and_a_dead_target_are_told() {
        let health = Health {
            lan_alive: false,
            why: "lan0 has no carrier".to_owned(),
            targets: vec![crate::control::message::HealthTarget {
                target: "10.1.0.5".to_owned(),
                state: "down".to_owned(),
                ..Default::default()
            }],
            ..Health::default()
        };
        assert_eq!(lan(&health).len(), 2);
        let alive = Health {
            lan_alive: true,
            ..Health::default()
        };
        assert!(lan(&alive).is_empty());
    }
}
