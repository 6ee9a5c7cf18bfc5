//! `crossway man`: the manual pages, as packages install them.

use std::path::Path;

use anyhow::Context;
use clap::CommandFactory;

use super::failure::Failure;
use super::output::print;

/// Writes `crossway.1`, and a page for each command, into a folder that it makes.
pub(super) fn man(folder: &Path) -> Result<(), Failure> {
    let cannot = || format!("cannot write manual pages to {}", folder.display());
    std::fs::create_dir_all(folder).with_context(cannot)?;
    clap_mangen::generate_to(super::Cli::command(), folder).with_context(cannot)?;
    print(&format!("manual pages are in {}\n", folder.display()))
}
