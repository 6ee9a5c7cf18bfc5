//! Neighbours: which hosts of a LAN have answered ARP or neighbour discovery.

use std::collections::HashMap;
use std::net::IpAddr;

use futures::TryStreamExt;
use rtnetlink::packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourState};

use super::Host;
use super::error::HostError;

/// What is known of a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Neighbour {
    /// It has answered.
    Known,
    /// It was asked for and does not answer.
    Silent,
}

impl Host {
    /// Every neighbour of which something is known.
    pub async fn neighbours(&self) -> Result<HashMap<IpAddr, Neighbour>, HostError> {
        let all = self.handle.neighbours().get().execute();
        let known = all.try_filter_map(async |message| {
            let neighbour = match message.header.state {
                NeighbourState::Reachable
                | NeighbourState::Stale
                | NeighbourState::Delay
                | NeighbourState::Probe
                | NeighbourState::Permanent => Neighbour::Known,
                NeighbourState::Failed | NeighbourState::Incomplete => Neighbour::Silent,
                _ => return Ok(None),
            };
            let mut attributes = message.attributes.into_iter();
            let address = attributes.find_map(|attribute| match attribute {
                NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => Some(v4.into()),
                NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => Some(v6.into()),
                _ => None,
            });
            Ok(address.map(|address: IpAddr| (address, neighbour)))
        });
        known
            .try_collect()
            .await
            .map_err(|error| HostError::netlink("to list neighbours", error))
    }
}
