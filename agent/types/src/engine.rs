//! The WireGuard implementations that a session can be run by.

use std::fmt;

use serde::{Deserialize, Serialize};

/// `engine = "crossway" | "boringtun"`: what runs the session of a link. On the wire they are the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// Our own: the fastest.
    #[default]
    Crossway,
    /// Cloudflare's boringtun: the one with the longest record.
    Boringtun,
}

impl Engine {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Crossway, Self::Boringtun];

    /// The word of the file and of `--json`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Crossway => "crossway",
            Self::Boringtun => "boringtun",
        }
    }

    /// What its sessions cannot do and those of the other can, for people.
    pub fn limits(self) -> Option<&'static str> {
        match self {
            Self::Crossway => None,
            Self::Boringtun => Some(
                "sessions begin anew at a hand-over, a packet 1,024 behind counts as replayed, keys stay in memory",
            ),
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
