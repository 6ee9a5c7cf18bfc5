//! Aligned columns.

use std::fmt::Write;

use super::output::{Colour, Look};

/// A word of a table.
pub(super) struct Cell {
    text: String,
    colour: Option<Colour>,
}

impl Cell {
    /// A word with a colour.
    pub(super) fn coloured(text: impl Into<String>, colour: Colour) -> Self {
        Self {
            text: text.into(),
            colour: Some(colour),
        }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self {
            text: text.into(),
            colour: None,
        }
    }
}

/// Rows under a head. A head that starts with `>` aligns its column to the right, for numbers.
pub(super) struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub(super) fn new<const N: usize>(head: [&'static str; N]) -> Self {
        Self {
            head: head.to_vec(),
            rows: Vec::new(),
        }
    }

    pub(super) fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The table as text, or `nothing` on a line if it has no rows.
    pub(super) fn text(&self, look: Look, nothing: &str) -> String {
        if self.rows.is_empty() {
            return format!("{nothing}\n");
        }
        let head: Vec<Cell> = self
            .head
            .iter()
            .map(|head| Cell::coloured(head.trim_start_matches('>'), Colour::Bold))
            .collect();
        let widths: Vec<usize> = (0..self.head.len())
            .map(|column| {
                std::iter::once(&head)
                    .chain(&self.rows)
                    .filter_map(|row| row.get(column))
                    .map(|cell| cell.text.chars().count())
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        let mut text = String::new();
        for row in std::iter::once(&head).chain(&self.rows) {
            let line = self.line(row, &widths, look);
            let _ = writeln!(text, "{}", line.trim_end());
        }
        text
    }

    fn line(&self, row: &[Cell], widths: &[usize], look: Look) -> String {
        let mut line = String::new();
        for ((cell, width), head) in row.iter().zip(widths).zip(&self.head) {
            let gap = " ".repeat(width - cell.text.chars().count());
            let word = look.paint(&cell.text, cell.colour);
            if head.starts_with('>') {
                let _ = write!(line, "{gap}{word}  ");
            } else {
                let _ = write!(line, "{word}{gap}  ");
            }
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_word() {
        let mut table = Table::new(["NAME", ">BYTES", "WHY"]);
        table.row(["a".into(), "1".into(), "".into()]);
        table.row(["paris".into(), "123456".into(), "up".into()]);
        assert_eq!(
            table.text(Look::PLAIN, ""),
            "NAME    BYTES  WHY\n\
             a           1\n\
             paris  123456  up\n"
        );
    }
}
