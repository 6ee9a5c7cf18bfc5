//! The eBPF object, embedded by the build script.

/// The ELF file with the four programs and the maps, aligned to 8 bytes as the loader needs it.
pub(super) static OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/datapath.o"));
