//! What the README tells a new user to type.

/// The section that is meant.
const HEADING: &str = "## Try it";

/// The commands of the section's first block; comments are for people.
pub(super) fn commands(text: &str) -> Vec<String> {
    let lines = text.lines().skip_while(|line| !line.starts_with(HEADING));
    let block = lines.skip_while(|line| !line.starts_with("```")).skip(1);
    block
        .take_while(|line| !line.starts_with("```"))
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment;

    #[test]
    fn commands_are_taken_from_their_section_without_comments() {
        let text = "```\nnot this\n```\n## Try it: now\ntext\n```\na --b   # why\n\n# people\nc\n```\n```\nd\n```\n";
        assert_eq!(commands(text), ["a --b   # why", "c"]);
        assert!(commands("# Nothing\n").is_empty());
    }

    #[test]
    fn the_readme_has_the_two_commands() {
        let text = std::fs::read_to_string(environment::workspace().join("README.md")).unwrap();
        let commands = commands(&text);
        for wanted in ["cargo xtask run", "cargo xtask test"] {
            assert!(
                commands.iter().any(|it| it.starts_with(wanted)),
                "{commands:?}"
            );
        }
    }
}
