//! Flows on the wire between two replicas.
//!
//! ```text
//!   datagram   version (1)  raises (1: 0 or 1)  sender's clock when it was sent (8, ns)  section…
//!   section    length of name (1)  name of the site  flows (1)  flow…
//!   flow       family (1: 4 or 6)  protocol (1)  local (4|16)  remote (4|16)  local port (2)  remote port (2)
//!              packets to site (8)  bytes to site (8)  packets from site (8)  bytes from site (8)
//!              first seen (8, ns)  last seen (8, ns)  TCP flags to site (1)  from site (1)  opened by (1)
//! ```
//! All in network order. A site goes by its name, for its number differs from gateway to gateway; times
//! are the sender's, and become ages by its clock in the head. Which end opened a flow is the same for both: they serve
//! one LAN. By it the answers to a flow pass a policy where another takes it over. Whether it is allowed is not told: each
//! judges by its own rules.

use datapath_abi::flow::{FlowCounters, FlowKey, FlowKey4, NOT_SEEN_HERE, OpenedBy};
use datapath_abi::policy::NO_RULE16;

use crate::replica::LONGEST;

/// Raised with each change of the format. A datagram of another version is not read: two replicas of
/// different versions go without each other's flows until both are of one.
pub const VERSION: u8 = 2;

const RAISES: usize = 1;
const CLOCK: std::ops::Range<usize> = 2..10;
const HEAD: usize = CLOCK.end;
/// Bytes of a flow of IPv4, and of IPv6.
const FLOW4: usize = 65;
const FLOW6: usize = 89;

/// A flow and the name of its site.
pub type Named<'a> = (&'a str, FlowKey, FlowCounters);

/// What does not read as a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// A datagram that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// The sender's clock when it was sent.
    pub sent_ns: u64,
    /// It tells a gateway what it has missed: flows that this one carries now are raised, too.
    pub raises: bool,
    /// Its flows by site.
    pub sections: Vec<Section<'a>>,
}

/// Flows of one site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section<'a> {
    /// Name of the site.
    pub site: &'a str,
    /// Key and counters, without virtual network and site; the times are the sender's.
    pub flows: Vec<(FlowKey, FlowCounters)>,
    /// Bytes of the section.
    pub length: usize,
}

/// Writes flows into as few datagrams as they need if those of a site stand together. Each datagram is to be
/// stamped with the time when it is sent. For `raises` see [`Datagram::raises`].
pub fn write<'a>(flows: impl IntoIterator<Item = Named<'a>>, raises: bool) -> Vec<Vec<u8>> {
    let mut written = Vec::new();
    let mut open = Open::default();
    for (site, key, counters) in flows {
        let record = if key.family == 4 { FLOW4 } else { FLOW6 };
        if !open.takes(site, record) {
            written.extend(std::mem::take(&mut open).close());
        }
        open.add(site, &key, &counters);
    }
    written.extend(open.close());
    for datagram in &mut written {
        datagram[RAISES] = u8::from(raises);
    }
    written
}

/// Says in a datagram when it is sent.
pub fn stamp(datagram: &mut [u8], now_ns: u64) {
    if let Some(clock) = datagram.get_mut(CLOCK) {
        clock.copy_from_slice(&now_ns.to_be_bytes());
    }
}

/// Reads a datagram, all of it or nothing.
///
/// # Errors
/// Where it is of another version, cut short, too long, or says what no replica says.
pub fn read(bytes: &[u8]) -> Result<Datagram<'_>, Malformed> {
    let mut from = Reader { rest: bytes };
    if from.u8()? != VERSION {
        return Err(Malformed);
    }
    let raises = match from.u8()? {
        0 => false,
        1 => true,
        _ => return Err(Malformed),
    };
    let sent_ns = from.u64()?;
    let mut sections = Vec::new();
    while !from.rest.is_empty() {
        sections.push(read_section(&mut from)?);
    }
    Ok(Datagram {
        sent_ns,
        raises,
        sections,
    })
}

fn read_section<'a>(from: &mut Reader<'a>) -> Result<Section<'a>, Malformed> {
    let before = from.rest.len();
    let length = from.u8()?;
    let site = std::str::from_utf8(from.take(length.into())?).map_err(|_| Malformed)?;
    let count = from.u8()?;
    if site.is_empty() || count == 0 {
        return Err(Malformed);
    }
    let flows = (0..count).map(|_| read_flow(from));
    Ok(Section {
        site,
        flows: flows.collect::<Result<_, _>>()?,
        length: before - from.rest.len(),
    })
}

fn read_flow(from: &mut Reader<'_>) -> Result<(FlowKey, FlowCounters), Malformed> {
    let family = from.u8()?;
    let protocol = from.u8()?;
    let mut key = match family {
        4 => FlowKey::from(FlowKey4 {
            local: from.array()?,
            remote: from.array()?,
            ..FlowKey4::default()
        }),
        6 => FlowKey {
            local: from.array()?,
            remote: from.array()?,
            family,
            ..FlowKey::default()
        },
        _ => return Err(Malformed),
    };
    key.protocol = protocol;
    key.local_port = from.array()?;
    key.remote_port = from.array()?;
    let counters = FlowCounters {
        to_site_packets: from.u64()?,
        to_site_bytes: from.u64()?,
        from_site_packets: from.u64()?,
        from_site_bytes: from.u64()?,
        first_seen_ns: from.u64()?,
        last_seen_ns: from.u64()?,
        route_generation: NOT_SEEN_HERE,
        tcp_flags_to_site: from.u8()?,
        tcp_flags_from_site: from.u8()?,
        opened_by: from.u8()?,
        rule: NO_RULE16,
        shadow_rule: NO_RULE16,
        ..FlowCounters::default()
    };
    let known = counters.opened_by <= OpenedBy::Remote as u8;
    let in_order = counters.first_seen_ns <= counters.last_seen_ns;
    (known && in_order)
        .then_some((key, counters))
        .ok_or(Malformed)
}

/// A datagram that is being written.
#[derive(Default)]
struct Open {
    bytes: Vec<u8>,
    /// Name of the last section's site, as bytes of the datagram, and where its count stands.
    section: Option<(std::ops::Range<usize>, usize)>,
}

impl Open {
    /// Whether a flow of `record` bytes fits.
    fn takes(&self, site: &str, record: usize) -> bool {
        let head = if self.continues(site) {
            0
        } else {
            2 + site.len()
        };
        self.bytes.len().max(HEAD) + head + record <= LONGEST
    }

    fn continues(&self, site: &str) -> bool {
        self.section.as_ref().is_some_and(|(name, count)| {
            self.bytes[name.clone()] == *site.as_bytes() && self.bytes[*count] < u8::MAX
        })
    }

    fn add(&mut self, site: &str, key: &FlowKey, counters: &FlowCounters) {
        if self.bytes.is_empty() {
            self.bytes.reserve_exact(LONGEST);
            self.bytes.push(VERSION);
            self.bytes.resize(HEAD, 0);
        }
        if !self.continues(site) {
            // The rules of names leave them at most 32 bytes.
            self.bytes.push(site.len() as u8);
            let name = self.bytes.len()..self.bytes.len() + site.len();
            self.bytes.extend_from_slice(site.as_bytes());
            self.section = Some((name, self.bytes.len()));
            self.bytes.push(0);
        }
        if let Some((_, count)) = &self.section {
            self.bytes[*count] += 1;
        }
        self.add_flow(key, counters);
    }

    fn add_flow(&mut self, key: &FlowKey, counters: &FlowCounters) {
        let to = &mut self.bytes;
        to.extend([key.family, key.protocol]);
        match key.to_v4() {
            Some(short) => to.extend([short.local, short.remote].as_flattened()),
            None => to.extend([key.local, key.remote].as_flattened()),
        }
        to.extend([key.local_port, key.remote_port].as_flattened());
        for number in [
            counters.to_site_packets,
            counters.to_site_bytes,
            counters.from_site_packets,
            counters.from_site_bytes,
            counters.first_seen_ns,
            counters.last_seen_ns,
        ] {
            to.extend(number.to_be_bytes());
        }
        to.extend([
            counters.tcp_flags_to_site,
            counters.tcp_flags_from_site,
            counters.opened_by,
        ]);
    }

    fn close(self) -> Option<Vec<u8>> {
        (!self.bytes.is_empty()).then_some(self.bytes)
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Malformed)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Malformed)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8, Malformed> {
        self.array().map(u8::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_be_bytes)
    }
}

#[cfg(test)]
mod tests;
