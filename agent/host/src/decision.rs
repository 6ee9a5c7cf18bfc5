//! What the kernel's routing does with a packet, asked of the kernel itself (`RTM_GETROUTE`, as `ip route get` does), and
//! whom it would hand it to.

use std::net::IpAddr;

use futures::TryStreamExt;
use rtnetlink::IpVersion;
use rtnetlink::packet_core::{NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::{RouteAttribute, RouteFlags, RouteHeader, RouteMessage};
use rtnetlink::packet_route::rule::RuleAttribute;
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

use super::Host;
use super::error::HostError;
use super::kernel_routes::{self, KernelRoute};
use crossway_types::ids::IfIndex;
use crossway_types::packet::{TCP, UDP};
use crossway_types::prefix::Prefix;

/// A packet, as far as routing looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoutedPacket {
    /// Its source.
    pub source: IpAddr,
    /// Its destination.
    pub destination: IpAddr,
    /// IP protocol number.
    pub protocol: u8,
    /// Source and destination port; zero where there are none.
    pub ports: (u16, u16),
    /// The interface by which it comes; `None` for the host's own.
    pub input: Option<IfIndex>,
}

/// What the kernel's routing says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteDecision {
    /// It has a route, with the table it is in and the prefix that matches.
    Found(Box<Found>),
    /// It has none for this packet, with the number of the error (errno(3)).
    Refused(i32),
}

/// A route for a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The way of this packet: one hop at most, and its own prefix is the destination's.
    pub way: KernelRoute,
    /// The prefix of the route that matches; `None` from a kernel that does not tell (before 5.14).
    pub prefix: Option<Prefix>,
}

/// A neighbour on a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Its state, as `ip neigh` writes it.
    pub state: String,
    /// Its link-layer address, if it is known and good.
    pub address: Option<String>,
}

impl Host {
    /// The kernel's decision for a packet, by all its rules and tables; of IPv4 it judges the source as well.
    pub async fn route_decision(&self, packet: RoutedPacket) -> Result<RouteDecision, HostError> {
        let answer = self
            .routes
            .blocking(move |socket| {
                let way = socket.decide(question(packet, RouteFlags::LookupTable))?;
                let matched = match &way {
                    Ok(_) => socket.decide(question(packet, RouteFlags::FibMatch))?.ok(),
                    Err(_) => None,
                };
                Ok((way, matched))
            })
            .await;
        let (way, matched) = answer.map_err(|error: std::io::Error| HostError::Netlink {
            what: format!("to find the way to {}", packet.destination),
            error,
        })?;
        Ok(match way {
            Ok(way) => match kernel_routes::parse_way(&way) {
                Some(way) => RouteDecision::Found(Box::new(Found {
                    way,
                    prefix: matched
                        .as_ref()
                        .and_then(kernel_routes::parse_way)
                        .map(|route| route.prefix),
                })),
                None => RouteDecision::Refused(0),
            },
            Err(errno) => RouteDecision::Refused(errno),
        })
    }

    /// What the kernel knows of a neighbour; `None` if it has not looked for it.
    pub async fn neighbour(
        &self,
        interface: IfIndex,
        address: IpAddr,
    ) -> Result<Option<Neighbour>, HostError> {
        let mut message = NeighbourMessage::default();
        message.header.family = family(address);
        message.header.ifindex = interface.0;
        let destination = match address {
            IpAddr::V4(address) => NeighbourAddress::Inet(address),
            IpAddr::V6(address) => NeighbourAddress::Inet6(address),
        };
        message.attributes = vec![NeighbourAttribute::Destination(destination)];
        let mut request = NetlinkMessage::from(RouteNetlinkMessage::GetNeighbour(message));
        // Of this one alone (kernel 5.0): there may be very many.
        request.header.flags = NLM_F_REQUEST;
        let failed = |error| HostError::netlink(format!("to look for neighbour {address}"), error);
        let answers = self.handle.clone().request(request).map_err(failed)?;
        let mut answers = std::pin::pin!(answers);
        while let Some(answer) = futures::StreamExt::next(&mut answers).await {
            match answer.payload {
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewNeighbour(found)) => {
                    return Ok(Some(describe(&found)));
                }
                NetlinkPayload::Error(_) => return Ok(None),
                _ => {}
            }
        }
        Ok(None)
    }

    /// The rules that lead to a table, a line each as `ip rule` writes them in short.
    pub async fn rules_to(&self, table: u32, ipv4: bool) -> Result<Vec<String>, HostError> {
        let version = if ipv4 { IpVersion::V4 } else { IpVersion::V6 };
        let rules = self.handle.rule().get(version).execute();
        let rules: Vec<_> = rules
            .try_collect()
            .await
            .map_err(|error| HostError::netlink("to list the rules".to_owned(), error))?;
        let leads_there = |attributes: &[RuleAttribute], short: u8| {
            let long = attributes.iter().find_map(|attribute| match attribute {
                RuleAttribute::Table(table) => Some(*table),
                _ => None,
            });
            long.unwrap_or(short.into()) == table
        };
        Ok(rules
            .iter()
            .filter(|rule| leads_there(&rule.attributes, rule.header.table))
            .map(|rule| {
                let priority = rule
                    .attributes
                    .iter()
                    .find_map(|attribute| match attribute {
                        RuleAttribute::Priority(priority) => Some(*priority),
                        _ => None,
                    });
                format!("rule {} looks up table {table}", priority.unwrap_or(0))
            })
            .collect())
    }
}

fn question(packet: RoutedPacket, flags: RouteFlags) -> RouteMessage {
    let mut message = RouteMessage::default();
    let length = if packet.destination.is_ipv4() {
        32
    } else {
        128
    };
    message.header = RouteHeader {
        address_family: family(packet.destination),
        destination_prefix_length: length,
        source_prefix_length: length,
        flags,
        ..RouteHeader::default()
    };
    message.attributes = vec![
        RouteAttribute::Destination(super::way_out::address(packet.destination)),
        RouteAttribute::Source(super::way_out::address(packet.source)),
    ];
    if let Some(input) = packet.input {
        message.attributes.push(RouteAttribute::Iif(input.0));
    }
    // Of the protocols with ports the kernel takes these two.
    if matches!(packet.protocol, TCP | UDP) {
        message.attributes.extend([
            RouteAttribute::IpProto(packet.protocol),
            RouteAttribute::Sport(packet.ports.0),
            RouteAttribute::Dport(packet.ports.1),
        ]);
    }
    message
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    }
}

fn describe(message: &NeighbourMessage) -> Neighbour {
    let state = message.header.state;
    let is_good = matches!(
        state,
        NeighbourState::Reachable
            | NeighbourState::Stale
            | NeighbourState::Delay
            | NeighbourState::Probe
            | NeighbourState::Permanent
            | NeighbourState::Noarp
    );
    let address = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            NeighbourAttribute::LinkLayerAddress(bytes) => Some(bytes),
            _ => None,
        });
    let text = |bytes: &Vec<u8>| {
        let bytes: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        bytes.join(":")
    };
    Neighbour {
        state: format!("{state:?}").to_uppercase(),
        address: address.filter(|_| is_good).map(text),
    }
}
