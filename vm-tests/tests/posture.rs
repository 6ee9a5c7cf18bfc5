//! What a running agent may do, who may talk with it, and what it tells nobody.
//!
//! ```text
//!  host a ── lan0 [gateway a: under test] wan0 ──────── wan0 [gateway b] lan0 ── host b
//! ```
//! That all it does after its start goes on with what it has left (reloads, hand-overs, virtual routers, a clean
//! stop) is shown by every other test here: they run with the same posture.

#[path = "posture/access.rs"]
mod access;
#[path = "posture/secrets.rs"]
mod secrets;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use vm_tests::config::Lanes;
use vm_tests::crossway::Crossway;
use vm_tests::pair::Pair;
use vm_tests::{sys, wait};

const UP: Duration = Duration::from_secs(10);
/// capabilities(7), linux/capability.h.
const NET_ADMIN: u64 = 1 << 12;
const NET_RAW: u64 = 1 << 13;
const BPF: u64 = 1 << 39;
const SYS_NICE: u64 = 1 << 23;
/// A user and a group of every Debian: nobody, nogroup.
const NOBODY: u32 = 65534;

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

fn read_lossy(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    String::from_utf8_lossy(&bytes).into_owned()
}
