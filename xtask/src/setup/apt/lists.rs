//! Whether package lists are fetched before an install.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use vm_tests::wait;

/// Mirrors drop a package when a newer one comes: older lists may name what is gone.
const OLD: Duration = Duration::from_hours(24);
/// apt-get changes these folders each time it looks for new lists. The lists themselves bear the times of the
/// archive, which say nothing of when they were fetched.
const FOLDERS: [&str; 2] = ["/var/lib/apt/lists/partial", "/var/lib/apt/lists"];

/// Why lists must be fetched before these packages are installed; nothing if they need not.
pub(super) fn reason_to_fetch(packages: &[&str]) -> Option<String> {
    judge(last_fetched(), wait::date(), || unknown_of(packages))
}

/// `unknown` is asked only where the lists' age does not decide: the answer takes a second or two.
fn judge(
    fetched: Option<SystemTime>,
    now: SystemTime,
    unknown: impl FnOnce() -> Option<String>,
) -> Option<String> {
    let Some(fetched) = fetched else {
        return Some("this machine has none yet".to_owned());
    };
    // A time to come is that of a clock which has been set since.
    match now.duration_since(fetched) {
        Ok(age) if age < OLD => {
            unknown().map(|name| format!("those that are here do not name {name}"))
        }
        Ok(age) => Some(format!("those that are here are {} old", in_words(age))),
        Err(_) => Some("those that are here come from the future".to_owned()),
    }
}

fn in_words(age: Duration) -> String {
    match age.as_secs() / OLD.as_secs() {
        1 => "a day".to_owned(),
        days => format!("{days} days"),
    }
}

fn last_fetched() -> Option<SystemTime> {
    let changed = |folder: &&str| fs::metadata(folder).and_then(|it| it.modified()).ok();
    FOLDERS.iter().filter_map(changed).max()
}

/// The first of the packages that the lists which are here do not name.
fn unknown_of(packages: &[&str]) -> Option<String> {
    let mut command = Command::new("apt-cache");
    command.args(["show", "--no-all-versions"]).args(packages);
    let output = command.stderr(Stdio::null()).output();
    let shown = output.map(|output| output.stdout).unwrap_or_default();
    not_in(&String::from_utf8_lossy(&shown), packages)
}

/// By what `apt-cache show` printed.
fn not_in(shown: &str, packages: &[&str]) -> Option<String> {
    let known: Vec<&str> = shown
        .lines()
        .filter_map(|line| line.strip_prefix("Package: "))
        .collect();
    let mut unknown = packages.iter().filter(|package| !known.contains(package));
    unknown.next().map(|package| (*package).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_fetched_where_they_are_older_than_a_day_or_do_not_name_a_package() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_hours(1000);
        let hours_ago = |hours| Some(now - Duration::from_hours(hours));
        let judged =
            |fetched, unknown: Option<&str>| judge(fetched, now, || unknown.map(str::to_owned));
        assert_eq!(judged(hours_ago(23), None), None);
        let unknown = judged(hours_ago(0), Some("frr")).unwrap();
        assert!(unknown.contains("do not name frr"), "{unknown}");
        assert!(judged(hours_ago(24), None).unwrap().contains("a day old"));
        assert!(judged(hours_ago(80), None).unwrap().contains("3 days old"));
        assert!(judged(None, None).unwrap().contains("none yet"));
        assert!(judged(Some(now + OLD), None).is_some());
    }

    #[test]
    fn a_package_that_is_not_shown_is_unknown() {
        let shown = "Package: frr\nDepends: libyang2\n\nPackage: nftables\n";
        assert_eq!(not_in(shown, &["nftables", "frr"]), None);
        assert_eq!(
            not_in(shown, &["frr", "libyang2"]).as_deref(),
            Some("libyang2")
        );
    }
}
