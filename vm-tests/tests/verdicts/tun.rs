//! `tun_ingress` and `tun_egress`: packets out of and into the tunnel, case by case.
//!
//! ```text
//! tun0 ─ gateway ─ lan0 10.1.0.1/24, 2001:db8:1::1/64   (LAN, MTU 1500; .5 and the router .254 are known)
//!                ─ other0 10.8.0.1/24                     (no role)
//! ```

use std::{fs, net::IpAddr};

use datapath_abi::{
    maps,
    outcome::DropReason::TurnedBack,
    outcome::StackReason::{
        self, IpOptions, Malformed, NotIp, NotReady, NotRoutable, NotToLan, SiteDown, TooBig,
        TtlExpiring,
    },
    settings::{COUNTED_MARK, Role},
    site::{SiteCounters, SiteState},
};

use crate::{
    case::{Case, Verdict, assert_routed, mutations, noise, redirect, run, stack},
    frame::{DESTINATION_OPTIONS, ETHERNET, HOP_BY_HOP, Packet, sum},
    harness::{
        Context, Datapath, TC_DROP, TC_REDIRECT, TC_TO_STACK, hex, ifindex, ip, kernel_runs,
        settings,
    },
};

fn ready() -> Datapath {
    let mut datapath = Datapath::load();
    for command in [
        "link set lo up",
        "tuntap add dev tun0 mode tun",
        "link set tun0 mtu 1420 up",
        "link add lan0 type veth peer name host0",
        "link add other0 type veth peer name host1",
    ] {
        ip(command);
    }
    for name in ["lan0", "host0", "other0", "host1"] {
        ip(&format!("link set {name} up"));
    }
    for path in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
        fs::write(format!("/proc/sys/net/{path}"), "1").expect("the sysctl is writable");
    }
    for command in [
        "addr add 10.1.0.1/24 dev lan0",
        "addr add 2001:db8:1::1/64 dev lan0 nodad",
        "addr add 10.8.0.1/24 dev other0",
        "neigh add 10.1.0.5 lladdr 02:00:00:00:00:05 dev lan0 nud permanent",
        "neigh add 10.1.0.254 lladdr 02:00:00:00:00:fe dev lan0 nud permanent",
        "neigh add 10.8.0.5 lladdr 02:00:00:00:00:08 dev other0 nud permanent",
        "neigh add 2001:db8:1::5 lladdr 02:00:00:00:00:05 dev lan0 nud permanent",
        "route add 10.1.7.0/24 via 10.1.0.254",
        "route add 10.1.6.0/24 via 10.1.0.253",
        "route add 10.1.8.0/24 via inet6 2001:db8:1::5 dev lan0",
        "route add 10.1.9.0/24 via 10.1.0.254 mtu lock 1000",
        "route add blackhole 10.1.66.0/24",
        "route add 10.2.0.0/16 dev tun0",
        "route add 10.3.0.0/16 dev tun0",
        "route add 10.4.0.0/16 dev tun0",
        "-6 route add 2001:db8:2::/48 dev tun0",
        "-6 route add 2001:db8:3::/48 dev tun0",
    ] {
        ip(command);
    }
    let tun = ifindex("tun0");
    datapath.set_settings(settings(tun));
    datapath.set_interface(tun, Role::Tun, 0, 1420);
    datapath.set_interface(ifindex("lan0"), Role::Lan, 0, 1500);
    datapath.set_site(2, SiteState::Up, 1420);
    datapath.set_site(3, SiteState::Up, 1300);
    datapath.set_site(4, SiteState::Down, 1420);
    for (prefix, site) in [
        ("10.2.0.0/16", 2),
        ("10.3.0.0/16", 3),
        ("10.4.0.0/16", 4),
        ("2001:db8:2::/48", 2),
        ("2001:db8:3::/48", 3),
    ] {
        datapath.add_route(0, prefix, site);
    }
    datapath
}

fn tun() -> Context {
    Context {
        ifindex: ifindex("tun0"),
        ..Context::default()
    }
}

fn v4(destination: &str) -> Packet {
    Packet::new("10.2.0.9", destination)
}

fn v6(destination: &str) -> Packet {
    Packet::new("2001:db8:2::9", destination)
}

/// With hop-by-hop options of so many bytes, less the first.
fn optional(packet: Packet, bytes: usize) -> Packet {
    let mut body = vec![0; bytes];
    // Its length in units of 8 bytes, beyond the first.
    body[0] = (bytes / 8) as u8;
    packet.extension(HOP_BY_HOP, &body)
}

/// UDP with so much payload that the IP packet has this length.
fn sized(packet: Packet, length: usize) -> Vec<u8> {
    let headers = packet.clone().udp(1, 2, b"").bare().len();
    packet.udp(1, 2, &vec![0; length - headers]).bare()
}

#[rustfmt::skip]
fn corpus() -> Vec<Case> {
    let host4 = || v4("10.1.0.5");
    let host6 = || v6("2001:db8:1::5");
    vec![
        // To hosts of this site.
        redirect("IPv4 TCP", host4().tcp(443, 1000, 0x12, 100).bare()),
        redirect("IPv4 UDP", host4().udp(53, 1000, b"answer").bare()),
        redirect("IPv4 ICMP echo reply", host4().icmp(0, 7).bare()),
        redirect("IPv4 other protocol", host4().transport(47, &[0; 8]).bare()),
        redirect("IPv4 first fragment", host4().udp(1, 2, &[0; 16]).fragment(0, true).bare()),
        redirect("IPv4 last fragment", host4().transport(17, &[0; 3]).fragment(9, false).bare()),
        redirect("IPv6 TCP", host6().tcp(443, 1000, 0x12, 100).bare()),
        redirect("IPv6 UDP", host6().udp(53, 1000, b"answer").bare()),
        redirect("IPv6 echo reply", host6().icmp(129, 7).bare()),
        redirect("IPv6 destination options", host6().udp(1, 2, b"").extension(DESTINATION_OPTIONS, &[0; 7]).bare()),
        redirect("by a router of the LAN", v4("10.1.7.7").udp(1, 2, b"").bare()),
        redirect("by an IPv6 router", v4("10.1.8.8").udp(1, 2, b"").bare()),
        redirect("TTL 2", host4().ttl(2).udp(1, 2, b"").bare()),
        // Sizes.
        redirect("as large as the LAN takes", sized(host4(), 1500)),
        stack("larger than the LAN takes", sized(host4(), 1501), TooBig),
        redirect("as large as the LAN takes, IPv6", sized(host6(), 1500)),
        stack("larger than the LAN takes, IPv6", sized(host6(), 1501), TooBig),
        redirect("as large as the route takes", sized(v4("10.1.9.9"), 1000)),
        stack("larger than the route takes", sized(v4("10.1.9.9"), 1001), TooBig),
        redirect("GSO", host4().tcp(1, 2, 0x10, 3000).bare()).gso(1460),
        stack("GSO, segments too big", host4().tcp(1, 2, 0x10, 3000).bare(), TooBig).gso(1461),
        redirect("neighbour unknown", v4("10.1.0.6").udp(1, 2, b"").bare()),
        redirect("IPv6 neighbour unknown", v6("2001:db8:1::6").udp(1, 2, b"").bare()),
        redirect("by a router that is unknown", v4("10.1.6.6").udp(1, 2, b"").bare()),
        // To the stack.
        stack("our own address", v4("10.1.0.1").udp(1, 2, b"").bare(), NotToLan),
        stack("our own IPv6 address", v6("2001:db8:1::1").udp(1, 2, b"").bare(), NotToLan),
        stack("interface without a role", v4("10.8.0.5").udp(1, 2, b"").bare(), NotToLan),
        stack("no route", v4("192.0.2.1").udp(1, 2, b"").bare(), NotToLan),
        stack("blackhole", v4("10.1.66.1").udp(1, 2, b"").bare(), NotToLan),
        stack("subnet broadcast", v4("10.1.0.255").udp(1, 2, b"").bare(), NotToLan),
        stack("multicast", v4("224.0.0.5").udp(1, 2, b"").bare(), NotRoutable),
        stack("IPv6 link-local", v6("fe80::5").udp(1, 2, b"").bare(), NotRoutable),
        stack("TTL 1", host4().ttl(1).udp(1, 2, b"").bare(), TtlExpiring),
        stack("hop limit 1", host6().ttl(1).udp(1, 2, b"").bare(), TtlExpiring),
        stack("IPv4 options", host4().options(&[1; 4]).udp(1, 2, b"").bare(), IpOptions),
        stack("hop-by-hop options", host6().extension(HOP_BY_HOP, &[0; 7]).udp(1, 2, b"").bare(), StackReason::ExtensionHeader),
        // On to another site.
        redirect("to another site", v4("10.3.0.1").udp(1, 2, b"").bare()),
        redirect("to another site, IPv6", v6("2001:db8:3::1").udp(1, 2, b"").bare()),
        redirect("as large as the other site takes", sized(v4("10.3.0.1"), 1300)),
        stack("larger than the other site takes", sized(v4("10.3.0.1"), 1301), TooBig),
        stack("to a site that is down", v4("10.4.0.1").udp(1, 2, b"").bare(), SiteDown),
    ]
}

/// Packets that are not well-formed: counted for nobody.
#[rustfmt::skip]
fn malformed() -> Vec<Case> {
    let mut headless = v4("10.1.0.5").tcp(1, 2, 2, 0).bare();
    headless[32] = 0x10;
    let mut flipped = v4("10.1.0.5").tcp(1, 2, 2, 0).bare();
    flipped[4] ^= 1;
    vec![
        stack("not IP", vec![0x50; 40], NotIp),
        stack("zeroes", vec![0; 40], NotIp),
        stack("IPv4 length beyond the packet", v4("10.1.0.5").udp(1, 2, &[0; 9]).bare()[..36].to_vec(), Malformed),
        stack("TCP data offset 1", headless, Malformed),
        stack("IPv4 header that does not sum up", flipped, Malformed),
    ]
}

#[test]
fn every_packet_out_of_the_tunnel_gets_its_verdict() {
    let mut datapath = ready();
    for case in corpus().into_iter().chain(malformed()) {
        let context = Context {
            gso_size: case.context.gso_size,
            ..tun()
        };
        let (run, verdict, sites) = run(&mut datapath, maps::TUN_INGRESS, &case.packet, context);
        assert_eq!(verdict, case.verdict, "{}", case.name);
        assert_eq!(run.mark, 0, "{}", case.name);
        if verdict == Verdict::Redirect {
            let head = run.frame.len() - case.packet.len();
            let to_site = case.name.contains("other site");
            assert_eq!(head, if to_site { 0 } else { ETHERNET }, "{}", case.name);
            assert_routed(case.name, &case.packet, &run.frame[head..]);
        }
        let whole = !matches!(verdict, Verdict::Stack(NotIp | Malformed));
        let segments = if context.gso_size == 0 { 1 } else { 3 };
        assert_eq!(
            sites.from_site_packets,
            if whole { segments } else { 0 },
            "{}",
            case.name
        );
        assert_eq!(sites.to_site_packets, 0, "{}", case.name);
    }
}

#[test]
fn a_packet_out_of_the_tunnel_cut_anywhere_goes_to_the_stack() {
    let mut datapath = ready();
    for case in corpus() {
        if case.verdict != Verdict::Redirect || case.packet.len() > 300 {
            continue;
        }
        for length in 0..case.packet.len() {
            let cut = &case.packet[..length];
            if kernel_runs(cut) {
                let (_, verdict, sites) = run(&mut datapath, maps::TUN_INGRESS, cut, tun());
                assert_eq!(
                    verdict,
                    Verdict::Stack(Malformed),
                    "{} cut to {length}",
                    case.name
                );
                assert_eq!(
                    sites,
                    SiteCounters::default(),
                    "{} cut to {length}",
                    case.name
                );
            }
        }
    }
}

#[test]
fn a_mangled_packet_out_of_the_tunnel_is_routed_or_left_as_it_is() {
    let mut datapath = ready();
    let packets: Vec<Vec<u8>> = corpus().into_iter().map(|case| case.packet).collect();
    let mut redirected = 0;
    for packet in mutations(&packets, 60).into_iter().chain(noise(&[], 3000)) {
        let before = datapath.drops(TurnedBack);
        if datapath.tc(maps::TUN_INGRESS, &packet, tun()).verdict == TC_DROP
            || datapath.drops(TurnedBack) != before
        {
            // On its way back: it is answered, or dropped where no answer may be.
            continue;
        }
        let (run, verdict, _) = run(&mut datapath, maps::TUN_INGRESS, &packet, tun());
        if verdict == Verdict::Redirect {
            let head = run.frame.len() - packet.len();
            assert_routed("mangled", &packet, &run.frame[head..]);
            redirected += 1;
        }
    }
    assert!(redirected > 200, "the mutations are too wild: {redirected}");
}

#[test]
fn a_packet_that_would_go_back_is_answered_that_it_is_unreachable() {
    let mut datapath = ready();
    let v6_from = "2001:db8:1::1";
    for (name, packet, from) in [
        ("IPv4", v4("10.2.7.7").icmp(8, 77).bare(), "10.1.0.1"),
        (
            "IPv4 TCP",
            v4("10.2.7.7").tcp(1, 2, 2, 0).bare(),
            "10.1.0.1",
        ),
        ("IPv4 large", sized(v4("10.2.7.7"), 1400), "10.1.0.1"),
        ("IPv6", v6("2001:db8:2::7").icmp(128, 77).bare(), v6_from),
        ("IPv6 large", sized(v6("2001:db8:2::7"), 1400), v6_from),
        (
            "IPv4 with an option",
            v4("10.2.7.7").options(&[1; 4]).icmp(8, 77).bare(),
            "10.1.0.1",
        ),
        (
            "IPv4 with all the options that fit",
            v4("10.2.7.7").options(&[1; 40]).udp(1, 2, &[7; 500]).bare(),
            "10.1.0.1",
        ),
        (
            "IPv6 with hop-by-hop options",
            optional(v6("2001:db8:2::7"), 7).icmp(128, 77).bare(),
            v6_from,
        ),
        (
            "IPv6 with as many as are quoted",
            optional(v6("2001:db8:2::7"), 15)
                .udp(1, 2, &[7; 500])
                .bare(),
            v6_from,
        ),
    ] {
        let before = datapath.drops(TurnedBack);
        let run = datapath.tc(maps::TUN_INGRESS, &packet, tun());
        assert_eq!(run.verdict, TC_REDIRECT, "{name}");
        assert_eq!(datapath.drops(TurnedBack).packets, before.packets + 1);
        let answer = &run.frame;
        let address = |bytes: &[u8]| match <[u8; 4]>::try_from(bytes) {
            Ok(bytes) => IpAddr::from(bytes),
            Err(_) => IpAddr::from(<[u8; 16]>::try_from(bytes).unwrap()),
        };
        let (header, kind, ends) = if packet[0] >> 4 == 4 {
            assert_eq!(sum(&answer[..20]) % 0xffff, 0, "{name}");
            assert_eq!(sum(&answer[20..]) % 0xffff, 0, "{name}");
            assert_eq!(answer[2..4], (answer.len() as u16).to_be_bytes());
            (20, [3, 1], [&answer[12..16], &answer[16..20]])
        } else {
            let payload = answer.len() as u32 - 40;
            assert_eq!(answer[4..6], (payload as u16).to_be_bytes());
            let pseudo = [&answer[8..], &payload.to_be_bytes(), &[0, 0, 0, 58]].concat();
            assert_eq!(sum(&pseudo) % 0xffff, 0, "{name}");
            (40, [1, 3], [&answer[8..24], &answer[24..40]])
        };
        assert_eq!(ends.map(address)[0], from.parse::<IpAddr>().unwrap());
        let sender = if header == 20 {
            "10.2.0.9"
        } else {
            "2001:db8:2::9"
        };
        assert_eq!(ends.map(address)[1], sender.parse::<IpAddr>().unwrap());
        assert_eq!(answer[header..header + 2], kind, "{name}");
        let quote = &answer[header + 8..];
        let more = if header == 20 {
            4 * usize::from(packet[0] & 0xf) - header
        } else if packet[6] == HOP_BY_HOP {
            8 * (usize::from(packet[41]) + 1)
        } else {
            0
        };
        let behind = header + more + 8;
        assert_eq!(quote, &packet[..behind], "{name}: what it is about");
    }
}

#[test]
fn no_error_is_sent_about_an_error_or_a_later_fragment() {
    let mut datapath = ready();
    let mut broken = v4("10.2.7.7").options(&[1; 4]).icmp(8, 77).bare();
    broken[4] ^= 1;
    for packet in [
        v4("10.2.7.7").icmp(3, 0).bare(),
        v4("10.2.7.7").icmp(11, 0).bare(),
        v4("10.2.7.7")
            .transport(17, &[0; 16])
            .fragment(9, false)
            .bare(),
        v6("2001:db8:2::7").icmp(1, 0).bare(),
        v6("2001:db8:2::7").icmp(3, 0).bare(),
        v4("10.2.7.7").options(&[1; 8]).icmp(3, 0).bare(),
        optional(v6("2001:db8:2::7"), 7).icmp(1, 0).bare(),
        v6("2001:db8:2::7")
            .extension(DESTINATION_OPTIONS, &[0; 7])
            .icmp(1, 0)
            .bare(),
        // Nor about what is broken, or longer than is quoted.
        broken,
        optional(v6("2001:db8:2::7"), 23).udp(1, 2, b"").bare(),
    ] {
        let before = datapath.drops(TurnedBack).packets;
        let run = datapath.tc(maps::TUN_INGRESS, &packet, tun());
        assert_eq!(run.verdict, TC_DROP, "{}", hex(&packet));
        assert_eq!(datapath.drops(TurnedBack).packets, before + 1);
    }
}

#[test]
fn answers_have_a_limit() {
    let mut datapath = ready();
    let packet = v4("10.2.7.7").icmp(8, 77).bare();
    let runs: Vec<i32> = (0..4000)
        .map(|_| datapath.tc(maps::TUN_INGRESS, &packet, tun()).verdict)
        .collect();
    assert!(runs.contains(&TC_REDIRECT) && runs.contains(&TC_DROP));
    assert_eq!(datapath.drops(TurnedBack).packets, 4000);
}

#[test]
fn nothing_is_routed_before_the_agent_is_ready() {
    let mut datapath = ready();
    let packet = v4("10.1.0.5").udp(1, 2, b"").bare();
    datapath.set_interface(ifindex("tun0"), Role::Wan, 0, 1420);
    let (_, verdict, sites) = run(&mut datapath, maps::TUN_INGRESS, &packet, tun());
    assert_eq!(verdict, Verdict::Stack(NotReady));
    assert_eq!(sites, SiteCounters::default());
    // A LAN of another virtual network is none of this tunnel's.
    datapath.set_interface(ifindex("tun0"), Role::Tun, 0, 1420);
    datapath.set_interface(ifindex("lan0"), Role::Lan, 7, 1500);
    let (_, verdict, _) = run(&mut datapath, maps::TUN_INGRESS, &packet, tun());
    assert_eq!(verdict, Verdict::Stack(NotToLan));
}

#[test]
fn what_the_stack_routes_into_the_tunnel_is_counted_once() {
    let mut datapath = ready();
    let mut sent = |packet: &[u8], context: Context| {
        let before = datapath.site_counters(2);
        let run = datapath.tc(maps::TUN_EGRESS, packet, context);
        assert_eq!(run.verdict, TC_TO_STACK);
        assert_eq!(run.frame, packet);
        let after = datapath.site_counters(2);
        let packets = after.to_site_packets - before.to_site_packets;
        let bytes = after.to_site_bytes - before.to_site_bytes;
        (packets, bytes, run.mark)
    };
    let marked = |mark| Context { mark, ..tun() };
    let packet = Packet::new("10.1.0.5", "10.2.0.9").tcp(1, 2, 2, 100).bare();
    assert_eq!(sent(&packet, tun()), (1, 140, COUNTED_MARK));
    assert_eq!(sent(&packet, marked(99)), (1, 140, COUNTED_MARK));
    let of_lane_3 = COUNTED_MARK | 3;
    assert_eq!(sent(&packet, marked(of_lane_3)), (0, 0, of_lane_3));
    let gso = Context {
        gso_size: 1000,
        ..tun()
    };
    let large = Packet::new("10.1.0.5", "10.2.0.9")
        .tcp(1, 2, 2, 2001)
        .bare();
    assert_eq!(sent(&large, gso), (3, 2001 + 3 * 40, COUNTED_MARK));
    // With options, with TTL 1: the stack has decided already.
    let optional = Packet::new("10.1.0.5", "10.2.0.9")
        .options(&[1; 4])
        .icmp(8, 1)
        .ttl(1)
        .bare();
    assert_eq!(sent(&optional, tun()), (1, 36, COUNTED_MARK));
    for foreign in [
        Packet::new("10.1.0.5", "192.0.2.1").udp(1, 2, b"").bare(),
        Packet::new("fe80::1", "ff02::2").icmp(133, 0).bare(),
        packet[..30].to_vec(),
        vec![0xff; 30],
    ] {
        assert_eq!(sent(&foreign, tun()), (0, 0, 0));
    }
    for packet in mutations(&[packet, optional], 300) {
        sent(&packet, tun());
    }
}
