//! What passes a gateway on its way to others is none of `wan_guard`'s business: a WireGuard of a host behind it, routed
//! or behind NAT, has the same port as the tunnel.
//!
//! ```text
//!   host b 10.2.0.10:51820 ── gateway b, xdp = "generic" ── wan ── gateway a
//!   hosts                      (routes or translates)        a stranger's WireGuard, 51820
//! ```

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use vm_tests::config::XdpChoice;
use vm_tests::crossway::{self, Crossway};
use vm_tests::netns::Netns;
use vm_tests::plan::{self, Shape};
use vm_tests::topology::{Builder, Family, LISTEN_PORT, Topology, Wan};
use vm_tests::{traffic, wait};

const LIMIT: Duration = Duration::from_secs(10);

#[test]
fn a_wireguard_behind_the_gateway_gets_its_messages() {
    let (topology, gateways) = two_sites();
    let b = &topology.sites[1];
    let stranger = topology.router.as_ref().unwrap();
    let by = b.wan_address(Family::V4);
    stranger
        .ip(&format!("route add 10.2.0.0/24 via {by}"))
        .unwrap();
    let host = SocketAddr::new(b.host_address(Family::V4), LISTEN_PORT);
    let theirs = bind(&b.host, host);
    let ours = bind(stranger, "0.0.0.0:4433".parse().unwrap());
    for message in [
        message(4, 64),
        message(1, 148),
        message(0x40, 1200),
        vec![7; 8],
    ] {
        ours.send_to(&message, host).unwrap();
        assert_eq!(receive(&theirs).unwrap(), message);
    }
    // The same for the gateway itself ends there.
    let tunnel = b.endpoint(Family::V4);
    ours.send_to(&message(4, 64), tunnel).unwrap();
    ours.send_to(&message(0x40, 64), tunnel).unwrap();
    let named = |reason: &str| {
        let drops = gateways[1].dropped().unwrap();
        drops.iter().any(|(found, _)| found == reason)
    };
    wait::until("the drops", LIMIT, || {
        (named("wan-unknown-receiver") && named("wan-bad-type")).then_some(())
    })
    .unwrap();
}

#[test]
fn a_wireguard_behind_nat_gets_its_answers() {
    let (topology, gateways) = two_sites();
    let b = &topology.sites[1];
    for line in [
        "nft add table ip beside",
        "nft add chain ip beside nat { type nat hook postrouting priority 100 ; }",
        "nft add rule ip beside nat oifname wan0 ip saddr 10.2.0.0/24 masquerade",
    ] {
        b.gateway.run(line).unwrap();
    }
    let stranger = topology.router.as_ref().unwrap();
    let server = bind(stranger, format!("0.0.0.0:{LISTEN_PORT}").parse().unwrap());
    let host = SocketAddr::new(b.host_address(Family::V4), LISTEN_PORT);
    let client = bind(&b.host, host);
    let to = match b.wan_address(Family::V4) {
        // The other end of gateway b's cable.
        std::net::IpAddr::V4(address) => {
            SocketAddr::from((std::net::Ipv4Addr::from(address.to_bits() + 1), LISTEN_PORT))
        }
        std::net::IpAddr::V6(_) => unreachable!("asked for IPv4"),
    };
    // The agent looks every few seconds.
    let answered = wait::until("an answer", LIMIT, || {
        client.send_to(&message(1, 148), to).ok()?;
        let mut buffer = [0; 2048];
        let (_, from) = server.recv_from(&mut buffer).ok()?;
        assert_eq!(
            from,
            SocketAddr::new(b.wan_address(Family::V4), LISTEN_PORT)
        );
        server.send_to(&message(4, 96), from).ok()?;
        receive(&client)
    });
    assert_eq!(answered.unwrap(), message(4, 96));
    let [a, b] = [&topology.sites[0], &topology.sites[1]];
    traffic::exchange_both_ways(a, b, 1 << 16).unwrap();
    drop(gateways);
}

/// A message of a type, with a receiver index of nobody's.
fn message(kind: u8, length: usize) -> Vec<u8> {
    let mut bytes = vec![kind, 0, 0, 0, 9, 9, 9, 9, 8, 8, 8, 8];
    bytes.resize(length, 0x5a);
    bytes
}

fn bind(netns: &Netns, address: SocketAddr) -> UdpSocket {
    let socket = netns.enter(|| UdpSocket::bind(address)).unwrap().unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(1)))
        .unwrap();
    socket
}

fn receive(socket: &UdpSocket) -> Option<Vec<u8>> {
    let mut buffer = [0; 2048];
    match socket.recv(&mut buffer) {
        Ok(length) => Some(buffer[..length].to_vec()),
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        Err(error) => panic!("{error}"),
    }
}

fn two_sites() -> (Topology, Vec<Crossway>) {
    let topology = Builder::new(&["a", "b"]).wan(Wan::Router).build().unwrap();
    topology.sites[1]
        .gateway
        .set_sysctl("net/ipv4/ip_forward", "1")
        .unwrap();
    let mut plans = plan::plan(&topology, Shape::FullMesh, Family::V4).unwrap();
    plans[1].configure(|config| config.gateway.wan[0].xdp = XdpChoice::Generic);
    let gateways = crossway::start_all(&topology, &plans).unwrap();
    (topology, gateways)
}
