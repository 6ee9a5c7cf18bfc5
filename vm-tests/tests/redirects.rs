//! ICMP redirects: none is believed, whoever sends it, and none leaves by the tunnel.
//!
//! ```text
//!  host a ── lan0 [gateway a] wan0 ─────────── wan (router) ── wan0 [gateway b] ── host b
//!                          198.51.100.1   .2, and .77: another of the WAN's hosts
//! ```

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use vm_tests::crossway::Crossway;
use vm_tests::netns::Netns;
use vm_tests::packet_socket::{Frames, PacketSocket};
use vm_tests::pair::Pair;
use vm_tests::plan::{self, Shape};
use vm_tests::topology::{Builder, Family, LISTEN_PORT, Topology, Wan};
use vm_tests::traffic::{self, Capture};

const UP: Duration = Duration::from_secs(10);
/// Our address, the router's, and that of the host which the forger would have us use.
const OWN: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const ROUTER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
const OTHER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 77);

#[test]
fn a_forged_redirect_moves_no_packet_of_the_tunnel() {
    let topology = Builder::new(&["a", "b"]).wan(Wan::Router).build().unwrap();
    let gateway = &topology.sites[0].gateway;
    let router = topology.router.as_ref().unwrap();
    let before = "net/ipv4/conf/all/accept_redirects";
    gateway.set_sysctl(before, "1").unwrap();
    for interface in ["lan0", "wan0"] {
        let path = format!("net/ipv4/conf/{interface}/accept_redirects");
        gateway.set_sysctl(&path, "1").unwrap();
    }
    gateway
        .ip(&format!("address add {OWN}/24 dev wan0"))
        .unwrap();
    for address in [ROUTER, OTHER] {
        router
            .ip(&format!("address add {address}/24 dev wan1"))
            .unwrap();
    }
    gateway
        .ip(&format!("route replace default via {ROUTER} src {OWN}"))
        .unwrap();
    // Believed by a host that nobody has told not to: the forgery is one. It must be about a socket.
    let socket = gateway.enter(|| UdpSocket::bind(("0.0.0.0", LISTEN_PORT)));
    assert!(is_redirected(&topology, gateway), "the forgery is no good");
    drop(socket);
    gateway.ip("route flush cache").unwrap();

    let plans = plan::plan(&topology, Shape::FullMesh, Family::V4).unwrap();
    let _b = Crossway::start(&topology, &plans[1]).unwrap();
    let mut a = Crossway::start(&topology, &plans[0]).unwrap();
    let far = topology.sites[1].host_address(Family::V4);
    traffic::wait_for_ping(&topology.sites[0].host, far, UP).unwrap();
    assert!(!is_redirected(&topology, gateway));
    assert!(a.stop().unwrap().success());
    assert_eq!(gateway.sysctl(before).unwrap(), "1");
}

/// Has host a and a host of the WAN forge redirects of the router; whether packets to gateway b take another way then.
fn is_redirected(topology: &Topology, gateway: &Netns) -> bool {
    // A redirect to nobody is not believed.
    let other = OTHER.into();
    traffic::wait_for_ping(gateway, other, UP).unwrap();
    let endpoint = match topology.sites[1].wan_address(Family::V4) {
        std::net::IpAddr::V4(address) => address,
        std::net::IpAddr::V6(_) => unreachable!("asked for IPv4"),
    };
    // The route that a redirect changes is made by use.
    let _ = traffic::ping(gateway, endpoint.into(), 1);
    let router = topology.router.as_ref().unwrap();
    for (from, interface, to) in [
        (&topology.sites[0].host, "eth0", "lan0"),
        (router, "wan1", "wan0"),
    ] {
        let mac = mac_of(gateway, to);
        let mut frames = Frames::default();
        frames.push(&redirect(mac, endpoint));
        let socket = PacketSocket::sender(from, interface).unwrap();
        for _ in 0..3 {
            socket.send(&frames).unwrap();
        }
    }
    // Behind them in the queue of each interface.
    traffic::wait_for_ping(gateway, other, UP).unwrap();
    traffic::wait_for_ping(&topology.sites[0].host, OWN.into(), UP).unwrap();
    let route = gateway.ip(&format!("route get {endpoint}")).unwrap();
    route.contains(&OTHER.to_string())
}

/// "To reach gateway b, go by .77", in the router's name, quoting a packet of the tunnel.
fn redirect(mac: [u8; 6], endpoint: Ipv4Addr) -> Vec<u8> {
    let mut quoted = ipv4(OWN, endpoint, 17, 8);
    quoted.extend_from_slice(&[0xca, 0x6c, 0xca, 0x6c, 0, 8, 0, 0]);
    // Type, code (for a host), checksum, the better router.
    let mut icmp = vec![5, 1, 0, 0];
    icmp.extend_from_slice(&OTHER.octets());
    icmp.extend_from_slice(&quoted);
    let sum = checksum(&icmp);
    icmp[2..4].copy_from_slice(&sum);
    let mut frame = mac.to_vec();
    frame.extend_from_slice(&[2, 0, 0, 0, 0, 9, 8, 0]);
    frame.extend_from_slice(&ipv4(ROUTER, OWN, 1, icmp.len()));
    frame.extend_from_slice(&icmp);
    frame
}

fn ipv4(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, length: usize) -> Vec<u8> {
    let mut header = vec![
        0x45,
        0,
        0,
        (20 + length) as u8,
        0,
        0,
        0,
        0,
        64,
        protocol,
        0,
        0,
    ];
    header.extend_from_slice(&from.octets());
    header.extend_from_slice(&to.octets());
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum);
    header
}

fn checksum(bytes: &[u8]) -> [u8; 2] {
    let words = bytes.chunks(2);
    let sum: u32 = words
        .map(|word| u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0)))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    (!(folded as u16)).to_be_bytes()
}

fn mac_of(netns: &Netns, interface: &str) -> [u8; 6] {
    let shown = netns.ip(&format!("-o link show {interface}")).unwrap();
    let (_, rest) = shown.split_once("link/ether ").unwrap();
    let text = rest.split_whitespace().next().unwrap();
    let mut bytes = text
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16).unwrap());
    std::array::from_fn(|_| bytes.next().unwrap())
}

/// Both ends have 10.0.0.0/8: what neither knows better would go to and fro until its TTL ends.
#[test]
fn a_packet_that_would_go_back_where_it_came_from_is_answered_at_the_first_turn() {
    for fast_path in [true, false] {
        let pair = Pair::start(|plans| {
            for plan in plans {
                plan.peers[0].routes.push("10.0.0.0/8".to_owned());
                plan.peers[0].routes.push("2001:db8::/32".to_owned());
                plan.configure(move |config| config.gateway.fast_path = fast_path);
            }
        })
        .unwrap();
        let gateway = &pair.site_b().gateway;
        let host = &pair.site_a().host;
        for unused in ["10.77.0.1", "2001:db8:77::1"] {
            let tun = pair.b.status().unwrap().tun.name;
            let filter = format!("host {unused}");
            let capture = Capture::start(&pair.topology, gateway, &tun, &filter).unwrap();
            let words = ["-n", "-c", "5", "-i", "0.2", "-W", "1", unused];
            let output = host.command("ping").args(words).output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(said.to_lowercase().contains("unreachable"), "{said}");
            let lines = capture.finish().unwrap();
            // Each in once, and none out again; the errors quote it.
            let passed = lines.iter().filter(|line| line.contains("echo request"));
            assert!(passed.count() <= 5, "{fast_path} {unused}: {lines:?}");
            let redirects = lines.iter().filter(|line| line.contains("redirect"));
            assert_eq!(redirects.count(), 0, "{lines:?}");
        }
    }
}
