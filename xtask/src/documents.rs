//! What keeps the documentation honest: links lead somewhere, commands exist, examples are those of the files, and the
//! map of the repository shows what is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use datapath_abi::maps;

use crate::{TASKS, environment};

/// Characters of a line, so that changes of it can be read side by side.
const LONGEST_LINE: usize = 120;
/// Folders that hold nothing of ours.
const NOT_OURS: [&str; 2] = ["target", "corpus"];

/// A Markdown file of the repository.
struct Document {
    path: PathBuf,
    text: String,
}

/// A line of a document.
struct Line<'d> {
    number: usize,
    text: &'d str,
    /// The number of the code block that it is in.
    block: Option<usize>,
}

impl Document {
    fn all() -> Vec<Self> {
        let mut documents = Vec::new();
        collect(&environment::workspace(), &mut documents);
        documents.sort_by(|a, b| a.path.cmp(&b.path));
        documents
    }

    fn named(path: &str) -> Self {
        let path = environment::workspace().join(path);
        let text = fs::read_to_string(&path).unwrap();
        Self { path, text }
    }

    fn name(&self) -> String {
        let workspace = environment::workspace();
        let name = self.path.strip_prefix(&workspace).unwrap_or(&self.path);
        name.display().to_string()
    }

    fn lines(&self) -> Vec<Line<'_>> {
        let (mut inside, mut blocks) = (false, 0);
        let mut lines = Vec::new();
        for (index, text) in self.text.lines().enumerate() {
            let is_fence = text.trim_start().starts_with("```");
            if is_fence && !inside {
                blocks += 1;
            }
            lines.push(Line {
                number: index + 1,
                text,
                block: (inside || is_fence).then_some(blocks),
            });
            inside ^= is_fence;
        }
        lines
    }

    /// Text outside of code blocks.
    fn prose(&self) -> String {
        let lines = self.lines();
        let prose = lines.iter().filter(|line| line.block.is_none());
        prose.map(|line| format!("{}\n", line.text)).collect()
    }

    /// Content of the code blocks in `language`.
    fn code(&self, language: &str) -> Vec<String> {
        let fence = format!("```{language}\n");
        let parts = self.text.split(&fence).skip(1);
        parts
            .filter_map(|part| part.split("```").next())
            .map(str::to_owned)
            .collect()
    }

    fn anchors(&self) -> BTreeSet<String> {
        let prose = self.prose();
        let headings = prose.lines().filter(|line| line.starts_with('#'));
        headings
            .map(|heading| anchor(heading.trim_start_matches('#').trim()))
            .collect()
    }

    /// Targets of `[text](target)`.
    fn links(&self) -> Vec<String> {
        let prose = self.prose();
        let parts = prose.split("](").skip(1);
        parts
            .filter_map(|part| part.split_once(')'))
            .map(|(target, _)| target.to_owned())
            .collect()
    }

    /// What stands in backticks.
    fn quoted(&self) -> Vec<String> {
        let prose = self.prose();
        let parts = prose.split('`').skip(1).step_by(2);
        parts.map(str::to_owned).collect()
    }
}

fn collect(folder: &Path, documents: &mut Vec<Document>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_ours = !name.starts_with('.') && !NOT_OURS.contains(&name.as_ref());
        if path.is_dir() && is_ours {
            collect(&path, documents);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            let text = fs::read_to_string(&path).unwrap();
            documents.push(Document { path, text });
        }
    }
}

/// The anchor that GitHub gives a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter_map(|letter| match letter {
        ' ' => Some('-'),
        '-' | '_' => Some(letter),
        _ if letter.is_alphanumeric() => Some(letter.to_ascii_lowercase()),
        _ => None,
    });
    kept.collect()
}

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
fn headings_have_the_anchors_that_github_gives_them() {
    assert_eq!(
        anchor("Stop, crash, upgrade, reload"),
        "stop-crash-upgrade-reload"
    );
    assert_eq!(anchor("Try it: two commands"), "try-it-two-commands");
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
            if name != "help" && !TASKS.iter().any(|(task, ..)| *task == name) {
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
        .filter(|link| link.ends_with(".toml") && link.contains("example-"))
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

#[test]
fn the_page_of_the_programs_names_all_of_them_and_every_map() {
    let page = Document::named("datapath-ebpf/README.md");
    let names = [
        maps::LAN_INGRESS,
        maps::TUN_EGRESS,
        maps::TUN_INGRESS,
        maps::TUN_STEER,
        maps::WAN_GUARD,
    ];
    for name in names.iter().chain(&maps::ALL) {
        assert!(
            page.quoted().iter().any(|word| word == name),
            "datapath-ebpf/README.md does not name {name}"
        );
    }
}
