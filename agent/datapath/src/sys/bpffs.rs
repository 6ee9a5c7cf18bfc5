//! The BPF file system, where maps and links outlive the agent.

use std::ffi::CStr;
use std::io;

/// Where it is mounted on every distribution.
pub(crate) const ROOT: &str = "/sys/fs/bpf";
const ROOT_C: &CStr = c"/sys/fs/bpf";

/// `BPF_FS_MAGIC` of linux/magic.h.
const BPF_FS_MAGIC: u32 = 0xcafe_4a11;

/// Whether a BPF file system is mounted at [`ROOT`].
pub(crate) fn is_mounted() -> io::Result<bool> {
    // SAFETY: `statfs` is made of integers, for which zero is a valid value.
    let mut info: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the path ends in a zero byte and `info` is writable for the whole call.
    let result = unsafe { libc::statfs(ROOT_C.as_ptr(), &raw mut info) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(info.f_type as u32 == BPF_FS_MAGIC)
}

/// Mounts it at [`ROOT`].
pub(crate) fn mount() -> io::Result<()> {
    // SAFETY: all strings end in a zero byte, and the file system takes no data.
    let result = unsafe {
        libc::mount(
            c"bpf".as_ptr(),
            ROOT_C.as_ptr(),
            c"bpf".as_ptr(),
            libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC,
            std::ptr::null(),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
