//! `policy show`: the rules in force and those that are tried out.

use anyhow::Result;
use crossway_policy::Rule;

use crate::config::nearest::did_you_mean;
use crate::control::message::{PolicyReply, PolicyRequest, PolicyRule, PolicyVnet, RuleSet};
use crate::control::{Response, refusal};
use crate::gateway::Gateway;

/// The one virtual network.
const VNET_NAME: &str = "default";

impl Gateway {
    /// The rules asked for.
    pub(super) fn policy(&self, wanted: &PolicyRequest) -> Response {
        match self.all_rules() {
            Ok(rules) => self.chosen(rules, wanted),
            Err(error) => refusal(&error),
        }
    }

    /// Those in force in the order of the file, then the shadow rules.
    fn all_rules(&self) -> Result<Vec<PolicyRule>> {
        let policy = &self.desired.config.policy;
        let mut all = Vec::with_capacity(policy.rules.len() + policy.shadow.len());
        for (set, rules) in [
            (RuleSet::Active, &policy.rules),
            (RuleSet::Shadow, &policy.shadow),
        ] {
            let counts = self.new_flows(set, rules.len())?;
            let counted = rules.iter().zip(counts);
            all.extend(counted.map(|(rule, new_flows)| shown(set, rule, new_flows)));
        }
        Ok(all)
    }

    /// Flows that each rule of a set has allowed.
    fn new_flows(&self, set: RuleSet, rules: usize) -> Result<Vec<u64>> {
        let (_, ruling) = self.forwarding.judged_by_lanes();
        let by_lanes = match set {
            RuleSet::Active => Some(ruling.active()),
            RuleSet::Shadow => ruling.shadow(),
        };
        let by_lanes = by_lanes
            .into_iter()
            .flat_map(crossway_lane::policy::RuleSet::new_flows);
        let mut counts: Vec<u64> = by_lanes.take(rules).collect();
        counts.resize(rules, 0);
        if let Some(datapath) = &self.forwarding.datapath {
            let by_programs = datapath.policy.counts(rules)?.rules;
            for (count, flows) in counts.iter_mut().zip(by_programs) {
                *count += match set {
                    RuleSet::Active => flows.active,
                    RuleSet::Shadow => flows.shadow,
                };
            }
        }
        Ok(counts)
    }

    fn chosen(&self, mut rules: Vec<PolicyRule>, wanted: &PolicyRequest) -> Response {
        for name in &wanted.rules {
            if !rules.iter().any(|rule| rule.name == *name) {
                return self.no_rule(name);
            }
        }
        if !wanted.rules.is_empty() {
            rules.retain(|rule| wanted.rules.contains(&rule.name));
        }
        let policy = &self.desired.config.policy;
        let stance = |open| if open { "open" } else { "closed" }.to_owned();
        let shadow = policy.shadow_image().map(|_| stance(false));
        Response::Policy(PolicyReply {
            denied: policy.denied.as_str().to_owned(),
            vnets: vec![PolicyVnet {
                vnet: VNET_NAME.to_owned(),
                policy: stance(policy.is_open()),
                shadow,
            }],
            rules,
        })
    }

    /// Says that there is no rule of this name.
    pub(super) fn no_rule(&self, name: &str) -> Response {
        let policy = &self.desired.config.policy;
        let rules = policy.rules.iter().chain(&policy.shadow);
        let meant = did_you_mean(name, rules.map(|rule| rule.name.as_str()));
        let mend = if meant.is_empty() {
            ": `crossway policy show` lists them"
        } else {
            &meant
        };
        Response::usage(format!("there is no rule {name:?} here{mend}"))
    }
}

fn shown(set: RuleSet, rule: &Rule, new_flows: u64) -> PolicyRule {
    let any = || vec!["any".to_owned()];
    PolicyRule {
        set,
        name: rule.name.clone(),
        from: rule.from.clone(),
        to: rule.to.clone(),
        ports: rule.ports.clone().unwrap_or_else(any),
        new_flows,
    }
}
