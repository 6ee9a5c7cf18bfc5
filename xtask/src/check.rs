//! `cargo xtask check`: what every change must pass before its tests run.

use anyhow::{Result, ensure};

use crate::abi;
use crate::cmd;
use crate::setup::{self, Purpose};

/// Links to private items are welcome: those items are documented too.
const RUSTDOCFLAGS: &str = "-D warnings -A rustdoc::private_intra_doc_links";

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    ensure!(arguments.is_empty(), "check takes no arguments");
    cmd::run(
        "formatting (`cargo fmt` mends it)",
        &mut cmd::cargo(&["fmt", "--all", "--check"]),
    )?;
    abi::check()?;
    // The agent carries the eBPF object, so it compiles only after that one.
    setup::ensure(Purpose::Build).and_then(|toolchain| crate::build::object(&toolchain))?;
    cmd::run(
        "clippy",
        &mut cmd::cargo(&[
            "clippy",
            "--workspace",
            "--exclude",
            "datapath-ebpf",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ]),
    )?;
    cmd::run(
        "clippy of the eBPF programs",
        // Release, because a program without a runtime needs `panic = "abort"`.
        &mut cmd::cargo(&[
            "clippy",
            "-p",
            "datapath-ebpf",
            "--release",
            "--",
            "-D",
            "warnings",
        ]),
    )?;
    let mut documentation = cmd::cargo(&[
        "doc",
        "--workspace",
        "--exclude",
        "datapath-ebpf",
        "--no-deps",
        "--document-private-items",
    ]);
    cmd::run(
        "documentation",
        documentation.env("RUSTDOCFLAGS", RUSTDOCFLAGS),
    )
}
