//! What the kernel says about a network interface, in the network namespace of the calling thread.

pub mod feature;

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// From linux/ethtool.h.
const ETHTOOL_GDRVINFO: u32 = 3;
const ETHTOOL_GTSO: u32 = 0x1e;

/// A structure of linux/ethtool.h that SIOCETHTOOL takes: its first word is the command, and the
/// kernel reads and writes no more than the structure's length for what the structure says.
///
/// # Safety
/// The type holds only integers, and is as long as its command with its counts makes the kernel write.
unsafe trait Command {}

// SAFETY: linux/ethtool.h, fixed lengths.
unsafe impl Command for Value {}
// SAFETY: linux/ethtool.h, fixed lengths.
unsafe impl Command for DriverInfo {}

/// `struct ethtool_value` of linux/ethtool.h.
#[repr(C)]
struct Value {
    cmd: u32,
    data: u32,
}

/// `struct ethtool_drvinfo` of linux/ethtool.h.
#[repr(C)]
struct DriverInfo {
    cmd: u32,
    driver: [u8; 32],
    version: [u8; 32],
    firmware_version: [u8; 32],
    bus_info: [u8; 32],
    erom_version: [u8; 32],
    reserved: [u8; 12],
    counts: [u32; 5],
}

/// The index of the interface `name`.
pub fn index(name: &str) -> io::Result<u32> {
    let name = CString::new(name)?;
    // SAFETY: the name ends in a zero byte.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    if index == 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(index)
}

/// The present name of the interface `index`.
pub fn name(index: u32) -> io::Result<String> {
    let mut name = [0_u8; libc::IF_NAMESIZE];
    // SAFETY: the buffer has the length that the function asks for.
    let result = unsafe { libc::if_indextoname(index, name.as_mut_ptr().cast()) };
    if result.is_null() {
        return Err(io::Error::last_os_error());
    }
    Ok(text(&name))
}

/// The names of all interfaces.
pub fn names() -> io::Result<Vec<String>> {
    let names = nix::net::if_::if_nameindex()?;
    let names = names.iter().map(|one| one.name().to_string_lossy());
    Ok(names.map(std::borrow::Cow::into_owned).collect())
}

/// The ARPHRD type of its link-layer addresses (`ARPHRD_ETHER` is 1).
pub fn hardware_type(name: &str) -> io::Result<u16> {
    let mut request = request(name)?;
    control(libc::SIOCGIFHWADDR, &mut request)?;
    // SAFETY: SIOCGIFHWADDR fills this member of the union.
    Ok(unsafe { request.ifr_ifru.ifru_hwaddr.sa_family })
}

/// The name of its driver.
pub fn driver(name: &str) -> io::Result<String> {
    // SAFETY: `DriverInfo` is made of integers, for which zero is a valid value.
    let mut info: DriverInfo = unsafe { std::mem::zeroed() };
    info.cmd = ETHTOOL_GDRVINFO;
    ethtool(name, &mut info)?;
    Ok(text(&info.driver))
}

/// Whether the device cuts TCP super-packets into segments itself.
pub fn segments_tcp(name: &str) -> io::Result<bool> {
    let mut value = Value {
        cmd: ETHTOOL_GTSO,
        data: 0,
    };
    ethtool(name, &mut value)?;
    Ok(value.data != 0)
}

fn ethtool(name: &str, command: &mut impl Command) -> io::Result<()> {
    let mut request = request(name)?;
    request.ifr_ifru.ifru_data = (&raw mut *command).cast();
    control(libc::SIOCETHTOOL, &mut request)
}

fn request(name: &str) -> io::Result<libc::ifreq> {
    // SAFETY: `ifreq` is made of integers and a pointer, for which zero is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // One byte less: the name ends in a zero byte.
    if name.len() >= request.ifr_name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    Ok(request)
}

fn control(command: libc::Ioctl, request: &mut libc::ifreq) -> io::Result<()> {
    // SAFETY: the arguments are plain numbers.
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if socket < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just returned this descriptor, so nobody else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    // SAFETY: both commands of this file take an `ifreq`, which is writable for the whole call, and
    // so is the `Command` that SIOCETHTOOL's points to.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), command, &raw mut *request) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// The text up to the first zero byte.
fn text(bytes: &[u8]) -> String {
    CStr::from_bytes_until_nul(bytes)
        .map(|text| text.to_string_lossy().into_owned())
        .unwrap_or_default()
}

const _: () = assert!(size_of::<DriverInfo>() == 196);
