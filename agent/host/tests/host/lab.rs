//! A network namespace for one test, and what tests look at in it.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crossway_sys::clock;

/// Long enough for anything that works.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Runs `test` on a thread in a network namespace of its own, with loopback up.
pub(crate) fn in_namespace<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    let thread = std::thread::spawn(move || {
        enter_new_namespace();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(test());
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Moves this thread, and the processes it starts, into a fresh network namespace.
pub(crate) fn enter_new_namespace() {
    // SAFETY: no pointers; the thread has no descriptor or memory that the call could pull away.
    let answer = unsafe { libc::unshare(libc::CLONE_NEWNET) };
    let error = io::Error::last_os_error();
    assert_eq!(answer, 0, "unshare: {error}; these tests need root");
    ip("link set lo up");
}

/// The LAN (10.1.0.1/24, 2001:db8:1::1/64) and the WAN (198.51.100.2/24 with a default route) of a
/// gateway. The other ends of the two cables are in the same namespace and have no addresses.
pub(crate) fn gateway() {
    // Duplicate address detection takes a second for each address.
    set_sysctl("ipv6/conf/all/accept_dad", "0");
    set_sysctl("ipv6/conf/default/accept_dad", "0");
    for line in [
        "link add lan type veth peer name lan-far",
        "link add wan type veth peer name wan-far",
        "link set lan up",
        "link set lan-far up",
        "link set wan up",
        "link set wan-far up",
        "addr add 10.1.0.1/24 dev lan",
        "-6 addr add 2001:db8:1::1/64 dev lan nodad",
        "addr add 198.51.100.2/24 dev wan",
        "route add default via 198.51.100.1",
    ] {
        ip(line);
    }
    wait_until("duplicate address detection is done", || {
        !ip("-6 addr show tentative").contains("inet6")
    });
}

/// Runs `ip` with these arguments and gives its output.
pub(crate) fn ip(arguments: &str) -> String {
    run("ip", arguments)
}

/// As [`ip`], for what may be refused: what it said either way.
pub(crate) fn try_ip(arguments: &str) -> String {
    let output = Command::new("ip")
        .args(arguments.split_whitespace())
        .output();
    let output = output.expect("ip runs");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

pub(crate) fn run(program: &str, arguments: &str) -> String {
    let output = Command::new(program)
        .args(arguments.split_whitespace())
        .output()
        .unwrap_or_else(|error| panic!("{program} {arguments}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// The value of a sysctl in `/proc/sys/net`.
pub(crate) fn sysctl(path: &str) -> String {
    let path = Path::new("/proc/sys/net").join(path);
    let value = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    value.trim_end().to_owned()
}

/// Sets a sysctl in `/proc/sys/net`.
pub(crate) fn set_sysctl(path: &str, value: &str) {
    fs::write(Path::new("/proc/sys/net").join(path), value).unwrap();
}

/// All that a clean stop must leave as it was, line by line. Lifetimes that count down are masked.
pub(crate) fn snapshot() -> Vec<String> {
    let mut lines = Vec::new();
    for (program, arguments) in [
        ("ip", "-d link"),
        ("ip", "addr"),
        ("ip", "route show table all"),
        ("ip", "-6 route show table all"),
        ("ip", "rule"),
        ("ip", "-6 rule"),
        ("tc", "qdisc"),
        ("ethtool", "-k lan"),
        ("ethtool", "-k wan"),
    ] {
        let output = run(program, arguments);
        lines.extend(
            output
                .lines()
                .map(|line| format!("{program} {arguments}: {}", mask(line))),
        );
    }
    let net = Path::new("/proc/sys/net");
    for root in ["ipv4/conf", "ipv6/conf", "ipv4/ip_forward"] {
        dump(&net.join(root), &mut lines);
    }
    lines
}

/// Fails with the lines that differ.
pub(crate) fn assert_same(before: &[String], after: &[String]) {
    let missing = |from: &[String], other: &[String]| {
        let lines = from.iter().filter(|line| !other.contains(line));
        lines.cloned().collect::<Vec<_>>().join("\n")
    };
    assert!(
        before == after,
        "gone:\n{}\nnew:\n{}\n(neither: another order)",
        missing(before, after),
        missing(after, before)
    );
}

fn mask(line: &str) -> String {
    let words = line.split(' ').map(|word| {
        let number = word.strip_suffix("sec").map(str::parse::<u64>);
        if matches!(number, Some(Ok(_))) {
            "~"
        } else {
            word
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

fn dump(path: &Path, lines: &mut Vec<String>) {
    if path.is_dir() {
        let mut entries: Vec<_> = fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        entries.sort();
        for entry in entries {
            dump(&entry, lines);
        }
    } else {
        // An unset stable_secret cannot be read.
        let value = fs::read_to_string(path).unwrap_or_else(|error| error.to_string());
        lines.push(format!("{}: {value}", path.display()));
    }
}

/// Waits until `condition` holds; fails after [`PATIENCE`].
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = clock::now() + PATIENCE;
    while !condition() {
        assert!(clock::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A path for a state file, in a fresh directory below the build's own.
pub(crate) fn state_path() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("host-{number}"));
    // Of an earlier run; mostly there is none.
    let _ = fs::remove_dir_all(&directory);
    directory.join("a.state.json")
}

/// A TUN held open by the test, which is thereby the far side of the tunnel.
pub(crate) struct Tun(File);

impl Tun {
    /// Creates or opens the persistent TUN called `name`.
    pub(crate) fn open(name: &str) -> Self {
        let file = File::options()
            .read(true)
            .write(true)
            .open("/dev/net/tun")
            .unwrap();
        let mut request = [0u8; size_of::<libc::ifreq>()];
        request[..name.len()].copy_from_slice(name.as_bytes());
        let flags = (libc::IFF_TUN | libc::IFF_NO_PI) as u16;
        request[libc::IFNAMSIZ..libc::IFNAMSIZ + 2].copy_from_slice(&flags.to_ne_bytes());
        // SAFETY: the descriptor is open and `request` is as large as the ifreq that TUNSETIFF
        // reads and writes; the other calls take an integer.
        unsafe {
            let fd = file.as_raw_fd();
            let answer = libc::ioctl(fd, libc::TUNSETIFF, request.as_mut_ptr());
            assert_eq!(answer, 0, "TUNSETIFF: {}", io::Error::last_os_error());
            assert_eq!(libc::ioctl(fd, libc::TUNSETPERSIST, 1), 0);
            let flags = libc::fcntl(fd, libc::F_GETFL);
            assert_eq!(libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK), 0);
        }
        Self(file)
    }

    /// A packet from the far side.
    pub(crate) fn send(&self, packet: &[u8]) {
        use std::io::Write;
        (&self.0).write_all(packet).unwrap();
    }

    /// Packets for the far side up to the first that `last` accepts, that one included.
    pub(crate) fn receive_until(&self, last: impl Fn(&[u8]) -> bool) -> Vec<Vec<u8>> {
        let mut packets: Vec<Vec<u8>> = Vec::new();
        wait_until("the packet comes out of the TUN", || {
            let mut buffer = [0; 2048];
            match (&self.0).read(&mut buffer) {
                Ok(length) => packets.push(buffer[..length].to_vec()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => panic!("reading the TUN: {error}"),
            }
            packets.last().is_some_and(|packet| last(packet))
        });
        packets
    }
}
