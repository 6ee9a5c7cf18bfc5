//! What the programs would do with a packet: the kernel runs the explaining programs, which are loaded beside the others
//! and attached nowhere, on the maps as they are (`BPF_PROG_TEST_RUN`).

use anyhow::{Context, Result, anyhow, bail};
use aya::maps::{Array, MapData};
use aya::programs::SchedClassifier;
use aya::{Ebpf, TestRun as _, TestRunOptions};
use datapath_abi::explanation::Explanation;
use datapath_abi::maps;

use super::attachment::Hook;
use super::take;
use crossway_types::ids::IfIndex;

/// The kernel takes a page less what it keeps around a packet (`bpf_test_init`, net/bpf/test_run.c): Ethernet header and
/// packet must fit into that, on any machine.
pub const MOST_EXPLAINED: usize = 3500;

/// A packet, and where it is.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The hook whose program is asked.
    pub at: Hook,
    /// The interface there.
    pub interface: IfIndex,
    /// Its link-layer address, to which the frame is addressed; not of the TUN, which has none.
    pub address: Option<[u8; 6]>,
    /// The IP packet, of at most [`MOST_EXPLAINED`] bytes.
    pub packet: &'a [u8],
    /// Bytes of payload in each segment of a super-packet; 0 if it is none.
    pub gso_size: u32,
}

/// The map EXPLAINED.
pub(super) struct Answers(Array<MapData, Explanation>);

impl Answers {
    pub(super) fn new(programs: &mut Ebpf) -> Result<Self> {
        Ok(Self(take(programs, maps::EXPLAINED)?))
    }

    pub(super) fn ask(&self, programs: &Ebpf, question: &Question<'_>) -> Result<Explanation> {
        if question.packet.len() > MOST_EXPLAINED {
            bail!(
                "{} bytes: the kernel runs programs on packets of at most {MOST_EXPLAINED}",
                question.packet.len()
            );
        }
        let name = explaining(question.at)?;
        let program = programs
            .program(name)
            .ok_or_else(|| anyhow!("the eBPF object has no program {name}"))?;
        let program: &SchedClassifier = program.try_into()?;
        let context = context_of(question);
        let frame = frame_of(question);
        // Some kernels want room for what the program leaves of packet and context.
        let (mut frame_out, mut context_out) = (vec![0; frame.len() + 256], context);
        program
            .test_run(TestRunOptions {
                data_in: Some(&frame),
                data_out: Some(&mut frame_out),
                ctx_in: Some(&context),
                ctx_out: Some(&mut context_out),
                ..TestRunOptions::default()
            })
            .with_context(|| format!("run {name}"))?;
        self.0.get(&0, 0).context(maps::EXPLAINED)
    }
}

fn explaining(hook: Hook) -> Result<&'static str> {
    match hook {
        Hook::LanIngress => Ok(maps::EXPLAIN_LAN),
        Hook::TunEgress => Ok(maps::EXPLAIN_EGRESS),
        Hook::TunIngress => Ok(maps::EXPLAIN_TUN),
        Hook::WanGuard => bail!("no program explains {}", hook.program()),
    }
}

/// Offsets in `struct __sk_buff` (linux/bpf.h), and its size.
const IFINDEX: usize = 40;
const GSO_SEGS: usize = 164;
const GSO_SIZE: usize = 176;
const SK_BUFF: usize = 192;

fn context_of(question: &Question<'_>) -> [u8; SK_BUFF] {
    let segments = match question.gso_size {
        0 => 0,
        size => question.packet.len().div_ceil(size as usize) as u32,
    };
    let mut context = [0; SK_BUFF];
    for (offset, value) in [
        (IFINDEX, question.interface.0),
        (GSO_SEGS, segments),
        (GSO_SIZE, question.gso_size),
    ] {
        context[offset..offset + 4].copy_from_slice(&value.to_ne_bytes());
    }
    context
}

/// Least bytes of what the kernel takes for an Ethernet frame with a whole IP header.
const LEAST: usize = 14 + 40;

/// The packet as the program finds it. Where there is no link-layer header the kernel takes the packet's first 14 bytes
/// for one all the same, and hands over the whole. Padding behind the packet is none of it, as on a wire.
fn frame_of(question: &Question<'_>) -> Vec<u8> {
    let mut frame = Vec::with_capacity(LEAST + question.packet.len());
    if question.at == Hook::LanIngress {
        frame.extend(question.address.unwrap_or_default());
        // From some host: a local address (IEEE 802, 8.4).
        frame.extend([2, 0, 0, 0, 0, 1]);
        let is_ipv6 = question.packet.first().is_some_and(|first| first >> 4 == 6);
        frame.extend(if is_ipv6 { [0x86, 0xdd] } else { [0x08, 0x00] });
    }
    frame.extend(question.packet);
    let padded = frame.len().max(LEAST);
    frame.resize(padded, 0);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(at: Hook, packet: &[u8]) -> Question<'_> {
        Question {
            at,
            interface: IfIndex(7),
            address: Some([2, 1, 1, 1, 1, 1]),
            packet,
            gso_size: 0,
        }
    }

    #[test]
    fn a_lan_packet_is_in_a_frame_for_the_interface_and_one_of_the_tun_is_bare() {
        let packet = [[0x45; 20], [0; 20], [0; 20]].concat();
        let frame = frame_of(&question(Hook::LanIngress, &packet));
        assert_eq!(frame[..6], [2, 1, 1, 1, 1, 1]);
        assert_eq!(frame[12..14], [0x08, 0x00]);
        assert_eq!(frame[14..], packet);
        assert_eq!(frame_of(&question(Hook::TunIngress, &packet)), packet);
        let six = frame_of(&question(Hook::LanIngress, &[0x60; 40]));
        assert_eq!(six[12..14], [0x86, 0xdd]);
        // As short as a datagram of one byte.
        let short = frame_of(&question(Hook::TunIngress, &packet[..29]));
        assert_eq!(short.len(), LEAST);
        assert_eq!(short[..29], packet[..29]);
    }

    #[test]
    fn the_kernel_is_told_the_interface_and_the_segments() {
        let packet = [0; 3000];
        let mut question = question(Hook::LanIngress, &packet);
        question.gso_size = 1400;
        let context = context_of(&question);
        let word = |at: usize| u32::from_ne_bytes(context[at..at + 4].try_into().unwrap());
        assert_eq!([word(40), word(164), word(176)], [7, 3, 1400]);
    }
}
