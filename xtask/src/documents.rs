//! What keeps the documentation honest: links lead somewhere, commands exist, examples are those of the files, and the
//! map of the repository shows what is there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use datapath_abi::maps;

use self::page::Document;
use crate::{cli, environment};

mod page;

/// Characters of a line, so that changes of it can be read side by side.
const LONGEST_LINE: usize = 120;

/// Whether it is a path of this repository, from its root.
fn is_path(word: &str) -> bool {
    let Some((first, _)) = word.split_once('/') else {
        return false;
    };
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "/_-.@".contains(letter);
    let is_there = || environment::workspace().join(first).is_dir();
    !first.is_empty() && first != "target" && word.chars().all(is_plain) && is_there()
}

#[test]
fn every_link_leads_to_a_file_and_every_anchor_to_a_heading() {
    let mut wrong = Vec::new();
    for document in Document::all() {
        let folder = document.path.parent().unwrap();
        for link in document.links() {
            if link.contains("://") {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((&link, ""));
            let path = if file.is_empty() {
                document.path.clone()
            } else {
                folder.join(file)
            };
            let is_right = path.exists()
                && (heading.is_empty() || {
                    let text = fs::read_to_string(&path).unwrap();
                    Document { path, text }.anchors().contains(heading)
                });
            if !is_right {
                wrong.push(format!("{}: {link}", document.name()));
            }
        }
    }
    assert!(wrong.is_empty(), "links that lead nowhere: {wrong:#?}");
}

#[test]
fn every_path_in_backticks_exists() {
    let mut wrong = Vec::new();
    for document in Document::all() {
        for word in document.quoted() {
            if is_path(&word) && !environment::workspace().join(&word).exists() {
                wrong.push(format!("{}: {word}", document.name()));
            }
        }
    }
    assert!(wrong.is_empty(), "paths that are not there: {wrong:#?}");
}

#[test]
fn every_cargo_xtask_command_is_one() {
    let mut wrong = Vec::new();
    let mut texts: Vec<_> = Document::all();
    texts.push(Document::named(".ci/run"));
    for document in texts {
        for rest in document.text.split("cargo xtask ").skip(1) {
            let is_name = |letter: char| letter.is_ascii_lowercase() || letter == '-';
            let end = rest.find(|letter| !is_name(letter)).unwrap_or(rest.len());
            let name = &rest[..end];
            if name != "help" && !cli::names().any(|task| task == name) {
                wrong.push(format!("{}: cargo xtask {name}", document.name()));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "commands that xtask does not know: {wrong:#?}"
    );
}

/// But for tables, addresses, and blocks that show what a command printed (they have a line that begins with `$ `).
#[test]
fn lines_have_at_most_120_characters() {
    let mut wrong = Vec::new();
    for document in Document::all() {
        let lines = document.lines();
        let shows_output: BTreeSet<usize> = lines
            .iter()
            .filter(|line| line.text.starts_with("$ "))
            .filter_map(|line| line.block)
            .collect();
        for line in &lines {
            let is_exempt = line.text.starts_with('|')
                || line.text.contains("://")
                || line
                    .block
                    .is_some_and(|block| shows_output.contains(&block));
            if line.text.chars().count() > LONGEST_LINE && !is_exempt {
                wrong.push(format!("{}:{}", document.name(), line.number));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "lines of more than {LONGEST_LINE} characters: {wrong:#?}"
    );
}

#[test]
fn the_readme_shows_the_example_files_as_they_are() {
    let readme = Document::named("README.md");
    let examples: Vec<String> = readme
        .links()
        .into_iter()
        .filter(|link| link.contains("/example-"))
        .map(|link| fs::read_to_string(environment::workspace().join(link)).unwrap())
        .collect();
    assert!(!examples.is_empty(), "README.md links to no example");
    for block in readme.code("toml") {
        assert!(
            examples.contains(&block),
            "no example file is this block of README.md:\n{block}"
        );
    }
}

#[test]
fn the_map_of_the_repository_shows_every_package() {
    let readme = Document::named("README.md");
    let (_, map) = readme.text.split_once("\n## The repository\n").unwrap();
    let mut missing = Vec::new();
    for package in packages(&environment::workspace()) {
        if !map.contains(&format!("`{package}/`")) {
            missing.push(package);
        }
    }
    assert!(
        missing.is_empty(),
        "README.md's map of the repository lacks {missing:?}"
    );
}

/// Folders with a Cargo.toml, from the root of the workspace.
fn packages(workspace: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for outer in folders(workspace) {
        let inner = folders(&workspace.join(&outer));
        found.extend(inner.into_iter().map(|inner| format!("{outer}/{inner}")));
        found.push(outer);
    }
    found.retain(|folder| workspace.join(folder).join("Cargo.toml").exists());
    found
}

fn folders(place: &Path) -> Vec<String> {
    let entries = fs::read_dir(place).unwrap().map(Result::unwrap);
    let names = entries.filter(|entry| entry.path().is_dir());
    names
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.'))
        .collect()
}

/// Where the files are that the drawing of a packet's path names.
const PATH_OF_A_PACKET: [&str; 4] = [
    "datapath-ebpf/src",
    "datapath-ebpf/abi/src",
    "agent/lane/src",
    "agent/tunnel/src",
];

#[test]
fn the_drawing_of_a_packets_path_names_files_that_exist() {
    let readme = Document::named("README.md");
    let (_, rest) = readme
        .text
        .split_once("\n## The path of a packet\n")
        .unwrap();
    let drawing = rest.split("```").nth(1).unwrap();
    let is_name = |letter: char| letter.is_ascii_lowercase() || "_/.".contains(letter);
    let files: Vec<&str> = drawing
        .split(|letter| !is_name(letter))
        .filter_map(|word| word.find(".rs").map(|end| &word[..end + 3]))
        .collect();
    assert!(!files.is_empty());
    for file in files {
        let is_there = PATH_OF_A_PACKET
            .iter()
            .any(|folder| environment::workspace().join(folder).join(file).exists());
        assert!(is_there, "README.md draws {file}, which is not there");
    }
}

/// The shared crate, as the table of layers calls it.
const ABI: &str = "abi";

#[test]
fn the_layers_below_the_agent_use_each_other_as_the_table_says() {
    let page = Document::named("CONTRIBUTING.md");
    let (_, rest) = page.text.split_once("\n## Layers\n").unwrap();
    let (section, _) = rest.split_once("\n## ").unwrap();
    let mut rows = BTreeMap::new();
    for row in section.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.split('|').collect();
        let [of, used] = [1, 2]
            .map(|cell| -> BTreeSet<&str> { cells[cell].split('`').skip(1).step_by(2).collect() });
        rows.extend(of.into_iter().map(|layer| (layer.to_owned(), used.clone())));
    }
    for layer in folders(&environment::workspace().join("agent")) {
        let manifest = environment::workspace().join(format!("agent/{layer}/Cargo.toml"));
        let Ok(manifest) = fs::read_to_string(manifest) else {
            continue;
        };
        // Whatever stands above the layers: the targets of fuzzing reach into all of them.
        if layer == "fuzz" {
            continue;
        }
        let row = rows.remove(&layer);
        let row = row.unwrap_or_else(|| panic!("CONTRIBUTING.md's layers lack {layer}"));
        assert_eq!(used_layers(&manifest), row, "what agent/{layer} uses");
    }
    assert!(
        rows.is_empty(),
        "CONTRIBUTING.md has layers that are not there: {rows:?}"
    );
}

/// The crates of this workspace that a manifest names, but for those of its tests.
fn used_layers(manifest: &str) -> BTreeSet<&str> {
    let (_, rest) = manifest.split_once("[dependencies]\n").unwrap_or(("", ""));
    let names = rest
        .lines()
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split([' ', '.']).next());
    names
        .filter_map(|name| match name {
            "datapath-abi" => Some(ABI),
            "wireguard-aead" => Some("aead"),
            _ => name.strip_prefix("crossway-"),
        })
        .collect()
}

#[test]
fn the_page_of_the_programs_names_all_of_them_and_every_map() {
    let page = Document::named("datapath-ebpf/README.md");
    let names = [
        maps::LAN_INGRESS,
        maps::TUN_EGRESS,
        maps::TUN_INGRESS,
        maps::TUN_STEER,
        maps::WAN_GUARD,
        maps::EXPLAIN_LAN,
        maps::EXPLAIN_EGRESS,
        maps::EXPLAIN_TUN,
        maps::EXPLAINED,
    ];
    for name in names.iter().chain(&maps::ALL) {
        assert!(
            page.quoted().iter().any(|word| word == name),
            "datapath-ebpf/README.md does not name {name}"
        );
    }
}
