//! `crossway run --config FILE [--take-over]`.

use std::io;
use std::path::Path;

use anyhow::Context;
use tracing_subscriber::EnvFilter;

use super::check::tell_rejected;
use super::failure::Failure;
use crate::config::Config;
use crate::disk::Disk;
use crate::posture::capabilities::{Part, settle_thread};
use crate::{gateway, posture};

/// What is logged without it. boringtun logs each handshake that nobody answers as a warning; what that means for a
/// link is told by the link's state.
const USUAL_LOG: &str = "info,boringtun=off";
/// Environment variable that sets what is logged, such as `debug` or `crossway::host=debug`.
const LOG_VARIABLE: &str = "CROSSWAY_LOG";

/// Runs the gateway until it is told to stop.
pub(super) fn run(file: &Path, take_over: bool) -> Result<(), Failure> {
    // Relative paths must mean the same after any change of folder, at a reload, and in `status`.
    let file = std::path::absolute(file).context("cannot read the working directory")?;
    let starter = posture::begin(&file)?;
    let accepted = Config::load(&file, &Disk).map_err(|rejected| tell_rejected(&rejected))?;
    for warning in &accepted.warnings {
        eprintln!("{warning}");
    }
    log_to_stderr()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .on_thread_start(|| settle_thread(Part::Worker))
        .build()
        .context("cannot start the control runtime")?;
    runtime.block_on(gateway::run(accepted.config, file, take_over, starter))?;
    Ok(())
}

fn log_to_stderr() -> Result<(), Failure> {
    let wanted = std::env::var(LOG_VARIABLE).unwrap_or_else(|_| USUAL_LOG.to_owned());
    let filter = EnvFilter::try_new(&wanted)
        .map_err(|error| Failure::Wrong(format!("{LOG_VARIABLE}={wanted}: {error}: write info")))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::IsTerminal::is_terminal(&io::stderr()))
        .init();
    Ok(())
}
