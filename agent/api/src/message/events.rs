//! What has changed, when and why.

use serde::{Deserialize, Serialize};

/// Which events are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct EventsRequest {
    /// The last so many; null for all that are kept.
    pub last: Option<usize>,
    /// Whether the connection stays open, and each new event comes as a further reply.
    pub follow: bool,
}

/// Answer of `events`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct EventsReply {
    /// Oldest first.
    pub events: Vec<Event>,
    /// Events since the last reply that are no longer kept, because the reader took too long.
    pub missed: u64,
    /// Number of the event that comes next.
    pub next_sequence: u64,
}

/// A change of state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Event {
    /// Counts from 1 at each start of the agent. Numbers may be missing: of those that change often, the oldest make
    /// room.
    pub sequence: u64,
    /// Wall-clock time, milliseconds since the Unix epoch.
    pub unix_milliseconds: u64,
    /// What kind of thing has changed.
    pub kind: EventKind,
    /// Its name, such as `paris` or `paris/paris-1`.
    pub subject: String,
    /// The state it was in; null where it had none.
    pub from: Option<String>,
    /// The state it is in.
    pub to: String,
    /// Why.
    pub cause: String,
}

/// What kind of thing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// The agent of this gateway.
    Gateway,
    /// A site.
    Site,
    /// A link to a site.
    Link,
    /// What a person has ordered of links.
    Order,
    /// A virtual router of this LAN.
    VirtualRouter,
    /// A health target, or the LAN as a whole.
    Health,
    /// The configuration file.
    Configuration,
    /// An interface of this host, or the tunnel device.
    Host,
    /// The eBPF programs.
    FastPath,
    /// A flow that no rule of the policy allows; its name is the address that tried.
    Denied,
}

impl EventKind {
    /// The word of `--json`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Site => "site",
            Self::Link => "link",
            Self::Order => "order",
            Self::VirtualRouter => "virtual-router",
            Self::Health => "health",
            Self::Configuration => "configuration",
            Self::Host => "host",
            Self::FastPath => "fast-path",
            Self::Denied => "denied",
        }
    }
}
