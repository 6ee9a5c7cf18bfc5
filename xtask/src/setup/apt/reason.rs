//! Why apt-get failed, by what it printed, and what mends it.

use std::fmt;

/// What is behind a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// The archive has no such file: the lists are older than it.
    Gone,
    /// No list names this package.
    Unknown(String),
    /// This host does not answer, or has no address.
    Unreachable(String),
    /// Another program installs packages; its name, if it was told.
    Locked(Option<String>),
    NoSpace,
    Interrupted,
    Conflict,
    /// The time of this machine is not that of the archive.
    Clock,
    Signature,
    NotRoot,
    Other,
}

/// What apt-get says when it cannot reach an archive.
const UNREACHABLE: [&str; 7] = [
    "Temporary failure resolving",
    "Could not resolve",
    "Could not connect",
    "Cannot initiate the connection",
    "Connection timed out",
    "Connection failed",
    "Network is unreachable",
];
const NO_SPACE: [&str; 2] = ["No space left on device", "enough free space in"];
const NOT_ROOT: [&str; 5] = [
    "are you root?",
    "is not in the sudoers file",
    "a password is required",
    "a terminal is required to read the password",
    "incorrect password attempt",
];
const CONFLICT: [&str; 3] = [
    "held broken packages",
    "unmet dependencies",
    "pkgProblemResolver::Resolve generated breaks",
];
const SIGNATURE: [&str; 2] = ["NO_PUBKEY", "is not signed"];

impl Reason {
    /// By the output of apt-get, in English.
    pub(super) fn of(text: &str) -> Self {
        let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
        if says(&NOT_ROOT) {
            Self::NotRoot
        } else if says(&[
            "Could not get lock",
            "Unable to acquire the dpkg",
            "Unable to lock directory",
        ]) {
            Self::Locked(
                between(text, "It is held by process ", ")").and_then(|it| between(&it, "(", "")),
            )
        } else if says(&NO_SPACE) {
            Self::NoSpace
        } else if says(&["dpkg was interrupted"]) {
            Self::Interrupted
        } else if says(&["is not valid yet", "is expired"]) {
            Self::Clock
        } else if says(&UNREACHABLE) {
            Self::Unreachable(unreachable_host(text))
        } else if says(&[
            "404  Not Found",
            "Hash Sum mismatch",
            "File has unexpected size",
        ]) {
            Self::Gone
        } else if let Some(package) = between(text, "Unable to locate package ", "\n") {
            Self::Unknown(package)
        } else if let Some(package) =
            between(text, "E: Package '", "' has no installation candidate")
        {
            Self::Unknown(package)
        } else if says(&SIGNATURE) {
            Self::Signature
        } else if says(&CONFLICT) {
            Self::Conflict
        } else {
            Self::Other
        }
    }

    /// Whether newer package lists may mend it.
    pub(super) fn is_of_lists(&self) -> bool {
        matches!(
            self,
            Self::Gone | Self::Unknown(_) | Self::Conflict | Self::Other
        )
    }

    /// Whether waiting may mend it.
    pub(super) fn is_a_lock(&self) -> bool {
        matches!(self, Self::Locked(_))
    }

    /// What the user does about it; the archives are named below `sources`.
    pub(super) fn mend(&self, sources: &str) -> String {
        match self {
            Self::Gone => format!("look whether the archives in {sources} are complete, or try again in some minutes"),
            Self::Unknown(_) => format!(
                "this is made for Debian 12: {sources} must name its `main` and its security \
                archive, then `apt-get update`"
            ),
            Self::Unreachable(_) => format!(
                "make the host reachable (name server, proxy, firewall), or name a mirror in \
                {sources} that is; then run the same command again"
            ),
            Self::Locked(_) => "let it end (an automatic upgrade takes minutes), then run the \
                same command again".to_owned(),
            Self::NoSpace => {
                "free 1 GB in /var and /usr: `apt-get clean` may help; then run the same command again".to_owned()
            }
            Self::Interrupted => "run `dpkg --configure -a` as root, then the same command again".to_owned(),
            Self::Conflict => {
                "`apt-get -f install` as root shows which packages are in the way; `apt-mark \
                showhold` those that are held".to_owned()
            }
            Self::Clock => "set this machine's clock, then run the same command again".to_owned(),
            Self::Signature => "install the package debian-archive-keyring anew, then run `apt-get update`".to_owned(),
            Self::NotRoot => "run as root, or as a user whom sudo lets do everything".to_owned(),
            Self::Other => "see what it printed".to_owned(),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => write!(f, "the archive does not have what its list names (404)"),
            Self::Unknown(package) => write!(f, "no package list names {package}"),
            Self::Unreachable(host) => write!(f, "{host} cannot be reached"),
            Self::Locked(Some(by)) => write!(f, "another program, {by}, installs packages"),
            Self::Locked(None) => write!(f, "another program installs packages"),
            Self::NoSpace => write!(f, "the disk is full"),
            Self::Interrupted => write!(f, "an earlier install was cut off"),
            Self::Conflict => write!(f, "packages of this system are in each other's way"),
            Self::Clock => write!(f, "this machine's clock is not that of the archive"),
            Self::Signature => write!(
                f,
                "the archive's signature is by a key that is not known here"
            ),
            Self::NotRoot => write!(f, "root's rights were refused"),
            Self::Other => write!(f, "apt-get failed"),
        }
    }
}

/// The host of the first address that failed.
fn unreachable_host(text: &str) -> String {
    let mut lines = text.lines().filter(|line| line.contains("Failed to fetch"));
    let host = lines.find_map(|line| between(line, "://", "/"));
    host.unwrap_or_else(|| "the archive".to_owned())
}

/// What stands between two marks, if the first is there; an empty second one is the end.
fn between(text: &str, before: &str, behind: &str) -> Option<String> {
    let (_, rest) = text.split_once(before)?;
    let end = if behind.is_empty() {
        rest.len()
    } else {
        rest.find(behind)?
    };
    Some(rest[..end].trim().to_owned())
}

#[cfg(test)]
mod tests;
