use std::collections::HashMap;

use super::*;
use crate::control::message::{DropSite, EvictedFlows, FlowPolicy};
use crossway_sys::clock;

/// A collector by the letter of RFC 7011: templates, then what the data say, field by field.
#[derive(Default)]
struct Reader {
    templates: HashMap<u16, Vec<(u16, u16)>>,
    /// Data records so far, by which the next message's number is known.
    sequence: u32,
    records: Vec<(u16, HashMap<u16, Vec<u8>>)>,
}

fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

impl Reader {
    fn read(&mut self, message: &[u8]) {
        assert!(message.len() <= MOST_BYTES, "{}", message.len());
        assert_eq!(word(message, 0), 10);
        assert_eq!(usize::from(word(message, 2)), message.len());
        assert_eq!(number(&message[8..12]), u64::from(self.sequence));
        assert_eq!(number(&message[12..16]), 7, "domain");
        let mut rest = &message[16..];
        while !rest.is_empty() {
            let (id, length) = (word(rest, 0), usize::from(word(rest, 2)));
            let set = &rest[4..length];
            match id {
                2 => self.read_templates(set, 4),
                3 => self.read_templates(set, 6),
                _ => self.read_data(id, set),
            }
            rest = &rest[length..];
        }
    }

    fn read_templates(&mut self, mut set: &[u8], header: usize) {
        while !set.is_empty() {
            let (id, count) = (word(set, 0), word(set, 2));
            set = &set[header..];
            let mut fields = Vec::new();
            for _ in 0..count {
                let (element, length) = (word(set, 0), word(set, 2));
                set = &set[4..];
                if element & 0x8000 != 0 {
                    assert_eq!(number(&set[..4]), 99, "enterprise");
                    set = &set[4..];
                }
                fields.push((element, length));
            }
            self.templates.insert(id, fields);
        }
    }

    fn read_data(&mut self, id: u16, mut set: &[u8]) {
        while !set.is_empty() {
            let mut record = HashMap::new();
            for (element, length) in &self.templates[&id] {
                let length = if *length == 0xffff {
                    let length = usize::from(set[0]);
                    set = &set[1..];
                    length
                } else {
                    usize::from(*length)
                };
                record.insert(*element, set[..length].to_vec());
                set = &set[length..];
            }
            self.records.push((id, record));
            self.sequence += 1;
        }
    }
}

fn flow(local: &str, remote: &str, to_site: u64, from_site: u64) -> FinishedRecord {
    FinishedRecord::Flow(Box::new(FinishedFlow {
        end: EndReason::Closed,
        protocol: "tcp".to_owned(),
        protocol_number: 6,
        local: local.parse().unwrap(),
        local_port: 40_000,
        remote: remote.parse().unwrap(),
        remote_port: 443,
        site: "paris".to_owned(),
        links: vec!["paris-1".to_owned(), "paris-2".to_owned()],
        vnet: "default".to_owned(),
        to_site_packets: to_site,
        to_site_bytes: 100 * to_site,
        from_site_packets: from_site,
        from_site_bytes: 200 * from_site,
        first_seen_unix_milliseconds: 1_800_000_000_000,
        last_seen_unix_milliseconds: 1_800_000_000_500,
        tcp_flags: "SAF/SAR".to_owned(),
        policy: FlowPolicy {
            rule: Some("web".to_owned()),
            ..FlowPolicy::default()
        },
    }))
}

fn batch(records: Vec<FinishedRecord>) -> Batch {
    Batch {
        records,
        drops: Vec::new(),
    }
}

fn encoder() -> Encoder {
    Encoder::new(7, 99, Duration::from_mins(1))
}

const EPOCH: Duration = Duration::from_secs(1_800_000_001);

#[test]
fn both_families_and_directions_are_told_as_their_templates_say() {
    let records = vec![
        flow("10.1.0.2", "10.2.0.9", 3, 2),
        flow("2001:db8:1::2", "2001:db8:2::9", 0, 5),
    ];
    let sent = encoder().encode(&batch(records), clock::now(), EPOCH);
    assert_eq!(sent.iter().map(|sent| sent.records).sum::<usize>(), 2);
    let mut reader = Reader::default();
    for sent in &sent {
        reader.read(&sent.bytes);
    }
    assert_eq!(reader.templates.len(), 4);
    let told: Vec<u16> = reader.records.iter().map(|(id, _)| *id).collect();
    assert_eq!(told, [256, 256, 257], "a way without packets is no record");
    let [(_, to), (_, from), (_, six)] = &reader.records[..] else {
        unreachable!("three")
    };
    assert_eq!(
        (&to[&8][..], &to[&12][..]),
        (&[10, 1, 0, 2][..], &[10, 2, 0, 9][..])
    );
    assert_eq!((&from[&8], &from[&12]), (&to[&12], &to[&8]));
    assert_eq!((number(&to[&7]), number(&to[&11])), (40_000, 443));
    assert_eq!((number(&from[&7]), number(&from[&11])), (443, 40_000));
    assert_eq!((number(&to[&2]), number(&to[&1])), (3, 300));
    assert_eq!((number(&from[&2]), number(&from[&1])), (2, 400));
    assert_eq!(number(&to[&152]), 1_800_000_000_000);
    assert_eq!(number(&to[&153]), 1_800_000_000_500);
    assert_eq!((number(&to[&136]), number(&to[&61])), (3, 1));
    assert_eq!((number(&to[&6]), number(&from[&6])), (0x13, 0x16));
    assert_eq!(to[&148], from[&148]);
    assert_eq!(
        (&to[&0x8001][..], &to[&0x8002][..]),
        (&b"paris"[..], &b"paris-1,paris-2"[..])
    );
    // Of the rule, and that the flow is over.
    assert_eq!((&to[&0x8004][..], &to[&233][..]), (&b"web"[..], &[2][..]));
    assert_eq!(six[&27][..4], [0x20, 0x01, 0x0d, 0xb8]);
    assert_eq!(number(&six[&2]), 5);
}

#[test]
fn a_denied_flow_is_told_as_such() {
    let FinishedRecord::Flow(mut denied) = flow("10.1.0.2", "10.2.0.9", 1, 0) else {
        unreachable!("a flow")
    };
    denied.policy = FlowPolicy {
        verdict: FlowVerdict::Denied,
        ..FlowPolicy::default()
    };
    let records = batch(vec![FinishedRecord::Flow(denied)]);
    let mut reader = Reader::default();
    for sent in encoder().encode(&records, clock::now(), EPOCH) {
        reader.read(&sent.bytes);
    }
    let (_, record) = &reader.records[0];
    assert_eq!((number(&record[&233]), record[&0x8004].len()), (3, 0));
}

#[test]
fn messages_are_numbered_by_their_records_and_no_longer_than_a_datagram() {
    let mut encoder = encoder();
    let mut reader = Reader::default();
    for _ in 0..3 {
        let records = vec![flow("10.1.0.2", "10.2.0.9", 3, 2); 100];
        let sent = encoder.encode(&batch(records), clock::now(), EPOCH);
        assert_eq!(sent.iter().map(|sent| sent.records).sum::<usize>(), 100);
        for sent in &sent {
            reader.read(&sent.bytes);
        }
    }
    assert_eq!(reader.sequence, 600);
    encoder.sequence = u32::MAX;
    let two = batch(vec![flow("10.1.0.2", "10.2.0.9", 3, 2)]);
    encoder.encode(&two, clock::now(), EPOCH);
    assert_eq!(encoder.sequence, 1, "it wraps around");
}

#[test]
fn templates_come_first_and_again_at_their_pace() {
    let mut encoder = encoder();
    let now = clock::now();
    let templates = |sent: &[Sent]| {
        sent.iter()
            .filter(|sent| word(&sent.bytes, 16) == 2)
            .count()
    };
    assert_eq!(
        templates(&encoder.encode(&batch(Vec::new()), now, EPOCH)),
        1
    );
    let later = now + Duration::from_secs(59);
    assert_eq!(encoder.encode(&batch(Vec::new()), later, EPOCH), []);
    let later = now + Duration::from_mins(1);
    assert_eq!(
        templates(&encoder.encode(&batch(Vec::new()), later, EPOCH)),
        1
    );
}

#[test]
fn drops_are_told_by_reason_as_what_came_since_and_what_is_not_told_as_totals() {
    let mut encoder = encoder();
    let mut reader = Reader::default();
    let drops = |packets| Batch {
        records: vec![FinishedRecord::Evicted(EvictedFlows {
            unix_milliseconds: 0,
            flows: 1,
            packets: 10,
            bytes: 1000,
        })],
        drops: vec![DropCount {
            reason: "no-route".to_owned(),
            dropped_by: DropSite::Agent,
            packets,
            bytes: 100 * packets,
        }],
    };
    for packets in [3, 3, 8] {
        let sent = encoder.encode(&drops(packets), clock::now(), EPOCH);
        for sent in &sent {
            reader.read(&sent.bytes);
        }
    }
    let of = |set: u16, element: u16| -> Vec<u64> {
        let records = reader.records.iter().filter(|(id, _)| *id == set);
        records
            .map(|(_, record)| number(&record[&element]))
            .collect()
    };
    assert_eq!((of(258, 133), of(258, 132)), (vec![3, 5], vec![300, 500]));
    assert_eq!(reader.records[0].1[&0x8003], b"no-route");
    assert_eq!(
        (of(259, 166), of(259, 167)),
        (vec![1, 2, 3], vec![10, 20, 30])
    );
}

#[test]
fn echoes_have_no_ports_and_names_are_cut_between_letters() {
    let FinishedRecord::Flow(mut ping) = flow("10.1.0.2", "10.2.0.9", 1, 0) else {
        unreachable!("a flow")
    };
    ping.protocol_number = 1;
    ping.site = "ä".repeat(200);
    let sent = encoder().encode(
        &batch(vec![FinishedRecord::Flow(ping)]),
        clock::now(),
        EPOCH,
    );
    let mut reader = Reader::default();
    for sent in &sent {
        reader.read(&sent.bytes);
    }
    let (_, record) = &reader.records[0];
    assert_eq!((number(&record[&7]), number(&record[&11])), (0, 0));
    assert_eq!(record[&0x8001], "ä".repeat(127).as_bytes());
}
