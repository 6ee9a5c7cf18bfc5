//! How a link is watched, as the configuration says it.

use std::net::IpAddr;

use crate::bfd::Pace;

/// How a link is watched: `liveness` and `bfd`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Liveness {
    /// What says that it is up.
    pub mode: LivenessMode,
    /// Pace of its BFD session.
    pub pace: Pace,
    /// Host in the far LAN that must answer to an echo, for far ends that know no BFD.
    pub probe: Option<IpAddr>,
    /// Addresses of its BFD packets; without them, those of `tunnel::heartbeat`.
    pub addresses: Option<BfdAddresses>,
}

/// `liveness = "auto" | "bfd" | "wireguard"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LivenessMode {
    /// BFD once the far end has answered it, until then WireGuard.
    #[default]
    Auto,
    /// BFD: a link without it is down.
    Bfd,
    /// WireGuard's handshakes and silence; no BFD is sent.
    WireGuard,
}

/// Inner addresses of a BFD session, of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BfdAddresses {
    /// Ours.
    pub local: IpAddr,
    /// The far end's.
    pub remote: IpAddr,
}

impl LivenessMode {
    /// Every mode.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Bfd, Self::WireGuard];

    /// The word of the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Bfd => "bfd",
            Self::WireGuard => "wireguard",
        }
    }
}
