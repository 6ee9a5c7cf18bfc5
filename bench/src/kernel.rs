//! Commands of bpf(2) that aya does not offer in this form: loading a program of a few instructions,
//! running any program with nothing around it but the system call, and letting one send frames.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_TEST_RUN: libc::c_int = 10;
/// `BPF_F_TEST_XDP_LIVE_FRAMES`.
const LIVE_FRAMES: u32 = 1 << 1;

/// Type of a program, as the kernel numbers it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Tc = 3,
    Xdp = 6,
}

/// What a run returned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    /// The program's verdict of the last repetition.
    pub(crate) verdict: i32,
    /// Nanoseconds of one repetition, on average.
    pub(crate) nanoseconds: u32,
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
    flags: u32,
    cpu: u32,
    batch_size: u32,
    /// The kernel refuses anything but zero behind what it knows.
    reserved: u32,
}

/// `struct xdp_md` (linux/bpf.h).
#[repr(C)]
#[derive(Default)]
struct XdpContext {
    data: u32,
    data_end: u32,
    data_meta: u32,
    ingress_ifindex: u32,
    rx_queue_index: u32,
    egress_ifindex: u32,
}

/// One instruction (`struct bpf_insn`).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Instruction {
    pub(crate) code: u8,
    /// Destination in the lower four bits, source in the upper.
    pub(crate) registers: u8,
    pub(crate) offset: i16,
    pub(crate) value: i32,
}

impl Instruction {
    fn bytes(self) -> [u8; 8] {
        let mut bytes = [self.code, self.registers, 0, 0, 0, 0, 0, 0];
        bytes[2..4].copy_from_slice(&self.offset.to_ne_bytes());
        bytes[4..].copy_from_slice(&self.value.to_ne_bytes());
        bytes
    }
}

/// Loads a program that does nothing but pass.
pub(crate) fn load_empty(kind: Kind) -> io::Result<OwnedFd> {
    let pass: i32 = match kind {
        Kind::Tc => 0,
        Kind::Xdp => 2,
    };
    let step = |code, value| Instruction {
        code,
        registers: 0,
        offset: 0,
        value,
    };
    // r0 = pass; exit
    load(kind, &[step(0xb7, pass), step(0x95, 0)])
}

/// Loads a program.
pub(crate) fn load(kind: Kind, program: &[Instruction]) -> io::Result<OwnedFd> {
    let instructions: Vec<u8> = program.iter().flat_map(|step| step.bytes()).collect();
    let mut attributes = LoadAttributes {
        kind: kind as u32,
        instruction_count: program.len() as u32,
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
pub(crate) fn test_run(program: BorrowedFd<'_>, frame: &[u8], repeat: u32) -> io::Result<Run> {
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

/// Sends `count` copies of `frame` out of an interface of the calling thread's network namespace, each
/// as `program`, an XDP program that returns XDP_TX, makes it (BPF_F_TEST_XDP_LIVE_FRAMES, kernel 5.18).
pub(crate) fn send_live(
    program: BorrowedFd<'_>,
    frame: &[u8],
    interface: u32,
    count: u32,
) -> io::Result<()> {
    let context = XdpContext {
        data_end: frame.len() as u32,
        ingress_ifindex: interface,
        ..XdpContext::default()
    };
    let mut attributes = RunAttributes {
        program: program.as_raw_fd() as u32,
        data_size_in: frame.len() as u32,
        data_in: frame.as_ptr() as u64,
        repeat: count,
        context_size_in: size_of::<XdpContext>() as u32,
        context_in: (&raw const context) as u64,
        flags: LIVE_FRAMES,
        ..RunAttributes::default()
    };
    // SAFETY: the attributes are laid out as the kernel reads them; their pointers are to `frame` and
    // `context`, of the stated lengths, which the kernel copies.
    unsafe { bpf(BPF_PROG_TEST_RUN, &raw mut attributes) }?;
    Ok(())
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
