//! The compiler for the eBPF object: it must come with the source of `core`, which is built for the
//! target, and with an LLVM that `bpf-linker` reads.

use std::env;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use vm_tests::process;

use crate::environment;

/// LLVM of the bpf-linker that [`super::needs`] names: it reads the bitcode of this version and older.
const LLVM: u32 = 22;
/// The workspace's `rust-version`, minor part.
const RUST_MINOR: u32 = 95;
/// Forces the choice: `rustup` or `debian`.
const VARIABLE: &str = "CROSSWAY_EBPF_TOOLCHAIN";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_SOURCE: &str = "/usr/lib/rustlib/src/rust/library/core";
const DEBIAN_PACKAGES: &[&str] = &["rustc-web", "rust-web-src"];

/// A compiler and why it was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Toolchain {
    kind: Kind,
    reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// Name of a toolchain.
    Rustup(String),
    /// Packages rustc-web and rust-web-src.
    Debian,
}

/// Chooses, and names the Debian packages that the choice still lacks.
pub(crate) fn choose() -> Result<(Toolchain, Vec<&'static str>)> {
    let forced = env::var(VARIABLE).ok().filter(|word| !word.is_empty());
    let found = match forced.as_deref() {
        None | Some("rustup") => rustup(),
        Some("debian") => Err(format!("{VARIABLE}=debian asks for it")),
        Some(other) => bail!("{VARIABLE} is {other:?}: expected rustup or debian"),
    };
    match found {
        Ok(toolchain) => Ok((toolchain, Vec::new())),
        Err(reason) if forced.as_deref() == Some("rustup") => {
            bail!("{VARIABLE}=rustup, but {reason}: `rustup component add rust-src` mends it")
        }
        Err(reason) => {
            let toolchain = Toolchain {
                kind: Kind::Debian,
                reason,
            };
            let here = Path::new(DEBIAN_RUSTC).exists() && Path::new(DEBIAN_SOURCE).exists();
            Ok((
                toolchain,
                if here {
                    Vec::new()
                } else {
                    DEBIAN_PACKAGES.to_vec()
                },
            ))
        }
    }
}

impl Toolchain {
    /// A cargo command that builds with this compiler; nightly features are allowed in it.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = match &self.kind {
            // By its name and not by path: rustup's proxy then takes the toolchain's own cargo.
            Kind::Rustup(name) => {
                let mut command = Command::new("cargo");
                command.env("RUSTUP_TOOLCHAIN", name).env_remove("RUSTC");
                command
            }
            Kind::Debian => {
                let mut command = Command::new(environment::cargo());
                command.env("RUSTC", DEBIAN_RUSTC);
                command
            }
        };
        command
            .env("RUSTC_BOOTSTRAP", "1")
            .current_dir(environment::workspace());
        command
    }

    /// Why this one.
    pub(crate) fn reason(&self) -> &str {
        &self.reason
    }

    /// Itself, if it is new enough now that everything is installed.
    pub(super) fn verified(self) -> Result<Self> {
        if self.kind == Kind::Debian {
            let version = Version::of(Path::new(DEBIAN_RUSTC))?;
            if let Err(reason) = version.suits() {
                bail!(
                    "{DEBIAN_RUSTC} does not suit: {reason}. `apt-get update && apt-get install \
                    {}` (from the security archive), or `rustup toolchain install nightly \
                    --component rust-src`",
                    DEBIAN_PACKAGES.join(" ")
                );
            }
        }
        Ok(self)
    }
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Rustup(name) => write!(f, "rustup's {name} ({})", self.reason),
            Kind::Debian => write!(f, "Debian's rustc-web ({})", self.reason),
        }
    }
}

/// The best of rustup's toolchains, or why there is none.
fn rustup() -> Result<Toolchain, String> {
    let directory = environment::rustup_toolchains();
    let mut names: Vec<String> = fs::read_dir(&directory)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| has_source(&directory.join(name)))
        .collect();
    // Nightly first: it needs no leave for nightly features.
    names.sort_by_key(|name| {
        (
            !name.starts_with("nightly"),
            !name.starts_with("stable"),
            name.clone(),
        )
    });
    let mut refused = Vec::new();
    for name in names {
        let version = Version::of(&directory.join(&name).join("bin/rustc"));
        match version
            .map_err(|error| error.to_string())
            .and_then(Version::suits)
        {
            Ok(()) => {
                return Ok(Toolchain {
                    kind: Kind::Rustup(name),
                    reason: "it has rust-src".to_owned(),
                });
            }
            Err(reason) => refused.push(format!("{name} does not suit: {reason}")),
        }
    }
    Err(if refused.is_empty() {
        "no toolchain of rustup's has rust-src".to_owned()
    } else {
        refused.join("; ")
    })
}

fn has_source(toolchain: &Path) -> bool {
    let source: PathBuf = toolchain.join("lib/rustlib/src/rust/library/core");
    source.exists()
}

/// What a compiler says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    /// Of 1.x.
    minor: u32,
    llvm: u32,
}

impl Version {
    fn of(rustc: &Path) -> Result<Self> {
        let text = process::run(Command::new(rustc).arg("-vV"))?;
        Self::parse(&text)
            .with_context(|| format!("cannot read the version of {}", rustc.display()))
    }

    fn parse(text: &str) -> Option<Self> {
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
        Some(Self {
            minor: field("release: 1.")?.split('.').next()?.parse().ok()?,
            llvm: field("LLVM version: ")?.split('.').next()?.parse().ok()?,
        })
    }

    fn suits(self) -> Result<(), String> {
        if self.minor < RUST_MINOR {
            return Err(format!(
                "it is Rust 1.{}, 1.{RUST_MINOR} or later is needed",
                self.minor
            ));
        }
        if self.llvm > LLVM {
            return Err(format!(
                "its LLVM is {}, bpf-linker reads up to {LLVM}",
                self.llvm
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_judged() {
        let text = "rustc 1.96.0 (ac68faa20 2026-05-25)\nrelease: 1.96.0\nLLVM version: 22.1.4\n";
        let version = Version::parse(text).unwrap();
        assert_eq!(
            version,
            Version {
                minor: 96,
                llvm: 22
            }
        );
        assert!(version.suits().is_ok());
        assert!(
            Version {
                minor: 85,
                llvm: 19
            }
            .suits()
            .is_err()
        );
        assert!(
            Version {
                minor: 99,
                llvm: 23
            }
            .suits()
            .is_err()
        );
    }
}
