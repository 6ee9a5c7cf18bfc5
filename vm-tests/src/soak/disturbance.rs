//! What can be done to a running ground, and what is promised of its packets meanwhile.

use std::fmt;
use std::time::Duration;

/// Something that is done to a running ground.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disturbance {
    /// Nothing is done: time for rekeys.
    None,
    /// Routes are added to a file, and removed again.
    RoutesReloaded {
        /// How many.
        routes: u16,
    },
    /// A site that never answers is added, packets wait for it, it is removed.
    GhostReloaded {
        /// How many packets.
        packets: u16,
    },
    /// A file that is wrong.
    FileRefused,
    /// A site with traffic is removed from one gateway's file, and added again.
    SiteRemoved {
        /// For how long.
        span: Duration,
    },
    /// Packets on a path vanish.
    PathCut {
        /// Which, counted from 0.
        path: usize,
        /// For how long.
        span: Duration,
    },
    /// A gateway's WAN interface loses its carrier.
    CarrierLost {
        /// Whose.
        gateway: usize,
        /// Which path's.
        path: usize,
        /// For how long.
        span: Duration,
    },
    /// An agent is stopped by SIGTERM and started again.
    Stopped {
        /// Whose.
        gateway: usize,
        /// After what.
        pause: Duration,
    },
    /// An agent is ended by SIGKILL and started again, as by a supervisor.
    Killed {
        /// Whose.
        gateway: usize,
        /// After what.
        pause: Duration,
    },
    /// An agent hands over to another.
    HandedOver {
        /// Whose.
        gateway: usize,
    },
    /// A link is drained and put back.
    Drained {
        /// By which gateway.
        gateway: usize,
    },
    /// The virtual router moves to the mate and back: the master loses its LAN.
    RouterMoved {
        /// For how long.
        span: Duration,
    },
    /// The stock WireGuard peer ends and comes back.
    PeerLeft {
        /// For how long it is away.
        span: Duration,
    },
    /// Many short flows.
    FlowsBurst {
        /// How many.
        flows: u32,
    },
    /// No traffic at all: nothing may spin.
    Quiet {
        /// For how long.
        span: Duration,
    },
}

/// What the design promises of the packets that are sent meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// None is lost.
    Lossless,
    /// Each that is lost is counted under a name.
    Named,
    /// As `Named`, and so many may end with a process that is killed: nobody is left to count them.
    Hands(u64),
    /// The test takes the carrier from a cable: what links sent and nobody received counts as named.
    CutWan,
    /// The test cuts on the LAN, before anything of ours counts.
    CutLan,
}

/// What a killed agent may have in its hands, its queue of the TUN and its socket: some milliseconds of traffic.
const IN_HANDS: u64 = 64;

impl Disturbance {
    /// What is promised meanwhile.
    pub fn promise(self) -> Promise {
        match self {
            Self::None
            | Self::RoutesReloaded { .. }
            | Self::FileRefused
            | Self::HandedOver { .. }
            | Self::Drained { .. }
            | Self::FlowsBurst { .. }
            | Self::Quiet { .. } => Promise::Lossless,
            Self::GhostReloaded { .. }
            | Self::SiteRemoved { .. }
            | Self::PathCut { .. }
            | Self::Stopped { .. } => Promise::Named,
            Self::Killed { .. } | Self::PeerLeft { .. } => Promise::Hands(IN_HANDS),
            Self::CarrierLost { .. } => Promise::CutWan,
            Self::RouterMoved { .. } => Promise::CutLan,
        }
    }

    /// The row of the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "undisturbed",
            Self::RoutesReloaded { .. } => "reload: routes",
            Self::GhostReloaded { .. } => "reload: a silent site",
            Self::FileRefused => "reload: a wrong file",
            Self::SiteRemoved { .. } => "reload: a busy site",
            Self::PathCut { .. } => "path cut",
            Self::CarrierLost { .. } => "WAN carrier lost",
            Self::Stopped { .. } => "stop and start",
            Self::Killed { .. } => "kill -9 and restart",
            Self::HandedOver { .. } => "hand-over",
            Self::Drained { .. } => "drain and undrain",
            Self::RouterMoved { .. } => "virtual router moved",
            Self::PeerLeft { .. } => "stock peer left",
            Self::FlowsBurst { .. } => "burst of flows",
            Self::Quiet { .. } => "quiet",
        }
    }
}

impl fmt::Display for Disturbance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name())?;
        match self {
            Self::None
            | Self::FileRefused
            | Self::RoutesReloaded { .. }
            | Self::GhostReloaded { .. } => Ok(()),
            Self::SiteRemoved { span }
            | Self::RouterMoved { span }
            | Self::PeerLeft { span }
            | Self::Quiet { span } => write!(f, " ({span:?})"),
            Self::PathCut { path, span } => write!(f, " (path {}, {span:?})", path + 1),
            Self::CarrierLost {
                gateway,
                path,
                span,
            } => write!(f, " ({}, wan{path}, {span:?})", gateway_name(*gateway)),
            Self::Stopped { gateway, pause } | Self::Killed { gateway, pause } => {
                write!(f, " ({}, {pause:?})", gateway_name(*gateway))
            }
            Self::HandedOver { gateway } | Self::Drained { gateway } => {
                write!(f, " ({})", gateway_name(*gateway))
            }
            Self::FlowsBurst { flows } => write!(f, " ({flows})"),
        }
    }
}

/// What a gateway of the ground is called.
pub fn gateway_name(gateway: usize) -> &'static str {
    ["a1", "a2", "b1", "c1", "d1"][gateway]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_reads_as_what_is_done_where_and_for_how_long() {
        let step = Disturbance::CarrierLost {
            gateway: 1,
            path: 0,
            span: Duration::from_millis(700),
        };
        assert_eq!(step.to_string(), "WAN carrier lost (a2, wan0, 700ms)");
    }
}
