//! Two commands of bpf(2) that aya does not offer in this form: loading a program of two instructions
//! (the base line), and running any program with nothing around it but the system call.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_TEST_RUN: libc::c_int = 10;

/// Type of a program, as the kernel numbers it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Tc = 3,
    Xdp = 6,
}

/// What a run returned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    /// The program's verdict of the last repetition.
    pub(super) verdict: i32,
    /// Nanoseconds of one repetition, on average.
    pub(super) nanoseconds: u32,
}

/// Head of `union bpf_attr` for BPF_PROG_LOAD (linux/bpf.h).
#[repr(C)]
#[derive(Default)]
struct LoadAttributes {
    kind: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

/// Head of `union bpf_attr` for BPF_PROG_TEST_RUN.
#[repr(C)]
#[derive(Default)]
struct RunAttributes {
    program: u32,
    verdict: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    context_size_in: u32,
    context_size_out: u32,
    context_in: u64,
    context_out: u64,
}

/// Loads a program that does nothing but pass.
pub(super) fn load_empty(kind: Kind) -> io::Result<OwnedFd> {
    let pass: i32 = match kind {
        Kind::Tc => 0,
        Kind::Xdp => 2,
    };
    let [a, b, c, d] = pass.to_ne_bytes();
    // r0 = pass; exit
    let instructions: [u8; 16] = [0xb7, 0, 0, 0, a, b, c, d, 0x95, 0, 0, 0, 0, 0, 0, 0];
    let mut attributes = LoadAttributes {
        kind: kind as u32,
        instruction_count: 2,
        instructions: instructions.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        ..LoadAttributes::default()
    };
    // SAFETY: the attributes are laid out as the kernel reads them, and their pointers are to a live
    // array of the stated length and to a NUL-terminated literal.
    let fd = unsafe { bpf(BPF_PROG_LOAD, &raw mut attributes) }?;
    // SAFETY: the kernel has just made this descriptor and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Runs a program `repeat` times over one frame, each time over what the last one made of it.
pub(super) fn test_run(program: BorrowedFd<'_>, frame: &[u8], repeat: u32) -> io::Result<Run> {
    let mut attributes = RunAttributes {
        program: program.as_raw_fd() as u32,
        data_size_in: frame.len() as u32,
        data_in: frame.as_ptr() as u64,
        repeat,
        ..RunAttributes::default()
    };
    // SAFETY: the attributes are laid out as the kernel reads them; their only pointer is to `frame`,
    // of the stated length, which the kernel copies.
    unsafe { bpf(BPF_PROG_TEST_RUN, &raw mut attributes) }?;
    Ok(Run {
        verdict: attributes.verdict as i32,
        nanoseconds: attributes.duration,
    })
}

/// SAFETY: `attributes` must be writable and what `command` expects.
unsafe fn bpf<T>(command: libc::c_int, attributes: *mut T) -> io::Result<libc::c_int> {
    // SAFETY: promised by the caller; the size is that of the attributes.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size_of::<T>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result as libc::c_int)
}
