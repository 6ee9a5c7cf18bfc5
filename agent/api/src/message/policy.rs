//! The policy: `policy show` and `policy diff`, and what it says of a flow.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Which rules are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyRequest {
    /// Those of these names alone. One that is not there is an error.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
}

/// Answer of `policy show`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PolicyReply {
    /// What becomes of a packet that no rule allows: `drop`, or `reject`, and its sender is told.
    pub denied: String,
    /// Each virtual network.
    pub vnets: Vec<PolicyVnet>,
    /// The rules asked for: the active ones in the order of the file, then the shadow rules.
    pub rules: Vec<PolicyRule>,
}

/// What is in force in a virtual network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PolicyVnet {
    /// Its name.
    pub vnet: String,
    /// `open`: everything passes; `closed`: what no rule allows is denied.
    pub policy: String,
    /// The same of the shadow rules; null without any.
    pub shadow: Option<String>,
}

/// Which rules: those that are in force, or those that are tried out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum RuleSet {
    /// `[[allow]]`: in force.
    #[default]
    Active,
    /// `[[shadow]]`: judged and counted, and nothing else.
    Shadow,
}

impl RuleSet {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Shadow => "shadow",
        }
    }
}

/// A rule, as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PolicyRule {
    /// Which set it is of.
    pub set: RuleSet,
    /// Its name, or the section and its number, such as `allow #1`.
    pub name: String,
    /// Who may open flows: words of the file.
    pub from: Vec<String>,
    /// To whom.
    pub to: Vec<String>,
    /// By which protocols and ports; `any` alone for all of them.
    pub ports: Vec<String>,
    /// Flows that came into the table since the rules were put in force, and that it was the first to allow.
    pub new_flows: u64,
}

/// What is decided for a flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum FlowVerdict {
    /// It passes.
    #[default]
    Allowed,
    /// No rule allows it.
    Denied,
}

impl FlowVerdict {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
        }
    }
}

/// An end of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum FlowEnd {
    /// On this gateway's side.
    Local,
    /// On the site's side.
    Remote,
}

/// What the policy says of a flow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FlowPolicy {
    /// Whether it passes.
    #[serde(default)]
    pub verdict: FlowVerdict,
    /// The rule that allows it; null where none does, or none is asked.
    #[serde(default)]
    pub rule: Option<String>,
    /// Whether the shadow rules would let it pass; null where there are none.
    #[serde(default)]
    pub shadow_verdict: Option<FlowVerdict>,
    /// The shadow rule that would allow it.
    #[serde(default)]
    pub shadow_rule: Option<String>,
    /// The end that opened it, as far as that is known; who opens a flow decides which rules count.
    #[serde(default)]
    pub opened_by: Option<FlowEnd>,
}

/// What `policy diff` prints with `--json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PolicyDiff {
    /// What passes now, and what the shadow rules would drop; most bytes first.
    pub would_drop: Vec<PolicyDifference>,
    /// What is denied now, and what the shadow rules would let pass; most packets first.
    pub would_pass: Vec<PolicyDifference>,
    /// The shadow rules, with the flows that each would have allowed.
    pub shadow: Vec<PolicyRule>,
}

/// Flows of one client to one service, of which the two rule sets say different things.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PolicyDifference {
    /// Name of the IP protocol, or its number where it has no name here.
    pub protocol: String,
    /// IP protocol number.
    pub protocol_number: u8,
    /// Who opened them.
    pub from: IpAddr,
    /// To whom.
    pub to: IpAddr,
    /// To which port; 0 where the protocol has none.
    pub port: u16,
    /// Site of the far end.
    pub site: String,
    /// Virtual network.
    pub vnet: String,
    /// The rule that allows them now; null where none does, or none is asked.
    pub rule: Option<String>,
    /// The shadow rule that would allow them.
    pub shadow_rule: Option<String>,
    /// Flows.
    pub flows: u64,
    /// Packets both ways.
    pub packets: u64,
    /// Bytes both ways.
    pub bytes: u64,
    /// Seconds since the first packet.
    pub age_seconds: u64,
    /// Seconds since the last packet.
    pub idle_seconds: u64,
}
