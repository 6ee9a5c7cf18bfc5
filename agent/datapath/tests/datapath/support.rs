//! A place of its own for each test: network and mount namespace, so that no interface, pin or
//! mount meets another test or the host. All of it goes with the test's thread.

use std::ffi::CStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use aya::maps::{Map, MapData, MapError, MapInfo};
use aya::programs::links::{FdLink, PinnedLink};
use crossway_datapath::{Datapath, Holder, TcAttach};
use crossway_types::interface::{Lan, Wan, XdpChoice};
use datapath_abi::maps::DEFAULT_FLOWS;

const ROOT: &str = "/sys/fs/bpf";

/// Loads with as many flows as the configuration has by itself, also beside another of this process.
pub(crate) fn load_datapath(gateway: &str, tc: TcAttach) -> Result<Datapath> {
    Datapath::load_for(gateway, Holder::Successor, tc, DEFAULT_FLOWS)
}

/// Moves the calling thread into namespaces of its own, without a BPF file system.
pub(crate) fn enter_sandbox() {
    // SAFETY: asks for a number only.
    let user = unsafe { libc::geteuid() };
    assert_eq!(
        user, 0,
        "these tests load eBPF programs and make network namespaces: run them as root"
    );
    // SAFETY: only the calling thread changes its namespaces.
    let result = unsafe { libc::unshare(libc::CLONE_NEWNET | libc::CLONE_NEWNS) };
    assert_eq!(result, 0, "unshare: {}", io::Error::last_os_error());
    mount_private(c"/");
    while is_bpffs() {
        // SAFETY: the path ends in a zero byte.
        let result = unsafe { libc::umount2(c"/sys/fs/bpf".as_ptr(), libc::MNT_DETACH) };
        assert_eq!(result, 0, "unmount: {}", io::Error::last_os_error());
    }
    ip("link set lo up");
}

fn mount_private(path: &CStr) {
    let (nothing, flags) = (std::ptr::null(), libc::MS_REC | libc::MS_PRIVATE);
    // SAFETY: the path ends in a zero byte; a change of propagation reads nothing else.
    let result = unsafe { libc::mount(nothing, path.as_ptr(), nothing, flags, std::ptr::null()) };
    assert_eq!(result, 0, "mount: {}", io::Error::last_os_error());
}

/// Whether a BPF file system is mounted, as the kernel lists it.
pub(crate) fn is_bpffs() -> bool {
    fs::read_to_string("/proc/thread-self/mounts")
        .unwrap()
        .lines()
        .any(|line| line.split(' ').nth(1) == Some(ROOT))
}

/// Whether any gateway has left a pin or a directory.
pub(crate) fn any_pins() -> bool {
    Path::new(ROOT).join("crossway").exists()
}

/// Runs `ip` in the thread's network namespace and returns what it says.
pub(crate) fn ip(arguments: &str) -> String {
    run("ip", arguments)
}

/// Runs `tc` in the thread's network namespace and returns what it says.
pub(crate) fn tc(arguments: &str) -> String {
    run("tc", arguments)
}

fn run(program: &str, arguments: &str) -> String {
    let output = Command::new(program)
        .args(arguments.split_whitespace())
        .output()
        .unwrap_or_else(|error| panic!("{program} (package iproute2): {error}"));
    assert!(
        output.status.success(),
        "{program} {arguments}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// A veth pair, both ends up.
pub(crate) fn veth(name: &str, peer: &str) {
    ip(&format!("link add {name} type veth peer name {peer}"));
    ip(&format!("link set {name} up"));
    ip(&format!("link set {peer} up"));
}

/// A TUN device.
pub(crate) fn tun(name: &str) {
    ip(&format!("tuntap add mode tun name {name}"));
    ip(&format!("link set {name} up"));
}

pub(crate) fn lan(interface: &str) -> Lan {
    Lan {
        interface: interface.to_owned(),
        vnet: "default".to_owned(),
        xdp: XdpChoice::Auto,
        maps: Vec::new(),
    }
}

pub(crate) fn wan(interface: &str, xdp: XdpChoice) -> Wan {
    Wan {
        interface: interface.to_owned(),
        xdp,
    }
}

/// A pinned map, opened as another program would.
pub(crate) fn pinned<T: TryFrom<Map, Error = MapError>>(datapath: &Datapath, name: &str) -> T {
    let data = MapData::from_pin(datapath.pin_directory().join(name)).unwrap();
    T::try_from(Map::from_map_data(data).unwrap()).unwrap()
}

/// Bytes of kernel memory that a pinned map takes, as the kernel accounts for them.
pub(crate) fn kernel_memory(directory: &Path, name: &str) -> u64 {
    let map = MapData::from_pin(directory.join(name)).unwrap();
    let fd = map.fd().as_fd().as_raw_fd();
    let info = fs::read_to_string(format!("/proc/thread-self/fdinfo/{fd}")).unwrap();
    let memory = info.lines().find_map(|line| line.strip_prefix("memlock:"));
    memory.unwrap().trim().parse().unwrap()
}

pub(crate) fn map_id(directory: &Path, name: &str) -> u32 {
    MapInfo::from_pin(directory.join(name)).unwrap().id()
}

/// Names of the pinned links, sorted.
pub(crate) fn link_names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(directory.join("links"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The pin whose name begins with `program`.
pub(crate) fn link_of(directory: &Path, program: &str) -> PathBuf {
    let name = link_names(directory)
        .into_iter()
        .find(|name| name.starts_with(program))
        .unwrap_or_else(|| panic!("no link of {program}"));
    directory.join("links").join(name)
}

/// Id of a pinned link and of the program that it runs.
pub(crate) fn link_and_program(path: &Path) -> (u32, u32) {
    let link = FdLink::from(PinnedLink::from_pin(path).unwrap());
    let info = link.info().unwrap();
    (info.id(), info.program_id())
}
