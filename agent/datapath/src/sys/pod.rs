//! Boundary structs out of bytes.

use aya::Pod;

/// The value at the start of `bytes`, whatever its alignment; `None` if they are too few.
pub(crate) fn read<T: Pod>(bytes: &[u8]) -> Option<T> {
    if bytes.len() < size_of::<T>() {
        return None;
    }
    // SAFETY: the bytes are enough for a `T`, need not be aligned for `read_unaligned`, and every
    // byte pattern is a valid `T` because it is `Pod`.
    Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_read_from_any_address_and_never_past_the_end() {
        let bytes = [0xff, 1, 0, 0, 0, 0xff];
        assert_eq!(read::<u32>(&bytes[1..]).map(u32::from_le), Some(1));
        assert_eq!(read::<u64>(&bytes), None);
    }
}
