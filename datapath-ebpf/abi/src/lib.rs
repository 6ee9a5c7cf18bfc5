//! What the eBPF programs and the agent agree on: map names and capacities, the
//! layout of every key and value, the words for each outcome, and how headers are read.
//!
//! Rules of this boundary:
//! - Every struct is `#[repr(C)]` with no implicit padding, its size asserted in its file.
//! - Addresses, ports and everything else that is compared with packet bytes is a byte array
//!   in network order; counters, times and ids are native integers.
//! - `aya::Pod` exists only on the user side (feature `user`).
//! - A change of layout, of a map's name or type, or of the order of an outcome enum raises
//!   [`ABI_VERSION`]; `cargo xtask check` refuses one that does not.
#![no_std]
#![warn(missing_docs)]
// A call costs an eBPF program registers and hides from the verifier what is known of them.
#![allow(clippy::inline_always)]

#[cfg(any(feature = "user", test))]
extern crate std;

pub mod address;
pub mod capture;
pub mod explanation;
pub mod fault;
pub mod flow;
pub mod headers;
pub mod local;
pub mod maps;
pub mod outcome;
pub mod packet;
pub mod policy;
pub mod route;
pub mod settings;
pub mod site;
#[cfg(feature = "user")]
pub mod user;

/// Version of everything in this crate. The agent refuses to take over pinned maps of another.
pub const ABI_VERSION: u32 = 11;

/// Declares that a boundary struct may be copied from and to map memory.
macro_rules! pod {
    ($($type:ty),+) => {
        $(
            // SAFETY: the type is `repr(C)`, `Copy`, made of integers and byte arrays only, and
            // has no padding (its file asserts its size), so every byte pattern is a valid value.
            #[cfg(feature = "user")]
            unsafe impl aya::Pod for $type {}
        )+
    };
}
pub(crate) use pod;
