//! The lab's scenarios, each played to its end: traffic passes both ways afterwards, and what a watcher must
//! see was printed.

use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// There is one lab on a machine.
static LAB: Mutex<()> = Mutex::new(());

/// Plays a scenario and returns what it printed. It has limits of its own for all that it waits for.
fn play(scenario: &str) -> String {
    let _lab = LAB.lock().unwrap_or_else(PoisonError::into_inner);
    let mut lab = Command::new(env!("CARGO_BIN_EXE_xtask"));
    let words = ["lab-as-root", "--scenario", scenario, "--for", "0s"];
    let output = lab.args(words).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}\n{errors}");
    assert!(printed.contains("nothing of it is left"), "{printed}");
    printed
}

fn assert_told(printed: &str, line: &str) {
    assert!(printed.contains(line), "{line:?} is not in\n{printed}");
}

#[test]
fn a_cut_path_goes_down_and_the_spare_carries_the_flows() {
    let printed = play("wan-cut");
    assert_told(&printed, "path 1 is cut");
    assert_told(
        &printed,
        "link to b1 over path-2: Up, spare -> Up, carries the flows",
    );
    assert_told(
        &printed,
        "link to b1 over path-1: Up, spare -> Up, carries the flows",
    );
}

#[test]
fn a_flapping_path_takes_the_flows_along_once() {
    let printed = play("flap");
    let moved = "a1  link to b1 over path-2: Up, spare -> Up, carries the flows";
    assert_eq!(printed.matches(moved).count(), 1, "{printed}");
}

#[test]
fn the_second_gateway_takes_over_from_one_that_hangs() {
    let printed = play("gateway-kill");
    assert_told(&printed, "a2  virtual router 1: backup -> master");
    assert_told(&printed, "a2  virtual router 1: master -> backup");
}

#[test]
fn two_gateways_that_lost_each_other_agree_again() {
    let printed = play("split-brain");
    assert_told(&printed, "the far gateway does not reach its LAN");
    assert_told(&printed, "a2  virtual router 1: backup -> master");
    assert_told(&printed, "a2  virtual router 1: master -> backup");
}
