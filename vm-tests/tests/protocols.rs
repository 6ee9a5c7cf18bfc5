//! What is neither plain TCP, UDP nor ICMP: other IP protocols, fragments, options.
//!
//! ```text
//!   host a ── gateway a ═══ WAN, outer IPv4 ═══ gateway b ── host b
//!   10.1.0.10, 2001:db8:1::10          10.2.0.10, 2001:db8:2::10
//! ```

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use vm_tests::crossway::{self, Crossway};
use vm_tests::plan::{self, Shape};
use vm_tests::topology::{Builder, Family, Site, Topology};
use vm_tests::traffic::{self, Capture, RawSocket, Recording, UdpEcho};
use vm_tests::{sys, wait};

const LIMIT: Duration = Duration::from_secs(5);
const UP: Duration = Duration::from_secs(10);
/// GRE, ESP, SCTP, one for experiments (RFC 3692), one that nobody uses.
const PROTOCOLS: [u8; 5] = [47, 50, 132, 253, 200];

#[test]
fn other_protocols_pass_both_ways_with_their_content() {
    let (topology, _gateways) = two_sites();
    for family in Family::ALL {
        for protocol in PROTOCOLS {
            let [a, b] = [&topology.sites[0], &topology.sites[1]];
            let (to_b, to_a) = (b.host_address(family), a.host_address(family));
            let at_a = RawSocket::open(&a.host, protocol, to_b).unwrap();
            let at_b = RawSocket::open(&b.host, protocol, to_a).unwrap();
            for length in [1, 8, 64, 1300] {
                // Zero in the first bytes: as GRE, a header without options.
                let mut payload = vec![0; length];
                payload.iter_mut().skip(4).for_each(|byte| *byte = protocol);
                at_a.send(&payload).unwrap();
                assert_eq!(at_b.receive(LIMIT).unwrap(), (to_a, payload.clone()));
                at_b.send(&payload).unwrap();
                assert_eq!(at_a.receive(LIMIT).unwrap(), (to_b, payload));
            }
        }
    }
}

#[test]
fn ipv4_fragments_pass_both_ways_and_are_joined_by_the_far_host() {
    let (topology, gateways) = two_sites();
    let [a, b] = [&topology.sites[0], &topology.sites[1]];
    for (from, to) in [(a, b), (b, a)] {
        // The host cuts at 1500, the gateway again at the tunnel's MTU.
        let wire = Capture::start(&topology, &to.host, "eth0", "udp or ip[6:2]&0x3fff!=0").unwrap();
        every_echo_returns(from, to, Family::V4, 4000);
        let lines = wire.finish().unwrap();
        let coming = lines.iter().filter(|line| is_from(line, from));
        assert!(coming.count() >= 10 * 3, "no fragments in {lines:?}");
    }
    nothing_was_dropped(&gateways);
}

#[test]
fn ipv6_fragments_pass_both_ways_and_are_joined_by_the_far_host() {
    let (topology, gateways) = two_sites();
    let [a, b] = [&topology.sites[0], &topology.sites[1]];
    for (from, to) in [(a, b), (b, a)] {
        // The first is too big for the tunnel: the hosts learn its MTU and cut anew.
        learn_the_mtu(from, to);
        learn_the_mtu(to, from);
        let wire = Capture::start(&topology, &to.host, "eth0", "ip6[6]=44").unwrap();
        every_echo_returns(from, to, Family::V6, 4000);
        let lines = wire.finish().unwrap();
        let coming = lines.iter().filter(|line| is_from(line, from));
        assert!(coming.count() >= 10 * 3, "no fragments in {lines:?}");
    }
    nothing_was_dropped(&gateways);
}

#[test]
fn ipv4_options_arrive_and_routers_write_into_them() {
    let (topology, gateways) = two_sites();
    let [a, b] = [&topology.sites[0], &topology.sites[1]];
    for (gateway, (from, to)) in gateways.iter().zip([(a, b), (b, a)]) {
        // Record Route with room for three addresses (RFC 791, 3.1), then the end of the options.
        let mut options = [0; 16];
        options[..3].copy_from_slice(&[7, 15, 4]);
        let before = gateway.left_to_stack("ip-options").unwrap();
        let wire = Recording::start(&topology, &to.host, "eth0").unwrap();
        let option = (libc::IPPROTO_IP, libc::IP_OPTIONS);
        let seen = send_with_option(from, to, Family::V4, option, &options);
        assert_eq!(seen, from.host_address(Family::V4));
        let packets = wait::until("the datagram", LIMIT, || {
            let packets = wire.packets().unwrap();
            Some(packets).filter(|packets| packets.iter().any(|packet| packet.protocol == 17))
        });
        let packets = packets.unwrap();
        let packet = packets.iter().find(|packet| packet.protocol == 17).unwrap();
        let written = &packet.content[20..36];
        // The option is full: the host and both gateways wrote where they sent it from.
        assert_eq!((packet.content[0], written[2]), (0x49, 16));
        let wrote = [&written[3..7], &written[7..11], &written[11..15]];
        let [host, near, far] = [
            from.host_address(Family::V4),
            from.gateway_address(Family::V4),
            to.gateway_address(Family::V4),
        ];
        assert_eq!(wrote, [host, near, far].map(octets));
        let after = gateway.left_to_stack("ip-options").unwrap();
        assert_eq!(after, before + 1);
    }
    nothing_was_dropped(&gateways);
}

#[test]
fn ipv6_extension_headers_pass_both_ways() {
    let (topology, gateways) = two_sites();
    let [a, b] = [&topology.sites[0], &topology.sites[1]];
    // Next header (filled in by the kernel), length, PadN of 4 (RFC 8200, 4.2).
    let padding = [0, 0, 1, 4, 0, 0, 0, 0];
    for (gateway, (from, to)) in gateways.iter().zip([(a, b), (b, a)]) {
        // Destination options are for the host alone; hop-by-hop options every router must see.
        for (name, first, to_the_stack) in [
            (libc::IPV6_DSTOPTS, "ip6[6]=60", 0),
            (libc::IPV6_HOPOPTS, "ip6[6]=0", 1),
        ] {
            let before = gateway.left_to_stack("extension-header").unwrap();
            // Of the sender only: multicast listener reports have hop-by-hop options, too.
            let filter = format!("{first} and src host {}", from.host_address(Family::V6));
            let wire = Capture::start(&topology, &to.host, "eth0", &filter).unwrap();
            let option = (libc::IPPROTO_IPV6, name);
            let seen = send_with_option(from, to, Family::V6, option, &padding);
            assert_eq!(seen, from.host_address(Family::V6));
            assert_eq!(wire.wait_for(1, LIMIT).unwrap().len(), 1);
            let after = gateway.left_to_stack("extension-header").unwrap();
            assert_eq!(after, before + to_the_stack, "{first}");
        }
    }
    nothing_was_dropped(&gateways);
}

fn two_sites() -> (Topology, Vec<Crossway>) {
    let topology = Builder::new(&["a", "b"]).build().unwrap();
    let plans = plan::plan(&topology, Shape::FullMesh, Family::V4).unwrap();
    let gateways = crossway::start_all(&topology, &plans).unwrap();
    let [a, b] = [&topology.sites[0], &topology.sites[1]];
    for family in Family::ALL {
        traffic::wait_for_ping(&a.host, b.host_address(family), UP).unwrap();
    }
    (topology, gateways)
}

fn every_echo_returns(from: &Site, to: &Site, family: Family, size: usize) {
    let echo = UdpEcho::start(&to.host, to.host_address(family)).unwrap();
    let gap = Duration::from_millis(2);
    let report = traffic::udp_echo(&from.host, echo.address(), 10, size, gap).unwrap();
    assert_eq!(report.received, 10);
    assert_eq!(echo.sources_seen(), [from.host_address(family)]);
}

fn learn_the_mtu(from: &Site, to: &Site) {
    let echo = UdpEcho::start(&to.host, to.host_address(Family::V6)).unwrap();
    let gap = Duration::from_millis(2);
    wait::try_until("an echo of 4000 bytes", UP, || {
        let report = traffic::udp_echo(&from.host, echo.address(), 1, 4000, gap)?;
        Ok((report.received == 1).then_some(()))
    })
    .unwrap();
}

/// Sends one datagram with a socket option set; the source that the far host saw.
fn send_with_option(
    from: &Site,
    to: &Site,
    family: Family,
    (level, name): (libc::c_int, libc::c_int),
    value: &[u8],
) -> IpAddr {
    let bind = |site: &Site| {
        let address = SocketAddr::new(site.host_address(family), 0);
        site.host
            .enter(|| UdpSocket::bind(address))
            .unwrap()
            .unwrap()
    };
    let (sender, receiver) = (bind(from), bind(to));
    sys::set_socket_option(&sender, level, name, value).unwrap();
    let target = receiver.local_addr().unwrap();
    sender.send_to(b"with options", target).unwrap();
    receiver.set_read_timeout(Some(LIMIT)).unwrap();
    let mut buffer = [0; 64];
    let (length, source) = receiver.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"with options");
    source.ip()
}

fn octets(address: IpAddr) -> [u8; 4] {
    match address {
        IpAddr::V4(address) => address.octets(),
        IpAddr::V6(_) => unreachable!("asked for IPv4"),
    }
}

fn is_from(line: &str, site: &Site) -> bool {
    Family::ALL.iter().any(|family| {
        let source = site.host_address(*family).to_string();
        line.split_whitespace()
            .nth(1)
            .is_some_and(|word| word.starts_with(&source))
    })
}

fn nothing_was_dropped(gateways: &[Crossway]) {
    for gateway in gateways {
        assert_eq!(gateway.dropped().unwrap(), [], "{}", gateway.name());
    }
}
