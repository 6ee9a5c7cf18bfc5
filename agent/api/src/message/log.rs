//! What the agent says in its log.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Which lines of the log are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogRequest {
    /// The last so many; null for all that are kept.
    pub last: Option<usize>,
    /// Whether the connection stays open, and new lines come as further replies.
    pub follow: bool,
    /// Only lines of this level, and of those that matter more.
    pub level: LogLevel,
    /// Only lines that are about this site.
    pub site: Option<String>,
}

/// Answer of `log`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogReply {
    /// Oldest first.
    pub lines: Vec<LogLine>,
    /// Lines since the last reply that are no longer kept, because the reader took too long: of all levels and
    /// sites, for nobody knows any more which they had.
    pub missed: u64,
    /// Number of the line that comes next.
    pub next_sequence: u64,
}

/// One line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LogLine {
    /// Counts from 1 at each start of an agent.
    pub sequence: u64,
    /// Wall-clock time, milliseconds since the Unix epoch.
    pub unix_milliseconds: u64,
    /// How much it matters.
    pub level: LogLevel,
    /// Part of the program that says it, such as `crossway::gateway`.
    pub target: String,
    /// What it says.
    pub message: String,
    /// What it says of, by name.
    pub fields: BTreeMap<String, String>,
}

/// How much a line matters.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// A person must act.
    Error,
    /// Something works worse than it should.
    Warn,
    /// A change of state.
    Info,
    /// What the control side does.
    Debug,
    /// Packets.
    #[default]
    Trace,
}

impl LogLevel {
    /// All of them, the one that matters most first.
    pub const ALL: [Self; 5] = [
        Self::Error,
        Self::Warn,
        Self::Info,
        Self::Debug,
        Self::Trace,
    ];

    /// The word of `--json`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

impl FromStr for LogLevel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut all = Self::ALL.into_iter();
        let found = all.find(|level| level.as_str().eq_ignore_ascii_case(text));
        found.ok_or_else(|| "write error, warn, info, debug or trace".to_owned())
    }
}

impl LogLine {
    /// Whether it is about a site: one of its fields is the site's name, or begins with it and a slash, as the names
    /// of links do.
    pub fn is_about(&self, site: &str) -> bool {
        let mut values = self.fields.values();
        values.any(|value| {
            let rest = value.strip_prefix(site);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }
}

impl fmt::Display for LogLine {
    /// Message and fields in a line, without time, level and target.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        for (name, value) in &self.fields {
            if value.contains([' ', '"', '\n']) {
                write!(f, " {name}={value:?}")?;
            } else {
                write!(f, " {name}={value}")?;
            }
        }
        Ok(())
    }
}

/// Answer of `log level`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogFilter {
    /// What is logged now, such as `info` or `info,crossway::host=debug`.
    pub filter: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_about_a_site_by_its_name_or_that_of_a_link() {
        let line = |value: &str| LogLine {
            fields: [("subject".to_owned(), value.to_owned())].into(),
            ..LogLine::default()
        };
        assert!(line("paris").is_about("paris"));
        assert!(line("paris/paris-1").is_about("paris"));
        assert!(!line("paris-1").is_about("paris"));
        assert!(!line("rome/paris").is_about("paris"));
    }

    #[test]
    fn levels_are_ordered_by_what_matters_most() {
        assert!(LogLevel::Error < LogLevel::Warn && LogLevel::Debug < LogLevel::Trace);
        assert_eq!("WARN".parse(), Ok(LogLevel::Warn));
        assert!("loud".parse::<LogLevel>().is_err());
    }

    #[test]
    fn values_with_blanks_are_quoted() {
        let line = LogLine {
            message: "event".to_owned(),
            fields: [("cause", "no answer"), ("to", "Down")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            ..LogLine::default()
        };
        assert_eq!(line.to_string(), r#"event cause="no answer" to=Down"#);
    }
}
