//! The kernels that guests run: Debian's packages, fetched once and kept unpacked.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use vm_tests::guest::kernel::Kernel;

use crate::private_apt::PrivateApt;

/// A kernel by the name that users type.
#[derive(Debug, PartialEq)]
pub(crate) struct Choice {
    pub(super) name: &'static str,
    /// The release of Debian that it is of.
    suite: &'static str,
    /// The package that depends on the release's newest kernel.
    package: &'static str,
    /// Whether it takes the eBPF programs; without, the kernel stack forwards (see README).
    pub(super) has_fast_path: bool,
    /// What is special about it.
    pub(super) note: &'static str,
}

const CLOUD: &str = "linux-image-cloud-amd64";
const GENERIC: &str = "linux-image-amd64";

#[rustfmt::skip]
const CHOICES: &[Choice] = &[
    Choice { name: "5.10", suite: "bullseye", package: CLOUD, has_fast_path: false, note: "too old for the eBPF programs: the kernel stack forwards; no UDP GRO in forwarding, no USO" },
    Choice { name: "6.1", suite: "bookworm", package: CLOUD, has_fast_path: true, note: "clsact; no USO for TUN" },
    Choice { name: "6.1-generic", suite: "bookworm", package: GENERIC, has_fast_path: true, note: "as 6.1, of the flavour for real machines" },
    Choice { name: "6.12", suite: "trixie", package: CLOUD, has_fast_path: true, note: "tcx, USO" },
    Choice { name: "newest", suite: "sid", package: CLOUD, has_fast_path: true, note: "what the next release will have" },
];

/// The kernel of `--quick`: that of the oldest release which is still the most common one.
const QUICK: &str = "6.1";

/// The kernels where none is named: all, or the one.
pub(super) fn usual(one: bool) -> Vec<&'static Choice> {
    let usual = CHOICES.iter().filter(|choice| !one || choice.name == QUICK);
    usual.collect()
}

pub(super) fn by_name(name: &str) -> Result<&'static Choice> {
    let found = CHOICES.iter().find(|choice| choice.name == name);
    found.with_context(|| {
        let names: Vec<&str> = CHOICES.iter().map(|choice| choice.name).collect();
        format!(
            "there is no kernel {name:?}: choose of {}",
            names.join(", ")
        )
    })
}

impl Choice {
    /// The kernel, fetched into a folder of `kept` if it is not there yet.
    pub(super) fn fetch(&self, kept: &Path) -> Result<Kernel> {
        let target = kept.join(self.name);
        if !target.exists() {
            // Complete or not there at all, also if this is interrupted.
            let partial = kept.join(format!("{}.partial", self.name));
            if partial.exists() {
                fs::remove_dir_all(&partial)?;
            }
            fs::create_dir_all(&partial)?;
            let apt = PrivateApt::of(self.suite, &kept.join("apt"))?;
            let packages = packages_of(self.package, |package| apt.dependencies(package))?;
            apt.unpack(&packages, &partial)?;
            apt.remove()?;
            fs::rename(&partial, &target)?;
        }
        Kernel::unpacked(&target)
    }
}

/// The packages that hold the kernel which `package` stands for: newer releases divide it into several.
fn packages_of(
    package: &str,
    dependencies: impl Fn(&str) -> Result<Vec<String>>,
) -> Result<Vec<String>> {
    let is_part = |name: &String| {
        let kinds = ["linux-image-", "linux-binary-", "linux-modules-"];
        kinds.iter().any(|kind| name.starts_with(kind))
    };
    let mut packages: Vec<String> = dependencies(package)?.into_iter().filter(is_part).collect();
    let [image] = packages.as_slice() else {
        bail!("{package} depends on {packages:?}: one kernel was expected");
    };
    let parts = dependencies(image)?;
    packages.extend(parts.into_iter().filter(is_part));
    ensure!(packages.len() <= 3, "too many packages: {packages:?}");
    Ok(packages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_in_one_package_and_one_in_several_are_both_found() {
        let of = |package: &str| {
            Ok(match package {
                "old" => vec!["linux-image-5-amd64".to_owned()],
                "new" => vec!["linux-base".to_owned(), "linux-image-7-amd64".to_owned()],
                "linux-image-7-amd64" => vec![
                    "kmod".to_owned(),
                    "linux-binary-7-amd64".to_owned(),
                    "linux-modules-7-amd64".to_owned(),
                ],
                _ => Vec::new(),
            })
        };
        assert_eq!(packages_of("old", of).unwrap(), ["linux-image-5-amd64"]);
        assert_eq!(
            packages_of("new", of).unwrap(),
            [
                "linux-image-7-amd64",
                "linux-binary-7-amd64",
                "linux-modules-7-amd64"
            ]
        );
    }

    #[test]
    fn an_unknown_kernel_is_refused_with_the_names_of_all() {
        let error = by_name("6.6").unwrap_err().to_string();
        assert!(error.contains("6.1-generic"), "{error}");
    }
}
