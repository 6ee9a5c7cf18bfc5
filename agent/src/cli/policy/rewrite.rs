//! The text of a configuration file in which the shadow rules have become the rules.
//!
//! The file is edited by the places that the parser names, so that all else stays byte for byte.

use std::fmt::Write;
use std::ops::Range;

use toml_edit::{Document, Item, Table};

const ACTIVE: &str = "allow";
const SHADOW: &str = "shadow";
/// In front of a file by editors of Windows.
const MARK: char = '\u{feff}';

/// A file's text, and what is to be changed in it.
#[derive(Debug)]
pub(super) struct Promotion<'t> {
    old: &'t str,
    /// From the first on; none touches another.
    edits: Vec<(Range<usize>, String)>,
}

impl<'t> Promotion<'t> {
    /// `[[shadow]]` becomes `[[allow]]` where it stands, and the old `[[allow]]` go, with the comments right above them.
    /// `policy = "open"` becomes `"closed"`: it cannot stand beside rules.
    ///
    /// # Errors
    /// Why there is nothing to promote.
    pub(super) fn of(old: &'t str) -> Result<Self, String> {
        let text = old.trim_start_matches(MARK);
        let mark = old.len() - text.len();
        let document = Document::parse(text).map_err(|error| error.message().to_owned())?;
        let shadow = tables(document.as_table(), SHADOW)?;
        if shadow.is_empty() {
            return Err(
                "there is no [[shadow]] rule to promote: write some, and see what `crossway policy diff` says"
                    .to_owned(),
            );
        }
        let mut edits = Vec::new();
        for table in tables(document.as_table(), ACTIVE)? {
            edits.push((lines_of(text, table), String::new()));
        }
        for header in shadow.iter().filter_map(|table| table.span()) {
            let new = text[header.clone()].replacen(SHADOW, ACTIVE, 1);
            edits.push((header, new));
        }
        if let Some(stance) = document
            .get("policy")
            .filter(|it| it.as_str() == Some("open"))
        {
            edits.extend(stance.span().map(|span| (span, "\"closed\"".to_owned())));
        }
        for (range, _) in &mut edits {
            *range = range.start + mark..range.end + mark;
        }
        edits.sort_by_key(|(range, _)| range.start);
        Ok(Self { old, edits })
    }

    /// The new text.
    pub(super) fn text(&self) -> String {
        let mut text = String::with_capacity(self.old.len());
        let mut done = 0;
        for (range, new) in &self.edits {
            text.push_str(&self.old[done..range.start]);
            text.push_str(new);
            done = range.end;
        }
        text + &self.old[done..]
    }

    /// What differs, as `diff -U0` prints it.
    pub(super) fn diff(&self, name: &str) -> String {
        let mut text = format!("--- {name}\n+++ {name}\n");
        // Lines that have come and gone so far.
        let (mut line, mut counted, mut moved) = (1, 0, 0_isize);
        for (range, new) in &self.edits {
            let start = line_start(self.old, range.start);
            let end = line_end(self.old, range.end.max(start + 1) - 1);
            let before = &self.old[start..end];
            let after = [
                &self.old[start..range.start],
                new,
                &self.old[range.end..end],
            ]
            .concat();
            line += self.old[counted..start].matches('\n').count();
            counted = start;
            let [gone, come] = [before, &after].map(|text| text.lines().count());
            let place = line.saturating_add_signed(moved);
            let place = if come == 0 { place - 1 } else { place };
            let _ = writeln!(text, "@@ -{line},{gone} +{place},{come} @@");
            for (sign, lines) in [('-', before), ('+', &after)] {
                for line in lines.lines() {
                    let _ = writeln!(text, "{sign}{line}");
                }
            }
            moved += come.cast_signed() - gone.cast_signed();
        }
        text
    }
}

/// The tables of a section; none if it is not there.
fn tables<'d>(document: &'d Table, section: &str) -> Result<Vec<&'d Table>, String> {
    match document.get(section) {
        None => Ok(Vec::new()),
        Some(Item::ArrayOfTables(tables)) => Ok(tables.iter().collect()),
        Some(_) => Err(format!(
            "{section} is not written as [[{section}]]: write each rule so first"
        )),
    }
}

/// The lines of a table, with the comments right above it and the blank lines below.
fn lines_of(text: &str, table: &Table) -> Range<usize> {
    let header = table.span().unwrap_or_default();
    let values = table.iter().filter_map(|(_, value)| value.span());
    let last = values.map(|span| span.end).max().unwrap_or(header.end);
    let mut start = line_start(text, header.start);
    while start > 0 {
        let above = line_start(text, start - 1);
        if !text[above..start].trim_start().starts_with('#') {
            break;
        }
        start = above;
    }
    let mut end = line_end(text, last.max(header.end) - 1);
    while end < text.len() {
        let below = line_end(text, end);
        if !text[end..below].trim().is_empty() {
            break;
        }
        end = below;
    }
    start..end
}

/// Where the line begins that a byte is in.
fn line_start(text: &str, byte: usize) -> usize {
    text[..byte].rfind('\n').map_or(0, |before| before + 1)
}

/// Where the next one begins.
fn line_end(text: &str, byte: usize) -> usize {
    let rest = &text.as_bytes()[byte..];
    let length = rest.iter().position(|byte| *byte == b'\n');
    length.map_or(text.len(), |length| byte + length + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "\
# The gateway of Berlin.

policy = \"open\"   # for now

[gateway]
name = \"berlin\" # ours

# Everybody, as it was.
[[allow]]
from = [\"any\"]
to = [\"any\"] # for now

# Tried out since May.

# The shop.
[[shadow]]
name = \"web\"
from = [
  \"lan\",
]
to = [\"10.2.0.10\"]

[[allow]]
from = [\"paris\"]
to = [\"lan\"]

  [[ shadow ]]   # names
from = [\"lan\"]
to = [\"paris\"]
ports = [\"dns\"]

# The far side.
[[site]]
name = \"paris\"
";

    const NEW: &str = "\
# The gateway of Berlin.

policy = \"closed\"   # for now

[gateway]
name = \"berlin\" # ours

# Tried out since May.

# The shop.
[[allow]]
name = \"web\"
from = [
  \"lan\",
]
to = [\"10.2.0.10\"]

  [[ allow ]]   # names
from = [\"lan\"]
to = [\"paris\"]
ports = [\"dns\"]

# The far side.
[[site]]
name = \"paris\"
";

    #[test]
    fn shadow_rules_become_the_rules_and_all_else_stays_as_it_is() {
        let promotion = Promotion::of(OLD).unwrap();
        assert_eq!(promotion.text(), NEW);
        // As Windows has it, byte for byte.
        let windows = |text: &str| format!("\u{feff}{}", text.replace('\n', "\r\n"));
        let old = windows(OLD);
        assert_eq!(Promotion::of(&old).unwrap().text(), windows(NEW));
    }

    #[test]
    fn what_differs_is_told_with_its_lines() {
        let diff = Promotion::of(OLD).unwrap().diff("a.toml");
        let heads: Vec<&str> = diff.lines().filter(|line| line.starts_with("@@")).collect();
        let expected = [
            "@@ -3,1 +3,1 @@",
            "@@ -8,5 +7,0 @@",
            "@@ -16,1 +11,1 @@",
            "@@ -23,4 +17,0 @@",
            "@@ -27,1 +18,1 @@",
        ];
        assert_eq!(heads, expected, "{diff}");
        assert!(diff.contains("-[[shadow]]\n+[[allow]]\n"), "{diff}");
        assert!(
            diff.contains("-# Everybody, as it was.\n-[[allow]]\n"),
            "{diff}"
        );
    }

    #[test]
    fn a_file_without_shadow_rules_has_nothing_to_promote() {
        for (text, why) in [
            ("", "there is no [[shadow]] rule"),
            (
                "[[allow]]\nfrom = [\"any\"]\n",
                "there is no [[shadow]] rule",
            ),
            (
                "shadow = [{ from = [\"any\"] }]\n",
                "is not written as [[shadow]]",
            ),
            ("shadow = = 1", ""),
        ] {
            let refused = Promotion::of(text).unwrap_err();
            assert!(refused.contains(why), "{refused}");
        }
    }
}
