//! Links that are down, and what the gateway has counted that says why.

use super::{MOST, finding};
use crate::control::message::{Finding, Link, LinkState, Severity};
use crate::doctor::facts::{Facts, Running};

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let Some(running) = &facts.running else {
        return Vec::new();
    };
    let of = |state| move |link: &&Link| link.state == state;
    let down = running.links.iter().filter(of(LinkState::Down));
    // While the LAN here is dead the gateway itself takes its links out of service.
    let lan_alive = running.status.health.lan_alive;
    let down: Vec<&Link> = down
        .filter(|link| lan_alive || !has_session(link))
        .collect();
    let drained = running.links.iter().filter(of(LinkState::Drained));
    let mut findings: Vec<Finding> = down.iter().take(MOST).map(|link| dead(link)).collect();
    if down.len() > MOST {
        let what = format!("{} more links are down", down.len() - MOST);
        let why = "their sites have fewer ways, or none".to_owned();
        let mend = "`crossway links`".to_owned();
        let problem = Severity::Problem;
        findings.push(finding("link-down", problem, "links", [what, why, mend]));
    }
    findings.extend(drained.take(MOST).map(drained_link));
    if !down.is_empty() {
        findings.extend(keys(running));
    }
    findings
}

/// Seconds for which a session lives (REJECT_AFTER_TIME, WireGuard whitepaper 6.1).
const SESSION_SECONDS: u64 = 180;

/// Whether its far gateway was there a moment ago.
fn has_session(link: &Link) -> bool {
    link.last_handshake_seconds
        .is_some_and(|ago| ago < SESSION_SECONDS)
}

/// As orders name it.
fn name(link: &Link) -> String {
    let words = [Some(&link.site), Some(&link.gateway), link.link.as_ref()];
    let words = words.into_iter().flatten().filter(|word| !word.is_empty());
    words.map(String::as_str).collect::<Vec<_>>().join("/")
}

fn dead(link: &Link) -> Finding {
    let name = name(link);
    let what = format!("link {name} is down: {}", link.why);
    let why = if has_session(link) {
        "a handshake succeeded within the last three minutes: the far gateway says so itself, or has stopped, or \
         something has come between"
    } else if link.last_handshake_seconds.is_none() {
        "no handshake has ever succeeded with the far gateway: it does not run, a firewall is between, or one of the two has the \
         wrong public key of the other"
    } else {
        "handshakes succeeded before: the far gateway has stopped, or something has come between"
    };
    let mend = match &link.endpoint {
        Some(endpoint) => {
            let address = endpoint.rsplit_once(':').map_or("", |(address, _)| address);
            let address = address.trim_matches(['[', ']']);
            format!("`crossway doctor` on the far gateway; from here `ping {address}`")
        }
        None => "`crossway doctor` on the far gateway, which has to dial: it has no endpoint here"
            .to_owned(),
    };
    let problem = Severity::Problem;
    finding("link-down", problem, &name, [what, why.to_owned(), mend])
}

fn drained_link(link: &Link) -> Finding {
    let name = name(link);
    let what = format!("link {name} was taken out of service");
    let why = "it carries nothing while another link of the site does".to_owned();
    let mend = format!("crossway undrain {name}");
    finding("drained", Severity::Note, &name, [what, why, mend])
}

/// Handshakes that were refused, each with what that says of the keys.
fn keys(running: &Running) -> Vec<Finding> {
    let refused = [
        (
            "unknown-peer",
            "handshakes of a public key that no [[site.gateway]] has",
            "`crossway pubkey <KEYFILE` on the far gateway gives the public_key to write here",
        ),
        (
            "bad-mac",
            "handshakes that are meant for another public key than this gateway's",
            "`crossway status` shows the public_key to write on the far gateway",
        ),
        (
            "handshake-invalid",
            "handshakes that do not decrypt, as with another pre-shared key",
            "write the same pre-shared key on both sides",
        ),
        (
            "handshake-replayed",
            "handshakes that are dated before earlier ones",
            "set the clock of the far gateway right",
        ),
    ];
    let counted = |reason: &str| {
        let mut drops = running.drops.drops.iter();
        let count = drops.find(|count| count.reason == reason);
        count.map_or(0, |count| count.packets)
    };
    let found = refused.iter().filter_map(|(reason, what, mend)| {
        let packets = counted(reason);
        let what = format!("{packets} {what} were dropped ({reason})");
        let why = "a link is down, and this may be why".to_owned();
        let texts = [what, why, (*mend).to_owned()];
        (packets > 0).then(|| finding("keys", Severity::Problem, *reason, texts))
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::message::{DropCount, DropsReply, Health, Status};
    use datapath_abi::outcome::{DropReason, Tally};

    fn link(state: &str) -> Link {
        let text = r#"{"site":"paris","gateway":"paris-1","id":1,"lane":0,"endpoint":"[2001:db8::7]:51820",
            "local_address":null,"public_key":"","last_handshake_seconds":null,"state":"STATE","why":"no answer",
            "rx_packets":0,"rx_bytes":0,"tx_packets":3,"tx_bytes":0,"keepalive_seconds":null,"priority":100,
            "link":"fibre","wan":null,"since_seconds":60,"carries_flows":false,"watched_by":"bfd","probe":null,
            "detection_milliseconds":null,"receiver_index":null}"#;
        serde_json::from_str(&text.replace("STATE", state)).unwrap()
    }

    fn facts(links: Vec<Link>, dropped: u64) -> Facts {
        let tally = Tally {
            packets: dropped,
            bytes: 0,
        };
        Facts {
            running: Some(Running {
                status: alive(),
                links,
                drops: DropsReply {
                    drops: vec![DropCount::new(DropReason::UnknownPeer, tally)],
                    to_stack: Vec::new(),
                },
                ..Running::default()
            }),
            ..Facts::default()
        }
    }

    fn alive() -> Status {
        Status {
            health: Health {
                lan_alive: true,
                ..Health::default()
            },
            ..Status::default()
        }
    }

    #[test]
    fn links_that_the_dead_lan_has_taken_out_of_service_are_not_told() {
        let mut known = link("Down");
        known.last_handshake_seconds = Some(20);
        let mut facts = facts(vec![known, link("Down")], 0);
        assert_eq!(check(&facts).len(), 2);
        facts.running.as_mut().unwrap().status.health.lan_alive = false;
        assert_eq!(check(&facts).len(), 1);
    }

    #[test]
    fn a_dead_link_is_named_as_orders_name_it() {
        let found = check(&facts(vec![link("Down")], 0));
        assert_eq!(found[0].subject, "paris/paris-1/fibre");
        assert!(found[0].mend.contains("ping 2001:db8::7"), "{found:?}");
        assert!(check(&facts(vec![link("Up"), link("Connecting")], 9)).is_empty());
        let drained = check(&facts(vec![link("Drained")], 9));
        assert_eq!(drained[0].severity, Severity::Note);
    }

    #[test]
    fn refused_handshakes_are_told_while_a_link_is_down() {
        let found = check(&facts(vec![link("Down")], 3));
        assert_eq!(found[1].check, "keys");
        assert_eq!(found[1].subject, "unknown-peer");
    }

    #[test]
    fn many_dead_links_are_summed_up() {
        let found = check(&facts(vec![link("Down"); 8], 0));
        assert_eq!(found.len(), MOST + 1);
        assert!(found[MOST].what.starts_with("3 more"), "{found:?}");
    }
}
