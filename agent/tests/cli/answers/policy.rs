//! A policy, every field filled.

use crossway::control::Response;
use crossway::control::message::{PolicyReply, PolicyRequest, PolicyRule, PolicyVnet, RuleSet};

/// The answer to `policy show`.
pub(crate) fn answer(request: &PolicyRequest) -> Response {
    let rules = [
        rule(
            RuleSet::Active,
            "erp",
            ["lan paris", "10.2.0.0/16"],
            "tcp/443",
        ),
        rule(RuleSet::Active, "allow #2", ["tag:ci", "lan"], "any"),
        rule(RuleSet::Active, "gateway", ["gateway", "any"], "any"),
        rule(
            RuleSet::Shadow,
            "shadow #1",
            ["lan", "servers"],
            "tcp/443 dns",
        ),
        rule(RuleSet::Shadow, "shadow #2", ["any", "any"], "icmp"),
    ];
    for name in &request.rules {
        if !rules.iter().any(|rule| rule.name == *name) {
            return Response::usage(format!("there is no rule {name:?} here: did you mean erp?"));
        }
    }
    let wanted = |rule: &PolicyRule| request.rules.is_empty() || request.rules.contains(&rule.name);
    Response::Policy(PolicyReply {
        denied: "reject".to_owned(),
        vnets: vec![PolicyVnet {
            vnet: "default".to_owned(),
            policy: "closed".to_owned(),
            shadow: Some("closed".to_owned()),
        }],
        rules: rules.into_iter().filter(wanted).collect(),
    })
}

fn rule(set: RuleSet, name: &str, [from, to]: [&str; 2], ports: &str) -> PolicyRule {
    let words = |text: &str| text.split(' ').map(str::to_owned).collect();
    PolicyRule {
        set,
        name: name.to_owned(),
        from: words(from),
        to: words(to),
        ports: words(ports),
        new_flows: 1_000 * name.len() as u64,
    }
}
