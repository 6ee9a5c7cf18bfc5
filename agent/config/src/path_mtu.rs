//! Reads `path_mtu` of `[gateway]`.

use super::section::{At, Choice, Section};

/// `path_mtu = "auto" | "fixed"`: what decides how large packets are on a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PathMtuMode {
    /// What passes its path, which is probed.
    #[default]
    Auto,
    /// The WAN interface.
    Fixed,
}

impl PathMtuMode {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Auto, Self::Fixed];

    /// The word of the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Fixed => "fixed",
        }
    }
}

/// The mode that the section names, if it names one.
pub(super) fn read(section: &Section<'_>) -> Option<PathMtuMode> {
    let choice = Choice {
        example: "\"auto\"",
        all: &PathMtuMode::ALL,
        word: PathMtuMode::as_str,
        is: "no way to find the MTU of a path",
        mend: "write \"auto\" (links are probed) or \"fixed\" (the WAN's MTU, or `mtu`, is taken)",
    };
    section.choice("path_mtu", &choice).map(At::into_value)
}
