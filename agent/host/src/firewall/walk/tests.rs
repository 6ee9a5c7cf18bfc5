use crossway_types::ids::IfIndex;

use super::super::ruleset::{self, Base, Element, INPUT};
use super::*;

const DROP: Expression = Expression::Decide(Verdict::Drop);
const ACCEPT: Expression = Expression::Decide(Verdict::Accept);

fn place(name: &str) -> Place {
    Place {
        family: INET,
        table: "filter".to_owned(),
        name: name.to_owned(),
        legacy: false,
    }
}

fn chain(hook: u32, drops: bool, rules: &[&[Expression]]) -> Chain {
    Chain {
        base: Some(Base {
            kind: "filter".to_owned(),
            hook,
            priority: 0,
            drops,
        }),
        rules: rules.iter().map(|rule| rule.to_vec()).collect(),
    }
}

/// `ct state` of these bits.
fn states(bits: u32) -> Vec<Expression> {
    let bits = bits.to_ne_bytes().to_vec();
    vec![
        Expression::Load(0, Field::State),
        Expression::Mask(0, 0, bits, vec![0; 4]),
        Expression::Compare(0, false, vec![0; 4]),
    ]
}

fn named(field: Field, name: &str) -> Vec<Expression> {
    let mut value = name.as_bytes().to_vec();
    value.resize(16, 0);
    vec![
        Expression::Load(0, field),
        Expression::Compare(0, true, value),
    ]
}

fn with(mut rule: Vec<Expression>, last: Expression) -> Vec<Expression> {
    rule.push(last);
    rule
}

fn judged(chains: impl IntoIterator<Item = (&'static str, Chain)>) -> Vec<String> {
    let mut rules = Ruleset::default();
    for (name, chain) in chains {
        rules.chains.insert(place(name), chain);
    }
    judge_rules(&rules)
}

fn judge_rules(rules: &Ruleset) -> Vec<String> {
    let named = |name: &str, index| Named {
        name: name.to_owned(),
        index: IfIndex(index),
    };
    let (lan, tun) = (named("lan0", 2), named("cw-a", 3));
    let passage = Passage {
        from: Some(&lan),
        to: Some(&tun),
        ports: None,
    };
    judge(rules, passage, true).collect()
}

#[test]
fn an_open_chain_is_not_warned_of() {
    assert!(judged([]).is_empty());
    assert!(judged([("forward", chain(FORWARD, false, &[]))]).is_empty());
    // What is dropped at other hooks is none of forwarding.
    assert!(judged([("input", chain(1, true, &[]))]).is_empty());
}

#[test]
fn a_policy_of_drop_without_an_accept_is_named() {
    let established = with(states(ESTABLISHED), ACCEPT);
    let rules: &[&[Expression]] = &[&established];
    let found = judged([("forward", chain(FORWARD, true, rules))]);
    assert!(found[0].contains("inet filter forward drops packets from lan0 to cw-a"));
    let accept = with(named(Field::InName, "lan0"), ACCEPT);
    let rules: &[&[Expression]] = &[&established, &accept];
    let found = judged([("forward", chain(FORWARD, true, rules))]);
    assert!(found.is_empty(), "{found:?}");
    let other = with(named(Field::OutName, "wan0"), ACCEPT);
    let rules: &[&[Expression]] = &[&established, &other];
    assert_eq!(judged([("forward", chain(FORWARD, true, rules))]).len(), 1);
}

#[test]
fn what_drops_invalid_packets_is_named_unless_nothing_is_tracked() {
    let invalid = with(states(INVALID), DROP);
    let forward = || chain(FORWARD, false, &[&invalid]);
    let found = judged([("forward", forward())]);
    assert!(
        found[0].contains("what conntrack calls invalid"),
        "{found:?}"
    );
    let untracked = with(named(Field::InName, "lan0"), Expression::Notrack);
    let of_lan = chain(PREROUTING, false, &[&untracked]);
    assert!(judged([("forward", forward()), ("raw", of_lan)]).is_empty());
    let untracked = with(named(Field::InName, "lan1"), Expression::Notrack);
    let of_another = chain(PREROUTING, false, &[&untracked]);
    assert_eq!(
        judged([("forward", forward()), ("raw", of_another)]).len(),
        1
    );
    // As iptables writes it.
    let iptables: &[&[Expression]] = &[&[Expression::States(INVALID, false), DROP]];
    assert_eq!(
        judged([("FORWARD", chain(FORWARD, false, iptables))]).len(),
        1
    );
}

#[test]
fn a_rule_for_addresses_may_be_for_sites_and_one_for_ports_is_not() {
    let of = |field| {
        vec![
            Expression::Load(0, field),
            Expression::Compare(0, true, vec![10]),
            ACCEPT,
        ]
    };
    for (field, expected) in [(Field::Address, 0), (Field::Other, 1)] {
        let rules: &[&[Expression]] = &[&of(field)];
        let found = judged([("forward", chain(FORWARD, true, rules))]);
        assert_eq!(found.len(), expected, "{found:?}");
    }
    // A rule that may drop something else is not taken to drop this.
    let rules: &[&[Expression]] = &[&[Expression::Unknown, DROP]];
    assert!(judged([("forward", chain(FORWARD, false, rules))]).is_empty());
}

#[test]
fn jumps_and_verdict_maps_are_followed() {
    let jump = [Expression::Decide(Verdict::Jump("inner".to_owned()))];
    let back = [Expression::Decide(Verdict::Return)];
    let invalid = with(states(INVALID), DROP);
    let inner = |rules: &[&[Expression]]| Chain {
        base: None,
        ..chain(FORWARD, false, rules)
    };
    let forward = || chain(FORWARD, false, &[&jump]);
    assert_eq!(
        judged([("forward", forward()), ("inner", inner(&[&invalid]))]).len(),
        1
    );
    let returned = inner(&[&back, &invalid]);
    assert!(judged([("forward", forward()), ("inner", returned)]).is_empty());
    let itself = inner(&[&jump]);
    assert!(judged([("forward", forward()), ("inner", itself)]).is_empty());

    let look_up = [
        Expression::Load(0, Field::State),
        Expression::Lookup {
            from: 0,
            set: "__map0".to_owned(),
            decides: true,
            inverted: false,
        },
    ];
    let mut rules = Ruleset::default();
    rules
        .chains
        .insert(place("forward"), chain(FORWARD, false, &[&look_up]));
    let key = |state: u32| state.to_ne_bytes().to_vec();
    let element = |state, verdict| Element {
        key: key(state),
        ends: false,
        verdict: Some(verdict),
    };
    let elements = vec![
        element(ESTABLISHED, Verdict::Accept),
        element(INVALID, Verdict::Drop),
    ];
    rules.sets.insert(place("__map0"), elements);
    assert_eq!(judge_rules(&rules).len(), 1);
}

#[test]
fn a_set_of_intervals_holds_what_lies_between_its_bounds() {
    let bound = |key: &[u8], ends| Element {
        key: key.to_vec(),
        ends,
        verdict: None,
    };
    // As `{ cw-*, lan0 }`, of which the first lies in front of the second.
    let set = [
        bound(b"", true),
        bound(b"cw-", false),
        bound(b"cw.", true),
        bound(b"lan0", false),
        bound(b"lan1", true),
    ];
    for (value, there) in [
        ("cw-a", true),
        ("cw", false),
        ("cx", false),
        ("lan0", true),
        ("lan1", false),
        ("a", false),
    ] {
        assert_eq!(
            ruleset::find(&set, value.as_bytes()).is_some(),
            there,
            "{value}"
        );
    }
}

#[test]
fn a_datagram_of_the_tunnel_ends_only_where_that_is_certain() {
    let wan = Named {
        name: "wan0".to_owned(),
        index: IfIndex(4),
    };
    let passage = Passage {
        from: Some(&wan),
        to: None,
        ports: Some(Ports {
            source: None,
            destination: Some(51820),
        }),
    };
    let blocked_by = |drops, steps: &[&[Expression]]| {
        let mut rules = Ruleset::default();
        rules
            .chains
            .insert(place("input"), chain(INPUT, drops, steps));
        let found: Vec<_> = blocked(&rules, INPUT, passage).collect();
        found.into_iter().map(|blocked| blocked.only_first).next()
    };
    let of = |field, value: &[u8], last: Expression| {
        vec![
            Expression::Load(0, field),
            Expression::Compare(0, true, value.to_vec()),
            last,
        ]
    };
    let established = with(states(ESTABLISHED), ACCEPT);
    let port = of(Field::DestinationPort, &51820_u16.to_be_bytes(), ACCEPT);
    let other_port = of(Field::DestinationPort, &53_u16.to_be_bytes(), ACCEPT);
    let ssh = [
        of(Field::Protocol, &[6], Expression::Nothing)[..2].to_vec(),
        of(Field::DestinationPort, &22_u16.to_be_bytes(), ACCEPT),
    ]
    .concat();
    assert_eq!(blocked_by(true, &[]), Some(false));
    assert_eq!(blocked_by(true, &[&established, &ssh]), Some(true));
    assert_eq!(blocked_by(true, &[&other_port]), Some(false));
    assert_eq!(blocked_by(true, &[&port]), None);
    // What is not understood may let it pass, and does not drop it.
    assert_eq!(blocked_by(true, &[&[Expression::Unknown, ACCEPT]]), None);
    assert_eq!(blocked_by(false, &[&[Expression::Unknown, DROP]]), None);
    let udp = of(Field::Protocol, &[UDP], DROP);
    assert_eq!(blocked_by(false, &[&udp]), Some(false));
}
