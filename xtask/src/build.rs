//! The eBPF object, then the agent that carries it.

use std::path::PathBuf;

use anyhow::Result;

use crate::cmd;
use crate::environment;
use crate::setup::{self, Purpose, toolchain::Toolchain};

/// Target of the object: eBPF, little endian.
const TARGET: &str = "bpfel-unknown-none";

/// How the agent is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Agent {
    /// For gateways, for measurements and for tests, which try what is shipped.
    Release,
    /// For the lab: in half the time.
    Lab,
}

impl Agent {
    fn profile(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Lab => "lab",
        }
    }

    fn expected(self) -> &'static str {
        match self {
            Self::Release => "the first time about two minutes on two cores",
            Self::Lab => "the first time about a minute on two cores",
        }
    }
}

/// `cargo xtask build`.
pub(crate) fn task() -> Result<()> {
    let toolchain = setup::ensure(Purpose::Build)?;
    build(&toolchain, Agent::Release)?;
    println!("{}", binary(Agent::Release).display());
    Ok(())
}

/// Builds both; cargo skips what is up to date.
pub(crate) fn build(toolchain: &Toolchain, agent: Agent) -> Result<()> {
    object(toolchain)?;
    let mut command = cmd::cargo(&["build", "--profile", agent.profile(), "-p", "crossway"]);
    cmd::run_for("building the agent", agent.expected(), &mut command)
}

/// The agent.
pub(crate) fn binary(agent: Agent) -> PathBuf {
    let profile = agent.profile();
    environment::workspace().join(format!("target/{profile}/crossway"))
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
    cmd::run_for(
        "building the eBPF object",
        "the first time a minute on two cores",
        &mut command,
    )
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
