//! prctl(2), setrlimit(2) and umask(2).

use std::io;

use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};
use nix::sys::stat::{Mode, umask};

/// The mode bits that files made from now on lack.
pub(super) fn set_umask(mask: libc::mode_t) {
    umask(Mode::from_bits_truncate(mask));
}

/// No program that this thread or its descendants run has more rights than they.
pub(super) fn refuse_new_privileges() -> io::Result<()> {
    Ok(prctl::set_no_new_privs()?)
}

/// Without CAP_SYS_PTRACE nobody attaches to this process or reads its memory, and it leaves no core.
pub(super) fn set_undumpable() -> io::Result<()> {
    Ok(prctl::set_dumpable(false)?)
}

/// Whether a core or a debugger of our own user may have our memory.
pub(super) fn is_dumpable() -> bool {
    prctl::get_dumpable().unwrap_or(true)
}

/// Names the calling thread, or the process if it is the only one. The kernel takes the first 15 bytes.
pub(super) fn set_name(name: &std::ffi::CStr) {
    // It takes any name.
    let _ = prctl::set_name(name);
}

/// No core file, whatever becomes of the flag that says so.
pub(super) fn forbid_core_files() -> io::Result<()> {
    Ok(setrlimit(Resource::RLIMIT_CORE, 0, 0)?)
}

/// 20 less the nice value, which is -20 at least (getrlimit(2)).
const ANY_NICE: rlim_t = 40;

/// Threads may raise their priority without CAP_SYS_NICE: that of VRRP, and those of a hand-over.
pub(super) fn allow_any_nice() -> io::Result<()> {
    Ok(setrlimit(Resource::RLIMIT_NICE, ANY_NICE, ANY_NICE)?)
}

/// Whether [`allow_any_nice`] succeeded, or whoever started us has done the same.
pub(super) fn is_any_nice_allowed() -> bool {
    getrlimit(Resource::RLIMIT_NICE).is_ok_and(|(limit, _)| limit >= ANY_NICE)
}
