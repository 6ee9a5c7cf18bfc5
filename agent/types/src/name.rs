//! Names in configurations: they become paths, metric labels and words on the command line.

/// Longest name, in characters.
const LONGEST: usize = 32;

/// What is wrong with a name, as the end of a sentence that begins with it.
pub fn problem(name: &str) -> Option<String> {
    if name.is_empty() {
        Some("is empty".to_owned())
    } else if let Some(wrong) = name.chars().find(|c| !is_name_character(*c)) {
        Some(format!("has the character {wrong:?} in it"))
    } else if name.len() > LONGEST {
        Some(format!("has {} characters", name.len()))
    } else if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        Some("does not start with a letter or digit".to_owned())
    } else {
        None
    }
}

/// What to write instead.
pub fn mend() -> String {
    format!("write 1 to {LONGEST} letters, digits, -, _ or ., a letter or digit first")
}

fn is_name_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}
