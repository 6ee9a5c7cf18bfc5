//! The command line at a running gateway: names that shells complete, names that are mistyped, and narrow terminals.
//!
//! ```text
//!   gateway a ═══ WAN ═══ gateway b
//! ```

use std::process::Command;
use std::time::Duration;

use vm_tests::crossway::{self, Crossway};
use vm_tests::keys::KeyPair;
use vm_tests::plan::{self, Shape};
use vm_tests::process;
use vm_tests::topology::{Builder, Family, Topology};
use vm_tests::wait;

const SOON: Duration = Duration::from_secs(20);

#[test]
fn shells_complete_names_as_they_are_in_the_gateway_now() {
    let (topology, mut gateways) = two_sites();
    let far = topology.sites[1].gateway.name().to_owned();
    let gateway = &gateways[0];
    assert!(complete(&["--gateway", ""]).contains(&gateway.name().to_owned()));
    let at = |gateway: &Crossway, words: &[&str]| {
        complete(&[&["--gateway", gateway.name()], words].concat())
    };
    assert_eq!(at(gateway, &["flows", "--site", ""]), ["b"]);
    assert_eq!(
        at(gateway, &["drain", ""]),
        ["b".to_owned(), format!("b/{far}")]
    );
    // A site that comes is known at once, and gone with the gateway.
    let gateway = &mut gateways[0];
    let text = std::fs::read_to_string(gateway.config()).unwrap();
    let site = format!(
        "{text}\n[[site]]\nname = \"oslo\"\nroutes = [\"10.77.0.0/24\"]\n[[site.gateway]]\nname = \"oslo-1\"\n\
         public_key = \"{}\"\n",
        KeyPair::generate().unwrap().public
    );
    gateway.write_config_text(&site).unwrap();
    gateway.command(&["reload"]).unwrap();
    assert_eq!(at(gateway, &["flows", "--site", ""]), ["b", "oslo"]);
    assert_eq!(at(gateway, &["promote", "os"]), ["oslo", "oslo/oslo-1"]);
    gateway.stop().unwrap();
    assert_eq!(at(gateway, &["flows", "--site", ""]), [""; 0]);
}

#[test]
fn a_mistyped_name_is_answered_with_the_one_that_is_meant() {
    let (topology, gateways) = two_sites();
    let far = topology.sites[1].gateway.name().to_owned();
    let mistyped = format!("b/{far}x");
    for (words, meant) in [
        (&["flows", "--site", "bb"][..], "did you mean b?".to_owned()),
        (
            &["flows", "--finished", "--site", "bb"],
            "did you mean b?".to_owned(),
        ),
        (
            &["flows", "--finished", "--follow", "--site", "bb"],
            "did you mean b?".to_owned(),
        ),
        (&["log", "--site", "bb"], "did you mean b?".to_owned()),
        (
            &["log", "--follow", "--site", "bb"],
            "did you mean b?".to_owned(),
        ),
        (&["drain", "bb"], "did you mean b? (name a site".to_owned()),
        (
            &["prefer", &mistyped],
            format!("did you mean b/{far}? (name a site"),
        ),
    ] {
        let (code, said) = gateways[0].failing_command(words).unwrap();
        assert_eq!(code, 2, "{said}");
        assert!(said.contains(&meant), "{words:?}: {said}");
    }
}

/// What the gateway finds wrong with a question is as wrong as what the command line finds.
#[test]
fn wrong_usage_ends_with_2_and_what_did_not_work_with_1() {
    let (topology, gateways) = two_sites();
    let (a, b) = ("10.1.0.10", "10.2.0.10");
    let explain = |rest: &[&'static str]| [&["explain", a, b], rest].concat();
    for (words, expected) in [
        (vec!["flows", "--site", "oslo"], 2),
        (vec!["flows", "--finished", "--site", "oslo"], 2),
        (vec!["flows", "--after", "nowhere"], 2),
        (vec!["flows", "--sort", "table", "--after", "nowhere"], 2),
        (vec!["log", "--site", "oslo"], 2),
        (vec!["log", "level", "loud"], 2),
        (vec!["log", "level", "crossway=loud"], 2),
        (vec!["drain", "oslo"], 2),
        (vec!["promote", "b/oslo-1"], 2),
        (vec!["routes", "get", "10.2.0.0/24"], 2),
        (explain(&["--from", "eth9"]), 2),
        (explain(&["icmp", "--segment", "100"]), 2),
        (explain(&["tcp", "--size", "39"]), 2),
        (vec!["explain", a, "2001:db8::1"], 2),
    ] {
        let (code, said) = gateways[0].failing_command(&words).unwrap();
        assert_eq!(code, expected, "{words:?}: {said}");
        assert!(
            said.starts_with("crossway: ") || said.starts_with("error: "),
            "{said}"
        );
    }
    // Nothing is wrong with these questions.
    topology.sites[0].gateway.ip("link delete lan0").unwrap();
    let away = explain(&["--from", "lan0"]);
    wait::until("the LAN to be away", SOON, || {
        let (code, said) = gateways[0].failing_command(&away).ok()?;
        (code == 1 && said.contains("does not exist now")).then_some(())
    })
    .unwrap();
}

#[test]
fn tables_fit_the_terminal_and_a_pipe_gets_all() {
    let (_topology, gateways) = two_sites();
    let name = gateways[0].name();
    let binary = crossway::binary();
    let on_terminal = |columns: u32, words: &str| {
        let line = format!(
            "stty cols {columns}; NO_COLOR=1 {} --gateway {name} {words}",
            binary.display()
        );
        let mut script = Command::new("script");
        process::run(script.args(["-qec", &line, "/dev/null"])).unwrap()
    };
    for columns in [50, 80, 120] {
        for words in ["links", "sites", "routes list"] {
            let text = on_terminal(columns, words);
            let longest = text
                .lines()
                .map(|line| line.trim_end().chars().count())
                .max();
            assert!(
                longest.unwrap() <= columns as usize,
                "{columns}, {words}: {text}"
            );
        }
    }
    let narrow = on_terminal(50, "links");
    assert!(
        narrow.contains("WHY") && !narrow.contains("PRIORITY"),
        "{narrow}"
    );
    assert!(on_terminal(50, "links --wide").contains("PRIORITY"));
    assert!(on_terminal(100, "links").contains("LOSS"));
    assert!(
        gateways[0]
            .command(&["links"])
            .unwrap()
            .contains("PRIORITY")
    );
}

/// The names that the shell fish would offer for these words, the last of which is not complete; options left out.
fn complete(words: &[&str]) -> Vec<String> {
    let mut command = Command::new(crossway::binary());
    command.env("COMPLETE", "fish").args(["--", "crossway"]);
    let offered = process::run(command.args(words)).unwrap();
    let lines = offered.lines();
    // A description stands behind a tab.
    let names = lines.filter_map(|line| line.split('\t').next());
    let names = names.filter(|name| !name.starts_with('-'));
    names.map(str::to_owned).collect()
}

fn two_sites() -> (Topology, Vec<Crossway>) {
    let topology = Builder::new(&["a", "b"]).build().unwrap();
    let plans = plan::plan(&topology, Shape::FullMesh, Family::V4).unwrap();
    let gateways = crossway::start_all(&topology, &plans).unwrap();
    (topology, gateways)
}
