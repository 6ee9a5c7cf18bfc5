//! The few instructions that Rust has no word for on this target. The plain forms are for tools that
//! read the crate on another one.

#[cfg(target_arch = "bpf")]
use core::arch::asm;

/// Adds to a number that other CPUs add to as well.
///
/// # Safety
///
/// `number` must be valid for writes and aligned.
#[inline(always)]
pub(crate) unsafe fn atomic_add(number: *mut u64, value: u64) {
    #[cfg(target_arch = "bpf")]
    // SAFETY: the caller vouches for the pointer; the instruction (BPF_ATOMIC | BPF_ADD) touches
    // nothing else.
    unsafe {
        asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) number, in(reg) value, options(nostack));
    }
    #[cfg(not(target_arch = "bpf"))]
    // SAFETY: the caller vouches for the pointer.
    unsafe {
        *number += value;
    }
}

/// Sets bits of a number in which other CPUs set bits as well (kernel 5.12).
///
/// # Safety
///
/// `number` must be valid for writes and aligned.
#[inline(always)]
pub(crate) unsafe fn atomic_or(number: *mut u64, value: u64) {
    #[cfg(target_arch = "bpf")]
    // SAFETY: as in `atomic_add`, with BPF_OR.
    unsafe {
        asm!("lock *(u64 *)({0} + 0) |= {1}", in(reg) number, in(reg) value, options(nostack));
    }
    #[cfg(not(target_arch = "bpf"))]
    // SAFETY: the caller vouches for the pointer.
    unsafe {
        *number |= value;
    }
}

/// Hides from the compiler how an address was computed, so that it does not compute it twice: the
/// verifier ties a bounds check to one register and would not know the second one.
#[inline(always)]
pub(crate) fn opaque(address: usize) -> usize {
    #[cfg(target_arch = "bpf")]
    {
        let mut address = address;
        // A move, not nothing: the kernel refuses line information for an empty statement.
        // SAFETY: moves a register to itself.
        unsafe { asm!("{0} = {0}", inout(reg) address, options(nomem, nostack)) };
        address
    }
    #[cfg(not(target_arch = "bpf"))]
    address
}
