//! Words of a file or a command as messages repeat them.

/// A value as messages show it: bare where that is clear, quoted and escaped otherwise.
pub fn shown(value: &str) -> String {
    const LONGEST: usize = 60;
    let clear = !value.is_empty() && value.chars().all(|c| c.is_ascii_graphic() && c != '"');
    let cut: String = value.chars().take(LONGEST).collect();
    let dots = if cut.len() < value.len() { "…" } else { "" };
    if clear {
        format!("{cut}{dots}")
    } else {
        format!("{cut:?}{dots}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_so_that_their_ends_are_seen() {
        assert_eq!(shown("10.0.0.1/24"), "10.0.0.1/24");
        assert_eq!(shown(""), "\"\"");
        assert_eq!(shown("a b\n"), "\"a b\\n\"");
        assert_eq!(shown(&"x".repeat(80)), format!("{}…", "x".repeat(60)));
    }
}
