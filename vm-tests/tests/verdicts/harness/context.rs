//! `struct __sk_buff` (linux/bpf.h) as BPF_PROG_TEST_RUN takes it and gives it back.

/// What a TC program is told of a packet beside its bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Context {
    /// Index of the interface; 0 is the loopback device.
    pub(crate) ifindex: u32,
    pub(crate) mark: u32,
    pub(crate) gso_size: u32,
    pub(crate) gso_segs: u32,
}

/// Offsets.
const MARK: usize = 8;
const IFINDEX: usize = 40;
const GSO_SEGS: usize = 164;
const GSO_SIZE: usize = 176;
const SK_BUFF: usize = 192;

impl Context {
    pub(super) fn to_bytes(self) -> [u8; SK_BUFF] {
        let mut bytes = [0; SK_BUFF];
        for (offset, value) in [
            (MARK, self.mark),
            (IFINDEX, self.ifindex),
            (GSO_SEGS, self.gso_segs),
            (GSO_SIZE, self.gso_size),
        ] {
            bytes[offset..offset + 4].copy_from_slice(&value.to_ne_bytes());
        }
        bytes
    }

    pub(super) fn mark_of(bytes: &[u8; SK_BUFF]) -> u32 {
        u32::from_ne_bytes(bytes[MARK..MARK + 4].try_into().unwrap())
    }
}
