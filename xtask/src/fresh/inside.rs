//! In the namespaces: the new system becomes all there is, and its user types.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use vm_tests::{process, wait};

use super::follow::{self, Outcome};
use super::state::State;
use super::{BUNDLE, CERTIFICATES, Options, RUSTUP, folder, network, readme, stale};
use crate::environment;
use crate::lab;

pub(super) const USER: &str = "newcomer";
pub(super) const HOME: &str = "/home/newcomer";
const CLONE: &str = "/home/newcomer/crossway";
/// Packages that `run` and `test` install, which the spoilt lists name by a file that is not there.
const SPOILT: [(&str, &str); 2] = [("xtask run", "ethtool"), ("xtask test", "nftables")];
const NETWORK_LIMIT: Duration = Duration::from_secs(20);

/// A line of the last table.
struct Row {
    command: String,
    outcome: Outcome,
    /// Of all processors together.
    processor_time: Duration,
    installed: String,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let text = fs::read_to_string(environment::workspace().join("README.md"))?;
    let commands = readme::commands(&text);
    ensure!(!commands.is_empty(), "README.md has no commands to try");
    let root = folder().join("root");
    mount_all(&root)?;
    connect(&root)?;
    enter(&root)?;
    // As after an install of Debian: lists are there, and were right once.
    process::run(Command::new("apt-get").args(["-qq", "update"]))?;
    let mut rows = Vec::new();
    for command in commands {
        let is_wanted = options
            .only
            .as_ref()
            .is_none_or(|only| command.contains(only));
        if command.contains("xtask") && !is_wanted {
            continue;
        }
        if command.contains("cargo") && !Path::new(CLONE).exists() {
            rows.push(typed(&format!(
                "git -c advice.detachedHead=false clone --quiet /{BUNDLE} {CLONE}"
            ))?);
        }
        make_stale(&command)?;
        rows.push(typed(&command)?);
        if rows.iter().any(|row| !row.outcome.success) {
            break;
        }
    }
    again(&mut rows)?;
    report(&rows)
}

/// The lab once more: nothing is left to install.
fn again(rows: &mut Vec<Row>) -> Result<()> {
    let first = rows
        .iter()
        .find(|row| row.command.starts_with("cargo xtask run"));
    if rows.iter().all(|row| row.outcome.success)
        && let Some(command) = first.map(|row| row.command.clone())
    {
        rows.push(typed(&command)?);
    }
    Ok(())
}

/// The first command meets lists that are old, the second some that look new.
fn make_stale(command: &str) -> Result<()> {
    let spoilt = SPOILT.iter().find(|(part, _)| command.contains(part));
    if let Some((part, package)) = spoilt {
        stale::spoil(package)?;
        if *part == SPOILT[0].0 {
            stale::age()?;
        }
    }
    Ok(())
}

/// Types a command as the user.
fn typed(command: &str) -> Result<Row> {
    println!("\n{USER}$ {command}");
    let before = State::now()?;
    let used = processor_time();
    let outcome = follow::run(as_user(command), lab::PASSED)?;
    let installed = State::now()?.since(&before);
    println!("[{} s, installed: {installed}]", outcome.took.as_secs());
    Ok(Row {
        command: command.to_owned(),
        outcome,
        processor_time: processor_time().saturating_sub(used),
        installed,
    })
}

/// What children that have ended took so far (proc_pid_stat(5)).
fn processor_time() -> Duration {
    let text = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    of_children(&text).unwrap_or_default()
}

fn of_children(stat: &str) -> Option<Duration> {
    // The kernel's unit for users, whatever its own clock.
    const TICK: Duration = Duration::from_millis(10);
    // A name may hold anything, also blanks and brackets.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ').skip(13).map(str::parse::<u32>);
    let (user, system) = (fields.next()?.ok()?, fields.next()?.ok()?);
    Some(TICK * (user + system))
}

/// A shell of the user, with what a login sets.
fn as_user(line: &str) -> Command {
    let folder = if Path::new(CLONE).exists() {
        CLONE
    } else {
        HOME
    };
    let mut command = Command::new("setpriv");
    command.args(["--reuid", USER, "--regid", USER, "--init-groups"]);
    command.args(["env", "-i", "LANG=C.UTF-8", "TERM=dumb"]);
    command.args([format!("HOME={HOME}"), format!("USER={USER}")]);
    command.arg(format!(
        "PATH={HOME}/.cargo/bin:/usr/local/bin:/usr/bin:/bin"
    ));
    command.arg(format!("RUSTUP_HOME=/{RUSTUP}"));
    if Path::new("/").join(CERTIFICATES).exists() {
        command.arg(format!("CARGO_HTTP_CAINFO=/{CERTIFICATES}"));
    }
    command.args(["bash", "-c", line]).current_dir(folder);
    command
}

/// All that a running system has mounted. It goes with the namespace.
fn mount_all(root: &Path) -> Result<()> {
    let at = |place: &str| root.join(place);
    // A mount of its own: programs that make namespaces inside change how it propagates.
    mount(&["--bind"], root, root)?;
    mount(&["-t", "proc"], Path::new("proc"), &at("proc"))?;
    mount(&["-t", "sysfs"], Path::new("sysfs"), &at("sys"))?;
    mount(&["-t", "bpf"], Path::new("bpf"), &at("sys/fs/bpf"))?;
    mount(
        &["-t", "cgroup2"],
        Path::new("cgroup2"),
        &at("sys/fs/cgroup"),
    )?;
    mount(&["-t", "tmpfs"], Path::new("tmpfs"), &at("run"))?;
    mount(
        &["-t", "tmpfs", "-o", "mode=755"],
        Path::new("tmpfs"),
        &at("dev"),
    )?;
    for folder in ["dev/net", "dev/pts", "dev/shm", "run/lock"] {
        fs::create_dir(at(folder))?;
    }
    mount(
        &["-t", "devpts", "-o", "newinstance,ptmxmode=0666"],
        Path::new("devpts"),
        &at("dev/pts"),
    )?;
    mount(
        &["-t", "tmpfs", "-o", "mode=1777"],
        Path::new("tmpfs"),
        &at("dev/shm"),
    )?;
    for device in [
        "null", "zero", "full", "random", "urandom", "tty", "net/tun",
    ] {
        let own = Path::new("/dev").join(device);
        let new = at("dev").join(device);
        fs::write(&new, "")?;
        mount(&["--bind"], &own, &new)
            .with_context(|| format!("this machine has no {}", own.display()))?;
    }
    for (link, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "fd/0"),
        ("stdout", "fd/1"),
        ("stderr", "fd/2"),
        ("ptmx", "pts/ptmx"),
    ] {
        std::os::unix::fs::symlink(target, at("dev").join(link))?;
    }
    mount(&["--bind"], &environment::rustup_home(), &at(RUSTUP))?;
    mount(&["-o", "remount,bind,ro"], Path::new("none"), &at(RUSTUP))
}

fn mount(options: &[&str], what: &Path, place: &Path) -> Result<()> {
    process::run(Command::new("mount").args(options).arg(what).arg(place))?;
    Ok(())
}

/// Waits for the way out, which is made from the other side.
fn connect(root: &Path) -> Result<()> {
    process::ip("link set lo up")?;
    wait::until("the new system's network", NETWORK_LIMIT, || {
        let routes = process::ip("route show default").unwrap_or_default();
        routes.contains(network::INTERFACE).then_some(())
    })?;
    let name_server = format!("nameserver {}\n", network::NAME_SERVER);
    fs::write(root.join("etc/resolv.conf"), name_server)?;
    fs::write(
        root.join("etc/hosts"),
        "127.0.0.1 localhost fresh\n::1 localhost\n",
    )?;
    fs::write(root.join("etc/hostname"), "fresh\n")?;
    fs::write("/proc/sys/kernel/hostname", "fresh")?;
    Ok(())
}

/// The new system takes the place of this machine's, which is gone for all that follows.
fn enter(root: &Path) -> Result<()> {
    let old = PathBuf::from("mnt");
    std::env::set_current_dir(root)?;
    process::run(Command::new("pivot_root").arg(".").arg(&old))?;
    std::env::set_current_dir("/")?;
    process::run(Command::new("umount").args(["--lazy", "/mnt"]))?;
    Ok(())
}

/// Gives the user what was put into its home.
pub(super) fn give_to_user(root: &Path) -> Result<()> {
    let owner = format!("{USER}:{USER}");
    let mut command = Command::new("chroot");
    command
        .arg(root)
        .args(["chown", "--recursive", "--no-dereference", &owner, HOME]);
    process::run(&mut command)?;
    Ok(())
}

fn report(rows: &[Row]) -> Result<()> {
    println!("\nA new user on a bare Debian 12:");
    for row in rows {
        let outcome = &row.outcome;
        let (silence, before) = &outcome.silence;
        let end = if outcome.success { "" } else { "   FAILED" };
        println!("\n  {}{end}", row.command);
        println!(
            "    took {} s; its programs had {} s of processors",
            outcome.took.as_secs(),
            row.processor_time.as_secs()
        );
        println!("    installed: {}", row.installed);
        println!(
            "    longest silence: {:.1} s, after {before:?}",
            silence.as_secs_f64()
        );
    }
    let failed = rows.iter().find(|row| !row.outcome.success);
    if let Some(row) = failed {
        bail!("a new user cannot pass `{}`", row.command);
    }
    check_lists(rows)?;
    let last = rows.last().context("nothing was typed")?;
    let repeated = rows
        .iter()
        .filter(|row| row.command == last.command)
        .count()
        > 1;
    ensure!(
        !repeated || last.installed == "nothing",
        "the second run installed {}",
        last.installed
    );
    println!("\nBoth commands pass on a new machine, and leave nothing to install.");
    Ok(())
}

/// What was done about stale lists is what was to be shown.
fn check_lists(rows: &[Row]) -> Result<()> {
    let said = |part: &str, words: &str| {
        let mut of_it = rows.iter().filter(|row| row.command.contains(part));
        of_it
            .next()
            .is_none_or(|row| row.outcome.text.contains(words))
    };
    ensure!(
        said(
            SPOILT[0].0,
            "Package lists are fetched: those that are here are 30 days old"
        ),
        "lists that are a month old were not fetched anew"
    );
    ensure!(
        said(SPOILT[1].0, "404")
            && said(SPOILT[1].0, "Package lists are fetched: an install failed"),
        "lists that name what is gone were not met"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_children_is_read_whatever_the_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 9 8 0 0 1 2 300 45 20 0 1 0 99 0 0\n";
        assert_eq!(of_children(stat), Some(Duration::from_millis(3450)));
        assert_eq!(of_children(""), None);
    }
}
