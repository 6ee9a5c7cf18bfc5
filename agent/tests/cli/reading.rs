//! Commands that ask a gateway: what they print, once, again and again, or until it ends. What they print is compared
//! with the files in `golden`; to renew those after a wanted change, run with `CROSSWAY_GOLDEN=write`.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use crate::place::{Place, code, stderr, stdout};

#[test]
fn every_reading_command_can_be_watched_with_and_without_a_pace() {
    let place = Place::new();
    let _running = place.start("berlin-1");
    for command in [
        &["status"][..],
        &["sites"],
        &["links"],
        &["flows"],
        &["services"],
        &["policy", "show"],
        &["drops"],
        &["routes", "list"],
    ] {
        for pace in [&["--watch"][..], &["--watch", "1"]] {
            let words = [command, &["--json"], pace].concat();
            let mut child = place
                .command(&words)
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
            for _ in 0..2 {
                let line = lines.next().unwrap().unwrap();
                serde_json::from_str::<serde_json::Value>(&line).unwrap();
            }
            drop(lines);
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

#[test]
fn every_reading_command_prints_what_it_always_printed() {
    check_prints(&[
        ("status", &["status"][..]),
        ("sites", &["sites"]),
        ("links", &["links"]),
        ("routes-list", &["routes", "list"]),
        ("routes-get", &["routes", "get", "10.2.0.9"]),
        ("routes-overlaps", &["routes", "overlaps"]),
        ("flows", &["flows"]),
        ("flows-finished", &["flows", "--finished"]),
        (
            "flows-filtered",
            &[
                "flows",
                "--site",
                "paris",
                "--port",
                "443",
                "--protocol",
                "tcp",
            ],
        ),
        (
            "flows-top",
            &[
                "flows",
                "--top",
                "1",
                "--sort",
                "age",
                "--address",
                "10.0.0.0/8",
            ],
        ),
        ("drops", &["drops"]),
        (
            "explain",
            &[
                "explain",
                "10.1.0.10",
                "10.2.0.10",
                "tcp",
                "40000",
                "443",
                "--size",
                "1000",
                "--df",
            ],
        ),
        (
            "explain-declined",
            &[
                "explain",
                "10.1.0.10",
                "10.2.0.10",
                "--from",
                "lan",
                "--ttl",
                "1",
                "--options",
                "--fragment",
                "first",
            ],
        ),
        ("events", &["events"]),
        ("events-last", &["events", "--last", "1"]),
        ("log", &["log"]),
        (
            "log-of-site",
            &["log", "--site", "paris", "--level", "info"],
        ),
        ("log-level", &["log", "level", "debug"]),
        ("report", &["report"]),
        ("reload", &["reload"]),
    ]);
}

#[test]
fn commands_about_the_policy_print_what_they_always_printed() {
    check_prints(&[
        ("policy-show", &["policy", "show"][..]),
        ("policy-show-one", &["policy", "show", "allow #2"]),
        ("policy-diff", &["policy", "diff"]),
        ("policy-diff-top", &["policy", "diff", "--top", "1"]),
        (
            "flows-denied",
            &["flows", "--verdict", "denied", "--shadow", "allowed"],
        ),
        ("flows-rule", &["flows", "--rule", "erp"]),
    ]);
}

#[test]
fn a_rule_that_is_not_there_is_told_with_the_one_that_is_meant() {
    let place = Place::new();
    let _running = place.start("berlin-1");
    let refused = place.run(&["policy", "show", "epr"], "");
    assert_eq!(code(&refused), 2);
    assert!(stderr(&refused).contains("did you mean erp?"));
}

#[test]
fn rules_are_suggested_from_services_as_a_file_takes_them() {
    let place = Place::new();
    let _running = place.start("berlin-1");
    let suggest = ["policy", "suggest", "--from-services"];
    let printed = stdout(&place.run(&suggest, ""));
    assert_eq!(compare("policy-suggest.txt", &printed), None);
    let shadow = [&suggest[..], &["--shadow"]].concat();
    assert_eq!(
        stdout(&place.run(&shadow, "")),
        printed.replace("\n[[allow]]\n", "\n[[shadow]]\n")
    );
    assert_eq!(code(&place.run(&["policy", "suggest"], "")), 2);
}

#[test]
fn commands_about_services_print_what_they_always_printed() {
    check_prints(&[
        ("services", &["services"][..]),
        (
            "services-filtered",
            &[
                "services",
                "--site",
                "paris",
                "--state",
                "approved",
                "--prefix",
                "10.2.0.0/16",
                "--sort",
                "clients",
                "--top",
                "1",
            ],
        ),
        ("services-show", &["services", "show", "10.2.0.10:443/tcp"]),
        (
            "services-approve",
            &["services", "approve", "10.2.0.10:443/tcp"],
        ),
        (
            "services-group",
            &["services", "group", "erp", "--note", "for accounting"],
        ),
        ("services-groups", &["services", "groups"]),
        (
            "services-policy",
            &["services", "export", "--format", "policy"],
        ),
    ]);
}

/// Runs each command as people and as programs would, and compares what it prints with its golden files.
fn check_prints(cases: &[(&str, &[&str])]) {
    let place = Place::new();
    let _running = place.start("berlin-1");
    let mut differ = Vec::new();
    for (name, arguments) in cases {
        for (extra, ending) in [(None, "txt"), (Some("--json"), "json")] {
            let arguments: Vec<&str> = arguments.iter().copied().chain(extra).collect();
            let answer = place.run(&arguments, "");
            assert_eq!(code(&answer), 0, "{arguments:?}: {}", stderr(&answer));
            differ.extend(compare(&format!("{name}.{ending}"), &stdout(&answer)));
        }
    }
    assert!(
        differ.is_empty(),
        "not as in cli/golden:\n{}",
        differ.join("\n")
    );
}

#[test]
fn a_report_is_a_page_in_a_file_or_on_standard_output() {
    let place = Place::new();
    let _running = place.start("berlin-1");
    let made = place.run(&["report", "--html", "report.html"], "");
    assert_eq!(
        (code(&made), stdout(&made)),
        (
            0,
            "report.html: Site rome was out for 20.0 s; link rome/rome-1 lost 4.10 % in its worst ten seconds; \
             1 warning.\n"
                .to_owned()
        )
    );
    let page = fs::read_to_string(place.0.join("report.html")).unwrap();
    assert_eq!(compare("report.html", &page), None);
    let told = place.run(&["report", "--html", "-"], "");
    assert_eq!(stdout(&told), page);
    let refused = place.run(&["report", "--html", "no/folder/report.html"], "");
    assert_eq!(code(&refused), 1);
    let said = stderr(&refused);
    assert!(
        said.starts_with("crossway: cannot write no/folder/report.html: name a file in a folder"),
        "{said}"
    );
    let refused = place.run(&["report", "--site", "roma"], "");
    assert_eq!(code(&refused), 2);
    assert!(stderr(&refused).contains("did you mean rome?"));
    for wrong in [&["--since", "soon"][..], &["--html", "x", "--json"]] {
        let words = [&["report"], wrong].concat();
        assert_eq!(code(&place.run(&words, "")), 2);
    }
}

#[test]
fn version_tells_of_the_running_gateway_if_there_is_one() {
    let place = Place::new();
    let own = format!(
        "crossway {} (abi {}, ",
        env!("CARGO_PKG_VERSION"),
        datapath_abi::ABI_VERSION
    );
    let alone = stdout(&place.run(&["version"], ""));
    assert!(
        alone.starts_with(&own) && alone.lines().count() == 1,
        "{alone}"
    );
    let _running = place.start("berlin-1");
    let both = stdout(&place.run(&["version"], ""));
    assert!(
        both.ends_with("running: berlin-1 with crossway 0.1.0 (abi 1)\n"),
        "{both}"
    );
    let json = stdout(&place.run(&["version", "--json"], ""));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["abi_version"], datapath_abi::ABI_VERSION);
    assert_eq!(json["running"]["gateway"], "berlin-1");
}

#[test]
fn a_reader_that_goes_away_ends_the_command_quietly() {
    let place = Place::new();
    let _running = place.start("berlin-1");
    let mut child = place
        .command(&["flows", "--watch", "1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    assert_eq!((code(&ended), stderr(&ended).as_str()), (0, ""));
}

#[test]
fn events_are_followed_until_the_gateway_ends() {
    let place = Place::new();
    let running = place.start("berlin-1");
    let mut child = place
        .command(&["events", "--follow", "--json", "--last", "1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let event = lines.next().unwrap().unwrap();
    let event: serde_json::Value = serde_json::from_str(&event).unwrap();
    assert_eq!(
        (&event["kind"], &event["sequence"]),
        (&"site".into(), &2.into())
    );
    drop(running);
    assert!(lines.next().is_none());
    let ended = child.wait_with_output().unwrap();
    assert_eq!(
        (code(&ended), stderr(&ended).as_str()),
        (1, "crossway: the gateway has ended\n")
    );
}

/// Compares with a golden file, or writes it.
fn compare(name: &str, found: &str) -> Option<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/cli/golden")
        .join(name);
    if std::env::var("CROSSWAY_GOLDEN").is_ok_and(|value| value == "write") {
        fs::write(&file, found).unwrap();
    }
    let expected = fs::read_to_string(&file).unwrap_or_default();
    (expected != found).then(|| format!("--- {name}\n{found}"))
}
