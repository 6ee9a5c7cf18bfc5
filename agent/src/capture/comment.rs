//! What is said of a packet, in words that a display filter finds: `frame.comment contains "site=paris"`.

use std::fmt::Write as _;
use std::net::IpAddr;

use datapath_abi::address::{self, Address};
use datapath_abi::capture::{Captured, Place, TAGGED, Way};
use datapath_abi::explanation::{Decision, KNOWN_FLOW, TARGET, WIRE};
use datapath_abi::outcome::{DropReason, StackReason};
use datapath_abi::route::SITE_KERNEL;
use datapath_abi::settings::COUNTED_MARK_MASK;

use super::ground::Ground;
use super::outer::{Message, Part};
use crate::control::message::Link;

/// Of a packet inside the tunnel; `packet` is what is kept of it from the IP header on.
pub(super) fn inner(head: &Captured, place: Place, packet: &[u8], ground: &Ground) -> String {
    let explanation = &head.explanation;
    let mut words = Words::begin(place.way());
    words.verdict(head, place, ground);
    let site = match place.way() {
        Way::ToSite => explanation
            .has(TARGET)
            .then_some(explanation.target)
            .filter(|site| *site != SITE_KERNEL && ground.sites.contains_key(site)),
        Way::FromSite => ground.site_of(ip(&head.source)),
    };
    if let Some(site) = site {
        words.say("site", &ground.sites[&site].name);
        words.way(head, place, site, packet, ground);
    }
    if explanation.has(TARGET) && place == Place::Lan {
        let known = explanation.has(KNOWN_FLOW);
        words.say("flow", if known { "known" } else { "new" });
    }
    if explanation.has(WIRE) && explanation.packets > 1 {
        words.say("wire-packets", &explanation.packets.to_string());
    }
    words.vlan(head);
    words.text
}

/// Of a datagram of the tunnel.
pub(super) fn outer(
    head: &Captured,
    place: Place,
    datagram: &[u8],
    part: Option<Part>,
    ground: &Ground,
) -> String {
    let mut words = Words::begin(place.way());
    match ground.link(head.link) {
        Some(link) => words.link(link),
        None => words.say("link", &format!("number {}", head.link)),
    }
    let payload = datagram.get(head.payload as usize..).unwrap_or_default();
    match Message::of(payload) {
        Some(message) => {
            words.say("message", message.kind);
            if let Some(receiver) = message.receiver {
                words.say("receiver", &format!("{receiver:#010x}"));
            }
            if let Some(counter) = message.counter {
                words.say("counter", &counter.to_string());
            }
        }
        None => words.say("message", "unknown"),
    }
    if let Some(part) = part {
        words.say("part", &format!("{}/{}", part.number, part.count));
    }
    words.vlan(head);
    words.text
}

/// `key=value`, with blanks in between.
struct Words {
    text: String,
}

impl Words {
    fn begin(way: Way) -> Self {
        let mut words = Self {
            text: String::new(),
        };
        let way = match way {
            Way::ToSite => "to-site",
            Way::FromSite => "from-site",
        };
        words.say("direction", way);
        words
    }

    fn say(&mut self, key: &str, value: &str) {
        let blank = if self.text.is_empty() { "" } else { " " };
        let _ = write!(self.text, "{blank}{key}={value}");
    }

    /// What the fast path does with it, and why.
    fn verdict(&mut self, head: &Captured, place: Place, ground: &Ground) {
        let explanation = &head.explanation;
        let decision = explanation.decision();
        let word = match decision {
            // The stack has decided, and no program decides again.
            _ if place == Place::IntoTunnel => "routed-by-stack",
            Decision::ToTunnel | Decision::ToNeighbour | Decision::Unresolved => "carried",
            Decision::Drop | Decision::TurnedBack => "dropped",
            Decision::ToStack | Decision::Fault | Decision::Leave => "to-stack",
            Decision::None => "unknown",
        };
        self.say("verdict", word);
        let reason = explanation
            .stack_reason()
            .map(StackReason::as_str)
            .or_else(|| explanation.drop_reason().map(DropReason::as_str));
        if let Some(reason) = reason {
            self.say("reason", reason);
        }
        if matches!(decision, Decision::ToNeighbour | Decision::Unresolved) {
            let output = ground.interfaces.get(&explanation.ifindex);
            let index = || format!("number {}", explanation.ifindex);
            self.say("out", &output.map_or_else(index, |out| out.name.clone()));
        }
    }

    /// The link and lane of a packet in the tunnel, as far as they are known.
    fn way(&mut self, head: &Captured, place: Place, site: u32, packet: &[u8], ground: &Ground) {
        let explanation = &head.explanation;
        let (lane, link) = match place.way() {
            Way::ToSite => {
                if explanation.decision() != Decision::ToTunnel {
                    return;
                }
                let lane = (explanation.mark & !COUNTED_MARK_MASK) as u16;
                (Some(lane), ground.carrier(site, lane, packet))
            }
            // A device with one queue does not number it.
            Way::FromSite => {
                let lane = head.queue.checked_sub(1).map(|lane| lane as u16);
                (lane, ground.only_link(site, lane))
            }
        };
        match (link, lane) {
            (Some(link), _) => self.link(link),
            (None, Some(lane)) => self.say("lane", &lane.to_string()),
            (None, None) => {}
        }
    }

    fn link(&mut self, link: &Link) {
        let name = match &link.link {
            Some(name) => format!("{}/{}/{name}", link.site, link.gateway),
            None => format!("{}/{}", link.site, link.gateway),
        };
        self.say("link", &name);
        self.say("lane", &link.lane.to_string());
    }

    fn vlan(&mut self, head: &Captured) {
        if head.vlan & TAGGED != 0 {
            self.say("vlan-tag", &format!("{:#06x}", head.vlan & 0xffff));
        }
    }
}

fn ip(words: &Address) -> IpAddr {
    IpAddr::from(address::to_bytes(*words)).to_canonical()
}

#[cfg(test)]
mod tests {
    use datapath_abi::explanation::{Explanation, HEADERS};
    use datapath_abi::settings::COUNTED_MARK;

    use super::super::choice::words;
    use super::super::ground::tests::ground;
    use super::*;

    fn explained(decision: Decision, target: u32) -> Captured {
        Captured {
            link: 7,
            source: words("10.3.0.4".parse().unwrap()),
            explanation: Explanation {
                verdict: decision as u32,
                noted: HEADERS | TARGET | WIRE,
                target,
                mark: COUNTED_MARK | 1,
                packets: 1,
                ifindex: 2,
                ..Explanation::default()
            },
            ..Captured::default()
        }
    }

    #[test]
    fn what_is_carried_is_said_with_site_link_and_lane() {
        let ground = ground();
        let mut head = explained(Decision::ToTunnel, 4);
        assert_eq!(
            inner(&head, Place::Lan, &[], &ground),
            "direction=to-site verdict=carried site=rome link=rome/rome-2 lane=1 flow=new"
        );
        head.explanation.packets = 45;
        head.explanation.noted |= KNOWN_FLOW;
        let text = inner(&head, Place::Lan, &[], &ground);
        assert!(text.ends_with("flow=known wire-packets=45"), "{text}");
        assert_eq!(
            inner(&head, Place::IntoTunnel, &[], &ground),
            "direction=to-site verdict=routed-by-stack site=rome link=rome/rome-2 lane=1 wire-packets=45"
        );
    }

    #[test]
    fn what_comes_from_a_site_is_said_with_where_it_goes() {
        let ground = ground();
        let mut head = explained(Decision::ToNeighbour, 4);
        // Two links, and the device does not say which queue: no link is named.
        assert_eq!(
            inner(&head, Place::OutOfTunnel, &[], &ground),
            "direction=from-site verdict=carried out=lan0 site=rome"
        );
        head.queue = 2;
        let text = inner(&head, Place::OutOfTunnel, &[], &ground);
        assert!(
            text.ends_with("site=rome link=rome/rome-2 lane=1"),
            "{text}"
        );
        let turned = explained(Decision::TurnedBack, 4);
        let text = inner(&turned, Place::OutOfTunnel, &[], &ground);
        assert!(
            text.contains("verdict=dropped reason=turned-back"),
            "{text}"
        );
    }

    #[test]
    fn what_is_left_to_the_kernel_is_said_with_its_reason() {
        let ground = ground();
        let mut head = explained(Decision::ToStack, 4);
        head.explanation.reason = StackReason::TooBig.index();
        assert_eq!(
            inner(&head, Place::Lan, &[], &ground),
            "direction=to-site verdict=to-stack reason=too-big site=rome flow=new"
        );
        head.explanation.target = SITE_KERNEL;
        let text = inner(&head, Place::Lan, &[], &ground);
        assert!(!text.contains("site=") || !text.contains("rome"), "{text}");
    }

    #[test]
    fn a_datagram_is_said_with_its_link_and_message() {
        let ground = ground();
        let mut data = [0; 32];
        data[0] = 4;
        data[4] = 3;
        data[8] = 77;
        let head = explained(Decision::None, 0);
        let part = Part {
            number: 2,
            count: 9,
        };
        assert_eq!(
            outer(&head, Place::Received, &data, Some(part), &ground),
            "direction=from-site link=paris/paris-1 lane=0 message=data receiver=0x00000003 counter=77 part=2/9"
        );
        let gone = Captured { link: 99, ..head };
        let text = outer(&gone, Place::Sent, &[], None, &ground);
        assert_eq!(text, "direction=to-site link=number 99 message=unknown");
    }
}
