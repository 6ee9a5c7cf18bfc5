//! After kill -9: the next agent takes over without a gap, and its clean stop restores what the
//! first one found.

use crossway_host::site_routes::PROTOCOL;
use crossway_host::{Host, Report};
use futures::StreamExt;
use rtnetlink::packet_core::NetlinkPayload;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::route::RouteMessage;
use rtnetlink::{MulticastGroup, new_multicast_connection};

use crate::lab::{Tun, assert_same, gateway, in_namespace, ip, snapshot, state_path};
use crate::{TUN, address, wanted};

#[test]
fn a_killed_agents_host_is_taken_over_without_a_gap() {
    in_namespace(async || {
        gateway();
        let before = snapshot();
        let path = state_path();
        let mut killed = Host::connect_with_state(path.clone()).await.unwrap();
        killed.claim_tun(TUN).await.unwrap();
        let tun = Tun::open(TUN);
        killed.apply(&wanted()).await.unwrap();
        drop((killed, tun));

        let monitor = Monitor::start();
        let mut next = Host::connect_with_state(path.clone()).await.unwrap();
        next.claim_tun(TUN).await.unwrap();
        let _tun = Tun::open(TUN);
        let mut wanted = wanted();
        let report = next.apply(&wanted).await.unwrap();
        assert_eq!(report, Report::default(), "all is as wanted");

        // Another source for every route of IPv4, one prefix more and one less.
        wanted.addresses = vec![address("10.255.0.9", 32)];
        wanted.routes[1] = "10.4.0.0/24".parse().unwrap();
        next.apply(&wanted).await.unwrap();
        let removed = monitor.removed_routes().await;
        assert_eq!(removed, ["10.3.0.0/24"]);
        let routes = ip("route show proto 199");
        assert_eq!(routes.matches("src 10.255.0.9").count(), 2, "{routes}");

        next.restore().await.unwrap();
        assert_same(&before, &snapshot());
        assert!(!path.exists());
    });
}

#[test]
fn a_tun_with_our_routes_is_ours_even_if_the_state_is_lost() {
    in_namespace(async || {
        gateway();
        let mut killed = Host::connect_with_state(state_path()).await.unwrap();
        killed.claim_tun(TUN).await.unwrap();
        let tun = Tun::open(TUN);
        killed.apply(&wanted()).await.unwrap();
        drop((killed, tun));

        let mut next = Host::connect_with_state(state_path()).await.unwrap();
        next.claim_tun(TUN).await.unwrap();
        next.restore().await.unwrap();
        assert!(!ip("link").contains(TUN));
    });
}

#[test]
fn the_state_of_another_network_namespace_is_void() {
    let path = state_path();
    let same = path.clone();
    in_namespace(async move || {
        gateway();
        let mut killed = Host::connect_with_state(same).await.unwrap();
        killed.claim_tun(TUN).await.unwrap();
        let _tun = Tun::open(TUN);
        killed.apply(&wanted()).await.unwrap();
    });
    in_namespace(async move || {
        gateway();
        // As our first agent had set it, but somebody else's here.
        crate::lab::set_sysctl("ipv4/conf/lan/forwarding", "1");
        let before = snapshot();
        let mut host = Host::connect_with_state(path).await.unwrap();
        host.restore().await.unwrap();
        assert_same(&before, &snapshot());
    });
}

/// Listens to the kernel's notes on routes.
struct Monitor {
    messages: std::pin::Pin<Box<dyn futures::Stream<Item = RouteNetlinkMessage>>>,
}

impl Monitor {
    fn start() -> Self {
        let groups = [MulticastGroup::Ipv4Route, MulticastGroup::Ipv6Route];
        let (connection, _, messages) = new_multicast_connection(&groups).unwrap();
        tokio::spawn(connection);
        let messages = messages.filter_map(async |(message, _)| match message.payload {
            NetlinkPayload::InnerMessage(message) => Some(message),
            _ => None,
        });
        Self {
            messages: Box::pin(messages),
        }
    }

    /// Prefixes of our routes that were removed up to now: a route that is added as a mark tells
    /// that all notes before it have come.
    async fn removed_routes(mut self) -> Vec<String> {
        ip("route add 192.0.2.1/32 dev lan");
        let mut removed = Vec::new();
        loop {
            let next = tokio::time::timeout(crate::lab::PATIENCE, self.messages.next());
            match next.await.expect("the mark is told").unwrap() {
                RouteNetlinkMessage::DelRoute(route)
                    if u8::from(route.header.protocol) == PROTOCOL =>
                {
                    removed.push(shown(&route));
                }
                RouteNetlinkMessage::NewRoute(route) if shown(&route) == "192.0.2.1/32" => break,
                _ => {}
            }
        }
        ip("route del 192.0.2.1/32 dev lan");
        removed
    }
}

fn shown(route: &RouteMessage) -> String {
    use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute};
    let address = route
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(address)) => Some(address.to_string()),
            RouteAttribute::Destination(RouteAddress::Inet6(address)) => Some(address.to_string()),
            _ => None,
        });
    let length = route.header.destination_prefix_length;
    format!("{}/{length}", address.unwrap_or_default())
}
