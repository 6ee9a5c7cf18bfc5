//! prctl(2), setrlimit(2) and umask(2).

use std::io;

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// The mode bits that files made from now on lack.
pub(super) fn set_umask(mask: libc::mode_t) {
    // SAFETY: the call takes no pointer and always succeeds.
    unsafe { libc::umask(mask) };
}

/// No program that this thread or its descendants run has more rights than they.
pub(super) fn refuse_new_privileges() -> io::Result<()> {
    // SAFETY: the call takes no pointer.
    check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })
}

/// Without CAP_SYS_PTRACE nobody attaches to this process or reads its memory, and it leaves no core.
pub(super) fn set_undumpable() -> io::Result<()> {
    // SAFETY: the call takes no pointer.
    check(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) })
}

/// Whether a core or a debugger of our own user may have our memory.
pub(super) fn is_dumpable() -> bool {
    // SAFETY: the call takes no pointer.
    unsafe { libc::prctl(libc::PR_GET_DUMPABLE, 0, 0, 0, 0) != 0 }
}

/// Names the calling thread, or the process if it is the only one.
pub(super) fn set_name(name: &std::ffi::CStr) {
    // SAFETY: the name ends in a zero byte; of more than 15 bytes the kernel takes the first.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}

/// No core file, whatever becomes of the flag that says so.
pub(super) fn forbid_core_files() -> io::Result<()> {
    set_limit(libc::RLIMIT_CORE, 0)
}

/// 20 less the nice value, which is -20 at least (getrlimit(2)).
const ANY_NICE: libc::rlim_t = 40;

/// Threads may raise their priority without CAP_SYS_NICE: that of VRRP, and those of a hand-over.
pub(super) fn allow_any_nice() -> io::Result<()> {
    set_limit(libc::RLIMIT_NICE, ANY_NICE)
}

/// Whether [`allow_any_nice`] succeeded, or whoever started us has done the same.
pub(super) fn is_any_nice_allowed() -> bool {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is writable for the whole call.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_NICE, &raw mut limit) };
    result == 0 && limit.rlim_cur >= ANY_NICE
}

#[cfg(target_env = "gnu")]
type Resource = libc::__rlimit_resource_t;
#[cfg(not(target_env = "gnu"))]
type Resource = libc::c_int;

fn set_limit(resource: Resource, value: libc::rlim_t) -> io::Result<()> {
    let limit = libc::rlimit {
        rlim_cur: value,
        rlim_max: value,
    };
    // SAFETY: `limit` is a valid rlimit for the whole call.
    check(unsafe { libc::setrlimit(resource, &raw const limit) })
}
