//! The policy: what each program lets pass by it, and what it notes.
//!
//! ```text
//! 10.1.0.0/16, 2001:db8:1::/48 (LAN) ── gateway ── site 1: 10.2.0.0/16, 2001:db8:2::/48
//!                                               └─ site 2: 10.3.0.0/16
//! ```

#[path = "policy/image.rs"]
mod image;
#[path = "policy/notes.rs"]
mod notes;
#[path = "policy/opener.rs"]
mod opener;

use datapath_abi::{
    explanation::{Decision, JUDGED},
    flow::{FlowCounters, FlowKey},
    maps,
    outcome::DropReason,
    policy::{NO_RULE16, OPEN16},
    settings::{Role, Settings},
    site::SiteState,
};

use self::image::{Ports, Rule, all, any, compile, range, rule};
use crate::{
    frame::Packet,
    harness::{Context, Datapath, TC_DROP, TC_REDIRECT, TC_TO_STACK, ifindex, lay_lan, settings},
};

const LOOPBACK: u32 = 1;
const VNET: u32 = 3;
const SITE: u32 = 1;
const OTHER: u32 = 2;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const GRE: u8 = 47;
const ESP: u8 = 50;
const ICMPV6: u8 = 58;
const SCTP: u8 = 132;

const SYN: u8 = 2;
const SYN_ACK: u8 = 0x12;
const ACK: u8 = 0x10;

/// Which program meets a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// It comes by the LAN.
    Lan,
    /// The stack has routed it into the tunnel.
    IntoTunnel,
    /// It comes out of the tunnel.
    OutOfTunnel,
}

fn ready(rules: &[Rule]) -> Datapath {
    let mut datapath = Datapath::load();
    datapath.set_settings(settings(lay_lan()));
    for (site, prefixes) in [
        (SITE, &["10.2.0.0/16", "2001:db8:2::/48"][..]),
        (OTHER, &["10.3.0.0/16"]),
    ] {
        datapath.set_site(site, SiteState::Up, 1420);
        for prefix in prefixes {
            datapath.add_route(VNET, prefix, site);
        }
    }
    enforce(&mut datapath, rules);
    datapath
}

fn enforce(datapath: &mut Datapath, rules: &[Rule]) {
    let image = compile(VNET, rules);
    datapath.rules.set(maps::ACTIVE_RULES, &image).unwrap();
}

/// As the agent does it: the image first, then the number.
fn enforce_from(datapath: &mut Datapath, generation: u32, rules: &[Rule]) {
    enforce(datapath, rules);
    datapath.set_settings(Settings {
        route_generation: generation,
        ..settings(ifindex("tun0"))
    });
}

/// Whether a packet passes, which must have been explained so before.
fn passes(datapath: &mut Datapath, at: At, packet: &Packet) -> bool {
    let (program, role, mtu, bytes) = match at {
        At::Lan => (maps::LAN_INGRESS, Role::Lan, 1500, packet.frame()),
        At::IntoTunnel => (maps::TUN_EGRESS, Role::Tun, 1420, packet.bare()),
        At::OutOfTunnel => (maps::TUN_INGRESS, Role::Tun, 1420, packet.bare()),
    };
    datapath.set_interface(LOOPBACK, role, VNET, mtu);
    let (decision, explanation) = datapath.explain(program, &bytes, Context::default());
    let dropped = datapath.drops(DropReason::PolicyDenied);
    let flows = datapath.flows();
    let run = datapath.tc(program, &bytes, Context::default());
    let now_dropped = datapath.drops(DropReason::PolicyDenied);
    if run.verdict != TC_DROP {
        assert!(matches!(run.verdict, TC_REDIRECT | TC_TO_STACK));
        assert_eq!(now_dropped, dropped, "it passes");
        assert_ne!(decision, Decision::Drop, "explained otherwise");
        return true;
    }
    assert_eq!(now_dropped.packets, dropped.packets + 1);
    assert_eq!(now_dropped.bytes, dropped.bytes + bytes.len() as u64);
    assert_eq!(datapath.flows(), flows, "what is denied is no flow");
    assert_eq!(decision, Decision::Drop);
    assert_eq!(explanation.drop_reason(), Some(DropReason::PolicyDenied));
    false
}

/// The rules of the flow of a packet that passed, by its entry and as explained.
fn rules_of(datapath: &mut Datapath, packet: &Packet) -> (FlowCounters, [u16; 2]) {
    datapath.set_interface(LOOPBACK, Role::Lan, VNET, 1500);
    let (_, said) = datapath.explain(maps::LAN_INGRESS, &packet.frame(), Context::default());
    assert!(said.has(JUDGED));
    let (_, counters) = only_flow(datapath);
    (counters, [said.rule, said.shadow_rule])
}

fn only_flow(datapath: &Datapath) -> (FlowKey, FlowCounters) {
    let flows = datapath.flows();
    assert_eq!(flows.len(), 1, "{flows:#?}");
    flows.into_iter().next().unwrap()
}

fn there() -> Packet {
    Packet::new("10.1.0.5", "10.2.0.9")
}

fn back() -> Packet {
    Packet::new("10.2.0.9", "10.1.0.5")
}

fn there6() -> Packet {
    Packet::new("2001:db8:1::5", "2001:db8:2::9")
}

const LAN: &str = "10.1.0.0/16 2001:db8:1::/48";
const FAR: &str = "10.2.0.0/16 2001:db8:2::/48";

#[test]
#[rustfmt::skip]
fn a_rule_allows_what_it_says_and_nothing_else() {
    let ports = |source: u16, destination: u16| {
        let mut bytes = [source.to_be_bytes(), destination.to_be_bytes()].concat();
        bytes.resize(12, 0);
        bytes
    };
    let lan_to_far = |ports: Ports| rule(LAN, FAR, &[ports]);
    let host = rule("10.1.0.5/32", "10.2.0.8/31 10.9.0.0/16", &[range(TCP, 443, 443)]);
    for (name, rule, packet, expected) in [
        ("TCP port", lan_to_far(range(TCP, 443, 443)), there().tcp(1000, 443, SYN, 0), true),
        ("TCP port, IPv6", lan_to_far(range(TCP, 443, 443)), there6().tcp(1000, 443, SYN, 0), true),
        ("TCP, a port below", lan_to_far(range(TCP, 443, 443)), there().tcp(1000, 442, SYN, 0), false),
        ("TCP, a port above", lan_to_far(range(TCP, 443, 443)), there().tcp(1000, 444, SYN, 0), false),
        ("TCP, the sender's port", lan_to_far(range(TCP, 443, 443)), there().tcp(443, 1000, SYN, 0), false),
        ("TCP, IPv6, another port", lan_to_far(range(TCP, 443, 443)), there6().tcp(1000, 444, SYN, 0), false),
        ("UDP where TCP is allowed", lan_to_far(range(TCP, 443, 443)), there().udp(1000, 443, b"?"), false),
        ("range, its first", lan_to_far(range(UDP, 5060, 5323)), there().udp(1000, 5060, b"?"), true),
        ("range, its last", lan_to_far(range(UDP, 5060, 5323)), there().udp(1000, 5323, b"?"), true),
        ("range, before", lan_to_far(range(UDP, 5060, 5323)), there().udp(1000, 5059, b"?"), false),
        ("range, behind", lan_to_far(range(UDP, 5060, 5323)), there().udp(1000, 5324, b"?"), false),
        ("a host", host.clone(), there().tcp(1000, 443, SYN, 0), true),
        ("its neighbour", host.clone(), Packet::new("10.1.0.4", "10.2.0.9").tcp(1000, 443, SYN, 0), false),
        ("to a neighbour", host.clone(), Packet::new("10.1.0.5", "10.2.0.10").tcp(1000, 443, SYN, 0), false),
        ("to another site", host, Packet::new("10.1.0.5", "10.3.0.9").tcp(1000, 443, SYN, 0), false),
        ("the other way round", rule(FAR, LAN, &[any()]), there().tcp(1000, 443, SYN, 0), false),
        ("everything", rule("0.0.0.0/0 ::/0", "0.0.0.0/0 ::/0", &[any()]), there().udp(1, 2, b"?"), true),
        ("everything, IPv6", rule("0.0.0.0/0 ::/0", "0.0.0.0/0 ::/0", &[any()]), there6().udp(1, 2, b"?"), true),
        ("everything of IPv4, IPv6", rule("0.0.0.0/0", "0.0.0.0/0", &[any()]), there6().udp(1, 2, b"?"), false),
        ("ICMP", lan_to_far(all(ICMP)), there().icmp(8, 7), true),
        ("ICMP where TCP is allowed", lan_to_far(all(TCP)), there().icmp(8, 7), false),
        ("ICMPv6", lan_to_far(all(ICMPV6)), there6().icmp(128, 7), true),
        ("ICMPv6 where ICMP is allowed", lan_to_far(all(ICMP)), there6().icmp(128, 7), false),
        ("GRE", lan_to_far(all(GRE)), there().transport(GRE, &[9; 8]), true),
        ("ESP where GRE is allowed", lan_to_far(all(GRE)), there().transport(ESP, &[9; 8]), false),
        ("SCTP port", lan_to_far(range(SCTP, 2905, 2905)), there().transport(SCTP, &ports(9, 2905)), true),
        ("SCTP, another port", lan_to_far(range(SCTP, 2905, 2905)), there().transport(SCTP, &ports(9, 2906)), false),
        ("IP behind extension headers", lan_to_far(range(UDP, 53, 53)), there6().extension(60, &[0; 7]).udp(1, 53, b"?"), true),
        ("no rules", rule("10.99.0.0/16", "10.99.0.0/16", &[any()]), there().udp(1, 2, b"?"), false),
    ] {
        for at in [At::Lan, At::IntoTunnel] {
            let mut datapath = ready(std::slice::from_ref(&rule));
            assert_eq!(passes(&mut datapath, at, &packet), expected, "{name}, {at:?}");
            assert_eq!(datapath.flows().len(), usize::from(expected), "{name}, {at:?}");
        }
    }
}

#[test]
fn what_comes_out_of_the_tunnel_is_judged_wherever_it_goes() {
    let rules = [rule(
        "10.2.0.0/16",
        "10.1.0.0/16 10.3.0.0/16",
        &[range(TCP, 22, 22)],
    )];
    let mut datapath = ready(&rules);
    for (name, packet, expected) in [
        ("to the LAN", back().tcp(1000, 22, SYN, 0), true),
        (
            "to the LAN, another port",
            back().tcp(1000, 23, SYN, 0),
            false,
        ),
        (
            "to another site",
            Packet::new("10.2.0.9", "10.3.0.9").tcp(1000, 22, SYN, 0),
            true,
        ),
        (
            "to another site, another port",
            Packet::new("10.2.0.9", "10.3.0.9").tcp(1000, 23, SYN, 0),
            false,
        ),
        (
            "from another site",
            Packet::new("10.3.0.9", "10.2.0.9").tcp(1000, 22, SYN, 0),
            false,
        ),
        (
            "to the gateway itself",
            Packet::new("10.2.0.9", "10.4.0.1").udp(1000, 22, b"?"),
            false,
        ),
        (
            "to a host that is nowhere",
            Packet::new("10.2.0.9", "192.0.2.1").udp(1000, 22, b"?"),
            false,
        ),
    ] {
        assert_eq!(
            passes(&mut datapath, At::OutOfTunnel, &packet),
            expected,
            "{name}"
        );
    }
    // The second leg of what goes on to another site, and the answer to it.
    let on = Packet::new("10.2.0.9", "10.3.0.9").tcp(1000, 22, SYN, 0);
    assert!(passes(&mut datapath, At::IntoTunnel, &on));
    let answer = Packet::new("10.3.0.9", "10.2.0.9").tcp(22, 1000, SYN_ACK, 0);
    assert!(passes(&mut datapath, At::OutOfTunnel, &answer));
    assert!(passes(&mut datapath, At::IntoTunnel, &answer));
}

#[test]
fn a_vnet_is_open_until_rules_close_it_and_nothing_passes_without_an_image() {
    let packet = there().udp(1, 2, b"?");
    let mut datapath = ready(&[]);
    assert!(!passes(&mut datapath, At::Lan, &packet), "no rules");
    datapath.rules.set(maps::ACTIVE_RULES, &[]).unwrap();
    assert!(passes(&mut datapath, At::Lan, &packet), "no vnet is closed");
    assert_eq!(rules_of(&mut datapath, &packet).1, [OPEN16; 2]);
    let mut datapath = ready(&[]);
    let other_vnet = compile(VNET + 1, &[]);
    datapath.rules.set(maps::ACTIVE_RULES, &other_vnet).unwrap();
    assert!(passes(&mut datapath, At::Lan, &packet), "another one is");
    let mut broken = compile(VNET, &[rule(LAN, FAR, &[any()])]);
    for line in 0..broken.len() {
        broken.truncate(broken.len() - 1);
        if line % 97 != 0 || broken.is_empty() {
            continue;
        }
        let mut datapath = ready(&[]);
        datapath.rules.set(maps::ACTIVE_RULES, &broken).unwrap();
        let passed = passes(&mut datapath, At::Lan, &packet);
        let rule = compile(VNET, &[]).len();
        assert!(!passed || broken.len() > rule, "an image that is cut off");
    }
}

#[test]
fn what_cannot_be_read_passes_only_where_all_is_open() {
    let cut_off = there().transport(TCP, &[3, 232, 1, 187]);
    for at in [At::IntoTunnel, At::OutOfTunnel] {
        let mut datapath = ready(&[rule("0.0.0.0/0", "0.0.0.0/0", &[any()])]);
        assert!(!passes(&mut datapath, at, &cut_off), "{at:?}");
        datapath.rules.set(maps::ACTIVE_RULES, &[]).unwrap();
        assert!(passes(&mut datapath, at, &cut_off), "{at:?}");
    }
}

#[test]
fn a_flow_knows_the_lowest_rule_of_many() {
    let never = rule("10.99.0.0/16", "10.99.0.0/16", &[any()]);
    let lowest = 700;
    let mut rules = vec![never; lowest];
    rules.extend([rule(LAN, FAR, &[all(UDP)]), rule(LAN, FAR, &[any()])]);
    let mut datapath = ready(&rules);
    let packet = there().udp(1, 2, b"?");
    assert!(passes(&mut datapath, At::Lan, &packet));
    let (counters, explained) = rules_of(&mut datapath, &packet);
    assert_eq!(explained, [lowest as u16, OPEN16]);
    assert_eq!([counters.rule, counters.shadow_rule], explained);
    assert_eq!(counters.verdict, 0);
}

#[test]
fn a_flow_is_judged_again_when_the_rules_change() {
    let web = rule(LAN, FAR, &[range(TCP, 443, 443)]);
    let all_of_it = rule(LAN, FAR, &[any()]);
    let open = there().tcp(1000, 443, SYN, 0);
    let data = there().tcp(1000, 443, ACK, 100);
    let answer = back().tcp(443, 1000, ACK, 100);
    let mut datapath = ready(std::slice::from_ref(&all_of_it));
    assert!(passes(&mut datapath, At::Lan, &open));

    // It goes by another rule, which it learns by an answer as well.
    enforce_from(&mut datapath, 1, &[all_of_it.clone(), web.clone()][1..]);
    assert!(passes(&mut datapath, At::OutOfTunnel, &answer));
    enforce_from(&mut datapath, 2, &[rule(FAR, LAN, &[any()]), web.clone()]);
    assert!(passes(&mut datapath, At::OutOfTunnel, &answer));
    let (counters, _) = rules_of(&mut datapath, &data);
    assert_eq!((counters.rule, counters.route_generation), (1, 2));

    // None allows it: both ways end, and its entry stays as it was.
    enforce_from(&mut datapath, 3, &[rule(FAR, LAN, &[any()])]);
    assert!(!passes(&mut datapath, At::Lan, &data));
    assert!(!passes(&mut datapath, At::OutOfTunnel, &answer));
    assert_eq!(only_flow(&datapath).1.route_generation, 2);
    enforce_from(&mut datapath, 4, &[web]);
    assert!(passes(&mut datapath, At::Lan, &data));
    assert!(passes(&mut datapath, At::OutOfTunnel, &answer));
    let (_, counters) = only_flow(&datapath);
    assert_eq!((counters.rule, counters.route_generation), (0, 4));
}

#[test]
fn a_flow_that_is_known_and_current_is_not_judged() {
    let mut datapath = ready(&[rule(LAN, FAR, &[any()])]);
    let packet = there().tcp(1000, 443, SYN, 0);
    assert!(passes(&mut datapath, At::Lan, &packet));
    // Without the number nobody looks at the image.
    enforce(&mut datapath, &[]);
    let data = there().tcp(1000, 443, ACK, 0);
    assert!(passes(&mut datapath, At::Lan, &data));
    assert!(passes(
        &mut datapath,
        At::OutOfTunnel,
        &back().tcp(443, 1000, ACK, 0)
    ));
    assert_eq!(only_flow(&datapath).1.rule, 0);
    assert_ne!(only_flow(&datapath).1.rule, NO_RULE16);
}
