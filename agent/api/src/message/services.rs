//! The catalogue of services that were seen in the flow table: `services`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::protocol;
use crate::service_filter::{ServiceFilter, ServiceSort};

/// Services that one order may name; groups are for more.
pub const MOST_TARGETS: usize = 32;

/// Which services are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServicesRequest {
    /// Which services.
    #[serde(default)]
    pub filter: ServiceFilter,
    /// In which order.
    #[serde(default)]
    pub sort: ServiceSort,
    /// At most that many.
    #[serde(default)]
    pub top: Option<usize>,
    /// These alone: `ADDRESS:PORT/PROTOCOL`, or names of groups. One that is not there is an error.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<String>,
}

/// Answer of `services`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ServicesReply {
    /// The services asked for, in the order asked for.
    pub services: Vec<Service>,
    /// Services that match the filter, shown or not.
    pub matched: u64,
    /// Services in the catalogue.
    pub present: u64,
    /// Services that the catalogue takes.
    pub capacity: u64,
    /// Flows to the private ranges that nobody answered, as those of a port scan.
    pub unanswered_flows: u64,
    /// Flows to services that were not entered because the catalogue was full.
    pub not_entered_flows: u64,
    /// The groups.
    pub groups: Vec<ServiceGroup>,
    /// File in which the catalogue is kept.
    pub database: String,
    /// Whether it is open: what is not kept is lost when the agent ends.
    pub kept: bool,
    /// The filter that was applied.
    pub filter: ServiceFilter,
}

/// A service: somewhere that hosts were answered.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own, and a field of the JSON"
)]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Service {
    /// Virtual network.
    pub vnet: String,
    /// Its address.
    pub address: IpAddr,
    /// What its address stands for, if that is mapped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub real: Option<IpAddr>,
    /// Its port; 0 where the protocol has none.
    pub port: u16,
    /// Name of the IP protocol, or its number where it has no name here.
    pub protocol: String,
    /// IP protocol number.
    pub protocol_number: u8,
    /// The site that it is in; null on this gateway's own side.
    pub site: Option<String>,
    /// What people have decided about it.
    pub state: ReviewState,
    /// The group that it was put in.
    pub group: Option<String>,
    /// What people have noted about it; empty without.
    pub note: String,
    /// When somebody last changed state, group or note, since the Unix epoch.
    pub changed_unix_milliseconds: Option<u64>,
    /// Who did; empty where nobody has.
    pub changed_by: String,
    /// Different addresses that it has answered.
    pub clients: u64,
    /// Whether `clients` is exact; else it is an estimate with a standard error of 1.6 %.
    pub clients_exact: bool,
    /// Whether hosts on this gateway's own side were among them.
    pub clients_here: bool,
    /// Sites that others of them are in.
    pub client_sites: Vec<String>,
    /// Whether these are all of them; 64 are kept.
    pub client_sites_complete: bool,
    /// Flows that were answered.
    pub flows: u64,
    /// Bytes to it.
    pub to_service_bytes: u64,
    /// Bytes from it.
    pub from_service_bytes: u64,
    /// Time of the first packet since the Unix epoch.
    pub first_seen_unix_milliseconds: u64,
    /// Time of the last packet.
    pub last_seen_unix_milliseconds: u64,
    /// Whether only its port says that it, and not the other end, is the service: no beginning of a conversation with
    /// it was seen.
    pub guessed: bool,
}

/// What people have decided about a service.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ReviewState {
    /// Nobody has looked at it yet.
    #[default]
    Unreviewed,
    /// Somebody looks into it.
    InReview,
    /// It is meant to be there.
    Approved,
    /// It is not.
    Unapproved,
}

impl ReviewState {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Unreviewed,
        Self::InReview,
        Self::Approved,
        Self::Unapproved,
    ];

    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreviewed => "unreviewed",
            Self::InReview => "in-review",
            Self::Approved => "approved",
            Self::Unapproved => "unapproved",
        }
    }

    /// The state with this word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

/// Services that belong together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ServiceGroup {
    /// Its name.
    pub name: String,
    /// What people have noted about it; empty without.
    pub note: String,
    /// Services in it.
    pub services: u64,
}

/// What is to be done with services.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "kebab-case")]
pub enum ServiceOrder {
    /// Give them a state.
    Decide {
        /// Which.
        state: ReviewState,
    },
    /// Write something about them.
    Note {
        /// What; nothing takes the note away.
        text: String,
    },
    /// Take them out of the catalogue, until they are seen again.
    Forget,
    /// Put them into a group, which is made if it is not there; without services, only that.
    Group {
        /// Its name.
        name: String,
        /// What is noted about it from now on; null leaves that as it is.
        note: Option<String>,
    },
    /// Take them out of a group; without services, all of them, and the group is gone.
    Ungroup {
        /// Its name.
        name: String,
    },
}

/// An order and whom it means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServicesOrder {
    /// Services as `ADDRESS:PORT/PROTOCOL`, and names of groups; at most [`MOST_TARGETS`].
    pub targets: Vec<String>,
    /// What is to be done.
    #[serde(flatten)]
    pub order: ServiceOrder,
}

/// Answer of `services review`, `approve`, `unapprove`, `reset`, `note`, `forget` and `group`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ServicesOrdered {
    /// The services that were meant, as they are then; those that were forgotten, as they were.
    pub services: Vec<Service>,
    /// The group that was meant, as it is then.
    pub group: Option<ServiceGroup>,
}

/// A service as people write it: `10.2.0.10:443/tcp`, `[2001:db8::1]:53/udp`, `10.2.0.10/gre`, or without a protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceName {
    /// Its address.
    pub address: IpAddr,
    /// Its port; 0 without one.
    pub port: u16,
    /// IP protocol number, if it was written.
    pub protocol: Option<u8>,
}

impl FromStr for ServiceName {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (end, protocol) = match text.rsplit_once('/') {
            Some((end, word)) => (end, Some(protocol::number(word).ok_or(())?)),
            None => (text, None),
        };
        let (address, port) = if let Ok(both) = end.parse::<std::net::SocketAddr>() {
            (both.ip(), both.port())
        } else {
            let bare = end.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
            (bare.unwrap_or(end).parse().map_err(drop)?, 0)
        };
        Ok(Self {
            address,
            port,
            protocol,
        })
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.address, self.port) {
            (address, 0) => write!(f, "{address}")?,
            (IpAddr::V4(address), port) => write!(f, "{address}:{port}")?,
            (IpAddr::V6(address), port) => write!(f, "[{address}]:{port}")?,
        }
        match self.protocol {
            Some(number) => write!(f, "/{}", protocol::name(number)),
            None => Ok(()),
        }
    }
}

impl Service {
    /// As people write it.
    pub fn name(&self) -> ServiceName {
        ServiceName {
            address: self.address,
            port: self.port,
            protocol: Some(self.protocol_number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_read_as_it_is_written() {
        for text in [
            "10.2.0.10:443/tcp",
            "[2001:db8::1]:53/udp",
            "10.2.0.10/gre",
            "2001:db8::1/esp",
            "10.2.0.10:443",
            "10.2.0.10:7/254",
        ] {
            let name: ServiceName = text.parse().unwrap();
            assert_eq!(name.to_string(), text);
        }
        for wrong in [
            "",
            "erp",
            "10.2.0.10:443/nothing",
            "10.2.0.10:99999/tcp",
            "10.2.0:1/tcp",
        ] {
            assert_eq!(wrong.parse::<ServiceName>(), Err(()), "{wrong}");
        }
        let with_brackets: ServiceName = "[2001:db8::1]/gre".parse().unwrap();
        assert_eq!(with_brackets.to_string(), "2001:db8::1/gre");
    }

    #[test]
    fn an_order_is_one_flat_object() {
        let order = ServicesOrder {
            targets: vec!["erp".to_owned()],
            order: ServiceOrder::Decide {
                state: ReviewState::InReview,
            },
        };
        let text = serde_json::to_string(&order).unwrap();
        let expected = r#"{"targets":["erp"],"order":"decide","state":"in-review"}"#;
        assert_eq!(text, expected);
        assert_eq!(serde_json::from_str::<ServicesOrder>(&text).unwrap(), order);
    }
}
