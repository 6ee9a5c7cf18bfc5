//! The built program as a user runs it: output, exit codes, and the field names of `--json`.
//!
//! Reading commands ask a real control server in this process. What they print is compared with the
//! files in `cli/golden`; to renew those after a wanted change, run with `CROSSWAY_GOLDEN=write`.

#[path = "cli/answers.rs"]
mod answers;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;

use crossway::control::message::{Outcome, Reload};
use crossway::control::{ControlRequest, Request, Response, Server, Streams};
use crossway::journal::Journal;
use tokio::sync::{mpsc, oneshot, watch};

#[test]
fn the_public_key_of_a_new_private_key_has_the_form_of_wireguard() {
    let place = Place::new();
    let private = place.run(&["keygen"], "");
    assert_eq!(code(&private), 0);
    let private = stdout(&private);
    assert_eq!(private.len(), 45, "44 characters and a line break");
    let public = place.run(&["pubkey"], &private);
    assert_eq!((code(&public), stdout(&public).len()), (0, 45));
    assert_ne!(stdout(&public), private);
    // RFC 7748 section 6.1, Alice.
    let public = place.run(
        &["pubkey"],
        "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=\n",
    );
    assert_eq!(
        stdout(&public),
        "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=\n"
    );
}

#[test]
fn a_private_key_that_is_none_is_refused_and_not_repeated() {
    let refused = Place::new().run(&["pubkey"], "my-secret\n");
    assert_eq!(code(&refused), 1);
    assert_eq!(
        stderr(&refused),
        "crossway: standard input has 9 characters where a WireGuard key has 44: write `crossway \
         pubkey < KEYFILE`\n"
    );
}

#[test]
fn a_key_written_to_a_file_that_others_can_read_is_warned_of() {
    let place = Place::new();
    let file = fs::File::create(place.0.join("key")).unwrap();
    let made = place.command(&["keygen"]).stdout(file).output().unwrap();
    assert!(made.status.success());
    assert!(stderr(&made).contains("chmod 600"), "{}", stderr(&made));
}

#[test]
fn a_configuration_that_everybody_can_write_is_warned_of() {
    let place = Place::new();
    let file = place.0.join("good.toml");
    fs::write(&file, GOOD).unwrap();
    for (mode, warned) in [(0o644, false), (0o666, true)] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let checked = place.run(&["check", "good.toml"], "");
        assert_eq!(code(&checked), 0);
        let said = stderr(&checked);
        assert_eq!(said.contains("chmod 644 good.toml"), warned, "{said}");
    }
}

const GOOD: &str = r#"
[gateway]
name = "berlin-1"
private_key_file = "berlin-1.key"
listen = "0.0.0.0:51820"
lan = [{ interface = "eth1" }]
wan = [{ interface = "eth0" }]
[[site]]
name = "paris"
routes = ["10.2.0.0/24"]
[[site.gateway]]
name = "paris-1"
public_key = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo="
"#;

#[test]
fn check_ends_with_0_for_a_right_file_and_2_for_a_wrong_one() {
    let place = Place::new();
    fs::write(place.0.join("good.toml"), GOOD).unwrap();
    fs::write(
        place.0.join("bad.toml"),
        GOOD.replace("10.2.0.0/24", "10.2.0.1/24"),
    )
    .unwrap();

    let good = place.run(&["check", "good.toml"], "");
    assert_eq!(
        (code(&good), stdout(&good).as_str()),
        (
            0,
            "good.toml: ok: gateway berlin-1, 1 LAN, 1 WAN, 1 site, 1 route\n"
        )
    );
    assert_eq!(
        stderr(&good),
        "good.toml:4:20: warning: gateway, private_key_file: berlin-1.key does not exist here: \
         (umask 077; crossway keygen > berlin-1.key)\n"
    );

    let error = "bad.toml:10:11: site \"paris\", routes: 10.2.0.1/24 has host bits set: did you mean \
                 10.2.0.0/24?";
    let bad = place.run(&["check", "bad.toml"], "");
    assert_eq!((code(&bad), stdout(&bad).as_str()), (2, ""));
    assert!(
        stderr(&bad).ends_with(&format!("{error}\n")),
        "{}",
        stderr(&bad)
    );

    let bad = place.run(&["check", "bad.toml", "--json"], "");
    let told: serde_json::Value = serde_json::from_str(&stdout(&bad)).unwrap();
    assert_eq!((code(&bad), &told["ok"]), (2, &false.into()));
    assert_eq!(told["errors"][0]["line"], 10);
    assert_eq!(told["errors"][0]["mend"], "did you mean 10.2.0.0/24?");
    assert_eq!(told["errors"][0]["text"], error);

    assert_eq!(code(&place.run(&["check", "none.toml"], "")), 2);
}

#[test]
fn show_prints_a_file_as_it_is_understood() {
    let place = Place::new();
    fs::write(place.0.join("good.toml"), GOOD).unwrap();
    let shown = place.run(&["show", "good.toml"], "");
    assert_eq!(code(&shown), 0);
    assert!(stderr(&shown).contains("berlin-1.key does not exist here"));
    let text = stdout(&shown);
    assert!(
        text.contains("\n[[gateway.lan]]\ninterface = \"eth1\"\n"),
        "{text}"
    );
    fs::write(place.0.join("shown.toml"), &text).unwrap();
    assert_eq!(stdout(&place.run(&["show", "shown.toml"], "")), text);

    fs::write(place.0.join("bad.toml"), "[gateway]\nname = \"a b\"\n").unwrap();
    let refused = place.run(&["show", "bad.toml"], "");
    assert_eq!((code(&refused), stdout(&refused).as_str()), (2, ""));
}

#[test]
fn run_with_a_wrong_file_ends_with_2_before_it_touches_anything() {
    let place = Place::new();
    fs::write(place.0.join("bad.toml"), "[gateway]\nname = \"a b\"\n").unwrap();
    let refused = place.run(&["run", "--config", "bad.toml"], "");
    assert_eq!(code(&refused), 2);
    assert_eq!(stderr(&refused).lines().count(), 6, "{}", stderr(&refused));
}

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
fn bash_completes_names_of_the_running_gateway() {
    let place = Place::new();
    let _running = place.start("berlin-1");
    let folder = Path::new(env!("CARGO_BIN_EXE_crossway")).parent().unwrap();
    let path = format!("{}:/usr/bin:/bin", folder.display());
    let complete = |words: &[&str]| {
        let words = words.join(" ");
        let script = format!(
            r#"source <(crossway completion bash)
            COMP_WORDS=({words}) COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)) COMP_TYPE=9
            # As bash does it.
            COMP_LINE="${{COMP_WORDS[*]}}" COMP_POINT=${{#COMP_LINE}}
            function="$(complete -p crossway | sed -E 's/.*-F ([^ ]+).*/\1/')"
            "$function" crossway "${{COMP_WORDS[COMP_CWORD]}}"
            printf '%s\n' "${{COMPREPLY[@]}}""#
        );
        let output = Command::new("bash")
            .args(["-c", &script])
            .current_dir(&place.0)
            .env("CROSSWAY_RUN_DIR", &place.0)
            .env("PATH", &path)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        let text = stdout(&output);
        let words = text.lines().map(|line| line.trim().to_owned());
        words.collect::<Vec<String>>()
    };
    assert_eq!(complete(&["crossway", "unpr"]), ["unprefer"]);
    assert_eq!(complete(&["crossway", "--gateway", "b"]), ["berlin-1"]);
    let sites = complete(&["crossway", "flows", "--site", "p"]);
    assert_eq!(sites, ["paris"]);
    let links = complete(&["crossway", "drain", "paris/"]);
    assert!(links.contains(&"paris/paris-1".to_owned()), "{links:?}");
    // Nobody is asked who does not run.
    let none = complete(&["crossway", "--gateway", "bonn", "drain", "p"]);
    assert_eq!(none, [""]);
}

#[test]
fn every_shell_gets_a_script_and_every_command_a_manual_page() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = place.run(&["completion", shell], "");
        assert_eq!(code(&script), 0);
        assert!(stdout(&script).contains("COMPLETE"), "{shell}");
    }
    assert_eq!(code(&place.run(&["completion", "csh"], "")), 2);
    assert_eq!(code(&place.run(&["man", "--out", "man/man1"], "")), 0);
    let page = |name: &str| fs::read_to_string(place.0.join("man/man1").join(name)).unwrap();
    assert!(page("crossway.1").contains("Joins sites over WireGuard"));
    assert!(page("crossway-doctor.1").contains("\\-\\-config"));
    assert!(page("crossway-routes-get.1").contains("SYNOPSIS"));
}

#[test]
fn every_reading_command_can_be_watched_with_and_without_a_pace() {
    let place = Place::new();
    let _running = place.start("berlin-1");
    for command in [
        &["status"][..],
        &["sites"],
        &["links"],
        &["flows"],
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
    let place = Place::new();
    let _running = place.start("berlin-1");
    let mut differ = Vec::new();
    for (name, arguments) in [
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
        ("reload", &["reload"]),
    ] {
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

fn code(output: &Output) -> i32 {
    output.status.code().expect("it was not killed")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A folder for sockets and files, in which commands run.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = format!("crossway-cli-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_crossway"));
        command
            .args(arguments)
            .current_dir(&self.0)
            .env("CROSSWAY_RUN_DIR", &self.0);
        command
    }

    fn run(&self, arguments: &[&str], input: &str) -> Output {
        let mut child = self
            .command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that takes no input may be gone already.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }

    fn start(&self, gateway: &str) -> Running {
        self.start_with(gateway, answers::answer)
    }

    /// Serves the control socket of `gateway`; it answers when this returns.
    fn start_with(&self, gateway: &str, answer: fn(&Request) -> Response) -> Running {
        let socket = self.0.join(format!("{gateway}.sock"));
        let (stop, stopped) = oneshot::channel::<()>();
        let (bound, is_bound) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let server = Server::bind(&socket).unwrap();
                bound.send(()).unwrap();
                let (gateway, mut requests) = mpsc::channel::<ControlRequest>(1);
                let journal = watch::Sender::new(Journal::default());
                let (finished, log) = (watch::Sender::default(), watch::Sender::default());
                let streams = Streams {
                    journal: journal.subscribe(),
                    finished: finished.subscribe(),
                    log: log.subscribe(),
                };
                journal.send_modify(answers::fill);
                let answering = async {
                    while let Some(asked) = requests.recv().await {
                        let _ = asked.reply.send(answer(&asked.request));
                    }
                };
                tokio::select! {
                    () = server.serve(gateway, streams) => {}
                    () = answering => {}
                    _ = stopped => {}
                }
            });
        });
        is_bound.recv().unwrap();
        Running {
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A served control socket, gone at the end.
struct Running {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || !matches!(ended, Some(Err(_))));
    }
}
