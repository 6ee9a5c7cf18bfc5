//! Versions that were withdrawn from crates.io after the lock file was written, by cargo's own copy of its index.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use vm_tests::process;

use crate::{cmd, environment};

/// One line for each version of the lock file that is withdrawn.
pub(super) fn look() -> Result<Vec<String>> {
    // It asks for the newest of each crate, and so brings the copy up to date; nothing else changes.
    process::run(&mut cmd::cargo(&["update", "--dry-run", "--quiet"]))
        .context("the index of crates.io cannot be reached")?;
    let index = copy_of_index()?;
    let lock = fs::read_to_string(environment::workspace().join("Cargo.lock"))?;
    let packages = packages(&lock);
    ensure!(
        !packages.is_empty(),
        "the lock file names no crate of crates.io"
    );
    let mut withdrawn = Vec::new();
    for (name, version) in packages {
        let file = index.join(place_of(name));
        let entries = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        match is_yanked(&entries, version) {
            Some(false) => {}
            Some(true) => withdrawn.push(format!(
                "{name} {version} was withdrawn from crates.io: cargo update -p {name}@{version}"
            )),
            None => withdrawn.push(format!("{name} {version} is not in the index of crates.io")),
        }
    }
    Ok(withdrawn)
}

/// The folder `.cache` of the index in cargo's home.
fn copy_of_index() -> Result<PathBuf> {
    let home = environment::cargo_bin();
    let home = home.parent().unwrap_or(Path::new("."));
    let indices = fs::read_dir(home.join("registry/index"));
    let indices = indices.context("cargo has no copy of an index")?.flatten();
    let mut caches = indices
        .filter(|entry| {
            entry
                .file_name()
                .to_string_lossy()
                .starts_with("index.crates.io-")
        })
        .map(|entry| entry.path().join(".cache"));
    caches
        .next()
        .context("cargo has no copy of the index of crates.io")
}

/// Name and version of each package that comes from a registry.
fn packages(lock: &str) -> Vec<(&str, &str)> {
    let sections = lock.split("[[package]]").skip(1);
    let packages = sections.filter_map(|section| {
        let value = |key: &str| {
            let line = section.lines().find_map(|line| line.strip_prefix(key));
            line.map(|value| value.trim_matches('"'))
        };
        value("source = ")?.starts_with("registry+").then_some(())?;
        Some((value("name = ")?, value("version = ")?))
    });
    packages.collect()
}

/// Where the index has a crate.
fn place_of(name: &str) -> String {
    let name = name.to_lowercase();
    match name.len() {
        1 | 2 => format!("{}/{name}", name.len()),
        3 => format!("3/{}/{name}", &name[..1]),
        _ => format!("{}/{}/{name}", &name[..2], &name[2..4]),
    }
}

/// Whether a version is withdrawn; `None` if it is not there. The file is a list of pieces that end in a zero
/// byte: versions, each with its JSON behind it.
fn is_yanked(entries: &[u8], version: &str) -> Option<bool> {
    let pieces = entries.split(|byte| *byte == 0);
    let entries = pieces.filter_map(|piece| serde_json::from_slice::<Value>(piece).ok());
    let mut versions = entries.filter(|entry| entry["vers"] == version);
    versions.next()?["yanked"].as_bool()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_packages_of_registries_are_looked_for() {
        let lock = "[[package]]\nname = \"own\"\nversion = \"0.1.0\"\n\n[[package]]\nname = \"libc\"\n\
                    version = \"0.2.1\"\nsource = \"registry+https://x\"\n";
        assert_eq!(packages(lock), [("libc", "0.2.1")]);
    }

    #[test]
    fn a_crate_is_found_by_its_name() {
        let places = ["a", "ab", "abc", "Serde"].map(place_of);
        assert_eq!(places, ["1/a", "2/ab", "3/a/abc", "se/rd/serde"]);
    }

    #[test]
    fn a_withdrawn_version_is_told_from_one_that_is_not() {
        let entries = b"\x03etag\x001.0.0\x00{\"vers\":\"1.0.0\",\"yanked\":true}\
            \x001.0.1\x00{\"vers\":\"1.0.1\",\"yanked\":false}\x00";
        assert_eq!(is_yanked(entries, "1.0.0"), Some(true));
        assert_eq!(is_yanked(entries, "1.0.1"), Some(false));
        assert_eq!(is_yanked(entries, "1.0.2"), None);
    }
}
