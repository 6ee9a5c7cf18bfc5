use std::vec;
use std::vec::Vec;

use super::*;
use crate::address;

const HERE: u32 = 0;
const THERE: u32 = 1;
/// A rule in the second line of a row.
const WEB: u32 = 300;
const ICMP_RULE: u32 = 7;
const ROW_LINES: u32 = 2;

/// Two classes of addresses: 10.0.0.0/8 is `THERE`, all else `HERE`. WEB lets `HERE` reach TCP port 443 of `THERE`,
/// `ICMP_RULE` lets them exchange ICMP.
fn image() -> Vec<Line> {
    let mut lines = vec![[0; LINE_WORDS]; 3];
    let nodes = lines.len() as u32;
    let mut node = |entry: &dyn Fn(u32) -> u32| {
        let number = (lines.len() as u32 - nodes) / NODE_LINES;
        let entries: Vec<u32> = (0..NODE_ENTRIES as u32).map(entry).collect();
        lines.extend(
            entries
                .chunks(LINE_WORDS)
                .map(|chunk| -> Line { chunk.try_into().unwrap() }),
        );
        number
    };
    let leaf = |condition| LEAF | u32::from(condition);
    let addresses = node(&|byte| leaf(byte == 10));
    let low = node(&|byte| leaf(byte == 443 % 256));
    let high = node(&|byte| if byte == 1 { low } else { leaf(false) });
    let ports = node(&|byte| match byte {
        6 => high,
        1 => LEAF | 2,
        _ => leaf(false),
    });
    let protocols = node(&|byte| match byte {
        6 => LEAF | 1,
        1 => LEAF | 2,
        _ => leaf(false),
    });
    let address_rows = lines.len() as u32;
    for rules in [
        [&[WEB, ICMP_RULE][..], &[ICMP_RULE]],
        [&[ICMP_RULE], &[WEB, ICMP_RULE]],
    ] {
        let [(from, from_summary), (to, to_summary)] = rules.map(bits);
        lines.push([from_summary, 0, to_summary, 0, 0, 0, 0, 0]);
        lines.extend(from.into_iter().chain(to));
    }
    let port_rows = lines.len() as u32;
    for rules in [&[][..], &[WEB], &[ICMP_RULE]] {
        let (row, summary) = bits(rules);
        lines.push([summary, 0, 0, 0, 0, 0, 0, 0]);
        lines.extend(row);
    }
    lines[0] = [MAGIC, 512, ROW_LINES, nodes, address_rows, port_rows, 1, 0];
    lines[1][..2].copy_from_slice(&[ports, protocols]);
    lines[2][..3].copy_from_slice(&[CLOSED, addresses, LEAF | HERE]);
    lines
}

fn bits(rules: &[u32]) -> ([Line; ROW_LINES as usize], u32) {
    let mut row = [[0; LINE_WORDS]; ROW_LINES as usize];
    let mut summary = 0;
    for &rule in rules {
        let (line, bit) = (
            rule as usize / RULES_PER_LINE,
            rule as usize % RULES_PER_LINE,
        );
        row[line][bit / 32] |= 1 << (bit % 32);
        summary |= 1 << line;
    }
    (row, summary)
}

fn end(class: u32) -> Address {
    address::mapped(if class == THERE {
        [10, 1, 2, 3]
    } else {
        [192, 0, 2, 1]
    })
}

fn ask(from: u32, to: u32, protocol: u8, ports: Option<(u16, u16)>, opener: Opener) -> u32 {
    let ports = ports.map(|(source, destination)| {
        let (source, destination) = (source.to_be_bytes(), destination.to_be_bytes());
        let word = [source[0], source[1], destination[0], destination[1]];
        Ports::of_word(u32::from_ne_bytes(word))
    });
    let question = Question {
        vnet: 0,
        family: Family::V4,
        source: &end(from),
        destination: &end(to),
        protocol,
        ports,
        opener,
    };
    judge(image().as_slice(), &question)
}

#[test]
fn a_rule_allows_its_flow_and_the_answers_to_it() {
    let web = Some((50_000, 443));
    assert_eq!(ask(HERE, THERE, 6, web, Opener::Sender), WEB);
    assert_eq!(
        ask(HERE, THERE, 6, Some((443, 442)), Opener::Sender),
        NO_RULE
    );
    assert_eq!(ask(HERE, THERE, 17, web, Opener::Sender), NO_RULE);
    assert_eq!(ask(THERE, HERE, 6, web, Opener::Sender), NO_RULE);
    let answer = Some((443, 50_000));
    assert_eq!(ask(THERE, HERE, 6, answer, Opener::Receiver), WEB);
    assert_eq!(ask(THERE, HERE, 6, answer, Opener::Either), WEB);
    assert_eq!(ask(THERE, HERE, 6, answer, Opener::Sender), NO_RULE);
    assert_eq!(ask(HERE, THERE, 6, web, Opener::Receiver), NO_RULE);
}

#[test]
fn of_a_protocol_without_ports_the_ports_do_not_matter() {
    for ports in [Some((0, 0)), Some((9, 9)), None] {
        assert_eq!(ask(THERE, HERE, 1, ports, Opener::Sender), ICMP_RULE);
    }
}

#[test]
fn a_later_fragment_goes_by_its_protocol() {
    assert_eq!(ask(THERE, HERE, 6, None, Opener::Either), WEB);
    assert_eq!(ask(THERE, HERE, 6, None, Opener::Sender), NO_RULE);
    assert_eq!(ask(HERE, THERE, 17, None, Opener::Either), NO_RULE);
}

#[test]
fn what_no_vnet_closes_is_open_and_a_broken_image_allows_nothing() {
    let question = Question {
        vnet: 1,
        family: Family::V4,
        source: &end(HERE),
        destination: &end(THERE),
        protocol: 6,
        ports: None,
        opener: Opener::Either,
    };
    let image = image();
    assert_eq!(judge(image.as_slice(), &question), OPEN);
    let mut open = image.clone();
    open[2][0] = 0;
    let here = Question {
        vnet: 0,
        ..question
    };
    assert_eq!(judge(open.as_slice(), &here), OPEN);
    assert_eq!(judge(image.as_slice(), &here), WEB);
    for length in 0..image.len() {
        let rule = judge(&image[..length], &here);
        assert!(rule == NO_RULE || rule == WEB, "{length} lines: {rule}");
    }
    for line in 0..image.len() {
        for value in [u32::MAX, LEAF - 1, LEAF] {
            let mut broken = image.clone();
            broken[line] = [value; LINE_WORDS];
            let _ = judge(broken.as_slice(), &here);
        }
    }
}

#[test]
fn icmp_is_told_apart_by_family() {
    for (family, kind, expected) in [
        (Family::V4, 8, Icmp::Other),
        (Family::V4, 0, Icmp::Reply),
        (Family::V4, 3, Icmp::Error),
        (Family::V4, 11, Icmp::Error),
        (Family::V6, 128, Icmp::Other),
        (Family::V6, 129, Icmp::Reply),
        (Family::V6, 2, Icmp::Error),
        (Family::V6, 3, Icmp::Error),
    ] {
        assert_eq!(Icmp::of(family, kind), expected, "{family:?} {kind}");
    }
}
