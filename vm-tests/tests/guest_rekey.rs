//! A session with the kernel's WireGuard from one handshake to the next, two minutes, in which packets of every
//! size at the edges pass. For guests: not every kernel has it.
//!
//! ```text
//!  outer IPv4:  host a ── [gateway a: crossway, dials] ══════ [gateway b: kernel] ── host b
//!  outer IPv6:  host a ── [gateway a: crossway] ══════ [gateway b: kernel, dials] ── host b
//! ```

#[path = "guest_rekey/sizes.rs"]
mod sizes;

use std::time::Duration;

use vm_tests::kernel_pair::{Dials, KernelPair};
use vm_tests::topology::Family;
use vm_tests::traffic::SteadyPing;
use vm_tests::wait;

const UP: Duration = Duration::from_secs(10);
/// REKEY_AFTER_TIME of the whitepaper (6.1), with the time until somebody sends.
const RENEWED: std::ops::RangeInclusive<u64> = 115..=135;

#[test]
fn keys_are_renewed_on_time_whoever_began_and_every_size_passes_meanwhile() {
    let pairs = [
        KernelPair::start(Family::V4, Dials::Crossway).unwrap(),
        KernelPair::start(Family::V6, Dials::Kernel).unwrap(),
    ];
    let pings = pairs.each_ref().map(|joined| {
        let (a, b) = joined.sites();
        joined.first_packet().unwrap();
        let directory = joined.topology.directory();
        SteadyPing::start(&a.host, b.host_address(Family::V4), directory).unwrap()
    });
    let first = pairs
        .each_ref()
        .map(|joined| joined.kernel.handshake().unwrap());
    for joined in &pairs {
        let (a, b) = joined.sites();
        for family in Family::ALL {
            for (from, to) in [(a, b), (b, a)] {
                sizes::all_pass(&joined.topology, from, to, family);
            }
        }
    }
    let limit = Duration::from_secs(RENEWED.end() + 5);
    for (joined, first) in pairs.iter().zip(first) {
        let renewed = wait::try_until("new keys", limit, || {
            let last = joined.kernel.handshake()?;
            Ok((last != first).then_some(last))
        });
        let after = renewed.unwrap() - first;
        assert!(RENEWED.contains(&after), "renewed after {after} s");
    }
    for (ping, joined) in pings.into_iter().zip(&pairs) {
        let replies = ping.finish(UP).unwrap();
        assert_eq!(replies.lost(), 0);
        assert_eq!(joined.agent.dropped().unwrap(), []);
    }
}
