//! Aligned columns.

use std::borrow::Cow;
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
///
/// A terminal that is too narrow gets fewer columns: those that [`Self::spare`] names go one by one. Then the last
/// column, which is where reasons stand, is cut short, and after it the widest.
pub(super) struct Table {
    head: Vec<&'static str>,
    spare: &'static [&'static str],
    rows: Vec<Vec<Cell>>,
}

/// Blanks between two columns.
const GAP: usize = 2;
/// A reason that is cut shorter says nothing, so other columns go first.
const LEAST_REASON: usize = 24;
/// Nothing is cut shorter.
const LEAST: usize = 4;

impl Table {
    pub(super) fn new<const N: usize>(head: [&'static str; N]) -> Self {
        Self {
            head: head.to_vec(),
            spare: &[],
            rows: Vec::new(),
        }
    }

    /// Columns that may go where not all fit, the first of them first.
    pub(super) fn spare(mut self, heads: &'static [&'static str]) -> Self {
        self.spare = heads;
        self
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
            .map(|head| Cell::coloured(word(head), Colour::Bold))
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
        let columns = match look.width {
            Some(width) => self.fit(&widths, width),
            None => widths.into_iter().enumerate().collect(),
        };
        let mut text = String::new();
        for row in std::iter::once(&head).chain(&self.rows) {
            let line = self.line(row, &columns, look);
            let _ = writeln!(text, "{}", line.trim_end());
        }
        text
    }

    /// The columns that are shown, each with its width.
    fn fit(&self, widths: &[usize], width: usize) -> Vec<(usize, usize)> {
        let mut columns: Vec<(usize, usize)> = widths.iter().copied().enumerate().collect();
        let reason = self.head.len() - 1;
        let needed = |columns: &[(usize, usize)]| {
            let least = columns.iter().map(|(column, width)| {
                let is_reason = *column == reason && !self.head[*column].starts_with('>');
                if is_reason {
                    (*width).min(LEAST_REASON)
                } else {
                    *width
                }
            });
            least.sum::<usize>() + GAP * columns.len().saturating_sub(1)
        };
        for spare in self.spare {
            if needed(&columns) <= width {
                break;
            }
            columns.retain(|(column, _)| word(self.head[*column]) != *spare);
        }
        self.cut(&mut columns, width);
        columns
    }

    /// Cuts the last column, and then the widest ones, until the rest fits.
    fn cut(&self, columns: &mut [(usize, usize)], width: usize) {
        let gaps = GAP * columns.len().saturating_sub(1);
        let total = |columns: &[(usize, usize)]| {
            let widths = columns.iter().map(|(_, width)| width);
            widths.sum::<usize>() + gaps
        };
        if let Some((column, last)) = columns.last().copied()
            && !self.head[column].starts_with('>')
        {
            let over = total(columns).saturating_sub(width);
            let least = last.min(LEAST_REASON);
            let cut = last.saturating_sub(over).max(least);
            *columns.last_mut().expect("it is there") = (column, cut);
        }
        while total(columns) > width {
            let words = columns.iter_mut();
            let words = words.filter(|(column, _)| !self.head[*column].starts_with('>'));
            let Some((_, widest)) = words.max_by_key(|(_, width)| *width) else {
                break;
            };
            if *widest <= LEAST {
                break;
            }
            *widest -= 1;
        }
    }

    fn line(&self, row: &[Cell], columns: &[(usize, usize)], look: Look) -> String {
        let mut line = String::new();
        for (column, width) in columns {
            let Some(cell) = row.get(*column) else {
                continue;
            };
            let shown = shortened(&cell.text, *width);
            let gap = " ".repeat(width - shown.chars().count());
            let word = look.paint(&shown, cell.colour);
            if self.head[*column].starts_with('>') {
                let _ = write!(line, "{gap}{word}  ");
            } else {
                let _ = write!(line, "{word}{gap}  ");
            }
        }
        line
    }
}

fn word(head: &str) -> &str {
    head.trim_start_matches('>')
}

/// A text in at most `width` columns.
fn shortened(text: &str, width: usize) -> Cow<'_, str> {
    if text.chars().count() <= width {
        return Cow::Borrowed(text);
    }
    let mut kept: String = text.chars().take(width.saturating_sub(1)).collect();
    kept.truncate(kept.trim_end().len());
    kept.push('…');
    Cow::Owned(kept)
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

    #[test]
    fn a_narrow_terminal_gets_fewer_columns_and_shorter_reasons() {
        let mut table =
            Table::new(["SITE", "STATE", ">SENT", ">LANE", "WHY"]).spare(&["LANE", "SENT"]);
        table.row([
            "paris".into(),
            "Down".into(),
            "1.0 GiB".into(),
            "0".into(),
            "handshakes get no answer from the far gateway".into(),
        ]);
        let at = |width| table.text(Look::of_width(width), "");
        assert_eq!(at(80), table.text(Look::PLAIN, ""));
        let narrow = at(48);
        assert_eq!(
            narrow,
            "SITE   STATE     SENT  WHY\n\
             paris  Down   1.0 GiB  handshakes get no answer…\n"
        );
        assert_eq!(
            at(40),
            "SITE   STATE  WHY\n\
             paris  Down   handshakes get no answer…\n"
        );
        for width in 20..90 {
            let text = at(width);
            let longest = text.lines().map(|line| line.chars().count()).max();
            assert!(longest <= Some(width), "{width}: {text}");
        }
    }
}
