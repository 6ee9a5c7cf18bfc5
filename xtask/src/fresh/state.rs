//! What is installed in the new system.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use anyhow::Result;
use vm_tests::process;

use super::inside::HOME;

/// Packages and programs at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    packages: BTreeSet<String>,
    /// Of cargo, and among the workspace's tools.
    programs: BTreeSet<String>,
}

impl State {
    pub(super) fn now() -> Result<Self> {
        let words = ["--show", "--showformat", "${Package}\n"];
        let packages = process::run(Command::new("dpkg-query").args(words))?;
        let bins = [".cargo/bin", "crossway/target/tools/bin"];
        let entries = bins
            .iter()
            .filter_map(|bin| fs::read_dir(format!("{HOME}/{bin}")).ok())
            .flatten();
        Ok(Self {
            packages: packages.lines().map(str::to_owned).collect(),
            programs: entries
                .flatten()
                .map(|entry| entry.file_name().to_string_lossy().into_owned())
                .collect(),
        })
    }

    /// What came since then, in words.
    pub(super) fn since(&self, before: &Self) -> String {
        let packages = list(self.packages.difference(&before.packages));
        let programs = list(self.programs.difference(&before.programs));
        match (packages, programs) {
            (None, None) => "nothing".to_owned(),
            (packages, programs) => {
                let packages = packages.map(|names| format!("Debian packages {names}"));
                let programs = programs.map(|names| format!("by cargo {names}"));
                let parts: Vec<String> = packages.into_iter().chain(programs).collect();
                parts.join("; ")
            }
        }
    }
}

fn list<'a>(names: impl Iterator<Item = &'a String>) -> Option<String> {
    let names: Vec<&str> = names.map(String::as_str).collect();
    (!names.is_empty()).then(|| names.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_installed_is_told_by_name() {
        let state = |packages: &[&str], programs: &[&str]| State {
            packages: packages.iter().map(|it| (*it).to_owned()).collect(),
            programs: programs.iter().map(|it| (*it).to_owned()).collect(),
        };
        let before = state(&["a"], &["cargo"]);
        assert_eq!(before.since(&before), "nothing");
        let after = state(&["a", "b", "c"], &["cargo", "d"]);
        assert_eq!(after.since(&before), "Debian packages b c; by cargo d");
    }
}
