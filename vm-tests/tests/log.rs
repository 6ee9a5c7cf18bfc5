//! The log of a running agent, as its own commands show it and as it is written.
//!
//! ```text
//!  host a ── [gateway a] ──────── [gateway b] ── host b
//! ```

use std::process::Command;
use std::time::Duration;

use vm_tests::api::{Event, LogFilter, LogLevel, LogLine};
use vm_tests::crossway::binary;
use vm_tests::pair::Pair;
use vm_tests::process::ProcessGuard;
use vm_tests::wait;

const SOON: Duration = Duration::from_secs(20);

fn lines_of(text: &str) -> Vec<LogLine> {
    let lines = text.lines().filter(|line| !line.starts_with("{\"missed\""));
    lines
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

/// `crossway log --follow` with these words, its output in a file.
fn follow(pair: &Pair, name: &str, words: &[&str]) -> ProcessGuard {
    let mut command = Command::new(binary());
    command.args(["--gateway", pair.a.name(), "log", "--follow", "--json"]);
    command.args(words);
    let file = pair.topology.directory().join(format!("{name}.out"));
    ProcessGuard::spawn(name, &mut command, &file).unwrap()
}

#[test]
fn the_log_is_followed_by_level_and_site_and_turned_up_while_the_agent_runs() {
    let pair = Pair::start(|_| ()).unwrap();
    let all = follow(&pair, "all", &["--last", "0"]);
    let of_b = follow(
        &pair,
        "of-b",
        &["--site", "b", "--level", "info", "--last", "0"],
    );

    // Before it was turned up there is nothing below info.
    let told = lines_of(&pair.a.command(&["log", "--json"]).unwrap());
    assert!(
        told.iter().all(|line| line.level <= LogLevel::Info),
        "{told:?}"
    );
    let numbers: Vec<u64> = told.iter().map(|line| line.sequence).collect();
    assert!(numbers.is_sorted_by(|a, b| a + 1 == *b), "{numbers:?}");

    let before: LogFilter = pair.a.ask(&["log", "level"]).unwrap();
    assert_eq!(before.filter, "boringtun=off,info");
    let now: LogFilter = pair.a.ask(&["log", "level", "debug"]).unwrap();
    assert_eq!(now.filter, "debug");
    pair.a.command(&["drain", "b"]).unwrap();
    pair.a.command(&["undrain", "b"]).unwrap();
    let about_b = |line: &LogLine| line.fields.values().any(|value| value == "b");
    wait::until("the order in the log", SOON, || {
        let [all, of_b] = [&all, &of_b].map(|reader| lines_of(&reader.output()));
        (all.iter().any(about_b) && of_b.iter().any(about_b)).then_some(())
    })
    .unwrap();
    wait::until("a line of debug", SOON, || {
        // Somebody who connects and says nothing is a line of debug.
        let socket = format!("/run/crossway/{}.sock", pair.a.name());
        drop(std::os::unix::net::UnixStream::connect(socket).unwrap());
        let all = lines_of(&all.output());
        all.iter()
            .any(|line| line.level == LogLevel::Debug)
            .then_some(())
    })
    .unwrap();
    let of_b = lines_of(&of_b.output());
    assert!(of_b.iter().all(|line| line.is_about("b")), "{of_b:?}");
    assert!(
        of_b.iter().all(|line| line.level <= LogLevel::Info),
        "{of_b:?}"
    );
    // The order is in the journal, with who gave it.
    let events = pair.a.command(&["events", "--json"]).unwrap();
    let events: Vec<Event> = events
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let turned = events.iter().find(|event| event.subject == "log").unwrap();
    assert_eq!(turned.to, "debug");
    assert!(turned.cause.contains("uid 0"), "{turned:?}");

    let (code, said) = pair.a.failing_command(&["log", "level", "loud"]).unwrap();
    assert_eq!(code, 2, "{said}");
    assert!(
        said.contains("\"loud\" is no level: write error, warn, info"),
        "{said}"
    );
    let still: LogFilter = pair.a.ask(&["log", "level"]).unwrap();
    assert_eq!(still.filter, "debug");
    let as_begun: LogFilter = pair.a.ask(&["log", "level", "default"]).unwrap();
    assert_eq!(as_begun, before);
}

#[test]
fn the_level_of_the_start_is_that_of_the_environment() {
    let mut pair = Pair::start(|_| ()).unwrap();
    pair.a.stop().unwrap();
    pair.a.set_variable("CROSSWAY_LOG", "warn");
    pair.a.start_again().unwrap();
    for (wanted, expected) in [("trace", "trace"), ("default", "warn"), ("default", "warn")] {
        let filter: LogFilter = pair.a.ask(&["log", "level", wanted]).unwrap();
        assert_eq!(filter.filter, expected);
    }
}

#[test]
fn lines_of_json_are_those_that_the_command_shows() {
    let mut pair = Pair::start(|_| ()).unwrap();
    pair.a.stop().unwrap();
    let before = pair.a.log().len();
    pair.a.set_variable("CROSSWAY_LOG_FORMAT", "json");
    pair.a.start_again().unwrap();
    pair.wait_until_up().unwrap();
    let shown = lines_of(&pair.a.command(&["log", "--json"]).unwrap());
    let written = lines_of(&pair.a.log()[before..]);
    let words = |lines: &[LogLine]| -> Vec<String> {
        lines
            .iter()
            .map(|line| format!("{} {} {line}", line.sequence, line.target))
            .collect()
    };
    let (shown, written) = (words(&shown), words(&written));
    assert!(shown.len() > 3, "{shown:?}");
    assert_eq!(written[..shown.len()], shown[..]);

    pair.a.stop().unwrap();
    pair.a.set_variable("CROSSWAY_LOG_FORMAT", "xml");
    let (code, said) = pair.a.refused().unwrap();
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("write text, json, journal or auto"), "{said}");
}
