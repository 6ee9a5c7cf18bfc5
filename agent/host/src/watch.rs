//! Tells that the host's links, addresses or routes have changed.

mod filter;

use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;

use futures::{FutureExt, Stream, StreamExt};
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::sys::{AsyncSocket, SocketAddr};
use rtnetlink::{MulticastGroup, new_multicast_connection};
use tokio::task::JoinHandle;

use super::error::HostError;

/// What has changed since the last look. Who gets it reads the host anew: the notes are no log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Interfaces came, went, or changed state or MTU.
    pub links: bool,
    /// Addresses came, went, or changed state.
    pub addresses: bool,
    /// Routes came, went or were replaced.
    pub routes: bool,
}

/// A subscription to the kernel's notes on links, addresses and routes of this network namespace.
pub struct Watch {
    messages: Pin<Box<dyn Stream<Item = Message> + Send>>,
    connection: JoinHandle<()>,
}

type Message = (NetlinkMessage<RouteNetlinkMessage>, SocketAddr);

impl Watch {
    /// Subscribes. Whatever changes from here on is told, so read the host after this. Not told is
    /// what the netlink socket with the port `own` does, [`super::Host::route_port`]: it may be a million notes.
    pub fn start(own: u32) -> Result<Self, HostError> {
        let groups = [
            MulticastGroup::Link,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv6Ifaddr,
            MulticastGroup::Ipv4Route,
            MulticastGroup::Ipv6Route,
        ];
        let failed = |error| HostError::Netlink {
            what: "to watch links, addresses and routes".to_owned(),
            error,
        };
        let (mut connection, _, messages) = new_multicast_connection(&groups).map_err(failed)?;
        let socket = connection.socket_mut().socket_ref();
        filter::ignore(socket.as_fd(), own).map_err(failed)?;
        Ok(Self {
            messages: Box::pin(messages),
            connection: tokio::spawn(connection),
        })
    }

    /// Waits for a change and takes all that are waiting with it. Bursts are the rule (an interface
    /// that comes up tells a dozen), so wait a little before acting on it. Safe to cancel.
    pub async fn changed(&mut self) -> Result<Changes, HostError> {
        let mut changes = Changes::default();
        while changes == Changes::default() {
            let message = self
                .messages
                .next()
                .await
                .ok_or_else(|| HostError::Netlink {
                    what: "to keep watching links, addresses and routes".to_owned(),
                    error: io::Error::from(io::ErrorKind::ConnectionAborted),
                })?;
            changes.note(&message);
        }
        while let Some(Some(message)) = self.messages.next().now_or_never() {
            changes.note(&message);
        }
        Ok(changes)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Changes {
    fn note(&mut self, (message, _): &Message) {
        match &message.payload {
            NetlinkPayload::InnerMessage(
                RouteNetlinkMessage::NewLink(_) | RouteNetlinkMessage::DelLink(_),
            ) => self.links = true,
            NetlinkPayload::InnerMessage(
                RouteNetlinkMessage::NewAddress(_) | RouteNetlinkMessage::DelAddress(_),
            ) => self.addresses = true,
            NetlinkPayload::InnerMessage(
                RouteNetlinkMessage::NewRoute(_) | RouteNetlinkMessage::DelRoute(_),
            ) => self.routes = true,
            // The socket's buffer ran over: anything may have changed.
            NetlinkPayload::Overrun(_) => {
                *self = Self {
                    links: true,
                    addresses: true,
                    routes: true,
                }
            }
            _ => {}
        }
    }
}
