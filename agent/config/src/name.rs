//! Names of gateways and sites: they become paths, metric labels and words on the command line.

use super::diagnostic::shown;
use super::section::{At, Section};

/// Longest name, in characters.
const LONGEST: usize = 32;

/// Reads `name`.
pub(super) fn read(section: &Section<'_>, example: &str) -> Option<At<String>> {
    let found = section.required_string("name", example)?;
    let name = found.value;
    let mend = format!("write 1 to {LONGEST} letters, digits, -, _ or ., a letter or digit first");
    let problem = if name.is_empty() {
        "is empty".to_owned()
    } else if let Some(wrong) = name.chars().find(|c| !is_name_character(*c)) {
        format!("has the character {wrong:?} in it")
    } else if name.len() > LONGEST {
        format!("has {} characters", name.len())
    } else if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        "does not start with a letter or digit".to_owned()
    } else {
        return Some(found.map(str::to_owned));
    };
    section.error(
        "name",
        found.offset,
        format!("{} {problem}", shown(name)),
        mend,
    );
    None
}

fn is_name_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}
