//! Asks the kernel by which interface a packet would leave.

use std::net::IpAddr;

use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};

use super::Host;
use super::error::HostError;
use crossway_types::ids::IfIndex;

impl Host {
    /// By which interface what is sent from `local` to `remote` leaves, by all rules and tables; `None` where the
    /// kernel has no way, or no such address.
    pub async fn way_out(
        &self,
        remote: IpAddr,
        local: IpAddr,
    ) -> Result<Option<IfIndex>, HostError> {
        self.ask_for_way(question(remote, Some(local)), remote)
            .await
    }

    /// As [`Self::way_out`], from whichever address the kernel chooses.
    pub async fn way_to(&self, remote: IpAddr) -> Result<Option<IfIndex>, HostError> {
        self.ask_for_way(question(remote, None), remote).await
    }

    async fn ask_for_way(
        &self,
        request: RouteMessage,
        remote: IpAddr,
    ) -> Result<Option<IfIndex>, HostError> {
        let answer = self.routes.blocking(move |socket| socket.ask(request));
        let answer = answer.await.map_err(|error| HostError::Netlink {
            what: format!("to find the way to {remote}"),
            error,
        })?;
        let mut attributes = answer.into_iter().flat_map(|route| route.attributes);
        Ok(attributes.find_map(|attribute| match attribute {
            RouteAttribute::Oif(index) => Some(IfIndex(index)),
            _ => None,
        }))
    }
}

fn question(remote: IpAddr, local: Option<IpAddr>) -> RouteMessage {
    let mut message = RouteMessage::default();
    let length = if remote.is_ipv4() { 32 } else { 128 };
    message.header.address_family = if remote.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    };
    message.header.destination_prefix_length = length;
    message.attributes = vec![RouteAttribute::Destination(address(remote))];
    if let Some(local) = local {
        message.header.source_prefix_length = length;
        let source = RouteAttribute::Source(address(local));
        message.attributes.push(source);
    }
    message
}

pub(super) fn address(address: IpAddr) -> RouteAddress {
    match address {
        IpAddr::V4(v4) => RouteAddress::Inet(v4),
        IpAddr::V6(v6) => RouteAddress::Inet6(v6),
    }
}
