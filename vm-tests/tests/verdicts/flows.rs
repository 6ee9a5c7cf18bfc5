//! The flow table: one entry for both directions, exact in wire packets and bytes.

use std::{collections::HashMap, net::Ipv6Addr};

use datapath_abi::{
    flow::{FlowCounters, FlowKey, FlowStat, NOT_SEEN_HERE, OpenedBy},
    maps,
    outcome::StackReason,
    route::SITE_KERNEL,
    settings::{Role, Settings},
    site::{SiteCounters, SiteState},
};

use crate::{
    frame::Packet,
    harness::{Context, Datapath, FLOWS, TC_REDIRECT, TC_TO_STACK, ifindex, lay_lan, settings},
};

const LOOPBACK: u32 = 1;
const VNET: u32 = 3;
const SITE: u32 = 1;
const OTHER: u32 = 2;

fn ready() -> Datapath {
    let mut datapath = Datapath::load();
    datapath.set_settings(settings(lay_lan()));
    datapath.set_site(SITE, SiteState::Up, 1420);
    datapath.add_route(VNET, "10.2.0.0/16", SITE);
    datapath.add_route(VNET, "2001:db8:2::/48", SITE);
    datapath
}

/// Sends a packet from the LAN towards the site.
fn to_site(datapath: &mut Datapath, packet: &Packet, context: Context) {
    datapath.set_interface(LOOPBACK, Role::Lan, VNET, 1500);
    let run = datapath.tc(maps::LAN_INGRESS, &packet.frame(), context);
    assert_eq!(run.verdict, TC_REDIRECT);
}

/// Sends a packet out of the tunnel; that the stack gets it here does not matter to the count.
fn from_site(datapath: &mut Datapath, packet: &Packet, context: Context) {
    datapath.set_interface(LOOPBACK, Role::Tun, VNET, 1420);
    datapath.tc(maps::TUN_INGRESS, &packet.bare(), context);
}

/// The only flow in the table.
fn only_flow(datapath: &Datapath) -> (FlowKey, FlowCounters) {
    let flows: HashMap<FlowKey, FlowCounters> = datapath.flows();
    assert_eq!(flows.len(), 1, "{flows:#?}");
    flows.into_iter().next().unwrap()
}

/// A packet to the site and one back, and what their one entry says.
struct Conversation {
    name: &'static str,
    there: Packet,
    back: Packet,
    protocol: u8,
    local_port: u16,
    remote_port: u16,
}

#[rustfmt::skip]
fn conversations() -> Vec<Conversation> {
    let there = || Packet::new("10.1.0.5", "10.2.0.9");
    let back = || Packet::new("10.2.0.9", "10.1.0.5");
    let there6 = || Packet::new("2001:db8:1::5", "2001:db8:2::9");
    let back6 = || Packet::new("2001:db8:2::9", "2001:db8:1::5");
    // Ports 1000 and 443, and what else the shortest header of SCTP and DCCP needs.
    let from_1000 = [3, 232, 1, 187, 0, 0, 0, 0, 0, 0, 0, 0];
    let from_443 = [1, 187, 3, 232, 0, 0, 0, 0, 0, 0, 0, 0];
    let conversation = |name, protocol, (local_port, remote_port), there, back| Conversation {
        name, there, back, protocol, local_port, remote_port,
    };
    let ports = (1000, 443);
    vec![
        conversation("TCP", 6, ports, there().tcp(1000, 443, 2, 0), back().tcp(443, 1000, 0x12, 0)),
        conversation("UDP", 17, ports, there().udp(1000, 443, b"?"), back().udp(443, 1000, b"!!")),
        conversation("SCTP", 132, ports, there().transport(132, &from_1000), back().transport(132, &from_443)),
        conversation("DCCP", 33, ports, there().transport(33, &from_1000), back().transport(33, &from_443)),
        conversation("UDP-Lite", 136, ports, there().transport(136, &from_1000), back().transport(136, &from_443)),
        conversation("ICMP echo", 1, (77, 77), there().icmp(8, 77), back().icmp(0, 77)),
        conversation("ICMP other", 1, (0, 0), there().icmp(3, 77), back().icmp(11, 78)),
        conversation("GRE", 47, (0, 0), there().transport(47, &[9; 8]), back().transport(47, &[8; 9])),
        conversation("TCP over IPv6", 6, ports, there6().tcp(1000, 443, 2, 0), back6().tcp(443, 1000, 0x12, 0)),
        conversation("ICMPv6 echo", 58, (77, 77), there6().icmp(128, 77), back6().icmp(129, 77)),
        conversation("later fragments", 17, (0, 0), there().transport(17, &[9; 40]).fragment(100, false), back().transport(17, &[8; 50]).fragment(100, true)),
        conversation("first fragments", 17, ports, there().udp(1000, 443, &[1; 8]).fragment(0, true), back().udp(443, 1000, b"!!")),
        conversation("IPv6 behind extension headers", 17, ports, there6().extension(60, &[0; 7]).udp(1000, 443, b"?"), back6().fragment6(0, true).udp(443, 1000, b"!!")),
    ]
}

#[test]
fn both_directions_meet_in_one_entry() {
    for conversation in conversations() {
        let name = conversation.name;
        let mut datapath = ready();
        to_site(&mut datapath, &conversation.there, Context::default());
        from_site(&mut datapath, &conversation.back, Context::default());
        from_site(&mut datapath, &conversation.back, Context::default());

        let (key, counters) = only_flow(&datapath);
        assert_eq!(key, expected_key(&conversation, key.family), "{name}");
        let expected = SiteCounters {
            to_site_packets: 1,
            to_site_bytes: conversation.there.bare().len() as u64,
            from_site_packets: 2,
            from_site_bytes: 2 * conversation.back.bare().len() as u64,
        };
        let counted = SiteCounters {
            to_site_packets: counters.to_site_packets,
            to_site_bytes: counters.to_site_bytes,
            from_site_packets: counters.from_site_packets,
            from_site_bytes: counters.from_site_bytes,
        };
        assert_eq!(counted, expected, "{name}");
        assert_eq!(datapath.site_counters(SITE), expected, "{name}");
        assert_eq!(counters.site, SITE, "{name}");
        assert!(counters.first_seen_ns > 0 && counters.last_seen_ns >= counters.first_seen_ns);
        assert_eq!(datapath.flow_stat(FlowStat::Inserted), 1, "{name}");
    }
}

fn expected_key(conversation: &Conversation, family: u8) -> FlowKey {
    let (local, remote) = if family == 4 {
        ("::ffff:10.1.0.5", "::ffff:10.2.0.9")
    } else {
        ("2001:db8:1::5", "2001:db8:2::9")
    };
    let octets = |address: &str| address.parse::<Ipv6Addr>().unwrap().octets();
    FlowKey {
        vnet: VNET,
        local: octets(local),
        remote: octets(remote),
        local_port: conversation.local_port.to_be_bytes(),
        remote_port: conversation.remote_port.to_be_bytes(),
        protocol: conversation.protocol,
        family,
        fragments: (conversation.name == "later fragments").into(),
        reserved: 0,
    }
}

#[test]
fn tcp_flags_are_kept_for_each_direction() {
    let mut datapath = ready();
    let there = |flags| Packet::new("10.1.0.5", "10.2.0.9").tcp(1000, 443, flags, 0);
    let back = |flags| Packet::new("10.2.0.9", "10.1.0.5").tcp(443, 1000, flags, 0);
    for (flags_there, flags_back) in [(0x02, 0x12), (0x10, 0x18), (0x18, 0x10), (0x11, 0x04)] {
        to_site(&mut datapath, &there(flags_there), Context::default());
        from_site(&mut datapath, &back(flags_back), Context::default());
    }
    let (_, counters) = only_flow(&datapath);
    assert_eq!(counters.tcp_flags_to_site, 0x1b);
    assert_eq!(counters.tcp_flags_from_site, 0x1e);
    assert_eq!(counters.site, SITE);
    assert_eq!(counters.verdict, 0);
}

#[test]
fn a_flow_knows_which_end_has_opened_it() {
    for conversation in conversations() {
        let name = conversation.name;
        for opened_by in [OpenedBy::Local, OpenedBy::Remote] {
            let mut datapath = ready();
            if opened_by == OpenedBy::Remote {
                from_site(&mut datapath, &conversation.back, Context::default());
            }
            to_site(&mut datapath, &conversation.there, Context::default());
            from_site(&mut datapath, &conversation.back, Context::default());
            let (_, counters) = only_flow(&datapath);
            // An answer says that the other end has.
            let is_answer = name.starts_with("TCP") || name.ends_with("echo");
            let expected = if is_answer {
                OpenedBy::Local
            } else {
                opened_by
            };
            assert_eq!(counters.opened_by, expected as u8, "{name}");
        }
    }
}

#[test]
fn a_gso_packet_counts_as_its_wire_packets() {
    let tcp = |payload| Packet::new("10.1.0.5", "10.2.0.9").tcp(1, 2, 0x10, payload);
    let udp =
        |payload: usize| Packet::new("2001:db8:1::5", "2001:db8:2::9").udp(1, 2, &vec![0; payload]);
    for (name, packet, gso_size, packets, bytes) in [
        ("TCP, whole segments", tcp(3000), 1000, 3, 3000 + 3 * 40),
        ("TCP, a rest", tcp(3001), 1000, 4, 3001 + 4 * 40),
        ("TCP, one segment", tcp(1000), 1000, 1, 1040),
        ("TCP, no payload", tcp(0), 1000, 1, 40),
        ("UDP over IPv6", udp(2500), 1200, 3, 2500 + 3 * 48),
    ] {
        // What the kernel says of the number of segments is 0 for packets from a TUN.
        for gso_segs in [0, packets as u32] {
            let mut datapath = ready();
            let context = Context {
                gso_size,
                gso_segs,
                ..Context::default()
            };
            to_site(&mut datapath, &packet, context);
            let (_, counters) = only_flow(&datapath);
            assert_eq!(counters.to_site_packets, packets, "{name}");
            assert_eq!(counters.to_site_bytes, bytes, "{name}");
            let site = datapath.site_counters(SITE);
            assert_eq!(site.to_site_packets, packets, "{name}");
            assert_eq!(site.to_site_bytes, bytes, "{name}");
        }
    }
}

#[test]
fn a_full_table_evicts_but_the_site_counters_keep_everything() {
    let mut datapath = ready();
    let flows = u64::from(FLOWS) * 3;
    for port in 0..flows {
        let packet = Packet::new("10.1.0.5", "10.2.0.9").udp(port as u16, 53, b"?");
        to_site(&mut datapath, &packet, Context::default());
    }
    let left = datapath.flows().len() as u64;
    assert!(left <= FLOWS.into(), "the table is bounded");
    let inserted = datapath.flow_stat(FlowStat::Inserted);
    assert_eq!(inserted + datapath.flow_stat(FlowStat::InsertFailed), flows);
    assert!(
        inserted > left,
        "what is missing was evicted, and can be told"
    );
    assert_eq!(datapath.site_counters(SITE).to_site_packets, flows);
    assert_eq!(datapath.site_counters(SITE).to_site_bytes, flows * 29);
}

/// Changes the routes as the agent does: the table first, then the number.
fn change_routes(datapath: &mut Datapath, generation: u32, change: impl FnOnce(&mut Datapath)) {
    change(datapath);
    datapath.set_settings(Settings {
        route_generation: generation,
        ..settings(ifindex("tun0"))
    });
}

#[test]
fn a_known_flow_follows_its_route_from_the_change_on() {
    for (name, there, back, prefix) in [
        (
            "IPv4",
            Packet::new("10.1.0.5", "10.2.0.9").tcp(1000, 443, 0x10, 9),
            Packet::new("10.2.0.9", "10.1.0.5").tcp(443, 1000, 0x10, 9),
            "10.2.0.0/24",
        ),
        (
            "IPv6",
            Packet::new("2001:db8:1::5", "2001:db8:2::9").udp(1000, 443, b"?"),
            Packet::new("2001:db8:2::9", "2001:db8:1::5").udp(443, 1000, b"!"),
            "2001:db8:2::/64",
        ),
    ] {
        let mut datapath = ready();
        datapath.set_site(OTHER, SiteState::Up, 1420);
        let counted = |datapath: &Datapath, site| {
            let counters = datapath.site_counters(site);
            (counters.to_site_packets, counters.from_site_packets)
        };
        to_site(&mut datapath, &there, Context::default());
        from_site(&mut datapath, &back, Context::default());
        assert_eq!(counted(&datapath, SITE), (1, 1), "{name}");

        // A more specific route: it is in force when the agent says so, in both directions.
        datapath.add_route(VNET, prefix, OTHER);
        to_site(&mut datapath, &there, Context::default());
        assert_eq!(counted(&datapath, SITE), (2, 1), "{name}: no lookup");
        change_routes(&mut datapath, 1, |_| ());
        to_site(&mut datapath, &there, Context::default());
        from_site(&mut datapath, &back, Context::default());
        assert_eq!(counted(&datapath, SITE), (2, 1), "{name}");
        assert_eq!(counted(&datapath, OTHER), (1, 1), "{name}");
        let (_, counters) = only_flow(&datapath);
        assert_eq!((counters.site, counters.route_generation), (OTHER, 1));

        // And back, where the first packet to notice comes from the site.
        change_routes(&mut datapath, 2, |datapath| {
            datapath.remove_route(VNET, prefix);
        });
        from_site(&mut datapath, &back, Context::default());
        to_site(&mut datapath, &there, Context::default());
        assert_eq!(counted(&datapath, SITE), (3, 2), "{name}");
        assert_eq!(counted(&datapath, OTHER), (1, 1), "{name}");
        let (_, counters) = only_flow(&datapath);
        assert_eq!((counters.site, counters.route_generation), (SITE, 2));
        assert_eq!(datapath.flow_stat(FlowStat::Inserted), 1, "{name}");
    }
}

#[test]
fn a_known_flow_without_a_route_any_more_goes_to_the_stack_and_comes_back_with_one() {
    let mut datapath = ready();
    let packet = Packet::new("10.1.0.5", "10.2.0.9").udp(1000, 443, b"?");
    to_site(&mut datapath, &packet, Context::default());
    let stack = |datapath: &mut Datapath, reason: StackReason| {
        let before = datapath.to_stack(reason).packets;
        let run = datapath.tc(maps::LAN_INGRESS, &packet.frame(), Context::default());
        assert_eq!(run.verdict, TC_TO_STACK, "{reason:?}");
        assert_eq!(datapath.to_stack(reason).packets, before + 1, "{reason:?}");
    };
    change_routes(&mut datapath, 1, |datapath| {
        datapath.remove_route(VNET, "10.2.0.0/16");
    });
    // More than once: that there is no route is not remembered.
    stack(&mut datapath, StackReason::NoRoute);
    stack(&mut datapath, StackReason::NoRoute);
    change_routes(&mut datapath, 2, |datapath| {
        datapath.add_route(VNET, "10.2.0.9/32", SITE_KERNEL);
    });
    stack(&mut datapath, StackReason::KernelRoute);
    change_routes(&mut datapath, 3, |datapath| {
        datapath.remove_route(VNET, "10.2.0.9/32");
        datapath.add_route(VNET, "10.2.0.0/16", SITE);
    });
    to_site(&mut datapath, &packet, Context::default());
    let (_, counters) = only_flow(&datapath);
    assert_eq!((counters.to_site_packets, counters.site), (2, SITE));
}

#[test]
fn a_site_that_changes_needs_no_new_routes_to_be_noticed() {
    let mut datapath = ready();
    let packet = Packet::new("10.1.0.5", "10.2.0.9").udp(1000, 443, &[0; 1200]);
    to_site(&mut datapath, &packet, Context::default());
    for (state, mtu, reason) in [
        (SiteState::Down, 1420, StackReason::SiteDown),
        (SiteState::Up, 1000, StackReason::TooBig),
    ] {
        datapath.set_site(SITE, state, mtu);
        let run = datapath.tc(maps::LAN_INGRESS, &packet.frame(), Context::default());
        assert_eq!(run.verdict, TC_TO_STACK);
        assert_eq!(datapath.to_stack(reason).packets, 1, "{reason:?}");
    }
    datapath.set_site(SITE, SiteState::Up, 1420);
    to_site(&mut datapath, &packet, Context::default());
}

#[test]
fn a_flow_that_a_replica_told_of_counts_on_and_finds_its_site_at_its_first_packet() {
    for conversation in conversations() {
        let name = conversation.name;
        let mut datapath = ready();
        to_site(&mut datapath, &conversation.there, Context::default());
        let (key, own) = only_flow(&datapath);
        let inserted = datapath.flow_stat(FlowStat::Inserted);
        let told = FlowCounters {
            to_site_packets: 1000,
            to_site_bytes: 100_000,
            from_site_packets: 500,
            from_site_bytes: 50_000,
            first_seen_ns: 7,
            last_seen_ns: 8,
            // Not the one of the route: the table was told before the route came.
            site: OTHER,
            route_generation: NOT_SEEN_HERE,
            ..own
        };
        datapath.write_flow(&key, &told);
        to_site(&mut datapath, &conversation.there, Context::default());
        from_site(&mut datapath, &conversation.back, Context::default());

        let (_, counters) = only_flow(&datapath);
        let length = |packet: &Packet| packet.bare().len() as u64;
        let expected = FlowCounters {
            to_site_packets: 1001,
            to_site_bytes: 100_000 + length(&conversation.there),
            from_site_packets: 501,
            from_site_bytes: 50_000 + length(&conversation.back),
            first_seen_ns: 7,
            last_seen_ns: counters.last_seen_ns,
            site: SITE,
            route_generation: own.route_generation,
            tcp_flags_from_site: counters.tcp_flags_from_site,
            ..told
        };
        assert_eq!(counters, expected, "{name}");
        assert!(counters.last_seen_ns >= own.last_seen_ns, "{name}");
        assert_eq!(datapath.flow_stat(FlowStat::Inserted), inserted, "{name}");
    }
}
