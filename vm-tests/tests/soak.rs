//! The short form of `cargo xtask soak`: a silent site that comes and goes by reloads, a hand-over, a cut path, a kill
//! and a stop, under a mix of traffic, with every packet accounted for and nothing left behind. See
//! [`vm_tests::soak`].

use std::time::Duration;

use vm_tests::soak::schedule::Schedule;
use vm_tests::soak::{self, Options};

#[test]
fn every_packet_is_accounted_for_and_nothing_leaks() {
    let logs = std::env::temp_dir().join(format!("crossway-soak-{}", std::process::id()));
    let options = Options {
        span: Duration::ZERO,
        seed: 0,
        prefix: None,
        logs,
        steps: Some(Schedule::short()),
    };
    soak::run(&options).unwrap();
}
