//! What a path is held to, and what is known of it.

/// What is known of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is not looked at: the MTU is what was set.
    Fixed,
    /// The far end answers no probe, as a stock WireGuard: the MTU is what the interface leaves.
    Unanswered,
    /// The limit is being looked for.
    Searching,
    /// The limit is known.
    Found,
}

impl State {
    /// Whether the path is looked at.
    pub fn is_probed(self) -> bool {
        self != Self::Fixed
    }
}

/// What the path is held to from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Inner packets of this size are sent until the path is known.
    pub assumed: u16,
    /// No larger one is tried.
    pub most: u16,
    /// Whether the path is looked at; else `assumed` is what counts.
    pub probes: bool,
}

/// What is known at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Largest inner packet that is sent.
    pub mtu: u16,
    /// How that is known.
    pub state: State,
    /// What the far end's packets are held to, by its own word.
    pub far_mtu: Option<u16>,
    /// Times that a size which had passed did not pass any more.
    pub black_holes: u64,
    /// Probes sent that were to find or confirm a size.
    pub probes: u64,
}
