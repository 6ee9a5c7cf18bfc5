//! `cargo xtask bench`: builds everything, then runs the bench as root.

use anyhow::Result;

use crate::setup::{self, Purpose};
use crate::{build, cmd, environment};

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let asks_for_help = arguments
        .iter()
        .any(|word| word == "--help" || word == "-h");
    if !asks_for_help {
        // Other tunnels come with the tests' packages.
        let others = arguments.iter().any(|word| word == "--with");
        let toolchain = setup::ensure(if others { Purpose::Test } else { Purpose::Lab })?;
        build::build(&toolchain)?;
    }
    cmd::run(
        "building the bench",
        &mut cmd::cargo(&["build", "--quiet", "-p", "bench"]),
    )?;
    let program = environment::workspace().join("target/debug/bench");
    cmd::become_command(cmd::as_root(program).args(arguments))
}
