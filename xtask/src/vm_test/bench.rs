//! `cargo xtask vm-test --bench [KERNEL…]`: the bench in a guest, where the kernel's own WireGuard is a contender.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use vm_tests::{process, wait};

use super::kernels::Choice;
use super::{ENVIRONMENT, Stage, emulated};
use crate::bench;
use crate::setup::Purpose;

/// Emulated and beside others at work; idle it is a third of that.
const LIMIT: Duration = Duration::from_mins(15);
/// What tells the most in some minutes of an emulated machine.
const ARGUMENTS: &str = "--runs 5 --seconds 2 --loads tcp-1,tcp-4 --contenders \
    plain,crossway,wireguard-go,kernel-wireguard";
/// The build of wireguard-go that the bench knows as `wireguard-go`.
const NEWEST_GO: &str = "wireguard-go-newest";

/// Runs it on each kernel.
pub(super) fn run(kernels: &[&'static Choice]) -> Result<()> {
    bench::ensure_peers(Purpose::Bench)?;
    let program = bench::build_bench()?;
    let stage = Stage::new()?;
    vm_tests::sys::watch_stop_signals();
    for choice in kernels {
        eprintln!("\n=== kernel {}: {}", choice.name, choice.note);
        on_kernel(choice, &program, &stage)?;
    }
    Ok(())
}

fn on_kernel(choice: &Choice, program: &Path, stage: &Stage) -> Result<()> {
    let kernel = choice.fetch(&stage.kept)?;
    let start = wait::now();
    let mut image = stage.image()?;
    image.file(program, "usr/bin/bench")?;
    // Where it could not be had, the bench says so.
    if process::in_path(NEWEST_GO) {
        image.program(NEWEST_GO)?;
    }
    let (machine, mut guest) = stage.boot(&kernel, image, start)?;
    let emulated = emulated(&machine);
    let mut words = [&ENVIRONMENT[..], &[&emulated, "/usr/bin/bench"]].concat();
    words.extend(ARGUMENTS.split(' '));
    let code = guest.follow(&words, LIMIT, |piece| print!("{piece}"))?;
    if vm_tests::sys::stop_requested() {
        bail!("interrupted");
    }
    ensure!(code == 0, "the bench failed (exit code {code})");
    guest.power_off()
}
