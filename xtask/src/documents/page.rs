//! A Markdown file, and what it says.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::environment;

/// Folders that hold nothing of ours.
const NOT_OURS: [&str; 2] = ["target", "corpus"];

/// A Markdown file of the repository.
pub(super) struct Document {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

/// A line of a document.
pub(super) struct Line<'d> {
    pub(super) number: usize,
    pub(super) text: &'d str,
    /// The number of the code block that it is in.
    pub(super) block: Option<usize>,
}

impl Document {
    pub(super) fn all() -> Vec<Self> {
        let mut documents = Vec::new();
        collect(&environment::workspace(), &mut documents);
        documents.sort_by(|a, b| a.path.cmp(&b.path));
        documents
    }

    pub(super) fn named(path: &str) -> Self {
        let path = environment::workspace().join(path);
        let text = fs::read_to_string(&path).unwrap();
        Self { path, text }
    }

    pub(super) fn name(&self) -> String {
        let workspace = environment::workspace();
        let name = self.path.strip_prefix(&workspace).unwrap_or(&self.path);
        name.display().to_string()
    }

    pub(super) fn lines(&self) -> Vec<Line<'_>> {
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
    pub(super) fn prose(&self) -> String {
        let lines = self.lines();
        let prose = lines.iter().filter(|line| line.block.is_none());
        let lines: Vec<&str> = prose.map(|line| line.text).collect();
        lines.join("\n")
    }

    /// Content of the code blocks in `language`.
    pub(super) fn code(&self, language: &str) -> Vec<String> {
        let fence = format!("```{language}\n");
        let parts = self.text.split(&fence).skip(1);
        parts
            .filter_map(|part| part.split("```").next())
            .map(str::to_owned)
            .collect()
    }

    pub(super) fn anchors(&self) -> BTreeSet<String> {
        let prose = self.prose();
        let headings = prose.lines().filter(|line| line.starts_with('#'));
        headings
            .map(|heading| anchor(heading.trim_start_matches('#').trim()))
            .collect()
    }

    /// Targets of `[text](target)`.
    pub(super) fn links(&self) -> Vec<String> {
        let prose = self.prose();
        let parts = prose.split("](").skip(1);
        parts
            .filter_map(|part| part.split_once(')'))
            .map(|(target, _)| target.to_owned())
            .collect()
    }

    /// What stands in backticks.
    pub(super) fn quoted(&self) -> Vec<String> {
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

#[test]
fn headings_have_the_anchors_that_github_gives_them() {
    assert_eq!(
        anchor("Stop, crash, upgrade, reload"),
        "stop-crash-upgrade-reload"
    );
    assert_eq!(anchor("Try it: two commands"), "try-it-two-commands");
}
