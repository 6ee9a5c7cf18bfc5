//! Test files that run beside each other. Most of their time is waiting, for timers of protocols above all, so several
//! files at once use the machine better than one.
//!
//! A test that waits with a deadline can miss it where others take the machine from it. So what failed runs once more,
//! with nothing beside it: only what fails then fails the ring. What passes then is named, for it is slow or unsteady.

use std::fmt::Write as _;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;
use std::{fs, thread};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use vm_tests::wait;

use crate::step::SILENCE;
use crate::{cmd, environment};

/// Files at once; each runs as many of its tests as there are processors.
const AT_ONCE: usize = 3;
/// Files that load the machine so much that others would fail beside them, or that look at all of the machine.
const ALONE: [&str; 5] = ["blast", "datapath", "handshake_flood", "host", "soak"];

/// A built test file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct TestFile {
    name: String,
    program: PathBuf,
    /// Where cargo would run it.
    package: PathBuf,
}

/// What one file, or some of its tests, came to.
struct Outcome {
    file: TestFile,
    passed: bool,
    text: String,
    took: Duration,
}

/// Builds the tests that `cargo test` is told of, as the user, and runs them as root.
pub(crate) fn run(
    ring: &str,
    build: &mut Command,
    filter: Option<&str>,
    agent: &Path,
) -> Result<()> {
    build.arg("--no-run");
    cmd::run(&format!("building the {ring} ring"), build)?;
    let files = built(build)?;
    ensure!(!files.is_empty(), "cargo named no test file");
    let runner = Runner {
        ring,
        words: filter.map(str::to_owned).into_iter().collect(),
        agent,
    };
    let (alone, together): (Vec<_>, Vec<_>) = files
        .into_iter()
        .partition(|file| ALONE.contains(&file.name.as_str()));
    let mut failed = runner.all(together, AT_ONCE)?;
    failed.extend(runner.all(alone, 1)?);
    runner.again(failed)
}

struct Runner<'a> {
    ring: &'a str,
    words: Vec<String>,
    agent: &'a Path,
}

impl Runner<'_> {
    /// Runs files, so many at once, and prints what each said when it has ended. Returns those that failed.
    fn all(&self, files: Vec<TestFile>, at_once: usize) -> Result<Vec<Outcome>> {
        let (start, count) = (wait::now(), files.len());
        let queue = Mutex::new(files.into_iter());
        let running = Mutex::new(Vec::new());
        let (sender, outcomes) = mpsc::channel();
        thread::scope(|scope| {
            for _ in 0..at_once {
                let (sender, queue, running) = (sender.clone(), &queue, &running);
                scope.spawn(move || {
                    // The lock is let go before the file runs.
                    let next = || lock(queue).next();
                    while let Some(file) = next() {
                        let name = file.name.clone();
                        lock(running).push(name.clone());
                        let outcome = self.one(file, &self.words);
                        lock(running).retain(|other| *other != name);
                        if sender.send(outcome).is_err() {
                            break;
                        }
                    }
                });
            }
            drop(sender);
            let (mut failed, mut ended) = (Vec::new(), 0);
            loop {
                match outcomes.recv_timeout(SILENCE) {
                    Ok(outcome) => {
                        let outcome = outcome?;
                        ended += 1;
                        print(&outcome, &format!(" ({ended} of {count})"));
                        if !outcome.passed {
                            failed.push(outcome);
                        }
                    }
                    Err(mpsc::RecvTimeoutError::Timeout) => {
                        let (ring, names) = (self.ring, lock(&running).join(" and "));
                        eprintln!(
                            "  {ring}: {} s so far, at {names}",
                            start.elapsed().as_secs()
                        );
                    }
                    Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(failed),
                }
            }
        })
    }

    fn one(&self, file: TestFile, words: &[String]) -> Result<Outcome> {
        let start = wait::now();
        let log = environment::workspace().join(format!("target/tmp/test-{}.log", file.name));
        fs::create_dir_all(log.parent().unwrap_or(&log))?;
        let output =
            File::create(&log).with_context(|| format!("cannot make {}", log.display()))?;
        let status = cmd::as_root(&file.program)
            .args(words)
            .current_dir(&file.package)
            .env("CARGO_MANIFEST_DIR", &file.package)
            .env("CROSSWAY_BIN", self.agent)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .status()
            .with_context(|| format!("cannot start {}", file.program.display()))?;
        let mut text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
        if !status.success() {
            writeln!(text, "{}: {status}", file.name)?;
        }
        Ok(Outcome {
            file,
            passed: status.success(),
            text,
            took: start.elapsed(),
        })
    }

    /// Runs what failed once more, one test at a time.
    fn again(&self, failed: Vec<Outcome>) -> Result<()> {
        let (mut unsteady, mut broken) = (Vec::new(), Vec::new());
        for outcome in failed {
            let mut words = failed_tests(&outcome.text);
            let what = format!("{} {}", outcome.file.name, words.join(" "));
            eprintln!("\n--- once more, with nothing beside it: {what}");
            if words.is_empty() {
                // It died before it could name one.
                words.clone_from(&self.words);
            } else {
                words.push("--exact".to_owned());
            }
            words.push("--test-threads=1".to_owned());
            let outcome = self.one(outcome.file, &words)?;
            print(&outcome, "");
            let list = if outcome.passed {
                &mut unsteady
            } else {
                &mut broken
            };
            list.push(what);
        }
        if !unsteady.is_empty() {
            eprintln!(
                "Unsteady (failed beside others, passed alone): {}",
                unsteady.join("; ")
            );
        }
        ensure!(
            broken.is_empty(),
            "failed, also alone: {}",
            broken.join("; ")
        );
        Ok(())
    }
}

fn print(outcome: &Outcome, place: &str) {
    let (name, seconds) = (&outcome.file.name, outcome.took.as_secs_f64());
    let end = if outcome.passed { "passed" } else { "FAILED" };
    println!(
        "--- {name}: {end} after {seconds:.1} s{place}\n{}",
        outcome.text.trim_end()
    );
}

/// The tests that a build has made; there is nothing left to build.
fn built(build: &mut Command) -> Result<Vec<TestFile>> {
    let command = build.arg("--message-format=json").stderr(Stdio::null());
    let output = command.output().context("cannot start cargo")?;
    let text = String::from_utf8(output.stdout).context("cargo did not write UTF-8")?;
    let messages = text.lines().map(serde_json::from_str);
    let messages: Vec<Value> = messages
        .collect::<Result<_, _>>()
        .context("cargo did not write JSON")?;
    Ok(messages.iter().filter_map(test_file).collect())
}

/// The test file that a message of cargo's tells of.
fn test_file(message: &Value) -> Option<TestFile> {
    // Programs that tests start are built with them.
    message["profile"]["test"].as_bool().filter(|test| *test)?;
    let package = Path::new(message["manifest_path"].as_str()?).parent()?;
    Some(TestFile {
        name: message["target"]["name"].as_str()?.to_owned(),
        program: message["executable"].as_str()?.into(),
        package: package.to_owned(),
    })
}

/// The names below libtest's last "failures:".
fn failed_tests(text: &str) -> Vec<String> {
    let Some((_, list)) = text.rsplit_once("\nfailures:\n") else {
        return Vec::new();
    };
    let names = list.lines().map_while(|line| line.strip_prefix("    "));
    names.map(str::to_owned).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A test file that is a script.
    fn script(name: &str, text: &str) -> TestFile {
        let folder = std::env::temp_dir().join(format!("xtask-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let program = folder.join(name);
        fs::write(&program, format!("#!/bin/sh\n{text}\n")).unwrap();
        vm_tests::process::run(Command::new("chmod").arg("+x").arg(&program)).unwrap();
        TestFile {
            name: format!("{name}-{}", std::process::id()),
            program,
            package: folder,
        }
    }

    fn runner() -> Runner<'static> {
        Runner {
            ring: "namespace",
            words: Vec::new(),
            agent: Path::new("/nowhere"),
        }
    }

    const FAILURE: &str = "echo 'failures:'; echo; echo '---- a stdout ----'; echo; echo 'failures:'; \
                           echo '    one::a'; echo '    b'; echo; echo 'test result: FAILED.'; exit 101";

    #[test]
    fn what_fails_beside_others_and_passes_alone_is_no_failure() {
        let file = script(
            "steady-alone",
            &format!("[ \"$*\" = 'one::a b --exact --test-threads=1' ] || {{ {FAILURE}; }}"),
        );
        let failed = runner()
            .all(vec![script("fine", "exit 0"), file], 2)
            .unwrap();
        assert_eq!(failed.len(), 1);
        runner().again(failed).unwrap();
    }

    #[test]
    fn what_fails_also_alone_is_named() {
        let failed = runner().all(vec![script("broken", FAILURE)], 1).unwrap();
        let error = runner().again(failed).unwrap_err().to_string();
        assert!(error.contains("one::a b"), "{error}");
    }

    #[test]
    fn a_file_that_dies_runs_again_whole() {
        let failed = runner()
            .all(vec![script("dies", "[ $# = 1 ] || kill -9 $$")], 1)
            .unwrap();
        assert!(failed[0].text.contains("signal: 9"), "{}", failed[0].text);
        runner().again(failed).unwrap();
    }

    #[test]
    fn cargo_names_the_program_and_where_it_runs() {
        let mut message = serde_json::json!({
            "manifest_path": "/w/vm-tests/Cargo.toml",
            "target": {"name": "two_sites"},
            "profile": {"test": true},
            "executable": "/w/target/debug/deps/two_sites-1",
        });
        let file = test_file(&message).unwrap();
        assert_eq!(file.name, "two_sites");
        assert_eq!(file.package, Path::new("/w/vm-tests"));
        message["profile"]["test"] = false.into();
        assert_eq!(test_file(&message), None, "a program that tests start");
        assert_eq!(
            test_file(&serde_json::json!({"reason": "build-finished"})),
            None
        );
    }
}
