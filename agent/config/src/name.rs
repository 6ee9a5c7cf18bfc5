//! Names of gateways and sites.

use super::diagnostic::shown;
use super::section::{At, Section};
use crossway_types::name;

/// Reads `name`.
pub(super) fn read(section: &Section<'_>, example: &str) -> Option<At<String>> {
    let found = section.required_string("name", example)?;
    let Some(problem) = name::problem(found.value) else {
        return Some(found.map(str::to_owned));
    };
    let problem = format!("{} {problem}", shown(found.value));
    section.error("name", found.offset, problem, name::mend());
    None
}
