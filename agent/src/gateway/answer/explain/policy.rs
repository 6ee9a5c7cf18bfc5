//! What the policy says of the packet: the rule that allows it, or that none does and which one comes nearest.

use anyhow::Result;
use crossway_policy::{Denied, Rule};
use datapath_abi::flow::FlowKey;
use datapath_abi::headers::Ports;
use datapath_abi::outcome::DropReason;
use datapath_abi::policy::{Asked, NO_PORTS, NO_RULE, OPEN, Opener, Question};
use datapath_abi::settings::DEFAULT_VNET;

use super::packet::Packet;
use super::story::Story;
use crate::control::message::{End, FlowEnd};
use crate::control::protocol;
use crate::gateway::Gateway;
use crate::gateway::judge::{Judge, Near, Said, opened_by};
use crossway_types::packet::TCP;

const AT: &str = "policy";

impl Gateway {
    /// Tells what the policy says, once; whether the packet goes on. `at` is who asks it.
    pub(super) fn tell_policy(&self, at: &str, packet: &Packet, story: &mut Story) -> Result<bool> {
        if story.answer.policy.is_some() {
            return Ok(true);
        }
        let sender = match story.answer.from.as_str() {
            "tunnel" => FlowEnd::Remote,
            _ => FlowEnd::Local,
        };
        let asked = Asked::of(&packet.headers, DEFAULT_VNET);
        let opener = self.opener_of(packet, &asked, sender)?;
        let judge = Judge::of(&self.desired.config.policy);
        let said = judge.ask(&question(&asked, opener));
        story.answer.policy = Some(judge.tell(said, end_of(opener, sender)));
        if said.active != NO_RULE {
            story.step(AT, &allowed(&judge, said));
            return Ok(true);
        }
        let reason = DropReason::PolicyDenied.as_str();
        let why = self.why_denied(&judge, &asked, opener);
        story.answer.reason = Some(reason.to_owned());
        story.step(at, &format!("dropped ({reason}): {why}"));
        self.tell_refusal(packet, story);
        Ok(false)
    }

    /// Who has opened its flow: what is known of that says more than the packet.
    fn opener_of(&self, packet: &Packet, asked: &Asked, sender: FlowEnd) -> Result<Opener> {
        let opening = packet.headers.opening;
        let known = match &self.forwarding.datapath {
            Some(datapath) if opening.goes_by_flow() => {
                let mut flow = FlowKey::default();
                asked.write_flow(sender == FlowEnd::Local, &mut flow);
                datapath.flows.get(&flow)?
            }
            _ => None,
        };
        let Some(counters) = known else {
            return Ok(opening.opener());
        };
        Ok(match opened_by(counters.opened_by) {
            Some(end) if end == sender => Opener::Sender,
            Some(_) => Opener::Receiver,
            None => Opener::Either,
        })
    }

    fn why_denied(&self, judge: &Judge<'_>, asked: &Asked, opener: Opener) -> String {
        let mut opening = *asked;
        if opener == Opener::Receiver {
            opening.turn();
        }
        // The same port, at the other end.
        let back = Asked {
            source: opening.destination,
            destination: opening.source,
            ..opening
        };
        let rules = &self.desired.config.policy.rules;
        let other_way = judge.ask(&question(&back, Opener::Sender)).active;
        if let Some(rule) = rules.get(other_way as usize) {
            return format!(
                "no rule allows it; rule {} does the other way round: flows to it from where it is sent to",
                rule.name
            );
        }
        let near = judge.nearest(&question(&opening, Opener::Sender));
        match near.and_then(|near| Some((near, rules.get(near.rule as usize)?))) {
            Some((near, rule)) => format!("no rule allows it; {}", differs(near, rule, &opening)),
            None => "no rule allows it, and none comes near".to_owned(),
        }
    }

    /// What its sender is told.
    fn tell_refusal(&self, packet: &Packet, story: &mut Story) {
        match self.desired.config.policy.denied {
            Denied::Drop => story.answer.end = End::Dropped,
            Denied::Reject if packet.request.protocol == TCP => {
                story.answer.end = End::Answered;
                story.answer.answer = Some("tcp-reset".to_owned());
            }
            Denied::Reject => packet.tell_sender(story, "administratively-prohibited"),
        }
    }
}

fn question(asked: &Asked, opener: Opener) -> Question<'_> {
    Question {
        vnet: asked.vnet,
        family: asked.family(),
        source: &asked.source,
        destination: &asked.destination,
        protocol: asked.protocol(),
        ports: (asked.kind & NO_PORTS == 0).then(|| Ports::of_word(asked.ports)),
        opener,
    }
}

fn end_of(opener: Opener, sender: FlowEnd) -> Option<FlowEnd> {
    match (opener, sender) {
        (Opener::Either, _) => None,
        (Opener::Sender, sender) => Some(sender),
        (Opener::Receiver, FlowEnd::Local) => Some(FlowEnd::Remote),
        (Opener::Receiver, FlowEnd::Remote) => Some(FlowEnd::Local),
    }
}

fn allowed(judge: &Judge<'_>, said: Said) -> String {
    let mut text = match judge.name(said.active) {
        Some(name) => format!("allowed by rule {name}"),
        None => "open: no rule is asked".to_owned(),
    };
    let by_shadow = match said.shadow {
        None | Some(OPEN) => None,
        Some(NO_RULE) => Some("no shadow rule would allow it".to_owned()),
        Some(rule) => judge
            .shadow_name(rule)
            .map(|name| format!("of the shadow rules {name} would")),
    };
    if let Some(by_shadow) = by_shadow {
        text = [text, by_shadow].join("; ");
    }
    text
}

/// What the nearest rule lacks.
fn differs(near: Near, rule: &Rule, opening: &Asked) -> String {
    let [from, to] = [opening.source, opening.destination].map(shown);
    let number = opening.protocol();
    let port = Ports::of_word(opening.ports).destination();
    let name = protocol::name(number);
    let by = if port > 0 && crossway_types::protocol::has_ports(number) {
        format!("{name}/{port}")
    } else {
        name
    };
    let words = |words: &[String]| words.join(", ");
    let ports = rule.ports.as_deref().map_or("any".to_owned(), words);
    let lacks = [
        (!near.from).then(|| format!("{from} is not in its from ({})", words(&rule.from))),
        (!near.to).then(|| format!("{to} is not in its to ({})", words(&rule.to))),
        (!near.ports).then(|| format!("{by} is not in its ports ({ports})")),
    ];
    let lacks: Vec<String> = lacks.into_iter().flatten().collect();
    format!("the nearest is {}: {}", rule.name, lacks.join(", "))
}

fn shown(address: datapath_abi::address::Address) -> String {
    std::net::Ipv6Addr::from(datapath_abi::address::to_bytes(address))
        .to_canonical()
        .to_string()
}
