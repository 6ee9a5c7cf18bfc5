//! Network namespaces as guards.
//!
//! Only the network namespace is changed, not the mount namespace as `ip netns exec` does, so pins
//! under `/sys/fs/bpf` and sockets under `/run` are the same inside and outside.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use anyhow::{Context, Result};

use crate::process::{self, ProcessGuard};
use crate::sys;

/// Where `ip netns` keeps the named namespaces.
pub const NETNS_DIR: &str = "/run/netns";

/// A prefix for names that no other test uses at the same time: `cw`, this process's id, a number.
pub fn unique_prefix() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("cw{}-{number}", std::process::id())
}

/// A named network namespace, removed on drop together with the processes in it.
#[derive(Debug)]
pub struct Netns {
    name: String,
}

impl Netns {
    /// Creates the namespace with loopback up, forwarding off, no duplicate address detection (its
    /// second of waiting hides races) and no limit on the rate of ICMP errors (traceroute would meet it).
    pub fn create(name: &str) -> Result<Self> {
        process::ip(&format!("netns add {name}"))?;
        let netns = Self {
            name: name.to_owned(),
        };
        for (key, value) in [
            ("net/ipv4/ip_forward", "0"),
            ("net/ipv4/icmp_ratelimit", "0"),
            ("net/ipv6/icmp/ratelimit", "0"),
            ("net/ipv6/conf/all/accept_dad", "0"),
            ("net/ipv6/conf/default/accept_dad", "0"),
            ("net/ipv6/conf/default/router_solicitations", "0"),
        ] {
            netns.set_sysctl(key, value)?;
        }
        process::ip(&format!("-n {name} link set lo up"))?;
        Ok(netns)
    }

    /// Its name, as `ip netns` knows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that stands for it.
    pub fn path(&self) -> PathBuf {
        Path::new(NETNS_DIR).join(&self.name)
    }

    /// A command that will run inside.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={}", self.path().display()))
            .arg(program);
        command
    }

    /// Runs a command line of words separated by blanks inside, to its end; see [`process::run`].
    pub fn run(&self, line: &str) -> Result<String> {
        let mut words = line.split_whitespace();
        let program = words.next().context("an empty command line")?;
        process::run(self.command(program).args(words))
    }

    /// Runs `ip` on this namespace, such as `link set eth0 up`.
    pub fn ip(&self, words: &str) -> Result<String> {
        process::ip(&format!("-n {} {words}", self.name))
    }

    /// Starts a process that is inside from its first moment and lives until its guard is dropped;
    /// output goes to `log`.
    pub fn spawn(
        &self,
        name: &str,
        program: &str,
        args: &[&str],
        log: &Path,
    ) -> Result<ProcessGuard> {
        self.enter(|| ProcessGuard::spawn(name, Command::new(program).args(args), log))?
    }

    /// Runs `work` on a thread inside. Sockets that it opens and returns stay in this namespace and
    /// can be used from any thread. A panic in `work` goes on in the caller.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let path = self.path();
        let namespace =
            File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        let outcome = thread::scope(|scope| {
            scope
                .spawn(|| sys::enter_network_namespace(&namespace).map(|()| work()))
                .join()
        });
        match outcome {
            Ok(result) => result.with_context(|| format!("cannot enter {}", path.display())),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// Writes a sysctl inside; the key has slashes and lacks `/proc/sys/`.
    pub fn set_sysctl(&self, key: &str, value: &str) -> Result<()> {
        let path = Path::new("/proc/sys").join(key);
        self.enter(|| fs::write(&path, value))?.with_context(|| {
            format!(
                "cannot write {value} to {} in {}",
                path.display(),
                self.name
            )
        })
    }

    /// Reads a sysctl inside; the key has slashes and lacks `/proc/sys/`.
    pub fn sysctl(&self, key: &str) -> Result<String> {
        let path = Path::new("/proc/sys").join(key);
        let text = self
            .enter(|| fs::read_to_string(&path))?
            .with_context(|| format!("cannot read {} in {}", path.display(), self.name))?;
        Ok(text.trim().to_owned())
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.name) {
            eprintln!("namespace {} stays behind: {error:#}", self.name);
        }
    }
}

/// Kills the processes in a named namespace, one by one, and removes its name.
pub fn remove(name: &str) -> Result<()> {
    for pid in processes_in(name) {
        // It may be gone by now.
        let _ = sys::kill(pid);
    }
    process::ip(&format!("netns delete {name}"))?;
    Ok(())
}

/// Names of all namespaces that `ip netns` knows.
pub fn list() -> Vec<String> {
    let Ok(entries) = fs::read_dir(NETNS_DIR) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Processes whose main thread is in the named namespace; never this process.
pub fn processes_in(name: &str) -> Vec<u32> {
    let Ok(wanted) = fs::metadata(Path::new(NETNS_DIR).join(name)) else {
        return Vec::new();
    };
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != std::process::id())
        .filter(|pid| {
            fs::metadata(format!("/proc/{pid}/ns/net"))
                .is_ok_and(|found| (found.dev(), found.ino()) == (wanted.dev(), wanted.ino()))
        })
        .collect()
}
