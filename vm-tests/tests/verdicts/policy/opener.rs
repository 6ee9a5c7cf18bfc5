//! Who opened a flow: answers pass, and what the other end opens does not.

use datapath_abi::flow::{FlowCounters, NOT_SEEN_HERE, OpenedBy};

use super::*;

fn out_only(ports: &[Ports]) -> Datapath {
    ready(&[rule(LAN, FAR, ports)])
}

#[test]
#[rustfmt::skip]
fn answers_to_an_allowed_flow_pass() {
    let echo6 = Packet::new("2001:db8:2::9", "2001:db8:1::5").icmp(129, 7);
    for (name, first, answer) in [
        ("TCP", there().tcp(1000, 443, SYN, 0), back().tcp(443, 1000, SYN_ACK, 0)),
        ("UDP", there().udp(1000, 53, b"?"), back().udp(53, 1000, b"!")),
        ("echo", there().icmp(8, 7), back().icmp(0, 7)),
        ("echo, IPv6", there6().icmp(128, 7), echo6),
        ("GRE", there().transport(GRE, &[9; 8]), back().transport(GRE, &[8; 9])),
        ("first fragments", there().udp(1000, 53, &[1; 8]).fragment(0, true), back().udp(53, 1000, &[1; 8]).fragment(0, true)),
    ] {
        let mut datapath = out_only(&[any()]);
        assert!(passes(&mut datapath, At::Lan, &first), "{name}");
        assert!(passes(&mut datapath, At::OutOfTunnel, &answer), "{name}");
        assert_eq!(only_flow(&datapath).1.opened_by, OpenedBy::Local as u8, "{name}");
        // Not by themselves, unless they say that they are answers.
        let mut datapath = out_only(&[any()]);
        let says_so = name == "TCP" || name.starts_with("echo");
        assert_eq!(passes(&mut datapath, At::OutOfTunnel, &answer), says_so, "{name}");
    }
}

#[test]
fn a_connection_that_the_other_end_opens_is_judged_anew() {
    let mut datapath = out_only(&[any()]);
    assert!(passes(
        &mut datapath,
        At::Lan,
        &there().tcp(1000, 443, SYN, 0)
    ));
    let opening = back().tcp(443, 1000, SYN, 0);
    assert!(!passes(&mut datapath, At::OutOfTunnel, &opening));
    // What was allowed goes on.
    assert!(passes(
        &mut datapath,
        At::OutOfTunnel,
        &back().tcp(443, 1000, ACK, 9)
    ));
    assert!(
        passes(&mut datapath, At::Lan, &there().tcp(1000, 443, SYN, 0)),
        "once more"
    );
    assert_eq!(only_flow(&datapath).1.opened_by, OpenedBy::Local as u8);
    let both = [rule(LAN, FAR, &[any()]), rule(FAR, LAN, &[any()])];
    enforce(&mut datapath, &both);
    assert!(passes(&mut datapath, At::OutOfTunnel, &opening));
    let (_, counters) = only_flow(&datapath);
    assert_eq!(
        (counters.opened_by, counters.rule),
        (OpenedBy::Remote as u8, 1)
    );
    enforce_from(&mut datapath, 1, &both[1..]);
    assert!(
        passes(&mut datapath, At::Lan, &there().tcp(1000, 443, ACK, 9)),
        "it is theirs now"
    );
}

#[test]
fn an_echo_request_is_judged_anew_where_the_other_end_asks() {
    let mut datapath = out_only(&[any()]);
    assert!(passes(&mut datapath, At::Lan, &there().icmp(8, 7)));
    assert!(passes(&mut datapath, At::OutOfTunnel, &back().icmp(0, 7)));
    assert!(!passes(&mut datapath, At::OutOfTunnel, &back().icmp(8, 7)));
    assert!(passes(&mut datapath, At::Lan, &there().icmp(8, 7)));
}

#[test]
fn a_connection_that_began_unseen_passes_by_a_rule_for_either_end() {
    for (name, at, packet, opened_by) in [
        (
            "there",
            At::Lan,
            there().tcp(1000, 443, ACK, 9),
            OpenedBy::Local,
        ),
        (
            "back",
            At::OutOfTunnel,
            back().tcp(443, 1000, ACK, 9),
            OpenedBy::Local,
        ),
        (
            "its answer",
            At::OutOfTunnel,
            back().tcp(443, 1000, SYN_ACK, 0),
            OpenedBy::Local,
        ),
    ] {
        let mut datapath = out_only(&[range(TCP, 443, 443)]);
        assert!(passes(&mut datapath, at, &packet), "{name}");
        assert_eq!(only_flow(&datapath).1.opened_by, opened_by as u8, "{name}");
        // It stays allowed when the rules change and it still is.
        let more = [
            rule("10.99.0.0/16", FAR, &[any()]),
            rule(LAN, FAR, &[all(TCP)]),
        ];
        enforce_from(&mut datapath, 1, &more);
        assert!(
            passes(
                &mut datapath,
                At::OutOfTunnel,
                &back().tcp(443, 1000, ACK, 9)
            ),
            "{name}"
        );
        assert_eq!(only_flow(&datapath).1.rule, 1, "{name}");
    }
    let mut datapath = out_only(&[range(TCP, 443, 443)]);
    for (at, packet) in [
        (At::Lan, there().tcp(1000, 80, ACK, 9)),
        (At::OutOfTunnel, back().tcp(80, 443, ACK, 9)),
        (At::OutOfTunnel, back().tcp(80, 1000, SYN_ACK, 0)),
        (At::Lan, there().tcp(443, 1000, SYN_ACK, 0)),
    ] {
        assert!(!passes(&mut datapath, at, &packet));
    }
}

#[test]
fn later_fragments_pass_by_their_protocol_either_way() {
    let later = |packet: Packet| packet.transport(UDP, &[9; 40]).fragment(100, false);
    let mut datapath = out_only(&[range(UDP, 53, 53)]);
    assert!(passes(&mut datapath, At::Lan, &later(there())));
    assert!(passes(&mut datapath, At::OutOfTunnel, &later(back())));
    let mut datapath = out_only(&[range(UDP, 53, 53)]);
    assert!(passes(&mut datapath, At::OutOfTunnel, &later(back())));
    let later6 = |to: Packet| to.fragment6(100, false).transport(UDP, &[9; 40]);
    assert!(passes(&mut datapath, At::Lan, &later6(there6())));
    let mut datapath = out_only(&[range(TCP, 53, 53)]);
    assert!(!passes(&mut datapath, At::Lan, &later(there())));
    assert!(!passes(&mut datapath, At::OutOfTunnel, &later(back())));
    assert!(!passes(&mut datapath, At::Lan, &later6(there6())));
}

/// Later fragments and ICMP errors have no ports either, and are allowed here.
#[test]
fn what_has_no_ports_is_not_known_by_a_fragment_or_an_error() {
    let mut datapath = out_only(&[range(UDP, 53, 53), range(TCP, 443, 443)]);
    let later = |to: Packet, protocol| to.transport(protocol, &[9; 40]).fragment(100, false);
    for protocol in [TCP, UDP] {
        assert!(passes(&mut datapath, At::Lan, &later(there(), protocol)));
        assert!(passes(
            &mut datapath,
            At::OutOfTunnel,
            &later(back(), protocol)
        ));
    }
    let about = error_about(there(), 11, &back().tcp(443, 1000, ACK, 20));
    assert!(passes(&mut datapath, At::Lan, &about));
    for (at, to) in [(At::Lan, there as fn() -> Packet), (At::OutOfTunnel, back)] {
        assert!(!passes(&mut datapath, at, &to().udp(0, 0, b"?")));
        assert!(!passes(&mut datapath, at, &to().tcp(0, 0, ACK, 20)));
        assert!(!passes(&mut datapath, at, &to().icmp(8, 0)));
        assert!(!passes(&mut datapath, at, &to().icmp(0, 0)));
    }
    // A rule for one end, of a protocol without ports.
    let mut datapath = out_only(&[all(GRE)]);
    assert!(passes(&mut datapath, At::OutOfTunnel, &later(back(), GRE)));
    let whole = |to: Packet| to.transport(GRE, &[9; 40]);
    assert!(!passes(&mut datapath, At::OutOfTunnel, &whole(back())));
    assert!(passes(&mut datapath, At::Lan, &whole(there())));
    assert!(passes(&mut datapath, At::OutOfTunnel, &whole(back())));
}

/// More extension headers than are walked: it could be anything.
#[test]
fn what_hides_behind_extension_headers_passes_only_where_all_is_open() {
    let many = |to: Packet| {
        let behind = (0..5).fold(to, |packet, _| packet.extension(60, &[0; 7]));
        behind.udp(1000, 53, b"?")
    };
    let back6 = || Packet::new("2001:db8:2::9", "2001:db8:1::5");
    let later = || back6().fragment6(100, false).transport(60, &[0; 40]);
    let mut datapath = out_only(&[any()]);
    assert!(passes(&mut datapath, At::OutOfTunnel, &later()));
    assert!(!passes(&mut datapath, At::OutOfTunnel, &many(back6())));
    assert!(!passes(&mut datapath, At::IntoTunnel, &many(there6())));
    datapath.rules.set(maps::ACTIVE_RULES, &[]).unwrap();
    assert!(passes(&mut datapath, At::OutOfTunnel, &many(back6())));
}

/// An ICMP error about a packet.
fn error_about(outer: Packet, kind: u8, packet: &Packet) -> Packet {
    let protocol = if kind == 11 { ICMP } else { ICMPV6 };
    let mut bytes = vec![kind, 0, 0, 0, 0, 0, 0, 0];
    bytes.extend(packet.bare());
    outer.transport(protocol, &bytes)
}

#[test]
#[rustfmt::skip]
fn an_icmp_error_goes_by_the_packet_that_it_carries() {
    let router = || Packet::new("10.2.0.1", "10.1.0.5");
    let router6 = || Packet::new("2001:db8:2::1", "2001:db8:1::5");
    let allowed = there().tcp(1000, 443, ACK, 20);
    let allowed6 = there6().tcp(1000, 443, ACK, 20);
    for (name, at, packet, expected) in [
        ("about an allowed flow", At::OutOfTunnel, error_about(router(), 11, &allowed), true),
        ("about one of IPv6", At::OutOfTunnel, error_about(router6(), 3, &allowed6), true),
        ("behind extension headers", At::OutOfTunnel, error_about(router6(), 3, &there6().extension(60, &[0; 7]).tcp(1000, 443, ACK, 20)), true),
        ("about another port", At::OutOfTunnel, error_about(router(), 11, &there().tcp(1000, 444, ACK, 20)), false),
        ("about another protocol", At::OutOfTunnel, error_about(router(), 11, &there().udp(1000, 443, &[0; 20])), false),
        ("about another host's", At::OutOfTunnel, error_about(router(), 11, &Packet::new("10.1.0.6", "10.2.0.9").tcp(1000, 443, ACK, 20)), false),
        ("about an answer", At::Lan, error_about(there(), 11, &back().tcp(443, 1000, ACK, 20)), true),
        ("about a later fragment", At::OutOfTunnel, error_about(router(), 11, &there().transport(TCP, &[9; 40]).fragment(100, false)), true),
        ("about a later fragment of another protocol", At::OutOfTunnel, error_about(router(), 11, &there().transport(UDP, &[9; 40]).fragment(100, false)), false),
        ("about an error", At::OutOfTunnel, error_about(router(), 11, &error_about(there(), 11, &allowed)), false),
        ("about nothing", At::OutOfTunnel, router().icmp(11, 7), false),
        ("no error", At::OutOfTunnel, router().icmp(13, 7), false),
    ] {
        let mut datapath = out_only(&[range(TCP, 443, 443)]);
        assert_eq!(passes(&mut datapath, at, &packet), expected, "{name}");
        // One that passed opens nothing to others.
        if expected {
            let other = there().udp(1000, 443, &[0; 20]);
            let (at, other) = match at {
                At::Lan => (At::Lan, error_about(there(), 11, &back().udp(443, 1000, &[0; 20]))),
                _ => (At::OutOfTunnel, error_about(router(), 11, &other)),
            };
            assert!(!passes(&mut datapath, at, &other), "{name}");
        }
    }
    // One may be allowed by itself.
    let mut datapath = ready(&[rule(FAR, LAN, &[all(ICMP)])]);
    assert!(passes(&mut datapath, At::OutOfTunnel, &error_about(router(), 11, &allowed)));
}

#[test]
fn a_flow_that_a_replica_told_of_is_judged_by_who_opened_it() {
    for (opened_by, expected) in [
        (OpenedBy::Local, true),
        (OpenedBy::Remote, false),
        (OpenedBy::Unknown, true),
    ] {
        let mut datapath = out_only(&[range(UDP, 53, 53)]);
        assert!(passes(&mut datapath, At::Lan, &there().udp(1000, 53, b"?")));
        let (key, own) = only_flow(&datapath);
        let told = FlowCounters {
            route_generation: NOT_SEEN_HERE,
            opened_by: opened_by as u8,
            ..own
        };
        datapath.write_flow(&key, &told);
        let answer = back().udp(53, 1000, b"!");
        assert_eq!(
            passes(&mut datapath, At::OutOfTunnel, &answer),
            expected,
            "{opened_by:?}"
        );
        let now = only_flow(&datapath).1.opened_by;
        let expected = if expected { OpenedBy::Local } else { opened_by };
        assert_eq!(now, expected as u8, "{opened_by:?}");
    }
}
