//! What the programs note: the flows that were denied, those of each rule, and what the shadow rules say.

use datapath_abi::{
    flow::{FlowVerdict, OpenedBy},
    policy::{Denied, REFUSED_PER_SECOND, RuleFlows, rule_slot},
};

use super::*;

fn shadow(datapath: &mut Datapath, rules: &[Rule]) {
    let image = compile(VNET, rules);
    datapath.rules.set(maps::SHADOW_RULES, &image).unwrap();
}

#[test]
fn a_denied_flow_is_remembered_apart() {
    let mut datapath = ready(&[]);
    let packet = there().tcp(1000, 443, SYN, 0);
    assert!(!passes(&mut datapath, At::Lan, &packet));
    assert!(!passes(&mut datapath, At::IntoTunnel, &packet));
    assert!(datapath.flows().is_empty());
    let (key, denied) = datapath.denied().pop().unwrap();
    let expected = Denied {
        first_seen_ns: denied.first_seen_ns,
        last_seen_ns: denied.last_seen_ns,
        packets: 2,
        bytes: 2 * packet.bare().len() as u64,
        site: SITE,
        shadow_rule: OPEN16,
        opened_by: OpenedBy::Local as u8,
        reserved: 0,
    };
    assert_eq!(denied, expected);
    assert!(denied.first_seen_ns > 0 && denied.last_seen_ns >= denied.first_seen_ns);
    assert_eq!((key.vnet, key.protocol, key.family), (VNET, TCP, 4));
    assert_eq!(key.to_v4().unwrap().local, [10, 1, 0, 5]);
    assert_eq!(key.to_v4().unwrap().remote, [10, 2, 0, 9]);
    assert_eq!((key.local_port, key.remote_port), ([3, 232], [1, 187]));

    // From the other end it is the same flow, of IPv6 another one.
    assert!(!passes(
        &mut datapath,
        At::OutOfTunnel,
        &back().tcp(443, 1000, SYN, 0)
    ));
    assert_eq!(datapath.denied().len(), 1);
    assert!(!passes(
        &mut datapath,
        At::Lan,
        &there6().udp(1000, 53, b"?")
    ));
    assert_eq!(datapath.denied().len(), 2);
    assert_eq!(datapath.rule_flows(rule_slot(NO_RULE16)).active, 2);
}

#[test]
fn the_agent_is_told_of_some_of_the_packets_that_are_denied() {
    let mut datapath = ready(&[]);
    let lan = there().tcp(1000, 443, SYN, 500);
    assert!(!passes(&mut datapath, At::Lan, &lan));
    let far = Packet::new("2001:db8:2::9", "2001:db8:1::5").udp(53, 1000, b"?");
    assert!(!passes(&mut datapath, At::OutOfTunnel, &far));
    let records = datapath.refused();
    let [first, second] = records.as_slice() else {
        panic!("{} records", records.len());
    };
    assert!(first.time_ns > 0 && second.time_ns >= first.time_ns);
    for (record, packet, to_site, opened_by) in [
        (first, &lan, 1, OpenedBy::Local),
        (second, &far, 0, OpenedBy::Remote),
    ] {
        let bytes = packet.bare();
        let kept = bytes.len().min(record.head.len());
        assert_eq!((record.vnet, record.site), (VNET, SITE));
        assert_eq!((record.ifindex, record.to_site), (LOOPBACK, to_site));
        assert_eq!(
            (record.length, record.kept),
            (bytes.len() as u32, kept as u32)
        );
        assert_eq!(
            (record.shadow_rule, record.opened_by),
            (OPEN16, opened_by as u8)
        );
        assert_eq!(record.head[..kept], bytes[..kept]);
        assert!(record.head[kept..].iter().all(|byte| *byte == 0));
    }
    for _ in 0..4 * REFUSED_PER_SECOND {
        datapath.tc(maps::TUN_INGRESS, &far.bare(), Context::default());
    }
    // The test may run on from one second into another, and from one CPU to another.
    let told = datapath.refused().len() as u64;
    assert!((1..4 * REFUSED_PER_SECOND).contains(&told), "{told}");
}

#[test]
fn the_shadow_rules_are_judged_and_change_nothing() {
    let mut datapath = ready(&[rule(LAN, FAR, &[all(TCP)])]);
    let other = rule("10.99.0.0/16", FAR, &[any()]);
    shadow(
        &mut datapath,
        &[other, rule(LAN, FAR, &[all(UDP), range(TCP, 22, 22)])],
    );
    let web = there().tcp(1000, 443, SYN, 0);
    assert!(passes(&mut datapath, At::Lan, &web));
    let (counters, explained) = rules_of(&mut datapath, &web);
    assert_eq!(explained, [0, NO_RULE16]);
    assert_eq!([counters.rule, counters.shadow_rule], explained);
    assert_eq!(counters.verdict, FlowVerdict::ShadowDenied as u8);

    assert!(passes(
        &mut datapath,
        At::Lan,
        &there().tcp(1000, 22, SYN, 0)
    ));
    let flows = datapath.flows();
    let (_, ssh) = flows
        .iter()
        .find(|(key, _)| key.remote_port == [0, 22])
        .unwrap();
    assert_eq!([ssh.rule, ssh.shadow_rule], [0, 1]);
    assert_eq!(ssh.verdict, FlowVerdict::Accept as u8);

    assert!(!passes(
        &mut datapath,
        At::Lan,
        &there().udp(1000, 53, b"?")
    ));
    assert_eq!(datapath.denied()[0].1.shadow_rule, 1);
    let counts = |active, shadow| RuleFlows { active, shadow };
    assert_eq!(datapath.rule_flows(0), counts(2, 0));
    assert_eq!(datapath.rule_flows(1), counts(0, 2));
    assert_eq!(datapath.rule_flows(rule_slot(NO_RULE16)), counts(1, 1));
    assert_eq!(datapath.rule_flows(rule_slot(OPEN16)), counts(0, 0));
}

#[test]
fn a_rule_counts_flows_not_packets() {
    let mut datapath = ready(&[rule(LAN, FAR, &[any()])]);
    for _ in 0..3 {
        assert!(passes(&mut datapath, At::Lan, &there().udp(1000, 53, b"?")));
        assert!(passes(
            &mut datapath,
            At::OutOfTunnel,
            &back().udp(53, 1000, b"!")
        ));
    }
    enforce_from(&mut datapath, 1, &[rule(LAN, FAR, &[any()])]);
    assert!(passes(&mut datapath, At::Lan, &there().udp(1000, 53, b"?")));
    assert_eq!(datapath.rule_flows(0).active, 1);
    assert_eq!(datapath.rule_flows(rule_slot(OPEN16)).shadow, 1);
}
