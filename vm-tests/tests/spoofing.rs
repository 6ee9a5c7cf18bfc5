//! A site may only send from its routes: the far gateway drops everything else that comes out of the tunnel.
//!
//! ```text
//!   host a ──────────── gateway a ═══ WAN ═══ gateway b ── host b
//!   10.1.0.10            passes it on         drops it     sees nothing
//!   and addresses that are not its site's
//! ```

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use vm_tests::crossway;
use vm_tests::packet_socket::{Frames, PacketSocket};
use vm_tests::plan::{self, Shape};
use vm_tests::topology::{Builder, Family, Site, Wan};
use vm_tests::traffic::{self, Capture, UdpEcho, wire};
use vm_tests::wait;

const LIMIT: Duration = Duration::from_secs(5);
const DATAGRAMS: u64 = 9;
/// Of nobody, and of the far site itself.
const FOREIGN: [&str; 4] = [
    "192.0.2.77",
    "10.2.0.77",
    "2001:db8:bad::77",
    "2001:db8:2::77",
];

#[test]
fn a_source_outside_the_sites_routes_is_dropped_at_the_far_side() {
    let topology = Builder::new(&["a", "b"]).build().unwrap();
    let plans = plan::plan(&topology, Shape::FullMesh, Family::V4).unwrap();
    let gateways = crossway::start_all(&topology, &plans).unwrap();
    let [a, b] = [&topology.sites[0], &topology.sites[1]];
    traffic::exchange_both_ways(a, b, 1 << 16).unwrap();
    let far_wire = Capture::start(&topology, &b.host, "eth0", "udp").unwrap();
    let mut sent = 0;
    for source in FOREIGN {
        send_from(a, b, source.parse().unwrap());
        sent += DATAGRAMS;
    }
    let expected = [("source-not-in-site".to_owned(), sent)];
    let found = wait::until("the drops", LIMIT, || {
        gateways[1]
            .dropped()
            .ok()
            .filter(|found| *found == expected)
    });
    assert_eq!(
        found.unwrap_or_else(|_| gateways[1].dropped().unwrap()),
        expected
    );
    assert_eq!(gateways[0].dropped().unwrap(), []);

    // Datagrams from the site's own address pass, before and after; the capture would have seen the others.
    let echo = UdpEcho::start(&b.host, b.host_address(Family::V4)).unwrap();
    let gap = Duration::from_millis(1);
    assert_eq!(
        traffic::udp_echo(&a.host, echo.address(), 3, 64, gap)
            .unwrap()
            .received,
        3
    );
    let lines = far_wire.wait_for(6, LIMIT).unwrap();
    assert!(
        !lines
            .iter()
            .any(|line| FOREIGN.iter().any(|source| line.contains(source))),
        "{lines:?}"
    );
    traffic::exchange_both_ways(a, b, 1 << 16).unwrap();
    assert_eq!(gateways[1].dropped().unwrap(), expected);
}

fn send_from(from: &Site, to: &Site, source: IpAddr) {
    let (family, length) = if source.is_ipv4() {
        (Family::V4, 32)
    } else {
        (Family::V6, 128)
    };
    let nodad = if source.is_ipv6() { "nodad" } else { "" };
    from.host
        .ip(&format!("address add {source}/{length} dev eth0 {nodad}"))
        .unwrap();
    let socket = from.host.enter(|| UdpSocket::bind((source, 0)));
    let socket = socket.unwrap().unwrap();
    let target = SocketAddr::new(to.host_address(family), 9);
    for _ in 0..DATAGRAMS {
        socket.send_to(b"not from here", target).unwrap();
    }
    // Or it would be the nearest source to other addresses of its kind.
    let address = format!("address delete {source}/{length} dev eth0");
    from.host.ip(&address).unwrap();
}

/// An ICMP message from nowhere that says the path takes less: nobody can tell that it is a lie, and with a message
/// that quotes a tunnel's ports, which are known, everybody could make gateways cut each datagram in two.
#[test]
fn a_forged_fragmentation_needed_does_not_make_the_gateways_fragment() {
    let topology = Builder::new(&["a", "b"]).wan(Wan::Router).build().unwrap();
    let plans = plan::plan(&topology, Shape::FullMesh, Family::V4).unwrap();
    let gateways = crossway::start_all(&topology, &plans).unwrap();
    let [a, b] = [&topology.sites[0], &topology.sites[1]];
    traffic::exchange_both_ways(a, b, 1 << 16).unwrap();

    let router = topology.router.as_ref().unwrap();
    let [from, to] = [b, a].map(|site| site.endpoint(Family::V4));
    let quoted = wire::udp(to, from, &[4; 1400]);
    let message = [&[3, 4, 0, 0, 0, 0, 2, 40], &quoted[..576]].concat();
    let stranger = "198.51.100.66".parse().unwrap();
    let mut packet = wire::ip(stranger, to.ip(), 1, &message);
    wire::fix_transport_checksum(&mut packet);
    let mut frames = Frames::default();
    let ends = (
        wire::mac_of(router, "wan1").unwrap(),
        wire::mac_of(&a.gateway, "wan0").unwrap(),
    );
    frames.push(&wire::frame(ends.0, ends.1, &packet));
    let socket = PacketSocket::sender(router, "wan1").unwrap();
    assert_eq!(socket.send(&frames).unwrap(), 0);
    wait::until("the message", LIMIT, || {
        (snmp(a, "Icmp", "InDestUnreachs") > 0).then_some(())
    })
    .unwrap();

    traffic::exchange_both_ways(a, b, 1 << 20).unwrap();
    assert_eq!(snmp(a, "Ip", "FragCreates"), 0);
    assert_eq!(gateways[0].dropped().unwrap(), []);
}

/// A counter of the gateway's kernel.
fn snmp(site: &Site, protocol: &str, counter: &str) -> u64 {
    let read = || std::fs::read_to_string("/proc/thread-self/net/snmp");
    let text = site.gateway.enter(read).unwrap().unwrap();
    let mut lines = text.lines().filter_map(|line| line.split_once(": "));
    let (_, names) = lines.find(|(name, _)| *name == protocol).unwrap();
    let (_, numbers) = lines.next().unwrap();
    let mut pairs = names.split(' ').zip(numbers.split(' '));
    let (_, number) = pairs.find(|(name, _)| *name == counter).unwrap();
    number.parse().unwrap()
}
