//! Virtual routers, as `status` tells of them.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// One virtual router of one family.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct VirtualRouter {
    /// LAN interface.
    pub interface: String,
    /// Virtual router id.
    pub id: u8,
    /// `ipv4` or `ipv6`.
    pub family: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// The MAC that hosts have for them.
    pub virtual_mac: String,
    /// `master`, `backup`, or `initialize` while it does not take part.
    pub state: String,
    /// Seconds that it has been in this state.
    pub since_seconds: u64,
    /// Why it is in this state.
    pub why: String,
    /// Priority in force.
    pub priority: u8,
    /// Priority of the configuration: in force while every site can be reached.
    pub configured_priority: u8,
    /// Milliseconds between our advertisements.
    pub advertisement_interval_ms: u64,
    /// Primary address of the master, if one is known; ours while we are it.
    pub master_address: Option<IpAddr>,
    /// Its priority.
    pub master_priority: Option<u8>,
    /// What a person should look at, a split brain for example.
    pub warnings: Vec<String>,
}
