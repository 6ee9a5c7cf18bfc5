//! Lines that fit a window: no line of code is longer than 120 columns. The pages have a test of their own, in
//! `documents.rs`.

use std::fs;
use std::process::Command;

use anyhow::{Result, ensure};
use vm_tests::process;

use crate::environment;

const COLUMNS: usize = 120;
/// What has no longer lines, and gets none. A folder joins when its last one is gone.
const CLEAN: [&str; 2] = ["xtask/", "agent/aead/"];

/// Looks at the files that git knows.
pub(super) fn check() -> Result<()> {
    let workspace = environment::workspace();
    let mut git = Command::new("git");
    git.arg("-C")
        .arg(&workspace)
        .args(["ls-files", "--", "*.rs"]);
    let mut found = Vec::new();
    for name in process::run(&mut git)?.lines() {
        if CLEAN.iter().any(|clean| name.starts_with(clean)) {
            let text = fs::read_to_string(workspace.join(name)).unwrap_or_default();
            found.extend(too_long(&text).map(|number| format!("{name}:{number}")));
        }
    }
    ensure!(
        found.is_empty(),
        "longer than {COLUMNS} columns (text in quotes is divided by a backslash): {}",
        found.join(", ")
    );
    Ok(())
}

/// Numbers of the lines that are too long. Tables, addresses and what rustfmt is told to leave alone may be.
fn too_long(text: &str) -> impl Iterator<Item = usize> {
    let mut left_alone = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        if line.trim_start().starts_with("#[rustfmt::skip]") {
            left_alone = true;
        } else if line.starts_with(['}', ']', ')']) {
            // The end of an item at the outermost level.
            left_alone = false;
        }
        let excused = left_alone || line.trim_start().starts_with('|') || line.contains("://");
        (!excused && line.chars().count() > COLUMNS).then_some(index + 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_found_but_for_tables_addresses_and_what_is_laid_out_by_hand() {
        let long = "x".repeat(COLUMNS + 1);
        let text = format!(
            "{long}\n{}\n| {long} |\nhttps://{long}\n#[rustfmt::skip]\nconst A: &[&str] = &[\n    {long}\n];\n{long}\n",
            "─".repeat(COLUMNS)
        );
        assert_eq!(too_long(&text).collect::<Vec<_>>(), [1, 9]);
    }
}
