use std::time::Duration;

use super::*;

fn parsed(line: &str) -> Result<Task, String> {
    let words = std::iter::once("cargo xtask").chain(line.split_whitespace());
    let matches = command().try_get_matches_from(words);
    matches
        .map(|matches| task(&matches))
        .map_err(|error| error.to_string())
}

fn lab(scenario: Option<lab::Scenario>, seconds: Option<u64>) -> lab::Options {
    lab::Options {
        scenario,
        duration: seconds.map(Duration::from_secs),
        agent: None,
    }
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn the_description_of_the_commands_is_sound() {
    command().debug_assert();
}

#[test]
fn the_commands_of_the_documents_are_understood() {
    use lab::Scenario::GatewayKill;
    let usual = |which, bench, names: &[&str]| {
        let kernels = names.iter().map(|name| vm_test::kernel(name).unwrap());
        Task::VmTest(vm_test::Request::new(which, bench, kernels.collect()))
    };
    let cases = [
        ("run", Task::Lab(lab(None, None))),
        ("run --for 10s", Task::Lab(lab(None, Some(10)))),
        ("run --for=2m", Task::Lab(lab(None, Some(120)))),
        (
            "run -- --config a.toml",
            Task::Gateway(words("--config a.toml")),
        ),
        (
            "lab --scenario gateway-kill --for 0s",
            Task::Lab(lab(Some(GatewayKill), Some(0))),
        ),
        ("lab-as-root --for 1m", Task::LabAsRoot(lab(None, Some(60)))),
        ("build", Task::Build),
        ("test", Task::Test(None, false)),
        ("test --with-browser", Task::Test(None, true)),
        ("test lanes", Task::Test(Some("lanes".to_owned()), false)),
        ("vm-test", usual(Which::Usual, false, &[])),
        ("vm-test --quick", usual(Which::Quick, false, &["6.1"])),
        ("vm-test 6.12", usual(Which::Usual, false, &["6.12"])),
        (
            "vm-test --long 6.1 5.10",
            usual(Which::Long, false, &["6.1", "5.10"]),
        ),
        (
            "vm-test --only guest_weather 6.1",
            usual(Which::Only("guest_weather".to_owned()), false, &["6.1"]),
        ),
        ("vm-test --bench 6.1", usual(Which::Usual, true, &["6.1"])),
        ("check", Task::Check),
        ("audit", Task::Audit),
        ("abi --write", Task::Abi(true)),
        ("setup", Task::Setup(Purpose::Test)),
        ("setup bench", Task::Setup(Purpose::Bench)),
        ("clean-lab", Task::CleanLab),
        ("bench", Task::Bench(Vec::new())),
        ("bench --help", Task::Bench(words("--help"))),
        (
            "bench --loads tcp-1 --quick",
            Task::Bench(words("--loads tcp-1 --quick")),
        ),
        (
            "bench to 10.2.0.10 --json a.json",
            Task::Bench(words("to 10.2.0.10 --json a.json")),
        ),
    ];
    for (line, expected) in cases {
        assert_eq!(parsed(line), Ok(expected), "{line}");
    }
}

#[test]
fn numbers_and_times_are_read() {
    let blast = |count, seed| Ok(Task::Blast(blast::Options { count, seed }));
    assert_eq!(parsed("blast"), blast(10_000_000, None));
    assert_eq!(
        parsed("blast --count 500k --seed 7"),
        blast(500_000, Some(7))
    );
    let soak = |seconds, seed| {
        let duration = Duration::from_secs(seconds);
        Ok(Task::Soak(soak::Options { duration, seed }))
    };
    assert_eq!(parsed("soak"), soak(300, None));
    assert_eq!(parsed("soak --for 30m --seed=7"), soak(1800, Some(7)));
    let fuzz = |targets, seconds, keep| {
        let duration = Duration::from_secs(seconds);
        Ok(Task::Fuzz(fuzz::Options {
            targets: words(targets),
            duration,
            keep,
        }))
    };
    assert_eq!(parsed("fuzz"), fuzz("", 600, false));
    assert_eq!(
        parsed("fuzz config --for 90s bfd --keep"),
        fuzz("config bfd", 90, true)
    );
    assert_eq!(parsed("fuzz --for=1m"), fuzz("", 60, false));
}

#[test]
fn what_is_started_again_as_root_is_what_was_asked_for() {
    for line in ["", "--for 90s", "--scenario flap --for 1h"] {
        let Ok(Task::Lab(options)) = parsed(&format!("lab {line}")) else {
            panic!("{line}");
        };
        let options = lab::Options {
            agent: Some("target/lab/crossway".into()),
            ..options
        };
        let again = options.words().join(" ");
        assert_eq!(
            parsed(&format!("lab-as-root {again}")),
            Ok(Task::LabAsRoot(options))
        );
    }
}

#[test]
fn a_wrong_word_is_refused_with_what_was_expected() {
    for (line, expected) in [
        ("tset", "unrecognized subcommand 'tset'"),
        ("run --for", "--for <TIME>"),
        ("run --for soon", "expected a time such as 10s"),
        ("lab --scenario rain", "split-brain"),
        ("run --config x", "--config"),
        ("vm-test 6.6", "6.1-generic"),
        ("vm-test --bench --long", "cannot be used with"),
        ("fuzz --for 0s", "more than no time"),
        ("blast --count many", "500k"),
        ("blast --count 0", "500k"),
        ("blast --count 99999999999999m", "500k"),
        ("soak --seed x", "--seed"),
        ("setup kitchen", "build, lab, test, vm"),
        ("build now", "unexpected argument 'now'"),
    ] {
        let message = parsed(line).unwrap_err();
        assert!(message.contains(expected), "{line}: {message}");
    }
}
