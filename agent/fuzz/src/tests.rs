//! The inputs that fuzzers have found worth keeping are tried on every run of the tests.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;

fn corpus(target: &Target) -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.join("corpus").join(target.name)
}

/// Tries an input; what it was is said if it fails.
fn try_one(target: &Target, name: &str, data: &[u8]) {
    let tried = std::panic::catch_unwind(|| (target.run)(data));
    assert!(tried.is_ok(), "{} fails on {name}", target.name);
}

#[test]
fn every_seed_is_survived() {
    for target in &TARGETS {
        let seeds = (target.seeds)();
        assert!(!seeds.is_empty(), "{} has no seed", target.name);
        for (number, seed) in seeds.iter().enumerate() {
            try_one(target, &format!("seed {number}"), seed);
        }
    }
}

#[test]
fn the_file_that_is_edited_has_no_fault() {
    let whole = include_str!("config/whole.toml");
    let accepted = crossway::config::Config::parse(whole, Path::new("whole.toml"));
    let accepted = accepted.unwrap_or_else(|rejected| panic!("{rejected}"));
    assert_eq!(accepted.warnings, []);
}

#[test]
fn every_input_of_the_corpus_is_survived() {
    for target in &TARGETS {
        let folder = corpus(target);
        let inputs = fs::read_dir(&folder);
        let inputs = inputs.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut count = 0;
        for input in inputs {
            let path = input.unwrap().path();
            try_one(
                target,
                &path.display().to_string(),
                &fs::read(&path).unwrap(),
            );
            count += 1;
        }
        assert!(count > 0, "{} is empty", folder.display());
    }
}

#[test]
fn every_target_is_one_of_cargo_fuzz_and_the_other_way_round() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("libfuzzer");
    let manifest = fs::read_to_string(package.join("Cargo.toml")).unwrap();
    let count = manifest.matches("[[bin]]").count();
    assert_eq!(count, TARGETS.len());
    for target in &TARGETS {
        let line = format!("path = \"fuzz_targets/{}.rs\"", target.name);
        assert!(manifest.contains(&line), "{line} is missing");
        let source = format!("fuzz_targets/{}.rs", target.name);
        let source = fs::read_to_string(package.join(source)).unwrap();
        assert!(source.contains(&format!("{:?}", target.name)), "{source}");
    }
}

/// Not a test: `cargo xtask fuzz` calls it, for fuzzers to begin with.
#[test]
#[ignore = "it writes files"]
fn seeds_are_written() {
    let folder = std::env::var_os("CROSSWAY_FUZZ_SEEDS").map(PathBuf::from);
    let folder = folder.expect("CROSSWAY_FUZZ_SEEDS names the folder to write to");
    for target in &TARGETS {
        let folder = folder.join(target.name);
        fs::create_dir_all(&folder).unwrap();
        for (number, seed) in (target.seeds)().iter().enumerate() {
            fs::write(folder.join(format!("seed-{number:02}")), seed).unwrap();
        }
    }
}
