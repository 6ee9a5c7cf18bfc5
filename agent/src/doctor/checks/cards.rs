//! Features of network cards that cost much where they are missing.

use super::finding;
use crate::control::message::{Finding, Severity};
use crate::doctor::facts::{Card, Facts, Feature};

/// A datagram of 64 KB, which the card cuts into packets.
const UDP_SEGMENTATION: &str = "tx-udp-segmentation";
/// The same for TCP.
const TCP_SEGMENTATION: &str = "tx-tcp-segmentation";
/// Packets of a flow joined as they come in.
const GRO: &str = "rx-gro";

/// What is asked of a WAN, and of a LAN. A veth has GRO off until somebody wants it, and its peer hands over large packets
/// anyway.
pub fn wanted(wan: bool, kind: Option<&str>) -> &'static [&'static str] {
    match (wan, kind) {
        (true, None) => &[UDP_SEGMENTATION, GRO],
        (true, Some(_)) => &[UDP_SEGMENTATION],
        (false, None) => &[TCP_SEGMENTATION, GRO],
        (false, Some(_)) => &[TCP_SEGMENTATION],
    }
}

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let cards = facts.host.cards.iter();
    cards
        .flat_map(|card| {
            card.features
                .iter()
                .filter_map(|feature| missing(card, *feature))
        })
        .collect()
}

fn missing(card: &Card, (feature, state): (&str, Feature)) -> Option<Finding> {
    let interface = &card.interface;
    let (severity, word, mend) = match state {
        Feature::On => return None,
        Feature::Off => (
            Severity::Slow,
            "is off",
            format!("ethtool -K {interface} {feature} on"),
        ),
        Feature::Absent => (
            Severity::Note,
            "is not supported",
            "another card or driver: `ethtool -i` names this one".to_owned(),
        ),
    };
    let what = format!("{feature} {word} on {interface}");
    let why = match feature {
        UDP_SEGMENTATION => {
            "the kernel cuts each batch of datagrams itself, instead of the card: more CPU for what is sent"
        }
        TCP_SEGMENTATION => {
            "large packets out of the tunnel are cut into single ones by the CPU before they go to the LAN"
        }
        _ => "packets come in one by one: several times as much CPU for what is received",
    };
    Some(finding(
        "nic-offload",
        severity,
        interface,
        [what, why.to_owned(), mend],
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_is_told_by_name_with_the_command_that_switches_the_feature_on() {
        let card = Card {
            interface: "eth0".to_owned(),
            ..Card::default()
        };
        let found = missing(&card, (UDP_SEGMENTATION, Feature::Off)).unwrap();
        assert_eq!(found.subject, "eth0");
        assert_eq!(found.mend, "ethtool -K eth0 tx-udp-segmentation on");
        let absent = missing(&card, (GRO, Feature::Absent)).unwrap();
        assert_eq!(absent.severity, Severity::Note);
        assert_eq!(missing(&card, (GRO, Feature::On)), None);
    }
}
