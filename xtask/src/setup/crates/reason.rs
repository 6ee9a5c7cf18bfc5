//! Why `cargo install` failed, by what it printed, and what mends it.

use std::fmt;

/// What is behind a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// The kernel ended a compiler.
    OutOfMemory,
    /// This host does not answer, or has no address.
    Unreachable(String),
    NoSpace,
    /// There is no C compiler, by which Rust links.
    NoLinker,
    /// The crate asks for a newer Rust.
    OldRust,
    Other,
}

const KILLED: [&str; 3] = [
    "(signal: 9",
    "rustc-LLVM ERROR: out of memory",
    "memory allocation of",
];
const NO_LINKER: [&str; 4] = [
    "linker `cc` not found",
    "cannot find crt1.o",
    "cannot find Scrt1.o",
    "cannot find -lc",
];
const UNREACHABLE: [&str; 4] = [
    "failed to download from",
    "spurious network error",
    "download of config.json failed",
    "failed to query replaced source",
];

impl Reason {
    /// By the output of cargo.
    pub(super) fn of(text: &str) -> Self {
        let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
        // The last error counts: a network error that was tried again is a warning.
        let failed = text.contains("\nerror") || text.starts_with("error");
        if says(&KILLED) {
            Self::OutOfMemory
        } else if says(&["No space left on device"]) {
            Self::NoSpace
        } else if says(&NO_LINKER) {
            Self::NoLinker
        } else if says(&[
            "requires rustc",
            "is not supported by the following package",
        ]) {
            Self::OldRust
        } else if failed && says(&UNREACHABLE) && !text.contains("could not compile") {
            Self::Unreachable(host(text))
        } else {
            Self::Other
        }
    }

    /// What the user does about it.
    pub(super) fn mend(&self) -> &'static str {
        match self {
            Self::OutOfMemory => {
                "end other programs, or add swap (`fallocate -l 4G /swap && chmod 600 /swap && \
                mkswap /swap && swapon /swap` as root), then run the same command again"
            }
            Self::Unreachable(_) => {
                "make the host reachable (name server, firewall), or name a proxy or a mirror in \
                ~/.cargo/config.toml; then run the same command again: what has come is kept"
            }
            Self::NoSpace => {
                "free 3 GB in this folder and 1 GB in ~/.cargo, then run the same command again"
            }
            Self::NoLinker => {
                "`apt-get install gcc libc6-dev` as root, then run the same command again"
            }
            Self::OldRust => "`rustup update stable`, then run the same command again",
            Self::Other => "see what it printed",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfMemory => write!(
                f,
                "the memory did not suffice, the kernel ended the compiler (signal 9)"
            ),
            Self::Unreachable(host) => {
                write!(f, "the registry of crates at {host} does not answer")
            }
            Self::NoSpace => write!(f, "the disk is full"),
            Self::NoLinker => write!(f, "there is no C compiler or no libc to link with"),
            Self::OldRust => write!(f, "this Rust is too old for it"),
            Self::Other => write!(f, "cargo failed"),
        }
    }
}

/// The host that cargo named last.
fn host(text: &str) -> String {
    let named = text.rsplit_once("https://").map(|(_, rest)| rest);
    let host = named.and_then(|rest| rest.split(['/', '`']).next());
    host.unwrap_or("an unknown place").to_owned()
}

/// What meminfo(5) says, in words.
pub(super) fn memory_in(text: &str) -> Option<String> {
    let mebibytes = |name: &str| -> Option<u64> {
        let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
        Some(rest.split_whitespace().next()?.parse::<u64>().ok()? >> 10)
    };
    let (total, free) = (mebibytes("MemTotal:")?, mebibytes("MemAvailable:")?);
    let swap = mebibytes("SwapFree:").unwrap_or(0);
    Some(format!(
        "{free} MiB of {total} MiB of memory are free now, and {swap} MiB of swap"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFLINE: &str = "    Updating crates.io index\n\
        warning: spurious network error (1 try remaining): [6] Could not resolve hostname (Could \
            not resolve host: index.example)\n\
        error: download of config.json failed\n\nCaused by:\n  failed to download from `https://index.example/config.json`\n\n\
        Caused by:\n  [6] Could not resolve hostname (Could not resolve host: index.example)\n";
    const KILLED: &str = "   Compiling syn v2.0.117\nerror: could not compile `syn` (lib)\n\nCaused by:\n  \
        process didn't exit successfully: `rustc --crate-name syn` (signal: 9, SIGKILL: kill)\n";

    #[test]
    fn what_cargo_prints_is_understood() {
        let unreachable = Reason::Unreachable("index.example".to_owned());
        assert_eq!(Reason::of(OFFLINE), unreachable);
        assert_eq!(Reason::of(KILLED), Reason::OutOfMemory);
        assert_eq!(
            Reason::of("error: linker `cc` not found\n"),
            Reason::NoLinker
        );
        let full = "error: failed to write `x`: No space left on device (os error 28)\n";
        assert_eq!(Reason::of(full), Reason::NoSpace);
        let old =
            "error: cannot install package `bpf-linker 0.10.3`, it requires rustc 1.99 or newer\n";
        assert_eq!(Reason::of(old), Reason::OldRust);
    }

    #[test]
    fn a_network_error_that_passed_is_not_taken_for_the_reason() {
        let text = "warning: spurious network error (2 tries remaining): [6] x\nerror[E0425]: no such name\n\
            error: could not compile `x` (lib) due to 1 previous error\n";
        assert_eq!(Reason::of(text), Reason::Other);
    }

    #[test]
    fn memory_is_told_in_mebibytes() {
        let text = "MemTotal:        1014000 kB\nMemFree: 1 kB\nMemAvailable:     204800 kB\nSwapFree:  0 kB\n";
        let words = "200 MiB of 990 MiB of memory are free now, and 0 MiB of swap";
        assert_eq!(memory_in(text).as_deref(), Some(words));
        assert_eq!(memory_in(""), None);
    }
}
