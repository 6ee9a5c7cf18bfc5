//! What the policy says of a flow or a packet, asked of the images that programs and lanes have, by the same code.
//!
//! The flow table keeps what was decided when the flow was judged last. Asked here, the answer is that of the rules now
//! in force, also of a flow that has been silent since they changed.

mod nearest;

use std::sync::Arc;

use crossway_policy::{Policy, Rule};
use crossway_types::protocol;
use datapath_abi::address;
use datapath_abi::flow::{FlowCounters, FlowKey, OpenedBy};
use datapath_abi::headers::{Family, Ports};
use datapath_abi::policy::{self, Line, NO_RULE, Opener, Question};

pub(super) use self::nearest::{Near, nearest};
use crate::control::PolicyOfFlow;
use crate::control::message::{FlowEnd, FlowPolicy, FlowVerdict};

/// The rules in force and those that are tried out.
pub(super) struct Judge<'a> {
    policy: &'a Policy,
    active: Arc<[Line]>,
    shadow: Option<Arc<[Line]>>,
}

/// What both sets say: [`policy::judge`]'s answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) active: u32,
    pub(super) shadow: Option<u32>,
}

impl<'a> Judge<'a> {
    /// The judge of a policy.
    pub(super) fn of(policy: &'a Policy) -> Self {
        Self {
            policy,
            active: policy.image(),
            shadow: policy.shadow_image(),
        }
    }

    /// What both sets say of a question.
    pub(super) fn ask(&self, question: &Question<'_>) -> Said {
        Said {
            active: policy::judge(&self.active[..], question),
            shadow: self
                .shadow
                .as_ref()
                .map(|image| policy::judge(&image[..], question)),
        }
    }

    /// What both say of a flow.
    pub(super) fn ask_of_flow(&self, key: &FlowKey, opened_by: Option<FlowEnd>) -> Said {
        let ends = [
            (address::from_bytes(key.local), key.local_port),
            (address::from_bytes(key.remote), key.remote_port),
        ];
        let [local, remote] = &ends;
        let (from, to) = match opened_by {
            Some(FlowEnd::Remote) => (remote, local),
            Some(FlowEnd::Local) | None => (local, remote),
        };
        self.ask(&Question {
            vnet: key.vnet,
            family: if key.family == 4 {
                Family::V4
            } else {
                Family::V6
            },
            source: &from.0,
            destination: &to.0,
            protocol: key.protocol,
            ports: ports(key.protocol, from.1, to.1),
            opener: match opened_by {
                Some(_) => Opener::Sender,
                None => Opener::Either,
            },
        })
    }

    /// The name of a rule of the set in force.
    pub(super) fn name(&self, rule: u32) -> Option<&'a str> {
        name(&self.policy.rules, rule)
    }

    /// The name of a shadow rule.
    pub(super) fn shadow_name(&self, rule: u32) -> Option<&'a str> {
        name(&self.policy.shadow, rule)
    }

    /// As a filter looks at it.
    pub(super) fn view(&self, said: Said) -> PolicyOfFlow<'a> {
        PolicyOfFlow {
            verdict: verdict(said.active),
            rule: self.name(said.active),
            shadow_verdict: said.shadow.map(verdict),
        }
    }

    /// In words.
    pub(super) fn tell(&self, said: Said, opened_by: Option<FlowEnd>) -> FlowPolicy {
        let shadow_rule = said.shadow.and_then(|rule| self.shadow_name(rule));
        FlowPolicy {
            verdict: verdict(said.active),
            rule: self.name(said.active).map(str::to_owned),
            shadow_verdict: said.shadow.map(verdict),
            shadow_rule: shadow_rule.map(str::to_owned),
            opened_by,
        }
    }

    /// What both say of an entry of the flow table.
    pub(super) fn ask_of_entry(&self, key: &FlowKey, counters: &FlowCounters) -> Said {
        self.ask_of_flow(key, opened_by(counters.opened_by))
    }

    /// The same in words.
    pub(super) fn flow(&self, key: &FlowKey, counters: &FlowCounters) -> FlowPolicy {
        let opened_by = opened_by(counters.opened_by);
        self.tell(self.ask_of_flow(key, opened_by), opened_by)
    }

    /// The same of a flow that was denied, whatever the rules say since.
    pub(super) fn denied(&self, key: &FlowKey, counters: &FlowCounters) -> FlowPolicy {
        FlowPolicy {
            verdict: FlowVerdict::Denied,
            rule: None,
            ..self.flow(key, counters)
        }
    }

    /// The rule that comes nearest to allowing what is asked.
    pub(super) fn nearest(&self, question: &Question<'_>) -> Option<Near> {
        let written = self.policy.rules.iter().filter(|rule| !rule.is_implicit);
        nearest(&self.active, question, written.count())
    }
}

/// The end that opened a flow, by an [`OpenedBy`].
pub(super) fn opened_by(number: u8) -> Option<FlowEnd> {
    match number {
        by if by == OpenedBy::Local as u8 => Some(FlowEnd::Local),
        by if by == OpenedBy::Remote as u8 => Some(FlowEnd::Remote),
        _ => None,
    }
}

/// The ports of a flow; none of a fragment behind the first, which has no ports where its protocol has.
fn ports(protocol: u8, source: [u8; 2], destination: [u8; 2]) -> Option<Ports> {
    let word = u32::from_ne_bytes([source[0], source[1], destination[0], destination[1]]);
    let is_whole = word != 0 || !protocol::has_ports(protocol);
    is_whole.then(|| Ports::of_word(word))
}

fn verdict(rule: u32) -> FlowVerdict {
    if rule == NO_RULE {
        FlowVerdict::Denied
    } else {
        FlowVerdict::Allowed
    }
}

fn name(rules: &[Rule], rule: u32) -> Option<&str> {
    let rule = rules.get(rule as usize)?;
    Some(&rule.name)
}

#[cfg(test)]
mod tests;
