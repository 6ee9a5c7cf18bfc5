//! What a running agent may do, who may talk with it, and what it tells nobody.
//!
//! ```text
//!  host a ── lan0 [gateway a: under test] wan0 ──────── wan0 [gateway b] lan0 ── host b
//! ```
//! That all it does after its start goes on with what it has left (reloads, hand-overs, virtual routers, a clean
//! stop) is shown by every other test here: they run with the same posture.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use vm_tests::config::Lanes;
use vm_tests::crossway::{self, Crossway};
use vm_tests::keys::KeyPair;
use vm_tests::pair::Pair;
use vm_tests::topology::Family;
use vm_tests::traffic;
use vm_tests::{sys, wait};

const UP: Duration = Duration::from_secs(10);
/// capabilities(7), linux/capability.h.
const NET_ADMIN: u64 = 1 << 12;
const NET_RAW: u64 = 1 << 13;
const BPF: u64 = 1 << 39;
const SYS_NICE: u64 = 1 << 23;
/// A user and groups of every Debian: nobody, users, nogroup.
const NOBODY: u32 = 65534;
const USERS: u32 = 100;

#[test]
fn after_the_start_no_thread_can_do_more_than_its_part_needs() {
    let mut pair = Pair::start(|plans| {
        plans[0].run_lanes(2, 2);
        // A name to resolve, for which there is a thread.
        plans[0].peers[0].endpoint = None;
        plans[0].dial_by_name("localhost", 9);
    })
    .unwrap();
    let threads = confined(&pair.a);
    assert!(threads.iter().any(|name| name == "names"), "{threads:?}");
    let status = pair.a.status().unwrap();
    let posture = &status.posture;
    let mut expected = vec!["CAP_BPF", "CAP_NET_ADMIN", "CAP_NET_RAW"];
    if !may_raise_priorities(pair.a.pid().unwrap().into()) {
        expected.push("CAP_SYS_NICE");
    }
    assert_eq!(posture.capabilities, expected);
    assert!(posture.no_new_privileges, "{posture:?}");
    assert!(posture.seccomp, "{posture:?}");
    assert!(!posture.dumpable, "{posture:?}");
    let said = pair.a.command(&["status"]).unwrap();
    let line = format!(
        "{} (none in lanes), no new privileges, seccomp on",
        expected.join(" ")
    );
    assert!(said.contains(&line), "{said}");

    // The one that takes over needs a start's rights again, and gives them up as well.
    pair.a.upgrade().unwrap();
    let next = pair.a.status().unwrap();
    confined_process(next.pid.into());
    pair.a.take_back().unwrap();
    confined(&pair.a);
    pair.wait_until_up().unwrap();
    assert!(pair.a.stop().unwrap().success());
}

/// As systemd would start it: with the unit's capabilities, and other processes out of sight.
#[test]
fn what_the_unit_allows_is_enough() {
    let unit = include_str!("../../agent/packaging/crossway@.service");
    let set = unit
        .lines()
        .find_map(|line| line.strip_prefix("CapabilityBoundingSet="));
    let set: Vec<String> = set
        .unwrap()
        .split(' ')
        .map(|name| format!("+{}", name.trim_start_matches("CAP_").to_lowercase()))
        .collect();
    let set = format!("--bounding-set=-all,{}", set.join(","));
    let mut pair = Pair::start(|plans| {
        plans[0].configure(|config| {
            config.gateway.control_group = Some("users".to_owned());
            config.gateway.lanes = Lanes::Count(2);
        });
    })
    .unwrap();
    assert!(pair.a.stop().unwrap().success());
    let script = r#"mount -t proc -o hidepid=invisible proc /proc && exec "$@""#;
    let hidden = ["unshare", "--mount", "sh", "-c", script, "sh"];
    let limits = ["prlimit", "--core=0"];
    let bounded = ["setpriv", "--no-new-privs", "--inh-caps=-all", &set];
    pair.a
        .set_wrapper(&[&hidden[..], &limits, &bounded].concat());
    pair.a.start_again().unwrap();
    pair.wait_until_up().unwrap();
    let status = pair.a.status().unwrap();
    assert!(status.fast_path, "{status:?}");
    assert!(status.posture.seccomp, "{status:?}");
    let held = ["CAP_BPF", "CAP_NET_ADMIN", "CAP_NET_RAW"];
    assert_eq!(status.posture.capabilities, held);
    assert_eq!(status.warnings, Vec::<String>::new());

    pair.a.upgrade().unwrap();
    pair.a.take_back().unwrap();
    pair.a.command(&["reload"]).unwrap();
    pair.wait_until_up().unwrap();
    assert!(!pair.a.log().contains("WARN"), "{}", pair.a.log());
    assert!(pair.a.stop().unwrap().success());
}

#[test]
fn without_seccomp_the_agent_runs_as_well_and_says_so() {
    let pair = Pair::start(|plans| plans[0].configure(|config| config.gateway.seccomp = false));
    let pair = pair.unwrap();
    let status = pair.a.status().unwrap();
    assert!(!status.posture.seccomp);
    let said = pair.a.command(&["status"]).unwrap();
    assert!(said.contains("seccomp off"), "{said}");
    let text = fs::read_to_string(pair.a.config()).unwrap();
    let on = text.replace("seccomp = false", "seccomp = true");
    pair.a.write_config_text(&on).unwrap();
    let (code, said) = pair.a.failing_command(&["reload"]).unwrap();
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("gateway.seccomp"), "{said}");
}

#[test]
fn what_starts_successors_ends_with_the_agent_however_that_ends() {
    let mut pair = Pair::start(|_| ()).unwrap();
    let starter = starter_of(&pair.a);
    assert!(pair.a.stop().unwrap().success());
    assert!(!is_alive(starter), "after a clean stop");
    pair.a.start_again().unwrap();
    let starter = starter_of(&pair.a);
    pair.a.kill().unwrap();
    wait::until("the starter to end", UP, || {
        (!is_alive(starter)).then_some(())
    })
    .unwrap();
    pair.a.start_again().unwrap();

    // Without it, an upgrade is refused in words, and the agent goes on.
    sys::kill(starter_of(&pair.a)).unwrap();
    sys::upgrade(pair.a.pid().unwrap()).unwrap();
    let said = "start one by hand with `crossway run --take-over";
    wait::until("the log to say so", UP, || {
        pair.a.log().contains(said).then_some(())
    })
    .unwrap();
    pair.wait_until_up().unwrap();
}

#[test]
fn a_new_key_file_is_read_by_a_reload_and_one_of_another_user_is_refused_in_words() {
    let mut pair = Pair::start(|_| ()).unwrap();
    let key = KeyPair::generate().unwrap();
    let file = pair.topology.directory().join("pair.psk");
    key.write_private(&file).unwrap();
    for (agent, plan) in [&mut pair.a, &mut pair.b].into_iter().zip(&mut pair.plans) {
        plan.share_key(&file);
        agent.write_config(plan).unwrap();
        agent.command(&["reload"]).unwrap();
    }
    pair.wait_until_up().unwrap();

    std::os::unix::fs::chown(&file, Some(NOBODY), Some(NOBODY)).unwrap();
    let (code, said) = pair.a.failing_command(&["reload"]).unwrap();
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("root without CAP_DAC_OVERRIDE"), "{said}");
    pair.wait_until_up().unwrap();
}

#[test]
fn a_user_outside_the_group_is_refused_with_the_mend_and_a_member_asks_and_orders() {
    let pair = Pair::start(|plans| {
        plans[0].configure(|config| config.gateway.control_group = Some("users".to_owned()));
    });
    let pair = pair.unwrap();
    let cli = Cli::for_everybody();
    let socket = Path::new("/run/crossway").join(format!("{}.sock", pair.a.name()));
    let found = fs::metadata(&socket).unwrap();
    assert_eq!(found.permissions().mode() & 0o7777, 0o660);
    assert_eq!((found.uid(), found.gid()), (0, USERS));
    let door = fs::metadata(socket.with_extension("handover")).unwrap();
    assert_eq!((door.permissions().mode() & 0o7777, door.uid()), (0o600, 0));
    let folder = fs::metadata("/run/crossway").unwrap();
    assert_eq!(
        folder.permissions().mode() & 0o022,
        0,
        "nobody else writes there"
    );

    let target = "b";
    for words in [vec!["status"], vec!["drain", target], vec!["reload"]] {
        let refused = cli.run(&pair.a, NOBODY, &words);
        assert_eq!(refused.status.code(), Some(1), "{words:?}: {refused:?}");
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        let mend = "join the group users: usermod --append --groups users nobody, and log in again";
        assert!(said.contains(mend), "{said}");
        assert!(!said.contains("panicked"), "{said}");
    }
    let served = cli.run(&pair.a, USERS, &["status", "--json"]);
    assert!(served.status.success(), "{served:?}");
    let ordered = cli.run(&pair.a, USERS, &["prefer", target]);
    assert!(ordered.status.success(), "{ordered:?}");
    let events = pair.a.command(&["events"]).unwrap();
    assert!(events.contains(&format!("uid {NOBODY}, pid ")), "{events}");

    // A member with many connections that say nothing, and as many that say too little.
    let idle = hold(&socket, USERS, 200);
    for _ in 0..3 {
        let begin = wait::now();
        pair.a.command(&["drain", target]).unwrap();
        pair.a.command(&["undrain", target]).unwrap();
        assert!(
            begin.elapsed() < Duration::from_secs(2),
            "{:?}",
            begin.elapsed()
        );
    }
    drop(idle);

    // The gateway without the key admits the group `crossway` where it exists, and here root only.
    let refused = cli.run(&pair.b, USERS, &["status"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
}

#[test]
fn pins_are_roots_alone_and_those_that_others_could_change_are_refused() {
    let mut pair = Pair::start(|_| ()).unwrap();
    let mut restart_after = |script: &str| {
        assert!(pair.a.stop().unwrap().success());
        let script = format!("umount -l /sys/fs/bpf; {script} exec \"$@\"");
        pair.a
            .set_wrapper(&["unshare", "--mount", "sh", "-ec", &script, "sh"]);
        pair.a.start_again().unwrap();
        pair.wait_until_up().unwrap();
        let root = format!("/proc/{}/root/sys/fs/bpf", pair.a.pid().unwrap());
        (
            pair.a.status().unwrap(),
            fs::metadata(root).unwrap().mode() & 0o777,
        )
    };
    let (status, mode) = restart_after("");
    assert!(status.fast_path, "{:?}", status.warnings);
    assert_eq!(mode, 0o700);

    for (folder, expected) in [
        (
            "mkdir /sys/fs/bpf/crossway; chown 65534 /sys/fs/bpf/crossway;",
            "belongs to uid 65534",
        ),
        (
            "mkdir -m 0777 /sys/fs/bpf/crossway;",
            "every user may write to it",
        ),
        (
            "ln -s /sys/fs/bpf /sys/fs/bpf/crossway;",
            "is a symbolic link",
        ),
    ] {
        let script = format!("mount -t bpf bpf /sys/fs/bpf; umask 0; {folder}");
        let (status, _) = restart_after(&script);
        assert!(!status.fast_path);
        let warnings = status.warnings.concat();
        let place = "/sys/fs/bpf/crossway";
        assert!(
            warnings.contains(place) && warnings.contains(expected),
            "{warnings}"
        );
    }
}

#[test]
fn a_group_that_does_not_exist_is_refused_with_the_mend() {
    let mut pair = Pair::start(|_| ()).unwrap();
    assert!(pair.a.stop().unwrap().success());
    let group = "no-such-group";
    pair.plans[0].configure(|config| config.gateway.control_group = Some(group.to_owned()));
    pair.a.write_config(&pair.plans[0]).unwrap();
    let (code, said) = pair.a.refused().unwrap();
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("groupadd --system no-such-group"), "{said}");
}

/// The log at its most talkative, all that the command line tells, what is in /run and in /proc.
#[test]
fn no_key_is_told_anywhere() {
    let key = KeyPair::generate().unwrap();
    let mut pair = Pair::start(|_| ()).unwrap();
    let file = pair.topology.directory().join("pair.psk");
    key.write_private(&file).unwrap();
    for plan in &mut pair.plans {
        plan.share_key(&file);
    }
    pair.b.write_config(&pair.plans[1]).unwrap();
    pair.b.command(&["reload"]).unwrap();
    assert!(pair.a.stop().unwrap().success());
    pair.a.write_config(&pair.plans[0]).unwrap();
    pair.a.set_variable("CROSSWAY_LOG", "trace");
    pair.a.start_again().unwrap();
    traffic::wait_for_ping(&pair.site_a().host, pair.far(Family::V4), UP).unwrap();
    pair.a.take_over().unwrap();
    pair.wait_until_up().unwrap();

    let mut told = vec![("log".to_owned(), pair.a.log())];
    assert!(told[0].1.contains("TRACE"), "the log is talkative");
    for words in [
        "status",
        "sites",
        "links",
        "routes list",
        "flows",
        "drops",
        "events",
    ] {
        let words: Vec<&str> = words.split(' ').collect();
        told.push((words.join(" "), pair.a.command(&words).unwrap()));
        let json = pair.a.command(&[&words[..], &["--json"]].concat()).unwrap();
        told.push((format!("{} --json", words.join(" ")), json));
    }
    for file in ["cmdline", "environ", "comm"] {
        let path = format!("/proc/{}/{file}", pair.a.pid().unwrap());
        told.push((path.clone(), read_lossy(Path::new(&path))));
    }
    for entry in fs::read_dir("/run/crossway").unwrap().flatten() {
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        if is_file && entry.file_name().to_string_lossy().contains(pair.a.name()) {
            told.push((
                entry.path().display().to_string(),
                read_lossy(&entry.path()),
            ));
            assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o077, 0);
        }
    }
    for secret in [&pair.plans[0].keys.private, &key.private] {
        for form in forms(secret) {
            for (place, text) in &told {
                assert!(!text.contains(&form), "a key stands in {place}");
            }
        }
    }
}

#[test]
fn the_agents_memory_is_kept_from_core_files_and_other_users() {
    let pair = Pair::start(|_| ()).unwrap();
    for pid in [pair.a.pid().unwrap(), starter_of(&pair.a)] {
        let limits = read_lossy(Path::new(&format!("/proc/{pid}/limits")));
        let core = limits
            .lines()
            .find(|line| line.starts_with("Max core file size"));
        let words: Vec<&str> = core.unwrap().split_whitespace().collect();
        assert_eq!(words[4..6], ["0", "0"], "{core:?}");
        let memory = format!("/proc/{pid}/mem");
        let read = Command::new("cat")
            .arg(&memory)
            .uid(NOBODY)
            .gid(NOBODY)
            .output();
        assert!(!read.unwrap().status.success());
    }
}

/// Checks every thread of the agent; their names.
fn confined(agent: &Crossway) -> Vec<String> {
    confined_process(agent.pid().unwrap().into())
}

fn confined_process(pid: u64) -> Vec<String> {
    let mut threads = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten() {
        let text = read_lossy(&task.path().join("status"));
        let values: BTreeMap<&str, &str> = text
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(key, value)| (key, value.trim()))
            .collect();
        let name = values["Name"];
        let set = |key: &str| u64::from_str_radix(values[key], 16).unwrap();
        let most = match name {
            "names" => 0,
            lane if lane.starts_with("lane-") => 0,
            "crossway" if !may_raise_priorities(pid) => NET_ADMIN | NET_RAW | BPF | SYS_NICE,
            _ => NET_ADMIN | NET_RAW | BPF,
        };
        for key in ["CapPrm", "CapEff", "CapInh"] {
            assert_eq!(set(key) & !most, 0, "{key} of {name}: {:x}", set(key));
        }
        assert_eq!(set("CapAmb"), 0, "{name}");
        assert_eq!(set("CapBnd") & !(NET_ADMIN | NET_RAW | BPF), 0, "{name}");
        assert_eq!(values["NoNewPrivs"], "1", "{name}");
        assert_eq!(values["Seccomp"], "2", "{name}");
        threads.push(name.to_owned());
    }
    for wanted in ["lane-0", "lane-1"] {
        assert!(threads.iter().any(|name| name == wanted), "{threads:?}");
    }
    threads
}

/// Whether the agent's limit of priorities (RLIMIT_NICE) is the highest: then it needs no CAP_SYS_NICE.
fn may_raise_priorities(pid: u64) -> bool {
    let limits = read_lossy(Path::new(&format!("/proc/{pid}/limits")));
    let nice = limits
        .lines()
        .find(|line| line.starts_with("Max nice priority"));
    nice.unwrap().split_whitespace().nth(3) == Some("40")
}

/// The process that waits to start the agent's successor.
fn starter_of(agent: &Crossway) -> u32 {
    let pid = agent.pid().unwrap();
    let path = format!("/proc/{pid}/task/{pid}/children");
    let children = fs::read_to_string(path).unwrap();
    let children: Vec<u32> = children.split_whitespace().flat_map(str::parse).collect();
    assert_eq!(children.len(), 1, "{children:?}");
    let name = fs::read_to_string(format!("/proc/{}/comm", children[0])).unwrap();
    assert_eq!(name.trim(), "crossway-next");
    children[0]
}

fn is_alive(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "crossway-next")
        && !read_lossy(Path::new(&format!("/proc/{pid}/status"))).contains("State:\tZ")
}

/// A key as base64 and as hexadecimal digits, and how a slice of it would be printed.
fn forms(base64: &str) -> [String; 4] {
    use base64::Engine;
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(base64)
        .unwrap();
    let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let hex = hex.concat();
    let list: Vec<String> = bytes[..8].iter().map(ToString::to_string).collect();
    [
        base64.trim_end_matches('=').to_owned(),
        hex.to_uppercase(),
        hex,
        list.join(", "),
    ]
}

fn read_lossy(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The program where every user may run it.
struct Cli(PathBuf);

impl Cli {
    fn for_everybody() -> Self {
        let folder = std::env::temp_dir().join(format!("crossway-cli-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::copy(crossway::binary(), folder.join("crossway")).unwrap();
        for path in [&folder, &folder.join("crossway")] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        Self(folder)
    }

    /// As user nobody, of one group.
    fn run(&self, agent: &Crossway, group: u32, words: &[&str]) -> Output {
        let mut command = Command::new(self.0.join("crossway"));
        command.args(["--gateway", agent.name()]).args(words);
        command.uid(NOBODY).gid(group).current_dir("/");
        command.output().unwrap()
    }
}

/// Connections of user nobody, of one group: half of them say nothing, half begin to say something.
fn hold(socket: &Path, group: u32, connections: usize) -> Vec<UnixStream> {
    let held = sys::as_user(NOBODY, group, || {
        let numbers = 0..connections;
        let held = numbers.map(|at| {
            let mut stream = UnixStream::connect(socket)?;
            // It may have been told to go.
            let _ = stream.write_all(&b"{"[..at % 2]);
            Ok(stream)
        });
        held.collect::<io::Result<Vec<_>>>()
    });
    held.unwrap().unwrap()
}

impl Drop for Cli {
    fn drop(&mut self) {
        // Only a copy of the program.
        let _ = fs::remove_dir_all(&self.0);
    }
}
