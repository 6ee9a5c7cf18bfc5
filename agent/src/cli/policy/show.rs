//! `crossway policy show`.

use std::fmt::Write;

use clap::Args;
use clap_complete::engine::ArgValueCandidates;

use super::super::failure::Failure;
use super::super::output::Look;
use super::super::table::Table;
use super::super::units::count;
use super::super::{Options, Watch, complete, reading};
use crate::control::message::{PolicyReply, PolicyRequest, PolicyRule, RuleSet};
use crate::control::{Request, Response};

/// Which rules.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
                  crossway policy show\n  \
                  crossway policy show web 'allow #3'\n  \
                  crossway policy show --json | jq '.rules[] | select(.new_flows == 0).name'")]
pub(in crate::cli) struct Show {
    /// Names of rules, as they are shown [default: all]
    #[arg(value_name = "RULE", add = ArgValueCandidates::new(complete::rules))]
    rules: Vec<String>,
    #[command(flatten)]
    watch: Watch,
}

/// Shows rules.
pub(in crate::cli) fn show(options: &Options, show: &Show) -> Result<(), Failure> {
    let request = Request::Policy(PolicyRequest {
        rules: show.rules.clone(),
    });
    reading::watch(options, show.watch, &request, pick, text)
}

/// Takes the rules out of an answer.
pub(super) fn pick(response: Response) -> Option<PolicyReply> {
    match response {
        Response::Policy(reply) => Some(reply),
        _ => None,
    }
}

fn text(reply: &PolicyReply, look: Look) -> String {
    let mut text = String::new();
    for vnet in &reply.vnets {
        let what = match vnet.policy.as_str() {
            "open" => "open: everything passes".to_owned(),
            other => format!(
                "{other}: what no rule allows is {}",
                if reply.denied == "reject" {
                    "rejected"
                } else {
                    "dropped"
                }
            ),
        };
        let _ = write!(text, "vnet {} is {what}", vnet.vnet);
        if let Some(shadow) = &vnet.shadow {
            let _ = write!(text, "; by the shadow rules it would be {shadow}");
        }
        text.push('\n');
    }
    for set in [RuleSet::Active, RuleSet::Shadow] {
        let rules: Vec<&PolicyRule> = reply.rules.iter().filter(|rule| rule.set == set).collect();
        if !rules.is_empty() {
            let _ = write!(text, "\n{}", table(&rules, set).text(look, ""));
        }
    }
    text
}

/// A line for each rule.
pub(super) fn table(rules: &[&PolicyRule], set: RuleSet) -> Table {
    let name = match set {
        RuleSet::Active => "RULE",
        RuleSet::Shadow => "SHADOW RULE",
    };
    let mut table = Table::new([name, "FROM", "TO", "PORTS", ">NEW FLOWS"]);
    for rule in rules {
        table.row([
            rule.name.as_str().into(),
            rule.from.join(" ").into(),
            rule.to.join(" ").into(),
            rule.ports.join(" ").into(),
            count(rule.new_flows).into(),
        ]);
    }
    table
}
