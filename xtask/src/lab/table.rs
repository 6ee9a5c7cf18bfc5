//! Rows in columns, and numbers as people read them.

use std::fmt::Write as _;

use serde_json::Value;

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

/// A field as text: strings without quotes, `-` for what is not there.
pub(super) fn text(row: &Value, field: &str) -> String {
    match &row[field] {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A field of bytes per second as bits per second.
pub(super) fn rate(row: &Value, field: &str) -> String {
    row[field]
        .as_f64()
        .map_or("-".to_owned(), |bytes| scaled(bytes * 8.0, "bit/s"))
}

/// A field of bytes.
pub(super) fn bytes(row: &Value, field: &str) -> String {
    row[field]
        .as_f64()
        .map_or("-".to_owned(), |bytes| scaled(bytes, "B"))
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
    use serde_json::json;

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
    fn numbers_are_scaled_and_missing_ones_shown_as_such() {
        let row = json!({"rate": 125_000_000, "size": 999});
        assert_eq!(rate(&row, "rate"), "1.0 Gbit/s");
        assert_eq!(bytes(&row, "size"), "999 B");
        assert_eq!(bytes(&row, "nothing"), "-");
    }
}
