//! `lan_ingress`: frames from hosts of this site, case by case.

use datapath_abi::{
    flow::{FlowCounters, FlowKey},
    maps::{self, INTERFACE_SLOT_COUNT},
    outcome::StackReason::{
        ExtensionHeader, IpOptions, KernelRoute, Malformed, NoRoute, NotForUs, NotIp, NotReady,
        NotRoutable, SiteDown, TooBig, TtlExpiring, VlanTagged, WrongSource,
    },
    route::SITE_KERNEL,
    settings::{ALSO_WAN, COUNTED_MARK, Role, STRICT_SOURCES, Settings, slot_of},
    site::{SiteCounters, SiteState},
};

use crate::{
    case::{Case, Verdict, assert_routed, mutations, noise, redirect, run, stack},
    frame::{DESTINATION_OPTIONS, ETHERNET, HOP_BY_HOP, PROVIDER_VLAN, Packet, ROUTING, TCP, VLAN},
    harness::{Context, Datapath, TC_TO_STACK, ifindex, ip, kernel_runs, lay_lan, settings},
};

const LOOPBACK: u32 = 1;

/// Frames arrive at the loopback device, which plays the LAN of 10.1.0.0/16; 10.9.0.0/16 is on another.
fn ready() -> Datapath {
    let mut datapath = Datapath::load();
    let tun = lay_lan();
    for command in [
        "link add lan1 type veth peer name host1",
        "link set lan1 up",
        "link set host1 up",
        "route add 10.9.0.0/16 dev lan1",
        "route add blackhole 10.8.0.0/16",
        "addr add 10.1.0.1/32 dev lan1",
    ] {
        ip(command);
    }
    datapath.set_settings(settings(tun));
    datapath.set_interface(LOOPBACK, Role::Lan, 0, 1500);
    datapath.set_site(1, SiteState::Up, 1420);
    datapath.set_site(2, SiteState::Down, 1420);
    datapath.set_site(3, SiteState::Up, 1280);
    for (vnet, prefix, site) in [
        (0, "10.2.0.0/16", 1),
        (0, "10.2.9.0/24", SITE_KERNEL),
        (0, "10.2.9.128/25", 3),
        (0, "10.3.0.0/16", 2),
        (0, "10.4.0.0/16", 4),
        (0, "10.5.0.0/16", 1 << 20),
        (7, "10.6.0.0/16", 1),
        (0, "2001:db8:2::/48", 1),
        (0, "2001:db8:2:9::/64", SITE_KERNEL),
        (0, "2001:db8:2:9:8000::/65", 3),
        (0, "2001:db8:3::/48", 2),
    ] {
        datapath.add_route(vnet, prefix, site);
    }
    datapath
}

fn v4() -> Packet {
    Packet::new("10.1.0.5", "10.2.0.9")
}

fn v6() -> Packet {
    Packet::new("2001:db8:1::5", "2001:db8:2::9")
}

fn to(destination: &str) -> Vec<u8> {
    let source = if destination.contains(':') {
        "2001:db8:1::5"
    } else {
        "10.1.0.5"
    };
    Packet::new(source, destination).udp(1, 2, b"x").frame()
}

fn from(source: &str) -> Vec<u8> {
    let destination = if source.contains(':') {
        "2001:db8:2::9"
    } else {
        "10.2.0.9"
    };
    Packet::new(source, destination).udp(1, 2, b"x").frame()
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

#[rustfmt::skip]
#[expect(clippy::too_many_lines, reason = "a table")]
fn corpus() -> Vec<Case> {
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

/// The frame without VLAN tags: the IP packet in it.
fn inner(frame: &[u8]) -> &[u8] {
    match u16::from_be_bytes([frame[12], frame[13]]) {
        VLAN | PROVIDER_VLAN => inner_of_tagged(frame),
        _ => &frame[ETHERNET..],
    }
}

fn inner_of_tagged(frame: &[u8]) -> &[u8] {
    let mut at = ETHERNET;
    while matches!(
        u16::from_be_bytes([frame[at - 2], frame[at - 1]]),
        VLAN | PROVIDER_VLAN
    ) {
        at += 4;
    }
    &frame[at..]
}

/// Bytes of an IP packet by its own header.
fn ip_length(packet: &[u8]) -> u64 {
    let field = |at| u64::from(u16::from_be_bytes([packet[at], packet[at + 1]]));
    if packet[0] >> 4 == 4 {
        field(2)
    } else {
        40 + field(4)
    }
}

#[test]
fn every_frame_gets_its_verdict() {
    let mut datapath = ready();
    for case in corpus() {
        println!("{}", case.name);
        let (run, verdict, sites) =
            run(&mut datapath, maps::LAN_INGRESS, &case.packet, case.context);
        assert_eq!(verdict, case.verdict, "{}", case.name);
        if verdict == Verdict::Redirect {
            assert_eq!(run.mark, COUNTED_MARK, "{}", case.name);
            assert_routed(case.name, inner(&case.packet), &run.frame[ETHERNET..]);
            if case.context.gso_size == 0 {
                let expected = SiteCounters {
                    to_site_packets: 1,
                    to_site_bytes: ip_length(inner(&case.packet)),
                    ..SiteCounters::default()
                };
                assert_eq!(sites, expected, "{}", case.name);
            }
        } else {
            assert_eq!(run.mark, 0, "{}", case.name);
            assert_eq!(sites, SiteCounters::default(), "{}", case.name);
        }
    }
}

#[test]
fn a_frame_cut_anywhere_goes_to_the_stack() {
    let mut datapath = ready();
    for case in corpus() {
        if case.verdict != Verdict::Redirect || case.packet.len() > 300 {
            continue;
        }
        let whole =
            case.packet.len() - inner(&case.packet).len() + ip_length(inner(&case.packet)) as usize;
        for length in 0..whole {
            let cut = &case.packet[..length];
            if !kernel_runs(cut) {
                continue;
            }
            let (_, verdict, _) = run(&mut datapath, maps::LAN_INGRESS, cut, case.context);
            assert_eq!(
                verdict,
                Verdict::Stack(Malformed),
                "{} cut to {length}",
                case.name
            );
        }
    }
}

#[test]
fn a_mangled_frame_is_routed_or_left_as_it_is() {
    let mut datapath = ready();
    let frames: Vec<Vec<u8>> = corpus().into_iter().map(|case| case.packet).collect();
    let mut redirected = 0;
    let noise = [0x0800_u16, 0x86dd, VLAN].map(|kind| {
        let head = [&[0; 12], &kind.to_be_bytes()[..]].concat();
        noise(&head, 1000)
    });
    for frame in mutations(&frames, 60)
        .into_iter()
        .chain(noise.into_iter().flatten())
    {
        let context = Context::default();
        let (run, verdict, sites) = run(&mut datapath, maps::LAN_INGRESS, &frame, context);
        if verdict == Verdict::Redirect {
            assert_routed("mangled", inner(&frame), &run.frame[ETHERNET..]);
            assert_eq!(sites.to_site_packets, 1);
            redirected += 1;
        }
    }
    assert!(redirected > 500, "the mutations are too wild: {redirected}");
}

#[test]
fn nothing_is_redirected_before_the_agent_is_ready() {
    let frame = v4().tcp(1, 2, 2, 0).frame();
    let mut datapath = ready();
    let expect = |datapath: &mut Datapath, expected| {
        let context = Context::default();
        let (_, verdict, _) = run(datapath, maps::LAN_INGRESS, &frame, context);
        assert_eq!(verdict, expected);
    };
    expect(&mut datapath, Verdict::Redirect);
    datapath.set_settings(settings(0));
    expect(&mut datapath, Verdict::Stack(NotReady));
    let tun = ifindex("tun0");
    datapath.set_settings(Settings {
        abi_version: 999,
        ..settings(tun)
    });
    expect(&mut datapath, Verdict::Stack(NotReady));
    datapath.set_settings(settings(tun));
    datapath.set_interface(LOOPBACK, Role::Wan, 0, 1500);
    expect(&mut datapath, Verdict::Stack(NotReady));
    datapath.set_interface(LOOPBACK, Role::Lan, 7, 1500);
    expect(&mut datapath, Verdict::Stack(NoRoute));
}

#[test]
fn an_interface_whose_slot_is_another_ones_is_found_all_the_same() {
    let mut datapath = ready();
    let taken = slot_of(LOOPBACK) + INTERFACE_SLOT_COUNT as u32;
    assert_eq!(slot_of(taken), slot_of(LOOPBACK));
    datapath.set_interface(taken, Role::Wan, 0, 1500);
    let frame = v4().tcp(1, 2, 2, 0).frame();
    let (_, verdict, _) = run(&mut datapath, maps::LAN_INGRESS, &frame, Context::default());
    assert_eq!(verdict, Verdict::Redirect);
}

/// Sends from `source` by the loopback device, whose flags are these.
fn verdict_from(datapath: &mut Datapath, source: &str, flags: u32) -> Verdict {
    datapath.set_lan_flags(LOOPBACK, flags);
    run(
        datapath,
        maps::LAN_INGRESS,
        &from(source),
        Context::default(),
    )
    .1
}

#[test]
fn sources_are_those_that_the_kernel_would_take() {
    let refused = Verdict::Stack(WrongSource);
    for (source, strict, loose) in [
        ("10.1.0.5", Verdict::Redirect, Verdict::Redirect),
        ("10.9.0.5", refused, Verdict::Redirect),
        ("10.1.0.1", refused, refused),
        ("10.8.0.5", refused, refused),
        ("192.0.2.5", refused, refused),
        ("2001:db8:9::5", Verdict::Redirect, Verdict::Redirect),
    ] {
        // Each with its first packet, of a flow that the other has not made.
        for (flags, expected) in [(STRICT_SOURCES, strict), (0, loose)] {
            let mut datapath = ready();
            assert_eq!(
                verdict_from(&mut datapath, source, flags),
                expected,
                "{source} {flags}"
            );
            assert_eq!(verdict_from(&mut datapath, source, flags), expected);
        }
    }
}

#[test]
fn a_source_is_asked_for_again_at_another_interface_or_when_routes_change() {
    let mut datapath = ready();
    assert_eq!(
        verdict_from(&mut datapath, "10.9.0.5", 0),
        Verdict::Redirect
    );
    // It is known now: what the interface asks is not looked at until the agent says that something is new.
    let strict = STRICT_SOURCES;
    assert_eq!(
        verdict_from(&mut datapath, "10.9.0.5", strict),
        Verdict::Redirect
    );
    let later = Settings {
        route_generation: 1,
        ..settings(ifindex("tun0"))
    };
    datapath.set_settings(later);
    let refused = Verdict::Stack(WrongSource);
    assert_eq!(verdict_from(&mut datapath, "10.9.0.5", strict), refused);
    // By the interface that it belongs to it may go, and by the first still not.
    let lan1 = ifindex("lan1");
    datapath.set_lan_flags(lan1, strict);
    let context = Context {
        ifindex: lan1,
        ..Context::default()
    };
    let mut frame = from("10.9.0.5");
    let lan1_address = link_address("lan1");
    frame[..6].copy_from_slice(&lan1_address);
    let (_, verdict, _) = run(&mut datapath, maps::LAN_INGRESS, &frame, context);
    assert_eq!(verdict, Verdict::Redirect);
    assert_eq!(verdict_from(&mut datapath, "10.9.0.5", strict), refused);
}

#[test]
fn what_came_out_of_the_tunnel_first_does_not_vouch_for_the_source() {
    let mut datapath = ready();
    let flow = FlowKey {
        local: std::net::Ipv4Addr::new(10, 9, 0, 5)
            .to_ipv6_mapped()
            .octets(),
        remote: std::net::Ipv4Addr::new(10, 2, 0, 9)
            .to_ipv6_mapped()
            .octets(),
        local_port: 1_u16.to_be_bytes(),
        remote_port: 2_u16.to_be_bytes(),
        protocol: 17,
        family: 4,
        ..FlowKey::default()
    };
    let counters = FlowCounters {
        from_site_packets: 1,
        site: 1,
        ..FlowCounters::default()
    };
    datapath.write_flow(&flow, &counters);
    let strict = STRICT_SOURCES;
    let refused = Verdict::Stack(WrongSource);
    assert_eq!(verdict_from(&mut datapath, "10.9.0.5", strict), refused);
}

/// The link-layer address of an interface.
fn link_address(interface: &str) -> [u8; 6] {
    let output = std::process::Command::new("ip")
        .args(["-br", "link", "show", interface])
        .output()
        .expect("the command ip (package iproute2) runs");
    let text = String::from_utf8(output.stdout).unwrap();
    let address = text.split_whitespace().nth(2).expect("a third column");
    let bytes: Vec<u8> = address
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect();
    bytes.try_into().expect("six bytes")
}

#[test]
fn the_tunnels_own_datagrams_are_left_alone_where_lan_and_wan_are_one() {
    let mut datapath = ready();
    datapath.add_local("10.1.0.1/32");
    datapath.add_local("2001:db8:1::1/128");
    datapath.add_route(0, "10.7.0.0/16", 1);
    let udp = |source, from, destination, to| {
        let packet = Packet::new(source, destination);
        packet.udp(from, to, &[4; 40]).frame()
    };
    let lane = 51821;
    for (name, frame, left, counted) in [
        (
            "from a far gateway",
            udp("10.1.0.9", 9, "10.1.0.1", lane),
            true,
            NoRoute,
        ),
        (
            "IPv6",
            udp("2001:db8:9::9", 9, "2001:db8:1::1", lane),
            true,
            NoRoute,
        ),
        (
            "ours, come back",
            udp("10.1.0.1", lane, "10.7.0.9", 9),
            true,
            WrongSource,
        ),
        (
            "another port of ours",
            udp("10.1.0.9", 9, "10.1.0.1", 51822),
            false,
            NoRoute,
        ),
        (
            "a WireGuard of a host's",
            udp("10.1.0.9", lane, "10.1.0.8", lane),
            false,
            NoRoute,
        ),
    ] {
        for flags in [0, ALSO_WAN] {
            datapath.set_lan_flags(LOOPBACK, flags);
            let before = datapath.to_stack(counted);
            let run = datapath.tc(maps::LAN_INGRESS, &frame, Context::default());
            assert_eq!(run.verdict, TC_TO_STACK, "{name}");
            assert_eq!(run.frame, frame, "{name}");
            let expected = u64::from(!(left && flags == ALSO_WAN));
            let more = datapath.to_stack(counted).packets - before.packets;
            assert_eq!(more, expected, "{name} {flags}");
        }
    }
}
