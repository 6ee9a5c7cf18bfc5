//! The table: frames of hosts, and what `lan_ingress` makes of each.

use datapath_abi::outcome::StackReason::{
    ExtensionHeader, IpOptions, KernelRoute, Malformed, NoRoute, NotForUs, NotIp, NotRoutable,
    SiteDown, TooBig, TtlExpiring, VlanTagged,
};

use super::{from, to, v4, v6};
use crate::{
    case::{Case, redirect, stack},
    frame::{DESTINATION_OPTIONS, ETHERNET, HOP_BY_HOP, PROVIDER_VLAN, Packet, ROUTING, TCP, VLAN},
};

#[rustfmt::skip]
#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn corpus() -> Vec<Case> {
    let v4_tcp = || v4().tcp(1000, 443, 0x18, 100);
    let v6_tcp = || v6().tcp(1000, 443, 0x18, 100);
    let options = [0; 7];
    vec![
        // Every protocol, both families.
        redirect("IPv4 TCP", v4_tcp().frame()),
        redirect("IPv4 UDP", v4().udp(5000, 53, b"question").frame()),
        redirect("IPv4 UDP, empty", v4().udp(5000, 53, b"").frame()),
        redirect("IPv4 SCTP", v4().transport(132, &[7; 12]).frame()),
        redirect("IPv4 DCCP", v4().transport(33, &[7; 16]).frame()),
        redirect("IPv4 UDP-Lite", v4().transport(136, &[7; 8]).frame()),
        redirect("IPv4 ICMP echo", v4().icmp(8, 77).frame()),
        redirect("IPv4 ICMP unreachable", v4().icmp(3, 0).frame()),
        redirect("IPv4 GRE", v4().transport(47, &[0; 4]).frame()),
        redirect("IPv4 unknown protocol, no payload", v4().frame()),
        redirect("IPv6 TCP", v6_tcp().frame()),
        redirect("IPv6 UDP", v6().udp(5000, 53, b"question").frame()),
        redirect("IPv6 SCTP", v6().transport(132, &[7; 12]).frame()),
        redirect("IPv6 ICMPv6 echo", v6().icmp(128, 77).frame()),
        redirect("IPv6 ICMPv6 too big", v6().icmp(2, 0).frame()),
        redirect("IPv6 no next header", v6().transport(59, b"").frame()),
        redirect("IPv6 with ICMP of IPv4", v6().transport(1, &[8; 4]).frame()),
        redirect("Ethernet padding", padded(v4().udp(1, 2, b"").frame())),
        redirect("TTL 2", v4_tcp().ttl(2).frame()),
        redirect("TTL 255", v4_tcp().ttl(255).frame()),
        redirect("hop limit 2", v6_tcp().ttl(2).frame()),
        // Fragments.
        redirect("IPv4 first fragment", v4_tcp().fragment(0, true).frame()),
        redirect("IPv4 middle fragment", v4().transport(TCP, &[1; 4]).fragment(20, true).frame()),
        redirect("IPv4 last fragment", v4().transport(TCP, &[1; 1]).fragment(20, false).frame()),
        redirect("IPv6 first fragment", v6_tcp().fragment6(0, true).frame()),
        redirect("IPv6 last fragment", v6().transport(TCP, &[1; 4]).fragment6(20, false).frame()),
        redirect("IPv6 atomic fragment", v6_tcp().fragment6(0, false).frame()),
        // Extension headers.
        redirect("destination options", v6_tcp().extension(DESTINATION_OPTIONS, &options).frame()),
        redirect("destination options of 24 bytes", v6_tcp().extension(DESTINATION_OPTIONS, &long_options()).frame()),
        redirect("four extension headers", extended(v6_tcp(), 4).frame()),
        stack("five extension headers", extended(v6_tcp(), 5).frame(), ExtensionHeader),
        stack("hop-by-hop options", v6_tcp().extension(HOP_BY_HOP, &options).frame(), ExtensionHeader),
        stack("routing header", v6_tcp().extension(ROUTING, &options).frame(), ExtensionHeader),
        stack("extension header beyond the packet", patched(&v6().extension(DESTINATION_OPTIONS, &options), &[(41, 200)]), Malformed),
        // VLAN tags.
        redirect("priority tag", v4_tcp().tagged(&[(VLAN, 0x6000)])),
        redirect("two priority tags", v4_tcp().tagged(&[(PROVIDER_VLAN, 0), (VLAN, 0xe000)])),
        redirect("priority tag, IPv6", v6_tcp().tagged(&[(VLAN, 0x6000)])),
        stack("VLAN", v4_tcp().tagged(&[(VLAN, 100)]), VlanTagged),
        stack("VLAN, IPv6", v6_tcp().tagged(&[(VLAN, 100)]), VlanTagged),
        stack("QinQ", v4_tcp().tagged(&[(PROVIDER_VLAN, 100), (VLAN, 200)]), VlanTagged),
        stack("VLAN in a priority tag", v4_tcp().tagged(&[(VLAN, 0), (VLAN, 5)]), VlanTagged),
        stack("three tags", v4_tcp().tagged(&[(VLAN, 0), (VLAN, 0), (VLAN, 0)]), NotIp),
        // Not IP, not for us.
        stack("ARP", ethernet(0x0806, &[0; 28]), NotIp),
        stack("unknown Ethernet type", ethernet(0x88b5, &[0; 50]), NotIp),
        stack("802.3 length field", ethernet(38, &[0; 38]), NotIp),
        stack("tagged ARP", ethernet(0x8100, &[0, 0, 8, 6, 0, 0]), NotIp),
        stack("broadcast frame", addressed(&v4_tcp().frame(), [0xff; 6]), NotForUs),
        stack("multicast frame", addressed(&v4_tcp().frame(), [1, 0, 0x5e, 0, 0, 1]), NotForUs),
        stack("another machine's frame", addressed(&v4_tcp().frame(), [2; 6]), NotForUs),
        // Headers that contradict themselves.
        stack("IPv4 version 6", patched(&v4_tcp(), &[(0, 0x65)]), Malformed),
        stack("IPv4 header of 16 bytes", patched(&v4_tcp(), &[(0, 0x44)]), Malformed),
        stack("IPv4 header of 60 bytes in 28", patched(&v4().udp(1, 2, b""), &[(0, 0x4f)]), Malformed),
        stack("IPv4 length 19", patched(&v4_tcp(), &[(2, 0), (3, 19)]), Malformed),
        stack("IPv4 length beyond the frame", patched(&v4_tcp(), &[(2, 1)]), Malformed),
        stack("IPv4 length 0", patched(&v4_tcp(), &[(2, 0), (3, 0)]), Malformed),
        stack("IPv4 header that does not sum up", patched(&v4_tcp(), &[(10, 0), (11, 0)]), Malformed),
        stack("IPv4 header with one bit flipped", patched(&v4_tcp(), &[(1, 1)]), Malformed),
        stack("IPv6 version 4", patched(&v6_tcp(), &[(0, 0x40)]), Malformed),
        stack("IPv6 length beyond the frame", patched(&v6_tcp(), &[(4, 1)]), Malformed),
        stack("TCP data offset 4", patched(&v4_tcp(), &[(32, 0x40)]), Malformed),
        stack("TCP header of 60 bytes in 20", patched(&v4().tcp(1, 2, 2, 0), &[(32, 0xf0)]), Malformed),
        stack("TCP of 8 bytes", v4().transport(TCP, &[1; 8]).frame(), Malformed),
        stack("TCP behind the IP length, in the padding", padded(v4().transport(TCP, &[0x55; 2]).frame()), Malformed),
        stack("UDP of 7 bytes", v4().transport(17, &[1; 7]).frame(), Malformed),
        stack("ICMP of 4 bytes", v4().transport(1, &[8; 4]).frame(), Malformed),
        // Addresses that no router forwards.
        stack("to 0.1.2.3", to("0.1.2.3"), NotRoutable),
        stack("to loopback", to("127.0.0.1"), NotRoutable),
        stack("to link-local", to("169.254.1.1"), NotRoutable),
        stack("to 169.253.1.1, which is routable", to("169.253.1.1"), NoRoute),
        stack("to multicast", to("224.0.0.251"), NotRoutable),
        stack("to class E", to("240.0.0.1"), NotRoutable),
        stack("to broadcast", to("255.255.255.255"), NotRoutable),
        stack("from unspecified (DHCP)", from("0.0.0.0"), NotRoutable),
        stack("from loopback", from("127.0.0.1"), NotRoutable),
        stack("from link-local", from("169.254.1.1"), NotRoutable),
        stack("from multicast", from("224.0.0.1"), NotRoutable),
        stack("to IPv6 unspecified", to("::"), NotRoutable),
        stack("to IPv6 loopback", to("::1"), NotRoutable),
        stack("to IPv4-mapped", to("::ffff:10.2.0.9"), NotRoutable),
        stack("to IPv6 link-local", to("fe80::1"), NotRoutable),
        stack("to febf::1", to("febf::1"), NotRoutable),
        stack("to IPv6 multicast", to("ff02::1"), NotRoutable),
        stack("from IPv6 unspecified", from("::"), NotRoutable),
        stack("from IPv6 link-local", from("fe80::1"), NotRoutable),
        stack("router solicitation", v6().icmp(133, 0).frame(), NotRoutable),
        stack("neighbour solicitation", v6().icmp(135, 0).frame(), NotRoutable),
        stack("redirect message", v6().icmp(137, 0).frame(), NotRoutable),
        redirect("ICMPv6 type 138", v6().icmp(138, 0).frame()),
        // Routes.
        stack("no route", to("8.8.8.8"), NoRoute),
        stack("no IPv6 route", to("2001:db8:ffff::1"), NoRoute),
        stack("route of another vnet", to("10.6.0.1"), NoRoute),
        stack("kernel's more specific route", to("10.2.9.1"), KernelRoute),
        redirect("site in the kernel's route", to("10.2.9.200")),
        stack("kernel's more specific IPv6 route", to("2001:db8:2:9::1"), KernelRoute),
        redirect("site in the kernel's IPv6 route", to("2001:db8:2:9:8000::1")),
        stack("site down", to("10.3.0.1"), SiteDown),
        stack("IPv6 site down", to("2001:db8:3::1"), SiteDown),
        stack("site absent", to("10.4.0.1"), SiteDown),
        stack("site id out of range", to("10.5.0.1"), SiteDown),
        // What only the stack can do.
        stack("record route", v4_tcp().options(&[7, 7, 4, 0, 0, 0, 0, 0]).frame(), IpOptions),
        stack("no-op options", v4_tcp().options(&[1, 1, 1, 0]).frame(), IpOptions),
        stack("TTL 1", v4_tcp().ttl(1).frame(), TtlExpiring),
        stack("TTL 0", v4_tcp().ttl(0).frame(), TtlExpiring),
        stack("hop limit 1", v6_tcp().ttl(1).frame(), TtlExpiring),
        stack("hop limit 0", v6_tcp().ttl(0).frame(), TtlExpiring),
        // Sizes: the site takes 1420 bytes.
        redirect("largest packet", v4().udp(1, 2, &[0; 1392]).frame()),
        stack("one byte too big", v4().udp(1, 2, &[0; 1393]).frame(), TooBig),
        redirect("largest IPv6 packet", v6().udp(1, 2, &[0; 1372]).frame()),
        stack("one byte too big, IPv6", v6().udp(1, 2, &[0; 1373]).frame(), TooBig),
        stack("too big for a narrower site", Packet::new("10.1.0.5", "10.2.9.200").udp(1, 2, &[0; 1300]).frame(), TooBig),
        redirect("GSO TCP", v4().tcp(1, 2, 0x10, 3000).frame()).gso(1380),
        stack("GSO TCP, segments too big", v4().tcp(1, 2, 0x10, 3000).frame(), TooBig).gso(1381),
        redirect("GSO UDP", v6().udp(1, 2, &[0; 3000]).frame()).gso(1372),
        stack("GSO UDP, segments too big", v6().udp(1, 2, &[0; 3000]).frame(), TooBig).gso(1373),
        stack("GSO of a tunnel", v4().transport(47, &[0; 3000]).frame(), TooBig).gso(1000),
    ]
}

/// The frame with some of its bytes (counted from the IP header) replaced.
fn patched(packet: &Packet, changes: &[(usize, u8)]) -> Vec<u8> {
    let mut frame = packet.frame();
    for (at, byte) in changes {
        frame[ETHERNET + at] = *byte;
    }
    frame
}

fn padded(mut frame: Vec<u8>) -> Vec<u8> {
    frame.resize(frame.len() + 18, 0);
    frame
}

fn long_options() -> Vec<u8> {
    let mut body = vec![0; 23];
    body[0] = 2;
    body
}

fn extended(packet: Packet, headers: usize) -> Packet {
    (0..headers).fold(packet, |packet, _| {
        packet.extension(DESTINATION_OPTIONS, &[0; 7])
    })
}

fn ethernet(kind: u16, payload: &[u8]) -> Vec<u8> {
    [&[0; 12], &kind.to_be_bytes()[..], payload].concat()
}

fn addressed(frame: &[u8], destination: [u8; 6]) -> Vec<u8> {
    [&destination, &frame[6..]].concat()
}
