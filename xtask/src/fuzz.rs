//! `cargo xtask fuzz`: hostile bytes for every parser of what comes from outside.
//!
//! cargo-fuzz builds the targets of `agent/fuzz` with libFuzzer, one runs after the other, and the last lines
//! say of each what it did. What a run learns stays in `agent/fuzz/libfuzzer/target`; `--keep` minimises it into the
//! committed corpus, which the pure ring of the tests replays.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::setup::{self, Purpose};
use crate::{build, cmd, environment};

mod outcome;

use outcome::Outcome;

/// Seconds after which an input is taken for one that never ends.
const LONGEST_INPUT: u32 = 20;
/// Longest input: a UDP datagram, with room to spare for what is said about it.
const MOST_BYTES: u32 = 1 << 17;
/// The test that writes the targets' own seeds to a folder.
const WRITES_SEEDS: &str = "fuzz::tests::seeds_are_written";

/// What the user asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// Without any, all.
    pub(crate) targets: Vec<String>,
    /// For each target.
    pub(crate) duration: Duration,
    /// Whether the committed corpus takes what was found.
    pub(crate) keep: bool,
}

pub(crate) fn run(mut options: Options) -> Result<()> {
    let known = targets()?;
    if options.targets.is_empty() {
        options.targets.clone_from(&known);
    }
    if let Some(other) = options.targets.iter().find(|it| !known.contains(it)) {
        bail!(
            "there is no target {other:?}: there are {}",
            known.join(", ")
        );
    }
    let toolchain = setup::ensure(Purpose::Build)?;
    setup::ensure_tool("cargo-fuzz")?;
    build::object(&toolchain)?;
    let sanitizer = build_targets(&options.targets)?;
    write_seeds()?;
    eprintln!(
        "Each of these targets for {} s, sanitizer {sanitizer}: {}",
        options.duration.as_secs(),
        options.targets.join(", ")
    );
    let mut outcomes = Vec::new();
    for target in &options.targets {
        outcomes.push(fuzz(target, &options)?);
        if options.keep {
            keep(target)?;
        }
    }
    report(&outcomes)
}

/// The package of the targets, a workspace of its own.
fn package() -> PathBuf {
    environment::workspace().join("agent/fuzz/libfuzzer")
}

/// Inputs that are committed.
fn corpus(target: &str) -> PathBuf {
    environment::workspace()
        .join("agent/fuzz/corpus")
        .join(target)
}

/// Inputs that runs on this machine have found.
fn learned(target: &str) -> PathBuf {
    package().join("target/corpus").join(target)
}

/// Every target, by its file.
fn targets() -> Result<Vec<String>> {
    let folder = package().join("fuzz_targets");
    let mut names = Vec::new();
    let entries = fs::read_dir(&folder);
    for entry in entries.with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry?.path();
        if let Some(stem) = path.file_stem() {
            names.push(stem.to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// `cargo fuzz`, with the unstable flags that it needs on any toolchain.
fn cargo_fuzz(word: &str, sanitizer: &str) -> Command {
    let mut command = cmd::cargo(&["fuzz", word, "--sanitizer", sanitizer]);
    command.arg("--fuzz-dir").arg(package());
    command.env("RUSTC_BOOTSTRAP", "1");
    command
}

/// A target's program, which cargo-fuzz has built, and where it puts what makes it fail.
fn program(target: &str) -> Result<Command> {
    let machine = format!("target/{}-unknown-linux-gnu", std::env::consts::ARCH);
    let program = package().join(machine).join("release").join(target);
    let finds = package().join("artifacts").join(target);
    fs::create_dir_all(&finds).with_context(|| format!("cannot make {}", finds.display()))?;
    let mut command = Command::new(program);
    command.arg(format!("-artifact_prefix={}/", finds.display()));
    // As cargo-fuzz runs it: the standard library is linked twice.
    command.env("ASAN_OPTIONS", "detect_odr_violation=0");
    Ok(command)
}

/// Builds the targets, and says with which sanitizer: a toolchain without that of addresses does without.
fn build_targets(targets: &[String]) -> Result<&'static str> {
    let build = |sanitizer| {
        // All at once: they share all but their last step.
        let mut command = cargo_fuzz("build", sanitizer);
        if let [only] = targets {
            command.arg(only);
        }
        cmd::run("building the fuzz targets", &mut command)
    };
    if let Err(error) = build("address") {
        eprintln!("warning: {error:#}; once more without the address sanitizer");
        build("none")?;
        return Ok("none");
    }
    Ok("address")
}

fn write_seeds() -> Result<()> {
    let folder = package().join("target/corpus");
    let words = [
        "test",
        "--quiet",
        "-p",
        "crossway-fuzz",
        "--lib",
        WRITES_SEEDS,
    ];
    let mut command = cmd::cargo(&words);
    command.args(["--", "--ignored", "--exact"]);
    command.env("CROSSWAY_FUZZ_SEEDS", folder);
    command.stdout(Stdio::null());
    cmd::run("writing the seeds", &mut command)
}

/// Runs one target, shows its progress from time to time and all of it in a file.
fn fuzz(target: &str, options: &Options) -> Result<Outcome> {
    let learned = learned(target);
    fs::create_dir_all(&learned).with_context(|| format!("cannot make {}", learned.display()))?;
    let mut command = program(target)?;
    // What is new goes to the first folder.
    command.args([&learned, &corpus(target)]);
    command.arg(format!("-max_total_time={}", options.duration.as_secs()));
    command.arg(format!("-timeout={LONGEST_INPUT}"));
    command.arg(format!("-max_len={MOST_BYTES}"));
    command.arg("-print_final_stats=1");
    let file = package().join("target").join(format!("{target}.log"));
    let log = File::create(&file).with_context(|| format!("cannot make {}", file.display()))?;
    eprintln!("\n=== {target}: all it says is in {}", file.display());
    let status = follow(command, log, &file)?;
    let text = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let outcome = Outcome::read(target, &String::from_utf8_lossy(&text));
    if !status && outcome.finds.is_empty() {
        bail!("{target} did not run: see {}", file.display());
    }
    Ok(outcome)
}

/// Runs a command with all that it says in a file, of which the lines that matter are shown; whether it succeeded.
fn follow(mut command: Command, mut log: File, file: &Path) -> Result<bool> {
    let mut child = command
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start the target")?;
    let output = child.stderr.take().context("its output is a pipe")?;
    for line in BufReader::new(output).split(b'\n') {
        let mut line = line.context("cannot read from the fuzzer")?;
        let text = String::from_utf8_lossy(&line).into_owned();
        if outcome::matters(&text) {
            eprintln!("{text}");
        }
        line.push(b'\n');
        log.write_all(&line)
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(child.wait()?.success())
}

/// Puts what was learned into the committed corpus, as few inputs as reach the same.
fn keep(target: &str) -> Result<()> {
    let committed = corpus(target);
    let fewest = package().join("target/fewest").join(target);
    if fewest.exists() {
        fs::remove_dir_all(&fewest)?;
    }
    fs::create_dir_all(&fewest)?;
    let mut command = program(target)?;
    // By what is reached and not by how often: a tenth of the inputs, which the tests try in seconds.
    command.args(["-merge=1", "-use_counters=0"]);
    command.args([&fewest, &committed, &learned(target)]);
    cmd::run("minimising the corpus", command.stderr(Stdio::null()))?;
    fs::remove_dir_all(&committed)?;
    copy_all(&fewest, &committed)
}

fn copy_all(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

/// One line for each target; an error that names every find.
fn report(outcomes: &[Outcome]) -> Result<()> {
    println!("\n{}", outcome::HEAD);
    for outcome in outcomes {
        println!("{outcome}");
    }
    let finds: Vec<&str> = outcomes
        .iter()
        .flat_map(|outcome| outcome.finds.iter().map(String::as_str))
        .collect();
    if finds.is_empty() {
        println!("\nNothing was found.");
        return Ok(());
    }
    bail!(
        "{} found: {}: put it into agent/fuzz/corpus/TARGET, and `cargo test -p crossway-fuzz` shows it \
         without a fuzzer",
        finds.len(),
        finds.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_has_a_corpus() {
        let targets = targets().unwrap();
        assert!(targets.len() >= 10);
        for target in targets {
            assert!(corpus(&target).is_dir(), "{target}");
        }
    }
}
