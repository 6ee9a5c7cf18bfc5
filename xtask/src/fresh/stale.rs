//! Package lists as they are on a machine that was off for a while.

use std::fs::{self, File, FileTimes};
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use vm_tests::wait;

const LISTS: &str = "/var/lib/apt/lists";
const MONTH: Duration = Duration::from_hours(24 * 30);

/// Makes the lists look as old as those of a machine that was off for a month.
pub(super) fn age() -> Result<()> {
    let then = wait::date() - MONTH;
    for place in [LISTS.to_owned(), format!("{LISTS}/partial")] {
        File::open(place)?.set_times(FileTimes::new().set_modified(then))?;
    }
    Ok(())
}

/// Makes the lists name a file of the package that the archive does not have, and the release's own list of them
/// differ from the archive's, so that apt-get fetches them anew.
pub(super) fn spoil(package: &str) -> Result<()> {
    let mut found = false;
    for entry in fs::read_dir(LISTS)?.flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with("_Packages") {
            let text = fs::read_to_string(&path)?;
            if let Some(text) = without(&text, package) {
                fs::write(&path, text)?;
                found = true;
            }
        } else if name.ends_with("InRelease") {
            let text = fs::read_to_string(&path)?;
            fs::write(&path, of_another_day(&text))?;
            set_back(&path)?;
        }
    }
    ensure!(found, "no package list names {package}");
    // apt-get keeps a digest of the lists.
    for name in ["pkgcache.bin", "srcpkgcache.bin"] {
        let _ = fs::remove_file(Path::new("/var/cache/apt").join(name));
    }
    Ok(())
}

/// The time of a release's list is the archive's: an older one is fetched again.
fn set_back(path: &Path) -> Result<()> {
    let times = FileTimes::new().set_modified(wait::date() - MONTH * 12);
    Ok(File::options().append(true).open(path)?.set_times(times)?)
}

/// The list with another file for the package, if it is in it.
fn without(list: &str, package: &str) -> Option<String> {
    let head = format!("Package: {package}\n");
    let start = match list.find(&format!("\n{head}")) {
        Some(before) => before + 1,
        None => list.starts_with(&head).then_some(0)?,
    };
    let end = list[start..]
        .find("\n\n")
        .map_or(list.len(), |length| start + length + 1);
    let entry = list[start..end].replace(".deb\n", ".of-last-month.deb\n");
    Some(format!("{}{entry}{}", &list[..start], &list[end..]))
}

/// A release's list whose digests of package lists are none of today's.
fn of_another_day(release: &str) -> String {
    let mut text = String::with_capacity(release.len());
    for line in release.lines() {
        let is_digest = line.starts_with(' ') && line.contains("/Packages");
        let digits = if is_digest {
            line.find(|letter: char| letter.is_ascii_hexdigit())
        } else {
            None
        };
        match digits {
            Some(at) => {
                let other = if line[at..].starts_with('0') {
                    '1'
                } else {
                    '0'
                };
                text.extend([&line[..at], &other.to_string(), &line[at + 1..]]);
            }
            None => text.push_str(line),
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str =
        "Package: a\nFilename: pool/a_1.deb\nSize: 1\n\nPackage: ab\nFilename: pool/ab_1.deb\n\n";

    #[test]
    fn one_package_is_where_it_is_not() {
        let spoilt = without(LIST, "ab").unwrap();
        assert!(
            spoilt.contains("pool/a_1.deb\n") && spoilt.contains("pool/ab_1.of-last-month.deb\n")
        );
        assert!(
            without(LIST, "a")
                .unwrap()
                .contains("pool/a_1.of-last-month.deb\n")
        );
        assert_eq!(without(LIST, "b"), None);
    }

    #[test]
    fn a_release_of_another_day_has_other_digests_of_package_lists_alone() {
        let release =
            "Suite: x\nSHA256:\n 0a1 12 main/binary-amd64/Packages.xz\n ff0 3 main/Contents.gz\n";
        let other = of_another_day(release);
        assert_eq!(other, release.replace(" 0a1", " 1a1"));
    }
}
