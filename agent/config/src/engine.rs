//! Reads `engine` of `[gateway]`, `[[site.gateway]]` and `[[gateway.replica]]`.

use super::diagnostic::shown;
use super::section::Section;
use crossway_types::engine::Engine;

/// The engine that the section names, if it names one.
pub(super) fn read(section: &Section<'_>) -> Option<Engine> {
    let found = section.string("engine", "\"crossway\"")?;
    let named = Engine::ALL
        .into_iter()
        .find(|engine| engine.as_str() == found.value);
    if named.is_none() {
        section.error(
            "engine",
            found.offset,
            format!("{} is no engine of a tunnel", shown(found.value)),
            "write \"crossway\" (the fastest) or \"boringtun\" (the one with the longest record)",
        );
    }
    named
}
