//! The network namespace of a test.

use std::{fs, process::Command};

pub(super) fn enter_new_namespace() {
    // SAFETY: changes the namespace of this thread only.
    let result = unsafe { libc::unshare(libc::CLONE_NEWNET) };
    assert_eq!(
        result,
        0,
        "the verdict ring makes network namespaces and loads eBPF, so run it as root: {}",
        std::io::Error::last_os_error()
    );
}

/// Makes the loopback device, at which tests let frames arrive, the LAN of 10.1.0.0/16, beside a TUN whose index it
/// returns: `lan_ingress` asks the kernel's routing for the sources of IPv4.
pub(crate) fn lay_lan() -> u32 {
    fs::write("/proc/sys/net/ipv4/ip_forward", "1").expect("the sysctl is writable");
    for command in [
        "link set lo up",
        "tuntap add dev tun0 mode tun",
        "link set tun0 up",
        "route add 10.1.0.0/16 dev lo",
    ] {
        ip(command);
    }
    ifindex("tun0")
}

/// Runs `ip` in the test's namespace.
pub(crate) fn ip(arguments: &str) {
    run_tool("ip", arguments);
}

pub(super) fn run_tool(program: &str, arguments: &str) {
    let output = Command::new(program)
        .args(arguments.split_whitespace())
        .output()
        .unwrap_or_else(|error| panic!("the command {program} does not run: {error}"));
    assert!(
        output.status.success(),
        "{program} {arguments}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The index of an interface of the test's namespace.
pub(crate) fn ifindex(name: &str) -> u32 {
    let name = std::ffi::CString::new(name).unwrap();
    // SAFETY: a C string.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    assert_ne!(index, 0, "no interface {name:?}");
    index
}
