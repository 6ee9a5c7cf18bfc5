//! Sizes at the edges of what a tunnel of 1420 bytes takes.

use std::net::{IpAddr, UdpSocket};
use std::time::Duration;

use vm_tests::sys;
use vm_tests::topology::{Family, Site, Topology};
use vm_tests::traffic::{Capture, UdpEcho, udp_echo};
use vm_tests::wait;

const LIMIT: Duration = Duration::from_secs(5);
/// What Crossway and wg-quick both make of a WAN of 1500.
const TUNNEL_MTU: usize = 1420;
/// Least MTU of IPv6 (RFC 8200, 5).
const LEAST_IPV6: usize = 1280;
/// WireGuard pads to multiples of this (whitepaper 5.4.6).
const PADDED_TO: usize = 16;
/// `UDP_SEGMENT` of linux/udp.h.
const UDP_SEGMENT: libc::c_int = 103;
/// Datagrams in one call.
const SEGMENTS: usize = 20;

/// Everything from `from` to `to`, with its answers.
pub(super) fn all_pass(topology: &Topology, from: &Site, to: &Site, family: Family) {
    every_padding_passes(from, to, family);
    the_mtu_passes_and_one_byte_more_is_answered(topology, from, to, family);
    super_packets_pass(from, to, family);
}

/// ICMP and IP, or UDP and IP: both 8.
fn headers(family: Family) -> usize {
    match family {
        Family::V4 => 28,
        Family::V6 => 48,
    }
}

/// At the lower end, and at the upper, where there is no room to pad.
fn every_padding_passes(from: &Site, to: &Site, family: Family) {
    let target = to.host_address(family);
    for size in 0..=PADDED_TO {
        ping(from, target, size).unwrap();
    }
    let echo = UdpEcho::start(&to.host, target).unwrap();
    let most = TUNNEL_MTU - headers(family);
    for size in most - PADDED_TO..=most {
        let gap = Duration::from_millis(1);
        let report = udp_echo(&from.host, echo.address(), 1, size, gap).unwrap();
        assert_eq!(report.received, 1, "{size} bytes to {target}");
    }
    if family == Family::V6 {
        ping(from, target, LEAST_IPV6 - headers(family)).unwrap();
    }
}

fn the_mtu_passes_and_one_byte_more_is_answered(
    topology: &Topology,
    from: &Site,
    to: &Site,
    family: Family,
) {
    let target = to.host_address(family);
    let whole = TUNNEL_MTU - headers(family);
    ping(from, target, whole).unwrap();
    let filter = match family {
        Family::V4 => "icmp[0]=3",
        Family::V6 => "icmp6 and ip6[40]=2",
    };
    let answers = Capture::start(topology, &from.host, "eth0", filter).unwrap();
    assert!(ping(from, target, whole + 1).is_err());
    let line = answers.wait_for(1, LIMIT).unwrap().remove(0);
    let says = match family {
        Family::V4 => format!("need to frag (mtu {TUNNEL_MTU})"),
        Family::V6 => format!("packet too big, mtu {TUNNEL_MTU}"),
    };
    assert!(line.contains(&says), "{line}");
}

fn ping(from: &Site, target: IpAddr, size: usize) -> anyhow::Result<String> {
    from.host
        .run(&format!("ping -n -c 1 -W 2 -M do -s {size} {target}"))
}

/// Datagrams that the host hands to its cable as one packet (`UDP_SEGMENT`), the largest that fit and middling ones.
fn super_packets_pass(from: &Site, to: &Site, family: Family) {
    let (source, target) = (from.host_address(family), to.host_address(family));
    let cable = "ethtool -K eth0 tx-udp-segmentation";
    from.host.run(&format!("{cable} on")).unwrap();
    let bind = |site: &Site, address: IpAddr| {
        let socket = site.host.enter(|| UdpSocket::bind((address, 0)));
        socket.unwrap().unwrap()
    };
    let receiver = bind(to, target);
    receiver.set_read_timeout(Some(LIMIT)).unwrap();
    let sender = bind(from, source);
    sender.connect(receiver.local_addr().unwrap()).unwrap();
    for size in [TUNNEL_MTU - headers(family), 1000] {
        let value = (size as libc::c_int).to_ne_bytes();
        sys::set_socket_option(&sender, libc::SOL_UDP, UDP_SEGMENT, &value).unwrap();
        let content: Vec<u8> = (0..SEGMENTS * size).map(|at| (at / 7) as u8).collect();
        // The last of them is shorter.
        let content = &content[..content.len() - 11];
        sender.send(content).unwrap();
        let mut came = Vec::new();
        let mut buffer = vec![0; size + 1];
        wait::until("all of a super-packet", LIMIT, || {
            let length = receiver.recv(&mut buffer).ok()?;
            came.push(buffer[..length].to_vec());
            (came.len() == SEGMENTS).then_some(())
        })
        .unwrap();
        let sent: Vec<&[u8]> = content.chunks(size).collect();
        assert!(
            came == sent,
            "other content, or another order, of {size} bytes"
        );
    }
    from.host.run(&format!("{cable} off")).unwrap();
}
