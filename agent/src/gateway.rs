//! gateway.

use std::path::PathBuf;

use crate::config::Config;

/// Runs this gateway until it is told to stop.
#[expect(clippy::unused_async, reason = "its body is written elsewhere")]
pub async fn run(_config: Config, _path: PathBuf) -> anyhow::Result<()> {
    anyhow::bail!("this build has no data path")
}
