//! Rows in columns, and numbers as people read them.

use std::fmt::Write as _;

/// Rows under a heading, columns as wide as their widest cell.
pub(super) fn columns(heading: &[&str], rows: &[Vec<String>]) -> String {
    let heading: Vec<String> = heading.iter().map(|&word| word.to_owned()).collect();
    let all = || std::iter::once(&heading).chain(rows);
    let widths: Vec<usize> = (0..heading.len())
        .map(|column| {
            let cells = all().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for row in all() {
        let mut line = String::from(" ");
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, " {cell:<width$} ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Bytes per second as bits per second.
pub(super) fn rate(bytes: u64) -> String {
    scaled(bytes as f64 * 8.0, "bit/s")
}

/// A count of bytes.
pub(super) fn bytes(count: u64) -> String {
    scaled(count as f64, "B")
}

fn scaled(number: f64, unit: &str) -> String {
    for (limit, prefix) in [(1e9, "G"), (1e6, "M"), (1e3, "k")] {
        if number >= limit {
            return format!("{:.1} {prefix}{unit}", number / limit);
        }
    }
    format!("{number:.0} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [
            vec!["berlin".into(), "1".into()],
            vec!["b".into(), "22".into()],
        ];
        assert_eq!(
            columns(&["site", "n"], &rows),
            "  site    n\n  berlin  1\n  b       22\n"
        );
    }

    #[test]
    fn numbers_are_scaled() {
        assert_eq!(rate(125_000_000), "1.0 Gbit/s");
        assert_eq!(bytes(999), "999 B");
    }
}
