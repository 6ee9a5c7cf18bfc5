//! System calls that no crate offers as safe functions.

pub(super) mod batch;
pub(super) mod bpffs;
pub(super) mod link;
pub(super) mod ring;
