//! One line of a corpus, and what is the same for all: a packet gets one verdict, one tally or one
//! count, and is changed only in its TTL.

use datapath_abi::{
    explanation::Decision,
    fault::FaultKind,
    maps,
    outcome::{StackReason, Tally},
    site::SiteCounters,
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use vm_tests::traffic::wire;

use crate::{
    frame::sum,
    harness::{Context, Datapath, Run, TC_REDIRECT, TC_TO_STACK, hex, kernel_runs},
};

/// Sites of the corpora have ids below this.
pub(crate) const SITES: u32 = 8;

/// A packet and what a TC program shall do with it.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) packet: Vec<u8>,
    pub(crate) context: Context,
    pub(crate) verdict: Verdict,
}

/// What shall become of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Redirect,
    Stack(StackReason),
}

pub(crate) fn redirect(name: &'static str, packet: Vec<u8>) -> Case {
    Case {
        name,
        packet,
        context: Context::default(),
        verdict: Verdict::Redirect,
    }
}

pub(crate) fn stack(name: &'static str, packet: Vec<u8>, reason: StackReason) -> Case {
    Case {
        verdict: Verdict::Stack(reason),
        ..redirect(name, packet)
    }
}

impl Case {
    /// The same as a GSO packet with this much payload in a segment.
    pub(crate) fn gso(mut self, gso_size: u32) -> Self {
        self.context.gso_size = gso_size;
        self
    }
}

/// What the maps say at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Counters {
    stack: Vec<Tally>,
    sites: Vec<SiteCounters>,
}

impl Counters {
    pub(crate) fn of(datapath: &Datapath) -> Self {
        Self {
            stack: StackReason::ALL
                .iter()
                .map(|reason| datapath.to_stack(*reason))
                .collect(),
            sites: (0..SITES).map(|id| datapath.site_counters(id)).collect(),
        }
    }

    /// The one stack reason that was counted since, if any.
    pub(crate) fn reason_since(&self, before: &Self) -> Option<(StackReason, Tally)> {
        let mut changed = StackReason::ALL.iter().filter_map(|reason| {
            let index = reason.index() as usize;
            let (was, is) = (before.stack[index], self.stack[index]);
            let more = Tally {
                packets: is.packets - was.packets,
                bytes: is.bytes - was.bytes,
            };
            (more != Tally::default()).then_some((*reason, more))
        });
        let first = changed.next();
        assert_eq!(changed.next(), None, "two reasons for one packet");
        first
    }

    /// What was counted for all sites since.
    pub(crate) fn sites_since(&self, before: &Self) -> SiteCounters {
        let mut more = SiteCounters::default();
        for (is, was) in self.sites.iter().zip(&before.sites) {
            more.to_site_packets += is.to_site_packets - was.to_site_packets;
            more.to_site_bytes += is.to_site_bytes - was.to_site_bytes;
            more.from_site_packets += is.from_site_packets - was.from_site_packets;
            more.from_site_bytes += is.from_site_bytes - was.from_site_bytes;
        }
        more
    }
}

/// Runs a program over a packet and checks that tally and verdict agree, and that they are as explained before.
/// Returns what it did and what was counted for sites.
pub(crate) fn run(
    datapath: &mut Datapath,
    program: &str,
    packet: &[u8],
    context: Context,
) -> (Run, Verdict, SiteCounters) {
    let before = Counters::of(datapath);
    let flows = datapath.flows();
    let (decision, explanation) = datapath.explain(program, packet, context);
    assert_eq!(Counters::of(datapath), before, "a question counts nothing");
    assert_eq!(datapath.flows(), flows, "a question is no flow");
    let run = datapath.tc(program, packet, context);
    let after = Counters::of(datapath);
    let verdict = match (run.verdict, after.reason_since(&before)) {
        (TC_REDIRECT, None) => Verdict::Redirect,
        (TC_TO_STACK, Some((reason, tally))) => {
            let single = context.gso_size == 0;
            assert!(tally.packets == 1 || !single, "{}", hex(packet));
            assert_eq!(tally.bytes, packet.len() as u64, "{}", hex(packet));
            assert_eq!(run.frame, packet, "the stack gets it as it came");
            Verdict::Stack(reason)
        }
        other => panic!("verdict and tally {other:?} do not fit: {}", hex(packet)),
    };
    let explained = match decision {
        Decision::ToTunnel | Decision::ToNeighbour | Decision::Unresolved => Verdict::Redirect,
        Decision::ToStack => Verdict::Stack(StackReason::ALL[explanation.reason as usize]),
        Decision::Fault => {
            let kind = FaultKind::ALL[explanation.reason as usize];
            Verdict::Stack(kind.reason())
        }
        other => panic!("explained as {other:?}: {}", hex(packet)),
    };
    assert_eq!(explained, verdict, "explained otherwise: {}", hex(packet));
    if decision == Decision::ToTunnel && program == maps::LAN_INGRESS {
        assert_eq!(explanation.mark, run.mark, "the lane: {}", hex(packet));
    }
    (run, verdict, after.sites_since(&before))
}

/// Checks that a router's change was made to the IP packet, and no other.
pub(crate) fn assert_routed(name: &str, before: &[u8], after: &[u8]) {
    let mut expected = before.to_vec();
    if before[0] >> 4 == 4 {
        expected[8] -= 1;
        expected[10..12].copy_from_slice(&after[10..12]);
        // A header that does not sum up is not forwarded (RFC 1812, 5.2.2).
        for header in [&before[..20], &after[..20]] {
            assert_eq!(sum(header) % 0xffff, 0, "{name}: checksum");
        }
    } else {
        expected[7] -= 1;
    }
    assert_eq!(after, expected, "{name}: only TTL and checksum change");
}

/// Mutates packets, always the same way: `rounds` variants of each, of bytes changed, cut off or added.
pub(crate) fn mutations(packets: &[Vec<u8>], rounds: usize) -> Vec<Vec<u8>> {
    let mut random = StdRng::seed_from_u64(0xc705_5a11);
    let mut mutated = Vec::new();
    for packet in packets {
        for _ in 0..rounds {
            let mut bytes = packet.clone();
            for _ in 0..random.random_range(1..=4) {
                // Mostly the headers: a change of payload changes nothing.
                let at = random.random_range(0..bytes.len().min(80));
                bytes[at] = match random.random_range(0..3) {
                    0 => random.random(),
                    1 => bytes[at] ^ (1 << random.random_range(0..8)),
                    _ => [0, 1, 0x7f, 0x80, 0xff][random.random_range(0..5)],
                };
            }
            match random.random_range(0..8) {
                0 => bytes.truncate(random.random_range(14..=bytes.len())),
                1 => bytes.resize(bytes.len() + random.random_range(1..64), random.random()),
                _ => {}
            }
            // Most would be found out by their checksum, and nothing else of them be looked at.
            if random.random_bool(0.8) {
                let ethernet = bytes.get(12..14) == Some(&[0x08, 0x00]);
                wire::fix_header_checksum(&mut bytes[if ethernet { 14 } else { 0 }..]);
            }
            if kernel_runs(&bytes) {
                mutated.push(bytes);
            }
        }
    }
    mutated
}

/// Frames of random bytes behind a head of these bytes, always the same: of each, the version, the length of the
/// header and the kind of an IP packet are such as exist, and the rest is as it comes.
pub(crate) fn noise(head: &[u8], count: usize) -> Vec<Vec<u8>> {
    const FIRST: [u8; 6] = [0x45, 0x46, 0x4f, 0x40, 0x60, 0x6f];
    const KINDS: [u8; 8] = [0, 1, 6, 17, 43, 44, 58, 60];
    let mut random = StdRng::seed_from_u64(0x0b5e_55ed);
    let mut frames = Vec::new();
    while frames.len() < count {
        let mut packet = vec![0; random.random_range(15..1600)];
        random.fill(packet.as_mut_slice());
        if random.random_range(0..4) > 0 {
            let first = FIRST[random.random_range(0..FIRST.len())];
            let kind = if first >> 4 == 4 { 9 } else { 6 };
            packet[0] = first;
            packet[kind] = KINDS[random.random_range(0..KINDS.len())];
        }
        let frame = [head, packet.as_slice()].concat();
        if kernel_runs(&frame) {
            frames.push(frame);
        }
    }
    frames
}
