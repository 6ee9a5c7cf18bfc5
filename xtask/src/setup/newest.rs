//! The newest build of a Debian package's program, beside the one that this release of Debian has: under
//! a name of its own in this workspace's tools. The system's packages and their lists stay as they are.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use vm_tests::process;

use crate::{cmd, environment};

/// Debian's name for what is newer than any release.
const SUITE: &str = "sid";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Fetches `package` and puts its program into the tools as `program`.
pub(super) fn install(package: &str, program: &str) -> Result<()> {
    let apt = PrivateApt::new(&environment::tools().join("apt"))?;
    cmd::run("fetching Debian's newest list", &mut apt.get(&["update"]))?;
    cmd::run(
        "fetching Debian's newest build",
        apt.get(&["download", package]).current_dir(&apt.directory),
    )?;
    let unpacked = apt.directory.join("unpacked");
    cmd::run(
        "unpacking",
        Command::new("dpkg-deb")
            .arg("-x")
            .arg(apt.downloaded(package)?)
            .arg(&unpacked),
    )?;
    let bin = environment::tools().join("bin");
    fs::create_dir_all(&bin)?;
    let from = unpacked.join("usr/bin").join(package);
    fs::copy(&from, bin.join(program)).with_context(|| format!("no {}", from.display()))?;
    fs::remove_dir_all(&apt.directory)?;
    Ok(())
}

/// apt with lists and cache of its own.
struct PrivateApt {
    directory: PathBuf,
}

impl PrivateApt {
    fn new(directory: &Path) -> Result<Self> {
        if directory.exists() {
            fs::remove_dir_all(directory)?;
        }
        for part in ["lists/partial", "cache/archives/partial", "sources"] {
            fs::create_dir_all(directory.join(part))?;
        }
        let sources = format!(
            "Types: deb\nURIs: {}\nSuites: {SUITE}\nComponents: main\nSigned-By: {KEYRING}\n",
            mirror()?
        );
        fs::write(directory.join("sources/newest.sources"), sources)?;
        Ok(Self {
            directory: directory.to_owned(),
        })
    }

    fn get(&self, words: &[&str]) -> Command {
        let mut command = Command::new("apt-get");
        let path = |part: &str| self.directory.join(part).display().to_string();
        for option in [
            "Dir::Etc::SourceList=/dev/null".to_owned(),
            format!("Dir::Etc::SourceParts={}", path("sources")),
            format!("Dir::State::Lists={}", path("lists")),
            format!("Dir::Cache={}", path("cache")),
            // Who runs this can write there; apt's own user perhaps not.
            "APT::Sandbox::User=root".to_owned(),
            // Only the list of packages is needed.
            "Acquire::Languages=none".to_owned(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
        ] {
            command.args(["-o", &option]);
        }
        command.args(words);
        command
    }

    fn downloaded(&self, package: &str) -> Result<PathBuf> {
        let start = format!("{package}_");
        fs::read_dir(&self.directory)?
            .flatten()
            .map(|entry| entry.path())
            .find(|path| {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                name.starts_with(&start) && name.ends_with(".deb")
            })
            .with_context(|| format!("apt-get downloaded no {package}"))
    }
}

/// Where this system has its Debian packages from.
fn mirror() -> Result<String> {
    let targets = process::run(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(REPO_URI)",
        "Identifier: Packages",
        "Label: Debian",
        "Component: main",
    ]))?;
    let mirror = targets.lines().next().unwrap_or_default();
    ensure!(
        !mirror.is_empty(),
        "this system has no source of Debian packages: run `apt-get update` on a Debian system first"
    );
    Ok(mirror.to_owned())
}
