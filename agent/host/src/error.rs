//! What can go wrong with the host, each with the mend in its message.

use std::path::PathBuf;
use std::{fmt, io};

use rtnetlink::packet_core::ErrorMessage;

use crossway_types::prefix::Prefix;

/// Why the host could not be read or changed.
#[derive(Debug)]
pub enum HostError {
    /// No interface has that name.
    NoSuchInterface {
        /// The name asked for.
        name: String,
        /// Names that exist.
        present: Vec<String>,
    },
    /// The TUN's name belongs to another kind of interface.
    NotATun {
        /// The name.
        name: String,
        /// What it is: a kind of `ip -d link`, or hardware.
        kind: String,
    },
    /// A device of a virtual router's name is there already and is of another kind.
    NotAVirtualMac {
        /// Its name.
        name: String,
        /// What it is.
        kind: String,
    },
    /// Another program holds the TUN.
    TunInUse {
        /// Its name.
        name: String,
    },
    /// The kernel refused for want of privilege.
    NotPermitted {
        /// What was to be done, as "to …".
        what: String,
    },
    /// Another program owns the very route that is wanted.
    RouteTaken {
        /// The route's prefix.
        prefix: Prefix,
    },
    /// IPv6 is wanted and this kernel runs without it.
    NoIpv6,
    /// The kernel refused for another reason.
    Netlink {
        /// What was to be done, as "to …".
        what: String,
        /// The kernel's answer.
        error: io::Error,
    },
    /// A sysctl or the state file could not be read or written.
    File {
        /// What was to be done, as "to …".
        what: String,
        /// Which file.
        path: PathBuf,
        /// The system's answer.
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

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchInterface { name, present } => write!(
                f,
                "interface {name} does not exist: this host has {} (see `ip link`); \
                 correct the name in the configuration or create the interface first",
                present.join(", ")
            ),
            Self::NotATun { name, kind } => write!(
                f,
                "{name} is the name for the TUN, but exists already as {kind}: give the gateway another \
                 name, or rename that interface"
            ),
            Self::NotAVirtualMac { name, kind } => write!(
                f,
                "{name} is the name for the device of a virtual router, but exists already as {kind}: rename \
                 that interface, or give the virtual router another id"
            ),
            Self::TunInUse { name } => write!(
                f,
                "TUN {name} is in use by another program: a TUN is named after the first 12 characters \
                 of its gateway's name, so give two gateways of a host names that differ there"
            ),
            Self::NotPermitted { what } => write!(
                f,
                "not permitted {what}: Crossway needs CAP_NET_ADMIN; run it as root, or give its \
                 systemd unit AmbientCapabilities=CAP_NET_ADMIN"
            ),
            Self::RouteTaken { prefix } => write!(
                f,
                "route {prefix} with metric {} exists on another interface: another connector or \
                 a hand-made route owns it; remove that route (`ip route show {prefix}`) or keep the prefix in only one of the two",
                super::site_routes::METRIC
            ),
            Self::NoIpv6 => write!(
                f,
                "the configuration uses IPv6 and this kernel runs without it (no \
                 /proc/sys/net/ipv6): boot without ipv6.disable=1, or remove the IPv6 prefixes"
            ),
            Self::Netlink { what, error } => write!(f, "the kernel refused {what}: {error}"),
            Self::File { what, path, error } => {
                write!(f, "could not {what} {}: {error}", path.display())?;
                match error.kind() {
                    io::ErrorKind::PermissionDenied => {
                        write!(f, "; Crossway needs to run as root")
                    }
                    io::ErrorKind::ReadOnlyFilesystem => write!(
                        f,
                        "; mount it writable (a container needs --privileged, or the sysctl set \
                         from outside)"
                    ),
                    _ => Ok(()),
                }
            }
        }
    }
}

impl std::error::Error for HostError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Netlink { error, .. } | Self::File { error, .. } => Some(error),
            _ => None,
        }
    }
}
