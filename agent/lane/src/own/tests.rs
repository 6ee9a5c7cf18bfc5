use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::*;
use crossway_liveness::settings::Liveness;
use crossway_sys::clock;
use crossway_tunnel::PeerSpec;
use crossway_tunnel::noise::Identity;
use crossway_tunnel::tai64n::Calendar;
use crossway_tunnel::transmit::{Endpoint, Transmits};
use crossway_types::engine::Engine;
use crossway_types::ids::SiteId;
use crossway_types::packet::write::Ip;

const PORT: u16 = 51820;
/// Addresses of this host, whatever host it is.
const OWN: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
];
/// Addresses of the peer.
const FAR: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7)),
];
const LAN_HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 99));

/// A tunnel with one peer, there.
fn tunnel_to(far: IpAddr, now: Instant) -> Tunnel {
    let calendar = Calendar::new(now, clock::since_epoch());
    let mut tunnel = Tunnel::new(Identity::new([7; 32]), calendar, Arc::default(), now);
    let spec = PeerSpec {
        link: LinkId(5),
        site: Some(SiteId(1)),
        engine: Engine::Crossway,
        receiver_index: 1,
        public_key: Identity::new([8; 32]).public_key(),
        preshared_key: None,
        keepalive: None,
        endpoint: Some(Endpoint::new((far, PORT).into())),
        interface: None,
        liveness: Liveness::default(),
        probe_source: None,
    };
    tunnel.add_peer(spec, now, &mut Transmits::new());
    tunnel
}

fn of_lane(listen: &str) -> OwnDatagrams {
    OwnDatagrams::of(listen.parse().unwrap())
}

fn udp(source: IpAddr, destination: IpAddr, ports: (u16, u16)) -> Vec<u8> {
    let ip = Ip {
        source,
        destination,
        class: 0,
        dont_fragment: false,
        ttl: 64,
        protocol: packet::UDP,
    };
    let mut packet = vec![0; 200];
    let length = ip.write_udp(ports, &[4; 100], &mut packet);
    packet.truncate(length);
    packet
}

/// The first piece of a datagram, and the one after it.
fn fragments(source: IpAddr, destination: IpAddr) -> [Vec<u8>; 2] {
    let whole = udp(source, destination, (PORT, PORT));
    [(0u16, true), (104, false)].map(|(offset, more)| {
        let mut piece = whole.clone();
        if source.is_ipv4() {
            let word = (offset >> 3) | if more { 0x2000 } else { 0 };
            piece[6..8].copy_from_slice(&word.to_be_bytes());
        } else {
            piece[6] = FRAGMENT;
            let word = (offset | u16::from(more)).to_be_bytes();
            let header = [packet::UDP, 0, word[0], word[1], 0, 0, 0, 9];
            piece.splice(40..40, header);
        }
        piece
    })
}

#[test]
fn our_own_datagram_to_a_peer_is_known_in_both_families_and_control_is_told() {
    let now = clock::now();
    for (own, far) in OWN.into_iter().zip(FAR) {
        let tunnel = tunnel_to(far, now);
        let mut datagrams = of_lane("[::]:51820");
        assert_eq!(datagrams.swallowed(now), []);
        for _ in 0..3 {
            assert!(datagrams.contain(&udp(own, far, (PORT, PORT)), &tunnel, now));
        }
        let told = Swallowed {
            endpoint: far,
            link: Some(LinkId(5)),
            last: now,
        };
        assert_eq!(datagrams.swallowed(now), [told]);
        assert_eq!(datagrams.swallowed(now + TOLD_FOR), []);
    }
}

#[test]
fn both_pieces_of_our_own_datagram_are_known_and_those_of_others_are_not() {
    let now = clock::now();
    for (own, far) in OWN.into_iter().zip(FAR) {
        let tunnel = tunnel_to(far, now);
        let mut datagrams = of_lane("[::]:51820");
        let [first, second] = fragments(own, far);
        assert!(
            !datagrams.contain(&second, &tunnel, now),
            "none went before"
        );
        assert!(datagrams.contain(&first, &tunnel, now));
        assert!(datagrams.contain(&second, &tunnel, now));
        if own.is_ipv4() {
            let [_, second] = fragments(LAN_HOST, far);
            assert!(!datagrams.contain(&second, &tunnel, now));
        }
    }
}

#[test]
fn what_others_send_passes_however_like_ours_it_is() {
    let now = clock::now();
    let (own, far) = (OWN[0], FAR[0]);
    let tunnel = tunnel_to(far, now);
    let passes = |listen: &str, packet: &[u8]| !of_lane(listen).contain(packet, &tunnel, now);
    let all = "0.0.0.0:51820";
    assert!(
        passes(all, &udp(LAN_HOST, far, (PORT, PORT))),
        "of a host with WireGuard"
    );
    assert!(
        passes(all, &udp(own, far, (PORT + 1, PORT))),
        "from another port"
    );
    assert!(
        passes(all, &udp(own, LAN_HOST, (PORT, PORT))),
        "masqueraded, to a host"
    );
    assert!(
        passes(all, &udp(own, far, (PORT, PORT + 1))),
        "masqueraded, to another port"
    );
    assert!(
        passes("192.0.2.1:51820", &udp(own, far, (PORT, PORT))),
        "we listen elsewhere"
    );
    let mut tcp = udp(own, far, (PORT, PORT));
    tcp[9] = packet::TCP;
    assert!(passes(all, &tcp));
    for length in 0..28 {
        let cut = &udp(own, far, (PORT, PORT))[..length];
        // Whole addresses and ports are enough; less is nobody's.
        assert_eq!(passes(all, cut), length < 24, "{length}");
    }
}

#[test]
fn a_datagram_of_another_lane_is_known_by_its_port() {
    let now = clock::now();
    let tunnel = tunnel_to(FAR[0], now);
    let elsewhere = IpAddr::from([198, 51, 100, 9]);
    let mut datagrams = of_lane("0.0.0.0:51821");
    datagrams.seat(1, 3);
    for (port, own) in [(51819, false), (51820, true), (51822, true), (51823, false)] {
        let packet = udp(OWN[0], elsewhere, (port, PORT));
        assert_eq!(datagrams.contain(&packet, &tunnel, now), own, "{port}");
    }
}

#[test]
fn a_verdict_does_not_outlive_what_it_was_about() {
    let now = clock::now();
    let packet = udp(OWN[0], FAR[0], (PORT, PORT));
    let mut datagrams = of_lane("0.0.0.0:51820");
    let elsewhere = tunnel_to(LAN_HOST, now);
    assert!(!datagrams.contain(&packet, &elsewhere, now));
    // The peer has moved.
    let there = tunnel_to(FAR[0], now);
    assert!(datagrams.contain(&packet, &there, now + VERDICT_HOLDS));
}
