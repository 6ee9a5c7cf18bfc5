//! Which services are wanted, and in which order. Applied by the gateway, so that only what is wanted is sent.

use std::cmp::Reverse;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::as_text;
use crate::message::{ReviewState, Service};
use crate::protocol;
use crossway_types::prefix::Prefix;

/// Which services are wanted: those that satisfy every field that is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ServiceFilter {
    /// In this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<ReviewState>,
    /// In the site of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// On this gateway's own side.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub here: bool,
    /// With an address in this prefix.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "as_text")]
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub prefix: Option<Prefix>,
    /// In the group of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// At this port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// IP protocol number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<u8>,
}

impl ServiceFilter {
    /// Whether the service is wanted.
    pub fn matches(&self, service: &Service) -> bool {
        let site = service.site.as_deref();
        self.state.is_none_or(|state| state == service.state)
            && self.site.as_deref().is_none_or(|name| site == Some(name))
            && (!self.here || site.is_none())
            && self
                .prefix
                .is_none_or(|prefix| prefix.contains(service.address))
            && self
                .group
                .as_ref()
                .is_none_or(|name| service.group.as_ref() == Some(name))
            && self.port.is_none_or(|port| port == service.port)
            && self
                .protocol
                .is_none_or(|number| number == service.protocol_number)
    }
}

impl fmt::Display for ServiceFilter {
    /// As on the command line: `--state approved --port 443`; empty if nothing is set.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [
            self.state
                .map(|state| format!("--state {}", state.as_str())),
            self.site.as_ref().map(|site| format!("--site {site}")),
            self.here.then(|| "--here".to_owned()),
            self.prefix.map(|prefix| format!("--prefix {prefix}")),
            self.group.as_ref().map(|group| format!("--group {group}")),
            self.port.map(|port| format!("--port {port}")),
            self.protocol
                .map(|number| format!("--protocol {}", protocol::name(number))),
        ];
        let words: Vec<String> = words.into_iter().flatten().collect();
        f.write_str(&words.join(" "))
    }
}

/// Order of the services shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceSort {
    /// By address, port and protocol.
    #[default]
    Address,
    /// Most bytes in both directions first.
    Bytes,
    /// Most clients first.
    Clients,
    /// Most flows first.
    Flows,
    /// Those first that were first seen last.
    New,
    /// Those first that were last seen last.
    Seen,
}

impl ServiceSort {
    /// Sorts, and drops what is behind the first `top`.
    pub fn keep_top(self, services: &mut Vec<Service>, top: Option<usize>) {
        services.sort_by_key(|service| {
            let weight = Reverse(self.weight(service));
            let Service {
                address,
                port,
                protocol_number,
                ..
            } = service;
            (weight, *address, *port, *protocol_number)
        });
        services.truncate(top.unwrap_or(usize::MAX));
    }

    fn weight(self, service: &Service) -> u64 {
        match self {
            Self::Address => 0,
            Self::Bytes => service
                .to_service_bytes
                .saturating_add(service.from_service_bytes),
            Self::Clients => service.clients,
            Self::Flows => service.flows,
            Self::New => service.first_seen_unix_milliseconds,
            Self::Seen => service.last_seen_unix_milliseconds,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(address: &str, port: u16) -> Service {
        Service {
            vnet: "default".to_owned(),
            address: address.parse().unwrap(),
            real: None,
            port,
            protocol: "tcp".to_owned(),
            protocol_number: 6,
            site: None,
            state: ReviewState::Unreviewed,
            group: None,
            note: String::new(),
            changed_unix_milliseconds: None,
            changed_by: String::new(),
            clients: 1,
            clients_exact: true,
            clients_here: false,
            client_sites: Vec::new(),
            client_sites_complete: true,
            flows: 1,
            to_service_bytes: 1,
            from_service_bytes: 1,
            first_seen_unix_milliseconds: 0,
            last_seen_unix_milliseconds: 0,
            guessed: false,
        }
    }

    #[test]
    fn every_field_of_a_filter_chooses() {
        let chosen = Service {
            site: Some("paris".to_owned()),
            state: ReviewState::Approved,
            group: Some("erp".to_owned()),
            ..service("10.2.0.10", 443)
        };
        let other = service("10.1.0.10", 80);
        let none = ServiceFilter::default;
        let filters = [
            ServiceFilter {
                state: Some(ReviewState::Approved),
                ..none()
            },
            ServiceFilter {
                site: Some("paris".to_owned()),
                ..none()
            },
            ServiceFilter {
                prefix: Some("10.2.0.0/24".parse().unwrap()),
                ..none()
            },
            ServiceFilter {
                group: Some("erp".to_owned()),
                ..none()
            },
            ServiceFilter {
                port: Some(443),
                ..none()
            },
        ];
        for filter in filters {
            assert!(
                filter.matches(&chosen) && !filter.matches(&other),
                "{filter}"
            );
            let text = serde_json::to_string(&filter).unwrap();
            assert_eq!(
                serde_json::from_str::<ServiceFilter>(&text).unwrap(),
                filter
            );
        }
        let here = ServiceFilter {
            here: true,
            ..none()
        };
        assert!(here.matches(&other) && !here.matches(&chosen));
        let udp = ServiceFilter {
            protocol: Some(17),
            ..none()
        };
        assert!(!udp.matches(&other));
        assert_eq!(udp.to_string(), "--protocol udp");
    }

    #[test]
    fn orders_put_the_most_first_and_are_the_same_each_time() {
        let mut services = vec![
            service("10.0.0.9", 1),
            service("10.0.0.1", 2),
            service("10.0.0.1", 1),
        ];
        services[0].clients = 7;
        let ports = |services: &[Service]| -> Vec<_> {
            let each = services.iter();
            each.map(|it| (it.address.to_string(), it.port)).collect()
        };
        let (first, last) = ("10.0.0.1".to_owned(), "10.0.0.9".to_owned());
        ServiceSort::Address.keep_top(&mut services, None);
        assert_eq!(
            ports(&services),
            [(first.clone(), 1), (first.clone(), 2), (last.clone(), 1)]
        );
        ServiceSort::Clients.keep_top(&mut services, Some(2));
        assert_eq!(ports(&services), [(last, 1), (first, 1)]);
    }
}
