//! Of tables that a kernel (6.18, x86-64) gave, written by these, and by the same with `ip6tables-legacy`:
//!
//! ```text
//! iptables-legacy -P FORWARD DROP
//! iptables-legacy -N ours
//! iptables-legacy -A ours ! -o lan0 -m comment --comment "not to the LAN" -j RETURN
//! iptables-legacy -A ours -p tcp -j LOG
//! iptables-legacy -A ours -j ACCEPT
//! iptables-legacy -A FORWARD -m conntrack --ctstate INVALID -j DROP
//! iptables-legacy -A FORWARD -i eth9 -j REJECT
//! iptables-legacy -A FORWARD -i cw+ -g ours
//! iptables-legacy -A FORWARD -i lan0
//! iptables-legacy -A FORWARD -s 10.1.0.0/24 -d 10.2.0.0/24 -j ACCEPT
//! ip6tables-legacy -A FORWARD -s 2001:db8:1::/64 -j ACCEPT
//! ```

use std::collections::HashMap;

use super::*;

const IPV4_TABLE: &[u8] = include_bytes!("ipv4.table");
const IPV6_TABLE: &[u8] = include_bytes!("ipv6.table");

fn read(layout: Layout, table: &[u8]) -> Option<HashMap<String, Chain>> {
    let info = Info::read(table)?;
    let chains = chains(layout, "filter", 0, &info, table.get(Info::LENGTH..)?)?;
    let named = chains.into_iter().map(|(place, chain)| {
        assert!(place.legacy && place.family == layout.family && place.table == "filter");
        (place.name, chain)
    });
    Some(named.collect())
}

fn by(field: Field, name: &str, length: usize, equal: bool) -> Vec<Expression> {
    let padded = |bytes: Vec<u8>| {
        let mut bytes = bytes;
        bytes.resize(NAME, 0);
        bytes
    };
    vec![
        Expression::Load(0, field),
        Expression::Mask(0, 0, padded(vec![0xff; length]), vec![0; NAME]),
        Expression::Compare(0, equal, padded(name.as_bytes().to_vec())),
    ]
}

fn with(mut rule: Vec<Expression>, last: impl IntoIterator<Item = Expression>) -> Vec<Expression> {
    rule.extend(last);
    rule
}

#[test]
fn the_chains_of_a_table_are_read() {
    const INVALID: u32 = 1;
    const TCP: u8 = 6;
    let accept = Expression::Decide(Verdict::Accept);
    let drop = Expression::Decide(Verdict::Drop);
    let address = |address: &[u8]| {
        [
            Expression::Load(0, Field::Address),
            Expression::Compare(0, true, address.to_vec()),
        ]
    };
    let in_ipv4 = [address(&[10, 1, 0, 0]), address(&[10, 2, 0, 0])].concat();
    let mut site = [0; 16];
    site[..6].copy_from_slice(&[0x20, 1, 0xd, 0xb8, 0, 1]);
    let in_ipv6 = address(&site).to_vec();
    for (layout, table, of_addresses) in [
        (OF_IPV4, IPV4_TABLE, in_ipv4),
        (OF_IPV6, IPV6_TABLE, in_ipv6),
    ] {
        let chains = read(layout, table).unwrap();
        assert_eq!(chains.len(), 4);
        for (name, hook) in [("INPUT", INPUT), ("OUTPUT", OUTPUT)] {
            let base = chains[name].base.as_ref().unwrap();
            assert!(!base.drops && base.hook == hook, "{name}");
        }
        let forward = &chains["FORWARD"];
        let base = forward.base.as_ref().unwrap();
        assert!(base.drops && base.hook == FORWARD && base.priority == 0);
        let expected = [
            vec![Expression::States(INVALID, false), drop.clone()],
            with(by(Field::InName, "eth9", 5, true), [drop.clone()]),
            with(
                by(Field::InName, "cw", 2, true),
                [Expression::Decide(Verdict::Goto("ours".to_owned()))],
            ),
            // A rule that only counts.
            by(Field::InName, "lan0", 5, true),
            with(of_addresses, [accept.clone()]),
        ];
        assert_eq!(forward.rules, expected);
        let ours = &chains["ours"];
        assert!(ours.base.is_none());
        let back = Expression::Decide(Verdict::Return);
        let expected = [
            with(
                by(Field::OutName, "lan0", 5, false),
                [Expression::Nothing, back.clone()],
            ),
            vec![
                Expression::Load(0, Field::Protocol),
                Expression::Compare(0, true, vec![TCP]),
                Expression::Nothing,
            ],
            vec![accept.clone()],
            vec![back],
        ];
        assert_eq!(ours.rules, expected);
    }
}

#[test]
fn a_table_that_is_cut_short_or_mangled_is_survived() {
    for (layout, table) in [(OF_IPV4, IPV4_TABLE), (OF_IPV6, IPV6_TABLE)] {
        let whole = read(layout, table).unwrap();
        for length in 0..table.len() {
            // Between two entries a table may end.
            let cut = read(layout, &table[..length]);
            assert!(cut.is_none_or(|cut| cut.len() <= whole.len()), "{length}");
        }
        for at in 0..table.len() {
            for byte in [0, 1, 0x7f, 0xff] {
                let mut mangled = table.to_vec();
                mangled[at] = byte;
                let _ = read(layout, &mangled);
            }
        }
    }
}
