//! Pinned BPF links.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Commands of bpf(2), from `enum bpf_cmd` of linux/bpf.h.
const BPF_OBJ_GET: libc::c_long = 7;
const BPF_LINK_DETACH: libc::c_long = 34;

/// `union bpf_attr` as `BPF_OBJ_GET` reads it.
#[repr(C)]
struct ObjectAttributes {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

/// `union bpf_attr` as `BPF_LINK_DETACH` reads it (kernel 5.9).
#[repr(C)]
struct DetachAttributes {
    link_fd: u32,
}

/// Detaches the program of the link pinned at `path`, before this returns. Removing the pin alone
/// would detach it some milliseconds later, and a new XDP program would find the interface busy.
pub(crate) fn detach_pinned(path: &Path) -> io::Result<()> {
    let link = open(path)?;
    let attributes = DetachAttributes {
        link_fd: link.as_raw_fd() as u32,
    };
    // SAFETY: the attributes are those of this command, valid for the whole call, and their size
    // is passed along; the command only reads them.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_LINK_DETACH,
            &raw const attributes,
            size_of::<DetachAttributes>(),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// The link that is pinned at `path`.
pub(crate) fn open(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let attributes = ObjectAttributes {
        pathname: path.as_ptr() as u64,
        bpf_fd: 0,
        file_flags: 0,
    };
    // SAFETY: the attributes are those of this command; they and the path, which ends in a zero
    // byte, are valid for the whole call; the command only reads them.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_OBJ_GET,
            &raw const attributes,
            size_of::<ObjectAttributes>(),
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just returned this descriptor, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}
