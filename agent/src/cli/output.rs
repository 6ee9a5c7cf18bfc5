//! Standard output: whole texts, and colour only where a person looks.

use std::io::{self, IsTerminal, Write};

use crossway_sys::terminal;
use serde::Serialize;

use super::Options;
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
    /// Columns that a line may have; any number without.
    pub(super) width: Option<usize>,
}

impl Look {
    /// Without colour.
    #[cfg(test)]
    pub(super) const PLAIN: Self = Self {
        colour: false,
        width: None,
    };

    /// Without colour, in so many columns.
    #[cfg(test)]
    pub(super) const fn of_width(width: usize) -> Self {
        Self {
            colour: false,
            width: Some(width),
        }
    }

    /// As standard output shows it; see <https://no-color.org>. A terminal cuts tables to its width, but not where the
    /// options ask for all.
    pub(super) fn of_stdout(options: &Options) -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let width = terminal::columns(io::stdout()).filter(|_| !options.wide);
        Self {
            colour: !refused && io::stdout().is_terminal(),
            width: width.map(usize::from),
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
