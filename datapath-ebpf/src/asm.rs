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

/// Keeps what is read after it from being read before what is read before it.
#[inline(always)]
pub(crate) fn fence_reads() {
    #[cfg(target_arch = "bpf")]
    {
        // The compiler moves no access to memory across it.
        // SAFETY: a move of a register to itself.
        #[cfg(bpf_target_arch = "x86_64")]
        unsafe {
            // This CPU reads in order anyway.
            asm!("{0} = {0}", inout(reg) 0_u64 => _, options(nostack));
        }
        // An atomic operation that returns something is a full barrier, whatever it works on (kernel 5.12).
        // SAFETY: adds 0 to a variable of our own.
        #[cfg(not(bpf_target_arch = "x86_64"))]
        unsafe {
            let mut scratch = 0_u64;
            asm!("{0} = atomic_fetch_add((u64 *)({1} + 0), {0})",
                inout(reg) 0_u64 => _, in(reg) &raw mut scratch, options(nostack));
        }
    }
    #[cfg(not(target_arch = "bpf"))]
    core::sync::atomic::fence(core::sync::atomic::Ordering::Acquire);
}

/// Reads a number of 8, 4, 2 or 1 bytes that may lie at any address. The compiler would read it byte by
/// byte; the kernel's verifier demands alignment in packets only on machines that need it.
macro_rules! load {
    ($name:ident, $number:ident) => {
        /// Reads a number that need not be aligned, as it lies in memory.
        ///
        /// # Safety
        ///
        /// `address` must be valid for reads of the number's size.
        #[inline(always)]
        pub(crate) unsafe fn $name(address: usize) -> $number {
            #[cfg(target_arch = "bpf")]
            {
                let value: u64;
                // SAFETY: the caller vouches for the address; nothing is written.
                unsafe {
                    asm!(
                        concat!("{0} = *(", stringify!($number), " *)({1} + 0)"),
                        out(reg) value, in(reg) address, options(readonly, nostack)
                    );
                }
                value as $number
            }
            #[cfg(not(target_arch = "bpf"))]
            // SAFETY: the caller vouches for the address.
            unsafe {
                (address as *const $number).read_unaligned()
            }
        }
    };
}

load!(load_u64, u64);
load!(load_u32, u32);
load!(load_u16, u16);
load!(load_u8, u8);

/// Writes a number that need not be aligned, as it shall lie in memory.
///
/// # Safety
///
/// `address` must be valid for writes of 4 bytes.
#[inline(always)]
pub(crate) unsafe fn store_u32(address: usize, value: u32) {
    #[cfg(target_arch = "bpf")]
    // SAFETY: the caller vouches for the address.
    unsafe {
        asm!("*(u32 *)({0} + 0) = {1}", in(reg) address, in(reg) u64::from(value), options(nostack));
    }
    #[cfg(not(target_arch = "bpf"))]
    // SAFETY: the caller vouches for the address.
    unsafe {
        (address as *mut u32).write_unaligned(value);
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

/// Makes the verifier forget what a number is, of which it then knows only that no bit outside of the mask is
/// set. It walks what follows once, not once for each value that the paths to here have left. `unknown` is
/// any number that it does not know.
#[inline(always)]
pub(crate) fn forget(number: u32, mask: u32, unknown: u32) -> u32 {
    let unknown = u64::from(unknown);
    (opaque((u64::from(number) ^ unknown) as usize) as u64 ^ unknown) as u32 & mask
}
