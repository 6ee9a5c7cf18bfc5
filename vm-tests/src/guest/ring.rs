//! What `cargo xtask vm-test` gives to tests that run on the host and switch guests on themselves
//! (`tests/virtio_*.rs`): a kernel and an image for it.

use std::env;
use std::path::PathBuf;
use std::thread;

use anyhow::{Context, Result, anyhow};

use super::{Accelerator, Card, Machine};

/// The kernel, as `vmlinuz`.
pub const KERNEL: &str = "CROSSWAY_GUEST_KERNEL";
/// The initial file system.
pub const IMAGE: &str = "CROSSWAY_GUEST_IMAGE";
/// The folder that knows whether KVM works.
pub const KEPT: &str = "CROSSWAY_GUEST_KEPT";

/// A machine for a host of a LAN: one CPU, little memory.
pub fn host(card: Card) -> Result<Machine> {
    machine(1, 384, vec![card])
}

/// A machine for a gateway.
pub fn gateway(cpus: u32, cards: Vec<Card>) -> Result<Machine> {
    machine(cpus, 768, cards)
}

/// Does two things at the same time, such as to switch machines on, and waits for both.
pub fn both<A: Send, B: Send>(
    one: impl FnOnce() -> Result<A> + Send,
    other: impl FnOnce() -> Result<B> + Send,
) -> Result<(A, B)> {
    thread::scope(|scope| {
        let one = scope.spawn(one);
        let other = other();
        let one = one.join().map_err(|_| anyhow!("a thread panicked"))?;
        Ok((one?, other?))
    })
}

fn machine(cpus: u32, memory_mib: u32, cards: Vec<Card>) -> Result<Machine> {
    let mut machine = Machine {
        kernel: path(KERNEL)?,
        image: path(IMAGE)?,
        cpus,
        memory_mib,
        accelerator: Accelerator::Tcg,
        cards,
    };
    machine.accelerator = Accelerator::probe(&machine, &path(KEPT)?)?;
    Ok(machine)
}

fn path(variable: &str) -> Result<PathBuf> {
    let value = env::var_os(variable)
        .with_context(|| format!("{variable} is not set: run `cargo xtask vm-test`"))?;
    Ok(value.into())
}
