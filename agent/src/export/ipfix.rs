//! IPFIX messages (RFC 7011, elements of RFC 7012): finished flows, what was dropped by reason, and what could not be
//! told. No socket here: bytes for datagrams.
//!
//! Each direction of a conversation that had packets is a record of its own, with `flowId` in common; collectors that
//! know no biflows (RFC 5103) sum them up right. As a flow is told once, at its end, its counts are deltas and totals at
//! the same time.

mod template;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use self::template::{DROPS, FLOWS4, FLOWS6, RELIABILITY, TEMPLATES};
use super::Batch;
use crate::control::message::{DropCount, EndReason, FinishedFlow, FinishedRecord, FlowVerdict};

const VERSION: u16 = 10;
const HEADER: usize = 16;
const SET_HEADER: usize = 4;
/// A datagram fits into 1,280 bytes with IPv6 and UDP, also through a tunnel (RFC 7011 10.3.3 has 512 where nothing is
/// known of the way).
const MOST_BYTES: usize = 1200;
/// Longest name on the wire: with one length byte.
const MOST_TEXT: usize = 254;
const ICMP: [u8; 2] = [1, 58];

/// A message, and the flows in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// For a datagram.
    pub bytes: Vec<u8>,
    /// Records of finished flows that are told by it.
    pub records: usize,
}

/// Makes the messages of one transport session.
#[derive(Debug)]
pub struct Encoder {
    domain: u32,
    enterprise: u32,
    template_pace: Duration,
    /// When templates are due again.
    templates_due: Option<Instant>,
    /// Data records so far.
    sequence: u32,
    drops: BTreeMap<String, (u64, u64)>,
    not_sent: NotSent,
    /// What was told of that last.
    told: NotSent,
}

/// What no flow record tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct NotSent {
    flows: u64,
    packets: u64,
    bytes: u64,
}

impl Encoder {
    /// For a collector that has heard nothing yet.
    pub fn new(domain: u32, enterprise: u32, template_pace: Duration) -> Self {
        Self {
            domain,
            enterprise,
            template_pace,
            templates_due: None,
            sequence: 0,
            drops: BTreeMap::new(),
            not_sent: NotSent::default(),
            told: NotSent::default(),
        }
    }

    /// So many flow records were not sent.
    pub fn on_not_sent(&mut self, records: usize) {
        self.not_sent.flows += records as u64;
    }

    /// The messages for a batch, with the templates in front where they are due.
    pub(super) fn encode(
        &mut self,
        batch: &Batch,
        now: Instant,
        since_epoch: Duration,
    ) -> Vec<Sent> {
        let mut messages = Messages {
            time: since_epoch.as_secs() as u32,
            domain: self.domain,
            sequence: self.sequence,
            done: Vec::new(),
            open: None,
        };
        if self.templates_due.is_none_or(|due| now >= due) {
            self.templates_due = Some(now + self.template_pace);
            for template in TEMPLATES {
                messages.add(template.set, 0, 0, &template.bytes(self.enterprise));
            }
            // By themselves: a collector that reads data before templates loses the first.
            messages.close();
        }
        for record in &batch.records {
            match record {
                FinishedRecord::Flow(flow) => add_flow(&mut messages, flow),
                FinishedRecord::Evicted(evicted) => {
                    self.not_sent.flows += evicted.flows;
                    self.not_sent.packets += evicted.packets;
                    self.not_sent.bytes += evicted.bytes;
                }
            }
        }
        for drop in &batch.drops {
            self.add_drop(&mut messages, drop);
        }
        if self.not_sent != self.told {
            self.told = self.not_sent;
            let numbers = [
                self.not_sent.flows,
                self.not_sent.packets,
                self.not_sent.bytes,
            ];
            let mut record = std::process::id().to_be_bytes().to_vec();
            record.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
            messages.add(RELIABILITY, 1, 0, &record);
        }
        messages.close();
        self.sequence = messages.sequence;
        messages.done
    }

    /// What came since the last time.
    fn add_drop(&mut self, messages: &mut Messages, drop: &DropCount) {
        let told = self.drops.entry(drop.reason.clone()).or_default();
        let packets = drop.packets.saturating_sub(told.0);
        let bytes = drop.bytes.saturating_sub(told.1);
        *told = (drop.packets, drop.bytes);
        if packets == 0 {
            return;
        }
        let mut record = Vec::new();
        text(&mut record, &drop.reason);
        record.extend(packets.to_be_bytes());
        record.extend(bytes.to_be_bytes());
        messages.add(DROPS, 1, 0, &record);
    }
}

fn add_flow(messages: &mut Messages, flow: &FinishedFlow) {
    let (local, remote) = (
        (flow.local, flow.local_port),
        (flow.remote, flow.remote_port),
    );
    // To the site is away from this gateway's LAN: what it forwards out (flowDirection 1).
    let ways = [
        (local, remote, flow.to_site_packets, flow.to_site_bytes, 1),
        (
            remote,
            local,
            flow.from_site_packets,
            flow.from_site_bytes,
            0,
        ),
    ];
    let mut records = 1;
    for (from, to, packets, bytes, direction) in ways {
        if packets == 0 {
            continue;
        }
        let mut record = Vec::with_capacity(128);
        let set = match (from.0, to.0) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                record.extend(from.octets());
                record.extend(to.octets());
                FLOWS4
            }
            (from, to) => {
                record.extend(to_v6(from));
                record.extend(to_v6(to));
                FLOWS6
            }
        };
        // The identifier of an echo is no port.
        let has_ports = !ICMP.contains(&flow.protocol_number);
        for port in [from.1, to.1] {
            record.extend(if has_ports { port } else { 0 }.to_be_bytes());
        }
        record.push(flow.protocol_number);
        record.extend(packets.to_be_bytes());
        record.extend(bytes.to_be_bytes());
        record.extend(flow.first_seen_unix_milliseconds.to_be_bytes());
        record.extend(flow.last_seen_unix_milliseconds.to_be_bytes());
        record.push(reason(flow.end));
        record.push(direction);
        record.extend(u16::from(tcp_flags(flow, direction)).to_be_bytes());
        record.extend(id(flow).to_be_bytes());
        record.push(firewall_event(flow.policy.verdict));
        text(&mut record, &flow.site);
        text(&mut record, &flow.links.join(","));
        text(&mut record, flow.policy.rule.as_deref().unwrap_or_default());
        messages.add(set, 1, records, &record);
        records = 0;
    }
}

/// flowEndReason (IANA: IPFIX): idle timeout, end of flow, forced end, lack of resources.
fn reason(end: EndReason) -> u8 {
    match end {
        EndReason::Idle => 1,
        EndReason::Closed => 3,
        EndReason::Stopped => 4,
        EndReason::Pressure => 5,
    }
}

/// firewallEvent (IANA: IPFIX): flow deleted, flow denied.
fn firewall_event(verdict: FlowVerdict) -> u8 {
    match verdict {
        FlowVerdict::Allowed => 2,
        FlowVerdict::Denied => 3,
    }
}

/// Flags of one direction, of `SAP/SA`.
fn tcp_flags(flow: &FinishedFlow, direction: u8) -> u8 {
    let (to_site, from_site) = flow.tcp_flags.split_once('/').unwrap_or_default();
    let letters = if direction == 1 { to_site } else { from_site };
    crate::control::protocol::tcp_flags_of(letters)
}

/// The same for both directions, and for no other flow that began at another time.
fn id(flow: &FinishedFlow) -> u64 {
    let mut hasher = DefaultHasher::new();
    (flow.local, flow.local_port, flow.remote, flow.remote_port).hash(&mut hasher);
    (flow.protocol_number, flow.first_seen_unix_milliseconds).hash(&mut hasher);
    hasher.finish()
}

fn to_v6(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// A string of variable length (RFC 7011 section 7), cut off where it is too long.
fn text(record: &mut Vec<u8>, text: &str) {
    let mut end = text.len().min(MOST_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    record.push(end as u8);
    record.extend_from_slice(&text.as_bytes()[..end]);
}

/// Messages that are filled record by record.
struct Messages {
    time: u32,
    domain: u32,
    sequence: u32,
    done: Vec<Sent>,
    open: Option<Open>,
}

struct Open {
    bytes: Vec<u8>,
    /// Where the last set begins, and its number.
    set: (usize, u16),
    data_records: u32,
    flows: usize,
}

impl Messages {
    fn add(&mut self, set: u16, data_records: u32, flows: usize, record: &[u8]) {
        let room = MOST_BYTES - SET_HEADER - record.len().min(MOST_BYTES - SET_HEADER - HEADER);
        if self
            .open
            .as_ref()
            .is_some_and(|open| open.bytes.len() > room)
        {
            self.close();
        }
        let (time, sequence, domain) = (self.time, self.sequence, self.domain);
        let open = self
            .open
            .get_or_insert_with(|| Open::new(time, sequence, domain));
        open.add(set, record);
        open.data_records += data_records;
        open.flows += flows;
    }

    fn close(&mut self) {
        let Some(mut open) = self.open.take() else {
            return;
        };
        open.end_set();
        let length = open.bytes.len() as u16;
        open.bytes[2..4].copy_from_slice(&length.to_be_bytes());
        self.sequence = self.sequence.wrapping_add(open.data_records);
        self.done.push(Sent {
            bytes: open.bytes,
            records: open.flows,
        });
    }
}

impl Open {
    fn new(time: u32, sequence: u32, domain: u32) -> Self {
        let mut bytes = Vec::with_capacity(MOST_BYTES);
        bytes.extend(VERSION.to_be_bytes());
        bytes.extend([0, 0]);
        for word in [time, sequence, domain] {
            bytes.extend(word.to_be_bytes());
        }
        Self {
            bytes,
            set: (0, 0),
            data_records: 0,
            flows: 0,
        }
    }

    fn add(&mut self, set: u16, record: &[u8]) {
        if self.set.1 != set {
            self.end_set();
            self.set = (self.bytes.len(), set);
            self.bytes.extend(set.to_be_bytes());
            self.bytes.extend([0, 0]);
        }
        self.bytes.extend_from_slice(record);
    }

    fn end_set(&mut self) {
        let (start, set) = self.set;
        if set != 0 {
            let length = (self.bytes.len() - start) as u16;
            self.bytes[start + 2..start + 4].copy_from_slice(&length.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests;
