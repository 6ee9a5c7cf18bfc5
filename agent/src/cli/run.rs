//! `crossway run --config FILE [--take-over]`.

use std::path::Path;

use anyhow::Context;

use super::check::tell_rejected;
use super::failure::Failure;
use crate::config::Config;
use crate::disk::Disk;
use crate::logging::Log;
use crate::posture::capabilities::{Part, settle_thread};
use crate::{gateway, posture};

/// Runs the gateway until it is told to stop.
pub(super) fn run(file: &Path, take_over: bool) -> Result<(), Failure> {
    // Relative paths must mean the same after any change of folder, at a reload, and in `status`.
    let file = std::path::absolute(file).context("cannot read the working directory")?;
    let starter = posture::begin(&file)?;
    let accepted = Config::load(&file, &Disk).map_err(|rejected| tell_rejected(&rejected))?;
    for warning in &accepted.warnings {
        eprintln!("{warning}");
    }
    let log = Log::begin().map_err(|error| Failure::Wrong(format!("{error:#}")))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .on_thread_start(|| settle_thread(Part::Worker))
        .build()
        .context("cannot start the control runtime")?;
    runtime.block_on(gateway::run(accepted.config, file, take_over, starter, log))?;
    Ok(())
}
