//! Reads `engine` of `[gateway]`, `[[site.gateway]]` and `[[gateway.replica]]`.

use super::section::{At, Choice, Section};
use crossway_types::engine::Engine;

/// The engine that the section names, if it names one.
pub(super) fn read(section: &Section<'_>) -> Option<Engine> {
    let choice = Choice {
        example: "\"crossway\"",
        all: &Engine::ALL,
        word: Engine::as_str,
        is: "no engine of a tunnel",
        mend: "write \"crossway\" (the fastest) or \"boringtun\" (the one with the longest record)",
    };
    section.choice("engine", &choice).map(At::into_value)
}
