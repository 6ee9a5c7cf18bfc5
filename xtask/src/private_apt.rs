//! apt-get with lists and cache of its own: packages of other releases of Debian, unpacked beside the system,
//! whose own packages and lists stay as they are.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use vm_tests::process;

use crate::cmd;

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// apt for one release.
#[derive(Debug)]
pub(crate) struct PrivateApt {
    directory: PathBuf,
}

impl PrivateApt {
    /// For the release `suite`, with its state in `directory`, which is emptied first. The list is fetched.
    pub(crate) fn of(suite: &str, directory: &Path) -> Result<Self> {
        if directory.exists() {
            fs::remove_dir_all(directory)?;
        }
        for part in ["lists/partial", "cache/archives/partial", "sources"] {
            fs::create_dir_all(directory.join(part))?;
        }
        let sources = format!(
            "Types: deb\nURIs: {}\nSuites: {suite}\nComponents: main\nSigned-By: {KEYRING}\n",
            mirror("Debian")?
        );
        fs::write(directory.join("sources/private.sources"), sources)?;
        let apt = Self {
            directory: directory.to_owned(),
        };
        let purpose = format!("fetching the list of Debian's {suite}");
        cmd::run(&purpose, apt.command("apt-get").args(["-qq", "update"]))?;
        Ok(apt)
    }

    /// The names of the packages that the newest `package` depends on.
    pub(crate) fn dependencies(&self, package: &str) -> Result<Vec<String>> {
        let words = ["show", "--no-all-versions", package];
        let text = process::run(self.command("apt-cache").args(words))?;
        Ok(parse_dependencies(&text))
    }

    /// Downloads packages and unpacks them into `target`.
    pub(crate) fn unpack(&self, packages: &[String], target: &Path) -> Result<()> {
        cmd::run(
            "fetching packages of Debian",
            self.command("apt-get")
                .args(["-qq", "download"])
                .args(packages)
                .current_dir(&self.directory),
        )?;
        for entry in fs::read_dir(&self.directory)?.flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == "deb") {
                process::run(Command::new("dpkg-deb").arg("-x").arg(&path).arg(target))?;
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }

    /// Removes its lists and its cache.
    pub(crate) fn remove(self) -> Result<()> {
        fs::remove_dir_all(self.directory)?;
        Ok(())
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let path = |part: &str| self.directory.join(part).display().to_string();
        for option in [
            "Dir::Etc::SourceList=/dev/null".to_owned(),
            format!("Dir::Etc::SourceParts={}", path("sources")),
            format!("Dir::State::Lists={}", path("lists")),
            format!("Dir::Cache={}", path("cache")),
            // Who runs this can write there; apt's own user perhaps not.
            "APT::Sandbox::User=root".to_owned(),
            // A release that is not this system's is never preferred by it.
            "APT::Default-Release=".to_owned(),
            // Only the list of packages is needed.
            "Acquire::Languages=none".to_owned(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
        ] {
            command.args(["-o", &option]);
        }
        command
    }
}

/// The first choice of each dependency in what `apt-cache show` printed.
fn parse_dependencies(text: &str) -> Vec<String> {
    let lines = text
        .lines()
        .filter_map(|line| line.strip_prefix("Depends: "));
    lines
        .flat_map(|line| line.split(','))
        .filter_map(|one| one.split_whitespace().next().map(ToOwned::to_owned))
        .collect()
}

/// Where this system has the Debian packages from whose lists bear this label: `Debian`, or `Debian-Security`.
pub(crate) fn mirror(label: &str) -> Result<String> {
    let targets = process::run(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(REPO_URI)",
        "Identifier: Packages",
        &format!("Label: {label}"),
        "Component: main",
    ]))?;
    let mirror = targets.lines().next().unwrap_or_default();
    ensure!(
        !mirror.is_empty(),
        "this system has no source of Debian packages: run `apt-get update` on a Debian system first"
    );
    Ok(mirror.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_choice_of_each_dependency_is_taken() {
        let text = "Package: linux\nDepends: kmod, dracut | initramfs-tools (>= 0.1), \
            linux-modules-7 (= 7-1)\nSize: 1\n";
        assert_eq!(
            parse_dependencies(text),
            ["kmod", "dracut", "linux-modules-7"]
        );
    }

    #[test]
    fn a_package_of_which_nothing_is_known_depends_on_nothing() {
        assert!(parse_dependencies("").is_empty());
    }
}
