//! What is answered to whoever asks wrongly, and with which exit code.

use crossway::control::Response;
use crossway::control::message::{Outcome, Reload};

use crate::place::{Place, code, stderr, stdout};

#[test]
fn wrong_usage_ends_with_2() {
    let place = Place::new();
    for arguments in [
        &["dance"][..],
        &[],
        &["run"],
        &["flows", "--port", "70000"],
        &["flows", "--protocol", "quic"],
        &["flows", "--min-age", "soon"],
        &["flows", "--min-rate", "1x"],
        &["flows", "--follow"],
        &["flows", "--finished", "--top", "3"],
        &["flows", "--address", "10.0.0.1/8"],
        &["services", "--state", "good"],
        &["services", "--here", "--site", "paris"],
        &["services", "approve"],
        &["services", "note", "10.2.0.10:443/tcp"],
        &["services", "group", "erp", "--note", "x", "--remove"],
        &["services", "export"],
        &["services", "--top", "3", "show", "10.2.0.10:443/tcp"],
        &["routes", "get", "10.2.0.0/24"],
        &["events", "--last", "-1"],
        &["log", "--level", "loud"],
        &["log", "--follow", "level"],
        &["explain", "10.1.0.10"],
        &["explain", "10.1.0.10", "paris"],
        &["explain", "10.1.0.10", "10.2.0.10", "quic"],
        &["explain", "10.1.0.10", "10.2.0.10", "udp", "70000"],
        &["explain", "10.1.0.10", "10.2.0.10", "--ttl", "256"],
        &["explain", "10.1.0.10", "10.2.0.10", "tcp", "--segment", "0"],
        &["explain", "10.1.0.10", "10.2.0.10", "--fragment", "last"],
        &["explain", "10.1.0.10", "2001:db8:2::10"],
        &["explain", "10.1.0.10", "10.2.0.10", "tcp", "--size", "39"],
    ] {
        let refused = place.run(arguments, "");
        assert_eq!(code(&refused), 2, "{arguments:?}: {}", stderr(&refused));
    }
}

#[test]
fn without_a_running_gateway_the_way_to_one_is_shown() {
    let place = Place::new();
    let none = place.run(&["status"], "");
    assert_eq!(code(&none), 1);
    assert_eq!(
        stderr(&none),
        format!(
            "crossway: no running gateway (no socket in {}): start one with `crossway run --config \
             FILE`\n",
            place.0.display()
        )
    );
    let none = place.run(&["--gateway", "berlin-1", "flows"], "");
    assert_eq!(code(&none), 1);
    assert_eq!(
        stderr(&none),
        "crossway: no running gateway named berlin-1: start it with `crossway run --config FILE`\n"
    );
}

#[test]
fn of_several_gateways_one_must_be_named() {
    let place = Place::new();
    let _running = [place.start("berlin-1"), place.start("berlin-2")];
    let refused = place.run(&["sites"], "");
    assert_eq!(code(&refused), 2);
    assert_eq!(
        stderr(&refused),
        "crossway: several gateways run here (berlin-1, berlin-2): choose one with --gateway berlin-1\n"
    );
    assert_eq!(code(&place.run(&["sites", "--gateway", "berlin-2"], "")), 0);
    let refused = place.run(&["sites", "--gateway", "bonn"], "");
    assert_eq!(code(&refused), 1);
    assert_eq!(
        stderr(&refused),
        "crossway: no running gateway named bonn: running here: berlin-1, berlin-2; start it with \
         `crossway run --config FILE`\n"
    );
    let refused = place.run(&["sites", "--gateway", "berlni-2"], "");
    let said = stderr(&refused);
    assert!(
        said.contains("named berlni-2: did you mean berlin-2? running here: berlin-1, berlin-2;"),
        "{said}"
    );
}

#[test]
fn what_the_gateway_finds_wrong_ends_with_2_and_what_failed_with_1() {
    let place = Place::new();
    let _running = place.start("berlin-1");
    let refused = place.run(&["explain", "10.1.0.10", "10.2.0.10", "--from", "eth9"], "");
    assert_eq!(code(&refused), 2);
    assert_eq!(
        stderr(&refused),
        "crossway: there is no interface eth9: say lan, tunnel, host, or an interface such as eth1\n"
    );
    let _other = place.start_with("berlin-2", |_| {
        Response::error("the flow table cannot be read")
    });
    for words in [&["drain", "oslo"][..], &["prefer", "paris/oslo-1"]] {
        let [wrong, failed] = ["berlin-1", "berlin-2"]
            .map(|name| place.run(&[words, &["--gateway", name]].concat(), ""));
        assert_eq!((code(&wrong), code(&failed)), (2, 1), "{words:?}");
    }
}

#[test]
fn a_refused_reload_ends_with_2_and_says_why() {
    let place = Place::new();
    let _running = place.start_with("berlin-1", |_| {
        Response::Reload(Reload {
            outcome: Outcome::Rejected,
            errors: vec!["berlin.toml:3:1: gateway: unknown key \"x\"".to_owned()],
            ..Reload::default()
        })
    });
    let refused = place.run(&["reload"], "");
    assert_eq!((code(&refused), stdout(&refused).as_str()), (2, ""));
    assert_eq!(
        stderr(&refused),
        "berlin.toml:3:1: gateway: unknown key \"x\"\n\
         crossway: the file has mistakes: the gateway keeps its configuration\n"
    );
}
