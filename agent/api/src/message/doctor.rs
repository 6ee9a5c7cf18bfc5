//! What is in the way of packets: `doctor`. The command line makes it of the gateway's answers and of the host, so that
//! it works without a gateway too; nobody asks for it over the socket.

use serde::{Deserialize, Serialize};

/// Answer of `doctor`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DoctorReport {
    /// Name of the gateway.
    pub gateway: String,
    /// Whether it runs; else its file and its host alone were looked at.
    pub running: bool,
    /// What was found, problems first.
    pub findings: Vec<Finding>,
    /// What could not be looked at.
    pub not_checked: Vec<NotChecked>,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Finding {
    /// Which check found it, such as `firewall-input`. The words stay as they are.
    pub check: String,
    /// How much it matters.
    pub severity: Severity,
    /// What it is about: an interface, a link, an address, a file.
    pub subject: String,
    /// What was found.
    pub what: String,
    /// Why it matters.
    pub why: String,
    /// What mends it: a command where there is one.
    pub mend: String,
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Packets are lost, or will be.
    Problem,
    /// Everything passes, but costs more than it must.
    Slow,
    /// Good to know. It may well be meant so.
    Note,
}

impl Severity {
    /// The word of `--json`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Problem => "problem",
            Self::Slow => "slow",
            Self::Note => "note",
        }
    }
}

/// Something that could not be looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct NotChecked {
    /// The check, as in [`Finding::check`].
    pub check: String,
    /// What kept it from being looked at.
    pub why: String,
}
