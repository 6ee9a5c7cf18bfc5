//! The system calls that the agent goes on with once the gateway forwards (seccomp(2)), on all its threads.
//!
//! What is not on the list answers ENOSYS, as on a kernel that does not have it, and is logged by the kernel
//! (`audit: type=1326`). Not EPERM: the C library and Rust's fall back on ENOSYS when they try a call that is
//! newer than this list. Not a kill: a resolver module of the host that wants one call more would stop a site.
//!
//! No program is run any more, no namespace entered, nothing mounted, no eBPF program loaded, no memory made
//! both writable and executable.

use std::collections::BTreeMap;
use std::io;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

/// Calls that are allowed whatever their arguments. Kernels since 5.11 decide about these by one bit, without
/// running the filter.
#[rustfmt::skip]
const ALLOWED: &[libc::c_long] = &[
    // Traffic.
    libc::SYS_sendmsg, libc::SYS_recvmsg, libc::SYS_sendmmsg, libc::SYS_recvmmsg, libc::SYS_sendto,
    libc::SYS_recvfrom, libc::SYS_read, libc::SYS_write, libc::SYS_readv, libc::SYS_writev, libc::SYS_ppoll,
    // Sockets.
    libc::SYS_accept4, libc::SYS_bind, libc::SYS_connect, libc::SYS_getpeername, libc::SYS_getsockname,
    libc::SYS_getsockopt, libc::SYS_listen, libc::SYS_setsockopt, libc::SYS_shutdown, libc::SYS_socketpair,
    // Waiting.
    libc::SYS_epoll_create1, libc::SYS_epoll_ctl, libc::SYS_epoll_pwait, libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2, libc::SYS_futex, libc::SYS_pselect6, libc::SYS_restart_syscall, libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime, libc::SYS_wait4, libc::SYS_waitid,
    // Files: keys, the configuration, sysctls, the state, pins. SQLite gives its journal to the owner of the database.
    libc::SYS_chdir, libc::SYS_close, libc::SYS_close_range, libc::SYS_dup, libc::SYS_dup3, libc::SYS_faccessat,
    libc::SYS_faccessat2, libc::SYS_fchmod, libc::SYS_fchmodat, libc::SYS_fchown, libc::SYS_fcntl, libc::SYS_fdatasync,
    libc::SYS_flock, libc::SYS_fstat, libc::SYS_fstatfs, libc::SYS_fsync, libc::SYS_ftruncate,
    libc::SYS_getcwd, libc::SYS_getdents64, libc::SYS_ioctl, libc::SYS_lseek, libc::SYS_mkdirat,
    libc::SYS_newfstatat, libc::SYS_openat, libc::SYS_openat2, libc::SYS_pipe2, libc::SYS_pread64,
    libc::SYS_pwrite64, libc::SYS_readlinkat, libc::SYS_renameat, libc::SYS_renameat2, libc::SYS_statfs,
    libc::SYS_statx, libc::SYS_umask, libc::SYS_unlinkat,
    // Memory, but for what may be executed.
    libc::SYS_brk, libc::SYS_madvise, libc::SYS_membarrier, libc::SYS_mremap, libc::SYS_munmap,
    // Threads, of which clone3 is left to the filter behind this one. Capabilities can only be given up.
    libc::SYS_capget, libc::SYS_capset, libc::SYS_clone3, libc::SYS_exit, libc::SYS_exit_group,
    libc::SYS_get_robust_list, libc::SYS_getpriority, libc::SYS_gettid, libc::SYS_prlimit64, libc::SYS_rseq,
    libc::SYS_rt_sigaction, libc::SYS_rt_sigprocmask, libc::SYS_rt_sigreturn, libc::SYS_rt_sigtimedwait,
    libc::SYS_sched_getaffinity, libc::SYS_sched_setaffinity, libc::SYS_sched_yield,
    libc::SYS_set_robust_list, libc::SYS_set_tid_address, libc::SYS_setpriority, libc::SYS_sigaltstack,
    libc::SYS_tgkill,
    // The clock, randomness, and who and where we are.
    libc::SYS_clock_getres, libc::SYS_clock_gettime, libc::SYS_clock_nanosleep, libc::SYS_getegid,
    libc::SYS_geteuid, libc::SYS_getgid, libc::SYS_getpid, libc::SYS_getppid, libc::SYS_getrandom,
    libc::SYS_getresgid, libc::SYS_getresuid, libc::SYS_getuid, libc::SYS_gettimeofday, libc::SYS_nanosleep,
    libc::SYS_sysinfo, libc::SYS_uname,
];

/// Older forms of the same, which newer machines do not have.
#[rustfmt::skip]
#[cfg(target_arch = "x86_64")]
const ALLOWED_OF_OLD: &[libc::c_long] = &[
    libc::SYS_access, libc::SYS_arch_prctl, libc::SYS_dup2, libc::SYS_epoll_wait, libc::SYS_getdents,
    libc::SYS_getrlimit, libc::SYS_lstat, libc::SYS_mkdir, libc::SYS_open, libc::SYS_pipe, libc::SYS_poll,
    libc::SYS_readlink, libc::SYS_rename, libc::SYS_rmdir, libc::SYS_select, libc::SYS_stat, libc::SYS_time,
    libc::SYS_unlink,
];
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_OF_OLD: &[libc::c_long] = &[];

/// Who we talk with: the control socket, resolvers, the tunnel, rtnetlink, VRRP.
#[rustfmt::skip]
const FAMILIES: &[libc::c_int] = &[
    libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK, libc::AF_PACKET,
];

/// `enum bpf_cmd` of linux/bpf.h, without all that loads programs or BTF, and without those that find objects
/// of others by number.
const BPF_COMMANDS: &[u64] = &[
    0,  // MAP_CREATE
    1,  // MAP_LOOKUP_ELEM
    2,  // MAP_UPDATE_ELEM
    3,  // MAP_DELETE_ELEM
    4,  // MAP_GET_NEXT_KEY
    6,  // OBJ_PIN
    7,  // OBJ_GET
    8,  // PROG_ATTACH
    9,  // PROG_DETACH
    10, // PROG_TEST_RUN, which runs a program that is loaded: `crossway explain`
    15, // OBJ_GET_INFO_BY_FD
    16, // PROG_QUERY
    21, // MAP_LOOKUP_AND_DELETE_ELEM
    22, // MAP_FREEZE
    24, // MAP_LOOKUP_BATCH
    25, // MAP_LOOKUP_AND_DELETE_BATCH
    26, // MAP_UPDATE_BATCH
    27, // MAP_DELETE_BATCH
    28, // LINK_CREATE
    29, // LINK_UPDATE
    34, // LINK_DETACH
];

/// A thread's name, the name that the C library gives its memory, and what `status` asks.
const PRCTL_OPTIONS: &[u64] = &[
    libc::PR_SET_NAME as u64,
    libc::PR_SET_VMA as u64,
    libc::PR_GET_DUMPABLE as u64,
];

/// Namespaces that a clone may not be in: those of `CLONE_NEW*`.
const NEW_NAMESPACES: u64 = (libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWUTS) as u64;

/// Whom the filter is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Threads {
    All,
    /// The calling one, and those that it starts.
    #[cfg(test)]
    This,
}

/// Leaves every thread of this process the calls of the list, for good. Wants no_new_privs.
///
/// # Errors
/// The kernel has no filters (CONFIG_SECCOMP_FILTER), or this machine none of ours.
pub fn confine() -> io::Result<()> {
    confine_threads(Threads::All)
}

fn confine_threads(threads: Threads) -> io::Result<()> {
    // The flags of clone3 are behind a pointer, where no filter sees them. Without it, the C library takes
    // clone; and as it does so for every thread, this is not logged.
    install(&without_clone3()?, threads, false)?;
    install(&list()?, threads, true)
}

fn without_clone3() -> io::Result<BpfProgram> {
    let rules = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    compile(rules, SeccompAction::Allow, no_such_call())
}

fn list() -> io::Result<BpfProgram> {
    let calls = ALLOWED.iter().chain(ALLOWED_OF_OLD);
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        calls.map(|call| (*call, Vec::new())).collect();
    let families: Vec<u64> = FAMILIES.iter().map(|family| *family as u64).collect();
    rules.insert(libc::SYS_socket, one_of(0, &families)?);
    rules.insert(libc::SYS_bpf, one_of(0, BPF_COMMANDS)?);
    rules.insert(libc::SYS_prctl, one_of(0, PRCTL_OPTIONS)?);
    rules.insert(libc::SYS_clone, vec![rule(0, without(NEW_NAMESPACES), 0)?]);
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        let protections = [libc::PROT_WRITE, libc::PROT_EXEC];
        let either = protections.map(|lacks| rule(2, without(lacks as u64), 0));
        rules.insert(call, either.into_iter().collect::<io::Result<_>>()?);
    }
    compile(rules, no_such_call(), SeccompAction::Allow)
}

fn no_such_call() -> SeccompAction {
    SeccompAction::Errno(libc::ENOSYS as u32)
}

/// The argument at `index` is one of `values`.
fn one_of(index: u8, values: &[u64]) -> io::Result<Vec<SeccompRule>> {
    let rules = values
        .iter()
        .map(|value| rule(index, SeccompCmpOp::Eq, *value));
    rules.collect()
}

/// None of these bits.
fn without(bits: u64) -> SeccompCmpOp {
    SeccompCmpOp::MaskedEq(bits)
}

fn rule(index: u8, operator: SeccompCmpOp, value: u64) -> io::Result<SeccompRule> {
    let condition = SeccompCondition::new(index, SeccompCmpArgLen::Dword, operator, value);
    condition
        .and_then(|condition| SeccompRule::new(vec![condition]))
        .map_err(io::Error::other)
}

fn compile(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    matching: SeccompAction,
) -> io::Result<BpfProgram> {
    let machine = std::env::consts::ARCH
        .try_into()
        .map_err(io::Error::other)?;
    let filter = SeccompFilter::new(rules, otherwise, matching, machine);
    filter.and_then(TryInto::try_into).map_err(io::Error::other)
}

/// seccomp(2), which seccompiler calls without the flag that has refusals logged.
fn install(program: &BpfProgram, threads: Threads, logged: bool) -> io::Result<()> {
    let mut instructions: Vec<libc::sock_filter> = program
        .iter()
        .map(|instruction| libc::sock_filter {
            code: instruction.code,
            jt: instruction.jt,
            jf: instruction.jf,
            k: instruction.k,
        })
        .collect();
    let program = libc::sock_fprog {
        len: u16::try_from(instructions.len()).map_err(io::Error::other)?,
        filter: instructions.as_mut_ptr(),
    };
    let mut flags = 0;
    if threads == Threads::All {
        flags |= libc::SECCOMP_FILTER_FLAG_TSYNC;
    }
    if logged {
        flags |= libc::SECCOMP_FILTER_FLAG_LOG;
    }
    // SAFETY: `program` and the instructions that it points to are valid for the call, which reads `len` of
    // them.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const program,
        )
    };
    match result {
        0 => Ok(()),
        thread if thread > 0 => Err(io::Error::other(format!(
            "thread {thread} has a filter of its own"
        ))),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests;
