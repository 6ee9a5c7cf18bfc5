//! The eBPF object, then the agent that carries it.

use std::path::PathBuf;

use anyhow::Result;

use crate::cmd;
use crate::environment;
use crate::setup::{self, Purpose, toolchain::Toolchain};

/// Target of the object: eBPF, little endian.
const TARGET: &str = "bpfel-unknown-none";

/// `cargo xtask build`.
pub(crate) fn task() -> Result<()> {
    let toolchain = setup::ensure(Purpose::Build)?;
    build(&toolchain)?;
    println!("{}", binary().display());
    Ok(())
}

/// Builds both; cargo skips what is up to date.
pub(crate) fn build(toolchain: &Toolchain) -> Result<()> {
    object(toolchain)?;
    cmd::run(
        "building the agent",
        &mut cmd::cargo(&["build", "--release", "-p", "crossway"]),
    )
}

/// The agent.
pub(crate) fn binary() -> PathBuf {
    environment::workspace().join("target/release/crossway")
}

/// The eBPF object.
pub(crate) fn object_path() -> PathBuf {
    environment::workspace().join(format!("target/bpf/{TARGET}/release/datapath"))
}

/// Builds the eBPF object.
pub(crate) fn object(toolchain: &Toolchain) -> Result<()> {
    eprintln!("eBPF toolchain: {toolchain}");
    let mut command = toolchain.cargo();
    command
        .args([
            "build",
            "--release",
            "-p",
            "datapath-ebpf",
            "-Zbuild-std=core",
        ])
        .args(["--target", TARGET, "--target-dir", "target/bpf"])
        .env("CARGO_ENCODED_RUSTFLAGS", rustflags().join("\x1f"));
    cmd::run("building the eBPF object", &mut command)
}

fn rustflags() -> Vec<String> {
    vec![
        "-Clinker=bpf-linker".to_owned(),
        // BTF comes from debug information; bpf-linker keeps it when asked.
        "-Clink-arg=--btf".to_owned(),
        "-Cdebuginfo=2".to_owned(),
        // Whose register layout aya-ebpf's bindings describe.
        format!("--cfg=bpf_target_arch=\"{}\"", std::env::consts::ARCH),
    ]
}
