//! Standard output: whole texts, and colour only where a person looks.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use super::failure::Failure;

/// Colour of a word on a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colour {
    /// As it should be.
    Green,
    /// Look at it.
    Yellow,
    /// Broken.
    Red,
    /// Table heads.
    Bold,
}

/// How text looks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    colour: bool,
}

impl Look {
    /// Without colour.
    #[cfg(test)]
    pub(super) const PLAIN: Self = Self { colour: false };

    /// As standard output shows it; see <https://no-color.org>.
    pub(super) fn of_stdout() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            colour: !refused && io::stdout().is_terminal(),
        }
    }

    /// `text`, coloured if this look has colour.
    pub(super) fn paint(self, text: &str, colour: Option<Colour>) -> String {
        let code = match colour.filter(|_| self.colour) {
            None => return text.to_owned(),
            Some(Colour::Green) => "32",
            Some(Colour::Yellow) => "33",
            Some(Colour::Red) => "31",
            Some(Colour::Bold) => "1",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// Prints `text` as it is.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// Prints a value as JSON for people (`pretty`), or on one line.
pub(super) fn print_json(value: &impl Serialize, pretty: bool) -> Result<(), Failure> {
    let text = if pretty {
        serde_json::to_string_pretty(value)
    } else {
        serde_json::to_string(value)
    };
    print(&format!("{}\n", text.map_err(io::Error::other)?))
}

/// Prints `text` on a cleared screen if there is one, for `--watch`.
pub(super) fn redraw(text: &str) -> Result<(), Failure> {
    let clear = if io::stdout().is_terminal() {
        "\x1b[H\x1b[2J"
    } else {
        ""
    };
    print(&format!("{clear}{text}"))
}
