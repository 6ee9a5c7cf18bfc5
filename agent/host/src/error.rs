//! What can go wrong with the host, each with the mend in its message.

use std::io;
use std::path::PathBuf;

use rtnetlink::packet_core::ErrorMessage;
use thiserror::Error;

use super::site_routes::METRIC;
use crossway_types::prefix::Prefix;

/// Why the host could not be read or changed.
#[derive(Debug, Error)]
pub enum HostError {
    /// No interface has that name.
    #[error(
        "interface {name} does not exist: this host has {} (see `ip link`); correct the name in the \
         configuration or create the interface first",
        present.join(", ")
    )]
    NoSuchInterface {
        /// The name asked for.
        name: String,
        /// Names that exist.
        present: Vec<String>,
    },
    /// The TUN's name belongs to another kind of interface.
    #[error(
        "{name} is the name for the TUN, but exists already as {kind}: give the gateway another name, or \
         rename that interface"
    )]
    NotATun {
        /// The name.
        name: String,
        /// What it is: a kind of `ip -d link`, or hardware.
        kind: String,
    },
    /// A device of a virtual router's name is there already and is of another kind.
    #[error(
        "{name} is the name for the device of a virtual router, but exists already as {kind}: rename that \
         interface, or give the virtual router another id"
    )]
    NotAVirtualMac {
        /// Its name.
        name: String,
        /// What it is.
        kind: String,
    },
    /// Another program holds the TUN.
    #[error(
        "TUN {name} is in use by another program: a TUN is named after the first 12 characters of its \
         gateway's name, so give two gateways of a host names that differ there"
    )]
    TunInUse {
        /// Its name.
        name: String,
    },
    /// The kernel refused for want of privilege.
    #[error(
        "not permitted {what}: Crossway needs CAP_NET_ADMIN; run it as root, or give its systemd unit \
         AmbientCapabilities=CAP_NET_ADMIN"
    )]
    NotPermitted {
        /// What was to be done, as "to …".
        what: String,
    },
    /// Another program owns the very route that is wanted.
    #[error(
        "route {prefix} with metric {METRIC} exists on another interface: another connector or a \
         hand-made route owns it; remove that route (`ip route show {prefix}`) or keep the prefix in \
         only one of the two"
    )]
    RouteTaken {
        /// The route's prefix.
        prefix: Prefix,
    },
    /// IPv6 is wanted and this kernel runs without it.
    #[error(
        "the configuration uses IPv6 and this kernel runs without it (no /proc/sys/net/ipv6): boot \
         without ipv6.disable=1, or remove the IPv6 prefixes"
    )]
    NoIpv6,
    /// The kernel refused for another reason.
    #[error("the kernel refused {what}: {error}")]
    Netlink {
        /// What was to be done, as "to …".
        what: String,
        /// The kernel's answer.
        #[source]
        error: io::Error,
    },
    /// A sysctl or the state file could not be read or written.
    #[error("could not {what} {path}: {error}{}", mend(error))]
    File {
        /// What was to be done, as "to …".
        what: String,
        /// Which file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        error: io::Error,
    },
}

impl HostError {
    /// The error of a netlink request made to do `what` ("to …").
    pub(super) fn netlink(what: impl Into<String>, error: rtnetlink::Error) -> Self {
        let what = what.into();
        match error {
            rtnetlink::Error::NetlinkError(message) => Self::of_errno(what, &message),
            other => Self::Netlink {
                what,
                error: io::Error::other(other),
            },
        }
    }

    /// The kernel's answer to a request made to do `what` ("to …").
    pub(super) fn of_errno(what: String, message: &ErrorMessage) -> Self {
        let error = io::Error::from_raw_os_error(message.raw_code().saturating_neg());
        if error.kind() == io::ErrorKind::PermissionDenied {
            Self::NotPermitted { what }
        } else {
            Self::Netlink { what, error }
        }
    }

    /// The error of a file operation made to do `what` ("to …").
    pub(super) fn file(
        what: impl Into<String>,
        path: impl Into<PathBuf>,
        error: io::Error,
    ) -> Self {
        Self::File {
            what: what.into(),
            path: path.into(),
            error,
        }
    }

    /// The kernel's or the system's error number, if there is one.
    pub(super) fn errno(&self) -> Option<i32> {
        match self {
            Self::Netlink { error, .. } | Self::File { error, .. } => error.raw_os_error(),
            _ => None,
        }
    }
}

/// What helps against an error of a file, where something does.
fn mend(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "; Crossway needs to run as root",
        io::ErrorKind::ReadOnlyFilesystem => {
            "; mount it writable (a container needs --privileged, or the sysctl set from outside)"
        }
        _ => "",
    }
}
