//! Frames that the kernel itself makes and sends (BPF_PROG_TEST_RUN with live frames): one core sends
//! some million a second, so that it is the gateway that is measured and not the sender.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use crossway::clock;
use serde_json::Value;
use vm_tests::netns::Netns;
use vm_tests::sys;

use crate::kernel::{self, Instruction, Kind};
use crate::packets;

/// Frames of one system call without a pace: tenths of a second's worth. A call takes some 20 ms before
/// its first frame, in which the kernel makes the program ready.
const FLAT_OUT: u32 = 1 << 18;
/// Time between two system calls at a pace.
const BEAT: Duration = Duration::from_millis(50);
/// Flows that the program can tell apart: 16 bits of source port and 8 of destination port.
const MOST_FLOWS: u32 = 1 << 24;
const XDP_TX: i32 = 3;
/// Helper 7 of the kernel, `get_prandom_u32`.
const RANDOM: i32 = 7;
/// Bytes of an Ethernet, an IPv4 and a UDP header, and what is where in them.
const HEADERS: i32 = 42;
const SOURCE_PORT: i16 = 34;
const DESTINATION_PORT_LOW: i16 = 37;
const UDP_CHECKSUM: usize = 40;

/// One frame, an interface that it leaves by, and a program that gives each copy another flow.
pub(crate) struct LiveFrames<'a> {
    netns: &'a Netns,
    interface: u32,
    frame: Vec<u8>,
    program: OwnedFd,
}

impl<'a> LiveFrames<'a> {
    /// Copies of `packet` (from its IPv4 header on) out of `interface` of `netns`, to the link-layer
    /// address of `to`; with `flows`, spread by chance over as many UDP flows, for which its checksum of
    /// UDP is taken out.
    pub(crate) fn new(
        (netns, interface): (&'a Netns, &str),
        to: (&Netns, &str),
        packet: &[u8],
        flows: Option<u32>,
    ) -> Result<Self> {
        let mut frame = packets::ethernet(packet);
        if let Some(flows) = flows {
            ensure!(
                (1..=MOST_FLOWS).contains(&flows),
                "{flows} flows: this sender can tell 1 to {MOST_FLOWS} apart"
            );
            frame[UDP_CHECKSUM..UDP_CHECKSUM + 2].fill(0);
        }
        frame[..6].copy_from_slice(&link_address(to.0, to.1)?);
        frame[6..12].copy_from_slice(&link_address(netns, interface)?);
        let program =
            kernel::load(Kind::Xdp, &instructions(flows)).context("loading the sender")?;
        let index = link(netns, interface)?["ifindex"].as_u64();
        Ok(Self {
            netns,
            interface: index.context("no index")? as u32,
            frame,
            program,
        })
    }

    /// The same to an address that the far interface does not own, so that its stack drops them first thing.
    pub(crate) fn for_nobody(mut self) -> Self {
        self.frame[..6].copy_from_slice(&[0x02, 0, 0, 0, 0, 0xfe]);
        self
    }

    /// Sends until `stop` says so, at `rate` frames a second if there is one; the frames sent.
    pub(crate) fn send(
        &self,
        rate: Option<f64>,
        stop: impl Fn() -> bool + Send + Sync,
    ) -> Result<u64> {
        self.netns.enter(|| {
            let start = clock::now();
            let mut sent = 0;
            let count = rate.map_or(FLAT_OUT, |rate| (rate * BEAT.as_secs_f64()) as u32);
            let mut due = BEAT;
            while !stop() && !sys::stop_requested() {
                kernel::send_live(self.program.as_fd(), &self.frame, self.interface, count)
                    .context("sending live frames (kernel 5.18)")?;
                sent += u64::from(count);
                if rate.is_some() {
                    std::thread::sleep(due.saturating_sub(start.elapsed()));
                    due += BEAT;
                }
            }
            Ok(sent)
        })?
    }

    /// Sends exactly `count` frames, flat out.
    pub(crate) fn send_count(&self, count: u32) -> Result<()> {
        self.netns.enter(|| {
            kernel::send_live(self.program.as_fd(), &self.frame, self.interface, count)
                .context("sending live frames (kernel 5.18)")
        })?
    }
}

/// What `ip` says of an interface.
pub(crate) fn link(netns: &Netns, interface: &str) -> Result<Value> {
    let text = netns.ip(&format!("-j -s link show dev {interface}"))?;
    let mut links: Value = serde_json::from_str(&text)?;
    Ok(links[0].take())
}

fn link_address(netns: &Netns, interface: &str) -> Result<[u8; 6]> {
    let link = link(netns, interface)?;
    let text = link["address"].as_str().unwrap_or_default();
    let bytes = text.split(':').map(|byte| u8::from_str_radix(byte, 16));
    let bytes: Vec<u8> = bytes.collect::<Result<_, _>>()?;
    let address = bytes.try_into().ok();
    address.with_context(|| format!("{text} is no link-layer address"))
}

/// A program that takes a number below `flows` by chance, writes it into the ports, and sends; without
/// `flows` it only sends.
fn instructions(flows: Option<u32>) -> Vec<Instruction> {
    let step = |code, registers, offset, value| Instruction {
        code,
        registers,
        offset,
        value,
    };
    let spread = |flows: u32| {
        [
            step(0xbf, 0x16, 0, 0),                    // r6 = r1, the context
            step(0x61, 0x67, 0, 0),                    // r7 = data
            step(0x61, 0x68, 4, 0),                    // r8 = data_end
            step(0xbf, 0x79, 0, 0),                    // r9 = r7
            step(0x07, 0x09, 0, HEADERS),              // r9 += HEADERS
            step(0x2d, 0x89, 5, 0),                    // if r9 > r8, only send
            step(0x85, 0, 0, RANDOM),                  // r0 = a number
            step(0x94, 0, 0, flows.cast_signed()),     // w0 %= flows
            step(0x6b, 0x07, SOURCE_PORT, 0),          // *(u16 *)(r7 + SOURCE_PORT) = r0
            step(0x77, 0, 0, 16),                      // r0 >>= 16
            step(0x73, 0x07, DESTINATION_PORT_LOW, 0), // *(u8 *)(r7 + DESTINATION_PORT_LOW) = r0
        ]
    };
    let mut program: Vec<Instruction> = flows.into_iter().flat_map(spread).collect();
    program.push(step(0xb7, 0, 0, XDP_TX)); // r0 = XDP_TX
    program.push(step(0x95, 0, 0, 0)); // exit
    program
}
