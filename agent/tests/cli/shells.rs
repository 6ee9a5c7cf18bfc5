//! Completion and manual pages.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::place::{Place, code, stderr, stdout};

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
    let services = complete(&["crossway", "services", "approve", "10.2.0.10:"]);
    assert!(!services.is_empty(), "{services:?}");
    let groups = complete(&["crossway", "services", "--group", "e"]);
    assert_eq!(groups, ["erp"]);
    let rules = complete(&["crossway", "policy", "show", "e"]);
    assert_eq!(rules, ["erp"]);
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
    assert!(page("crossway-policy-promote.1").contains("dry"));
}
