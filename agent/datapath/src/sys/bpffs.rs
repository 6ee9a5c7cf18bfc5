//! The BPF file system, where maps and links outlive the agent.

use std::io;

use nix::mount::MsFlags;
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

/// Where it is mounted on every distribution.
pub(crate) const ROOT: &str = "/sys/fs/bpf";

/// Whether a BPF file system is mounted at [`ROOT`].
pub(crate) fn is_mounted() -> io::Result<bool> {
    Ok(statfs(ROOT)?.filesystem_type() == BPF_FS_MAGIC)
}

/// Mounts it at [`ROOT`], for root alone: with the kernel's own mode every user could make folders there.
pub(crate) fn mount() -> io::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    nix::mount::mount(Some("bpf"), ROOT, Some("bpf"), flags, Some("mode=0700"))?;
    Ok(())
}
