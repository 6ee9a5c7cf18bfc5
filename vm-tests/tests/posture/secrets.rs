//! Keys: who may have written them, and that they are told nobody.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use vm_tests::keys::KeyPair;
use vm_tests::pair::Pair;
use vm_tests::topology::Family;
use vm_tests::traffic;

use super::{NOBODY, UP, read_lossy, starter_of};

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
