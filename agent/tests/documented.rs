//! The pages describe what this build has: `agent/OBSERVING.md` every command, and `agent/README.md` every key of the
//! configuration file, and nothing else.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

/// A key that no section knows, and that is like none that one does.
const UNKNOWN: &str = "qqqqqqqqqqqqqqqqqqqqqqqq";
/// How a section's message about such a key begins the list of those that it knows.
const KNOWN: &str = "the known keys are ";

/// Sections of the file as the table of the page names them, each with what it needs around it.
const SECTIONS: [(&str, &str); 17] = [
    (TOP, ""),
    ("[gateway]", ""),
    ("[[gateway.lan]]", ""),
    ("[[gateway.wan]]", ""),
    ("[[gateway.vrrp]]", ""),
    ("[[gateway.health]]", ""),
    ("[[gateway.replica]]", ""),
    ("[metrics]", ""),
    ("[flows]", ""),
    ("[discovery]", ""),
    ("[[site]]", ""),
    ("[[site.gateway]]", "[[site]]"),
    ("[[site.gateway.link]]", "[[site]]\n[[site.gateway]]"),
    ("[[allow]]", ""),
    ("[[shadow]]", ""),
    ("[[never]]", ""),
    ("[[expect]]", ""),
];

/// What the table calls the keys that stand in no section.
const TOP: &str = "in front of the sections";
/// Sections whose keys are names that the file chooses.
const NAMED: [&str; 2] = ["objects", "ports"];

#[test]
fn every_command_stands_on_the_page() {
    let help = crossway(&["--help"]);
    let (_, rest) = help.split_once("Commands:\n").unwrap();
    let commands = rest
        .lines()
        .take_while(|line| line.starts_with("  "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help");
    let page = page("OBSERVING.md");
    let (_, table) = page.split_once("\n## Commands\n").unwrap();
    let table: String = rows(table).collect();
    for name in commands {
        let is_there = [format!("`crossway {name}"), format!("`{name}`")]
            .iter()
            .any(|form| table.contains(form));
        assert!(
            is_there,
            "agent/OBSERVING.md does not list `crossway {name}`"
        );
    }
}

#[test]
fn the_sample_of_a_report_is_what_the_command_prints() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/golden/report.txt");
    let sample = format!("$ crossway report\n{}", fs::read_to_string(golden).unwrap());
    assert!(page("OBSERVING.md").contains(&sample), "{sample}");
}

#[test]
fn the_page_lists_the_keys_of_each_section_and_no_others() {
    let page = page("README.md");
    let (_, table) = page.split_once("\n## Configuration\n").unwrap();
    for (section, outer) in SECTIONS {
        let heading = if section == TOP {
            format!("| **{section}**")
        } else {
            format!("| **`{section}`**")
        };
        let of_section = rows(table)
            .skip_while(|row| !row.starts_with(&heading))
            .skip(1)
            .take_while(|row| !row.starts_with("| **"));
        let described: BTreeSet<String> = of_section.flat_map(first_cell_words).collect();
        let known: BTreeSet<String> = known_keys(section, outer)
            .into_iter()
            .filter(|key| !is_section(section, key))
            .collect();
        assert_eq!(described, known, "{section} of agent/README.md");
    }
}

#[test]
fn the_page_lists_the_groups_of_ports_that_are_built_in() {
    let page = page("README.md");
    for (name, words) in crossway::policy::ports::BUILT_IN {
        let row = format!("| `{name}` | {} |", words.join(", "));
        assert!(page.contains(&row), "{row}");
    }
}

/// The program's own lines are those of its golden output, of a gateway that has everything.
#[test]
fn the_sample_of_status_has_the_lines_of_the_program() {
    let page = page("OBSERVING.md");
    let (_, sample) = page.split_once("$ crossway status\n").unwrap();
    let (sample, _) = sample.split_once("```").unwrap();
    let program = self::page("tests/cli/golden/status.txt");
    assert_eq!(labels(sample), labels(&program));
    let of_program = heads(&program);
    let of_sample = heads(sample);
    assert!(of_sample.len() >= 3, "{of_sample:?}");
    for head in of_sample {
        assert!(
            of_program.contains(&head),
            "{head:?} is not of {of_program:?}"
        );
    }
}

/// What the lines of the first block are about.
fn labels(text: &str) -> Vec<&str> {
    let block = text.lines().skip(1).take_while(|line| !line.is_empty());
    block
        .filter_map(|line| line.trim_start().split("  ").next())
        .collect()
}

/// The words of the tables' heads.
fn heads(text: &str) -> Vec<Vec<&str>> {
    let is_head = |line: &&str| {
        let letters: Vec<char> = line
            .chars()
            .filter(|letter| letter.is_alphabetic())
            .collect();
        !letters.is_empty() && letters.into_iter().all(char::is_uppercase)
    };
    let lines = text.lines().filter(is_head);
    lines
        .map(|line| line.split_whitespace().collect())
        .collect()
}

/// What the agent says that it knows in a section.
fn known_keys(section: &str, outer: &str) -> Vec<String> {
    let name = format!("crossway-documented-{}.toml", std::process::id());
    let file = std::env::temp_dir().join(name);
    let heading = if section == TOP { "" } else { section };
    fs::write(&file, format!("{outer}\n{heading}\n{UNKNOWN} = 1\n")).unwrap();
    let found = crossway(&["check", file.to_str().unwrap()]);
    fs::remove_file(&file).unwrap();
    let finding = found.lines().find(|line| line.contains(UNKNOWN));
    let (_, keys) = finding.and_then(|line| line.split_once(KNOWN)).unwrap();
    keys.split(", ").map(str::to_owned).collect()
}

/// Whether `key` of `section` is a section of its own.
fn is_section(section: &str, key: &str) -> bool {
    let inner = if section == TOP {
        vec![format!("[{key}]"), format!("[[{key}]]")]
    } else {
        vec![format!("[[{}.{key}]]", section.trim_matches(['[', ']']))]
    };
    let mut sections = SECTIONS.iter();
    section == TOP && NAMED.contains(&key)
        || sections.any(|(section, _)| inner.iter().any(|inner| inner == section))
}

fn rows(text: &str) -> impl Iterator<Item = &str> {
    let lines = text.lines().skip_while(|line| !line.starts_with('|'));
    lines.take_while(|line| line.starts_with('|'))
}

/// The words in backticks of a row's first cell.
fn first_cell_words(row: &str) -> Vec<String> {
    let cell = row.split('|').nth(1).unwrap_or_default();
    let words = cell.split('`').skip(1).step_by(2);
    words.map(str::to_owned).collect()
}

fn page(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// Both outputs of a run of the program.
fn crossway(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_crossway"));
    let output = command.args(arguments).output().unwrap();
    let texts = [output.stdout, output.stderr].concat();
    String::from_utf8(texts).unwrap()
}
