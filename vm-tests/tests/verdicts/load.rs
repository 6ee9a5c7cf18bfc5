//! Every program passes the verifier of the kernel that runs this; what that took is shown, for it is part
//! of the agent's start.

use aya::programs::ProgramInfo;
use datapath_abi::maps;
use vm_tests::wait;

use crate::harness::Datapath;

/// Instructions that the verifier may walk for one program, a quarter of what it would (BPF_COMPLEXITY_LIMIT_INSNS). They
/// are the agent's start on a slow machine, and each kernel counts otherwise.
const MOST_VERIFIED: u32 = 250_000;

#[test]
fn every_program_is_accepted() {
    let mut datapath = Datapath::load();
    let mut too_many = Vec::new();
    for name in [
        maps::LAN_INGRESS,
        maps::TUN_EGRESS,
        maps::TUN_INGRESS,
        maps::WAN_GUARD,
        maps::TUN_STEER,
        maps::EXPLAIN_LAN,
        maps::EXPLAIN_EGRESS,
        maps::EXPLAIN_TUN,
        maps::CAPTURE_LAN,
        maps::CAPTURE_EGRESS,
        maps::CAPTURE_TUN,
        maps::CAPTURE_WAN,
    ] {
        let start = wait::now();
        let info: ProgramInfo = datapath.info(name);
        let took = start.elapsed();
        // The kernel says it from 5.16 on.
        let looked_at = info
            .verified_instruction_count()
            .map_or("?".to_owned(), |count| count.to_string());
        if info
            .verified_instruction_count()
            .is_some_and(|count| count > MOST_VERIFIED)
        {
            too_many.push(name);
        }
        println!(
            "note: {name}: {} bytes, {looked_at} instructions verified in {} ms",
            info.size_translated().unwrap_or_default(),
            took.as_millis()
        );
        assert!(info.size_jitted() > 0, "{name} is interpreted");
    }
    assert!(too_many.is_empty(), "too much to verify: {too_many:?}");
}
