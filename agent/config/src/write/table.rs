//! The keys of one TOML table, written line by line.

use std::fmt::{self, Display};

use toml_edit::Value;

/// A longer list has a line for each value.
const LONGEST_LINE: usize = 100;

/// A table whose header has been written.
pub(super) struct Table<'a, 'f> {
    out: &'a mut fmt::Formatter<'f>,
    indent: &'static str,
}

impl<'a, 'f> Table<'a, 'f> {
    /// Writes `header`; the keys get its indent.
    pub(super) fn begin(
        out: &'a mut fmt::Formatter<'f>,
        header: &'static str,
    ) -> Result<Self, fmt::Error> {
        writeln!(out, "{header}")?;
        let header = header.trim_start_matches('\n');
        let indent = &header[..header.len() - header.trim_start().len()];
        Ok(Self { out, indent })
    }

    /// The keys in front of the first header.
    pub(super) fn root(out: &'a mut fmt::Formatter<'f>) -> Self {
        Self { out, indent: "" }
    }

    /// Writes `key = value`.
    pub(super) fn set(&mut self, key: &str, value: impl Into<Value>) -> fmt::Result {
        let indent = self.indent;
        writeln!(self.out, "{indent}{key} = {}", value.into())
    }

    /// Writes `key = value` if that is not what the file means without it.
    pub(super) fn set_unless<T: Into<Value> + PartialEq + Copy>(
        &mut self,
        key: &str,
        value: T,
        default: T,
    ) -> fmt::Result {
        if value == default {
            return Ok(());
        }
        self.set(key, value)
    }

    /// Writes a list of strings.
    pub(super) fn list<T: Display>(
        &mut self,
        key: &str,
        values: impl IntoIterator<Item = T>,
    ) -> fmt::Result {
        let values = values.into_iter();
        let values: Vec<String> = values
            .map(|value| Value::from(value.to_string()).to_string())
            .collect();
        let indent = self.indent;
        write!(self.out, "{indent}{key} = [")?;
        if values.iter().map(|value| value.len() + 2).sum::<usize>() < LONGEST_LINE {
            self.out.write_str(&values.join(", "))?;
        } else {
            for value in values {
                write!(self.out, "\n{indent}  {value},")?;
            }
            write!(self.out, "\n{indent}")?;
        }
        self.out.write_str("]\n")
    }
}
