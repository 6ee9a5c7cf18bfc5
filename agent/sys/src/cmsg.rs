//! Control messages (cmsg(3)): what sendmsg(2) and recvmsg(2) carry beside the payload.
//!
//! Each is a header, a value and padding up to the alignment of the next header. Nothing here allocates: the
//! lanes use it for every datagram.

use libc::{c_int, cmsghdr};

/// What headers, and with them the buffer, are aligned to (CMSG_ALIGN).
const ALIGN: usize = size_of::<usize>();
/// Bytes before the value (CMSG_LEN of nothing).
const HEADER: usize = align(size_of::<cmsghdr>());

const fn align(bytes: usize) -> usize {
    bytes.next_multiple_of(ALIGN)
}

/// Bytes that a message with a value of type `T` takes up (CMSG_SPACE).
pub const fn space<T: Plain>() -> usize {
    HEADER + align(size_of::<T>())
}

/// A C value that any bytes are valid for.
///
/// # Safety
/// It is made of integers, without padding.
pub unsafe trait Plain: Copy {}

// SAFETY: integers.
unsafe impl Plain for u8 {}
// SAFETY: integers.
unsafe impl Plain for u16 {}
// SAFETY: integers.
unsafe impl Plain for c_int {}
// SAFETY: three integers of four bytes.
unsafe impl Plain for libc::in_pktinfo {}
// SAFETY: sixteen bytes and an integer of four.
unsafe impl Plain for libc::in6_pktinfo {}

/// A buffer for control messages, aligned as the kernel wants it.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug)]
pub struct Control<const BYTES: usize>([u8; BYTES]);

impl<const BYTES: usize> Control<BYTES> {
    /// An empty buffer.
    pub const fn new() -> Self {
        const { assert!(align_of::<Self>().is_multiple_of(align_of::<cmsghdr>())) };
        Self([0; BYTES])
    }

    /// Starts to write messages, from the beginning of the buffer.
    #[inline]
    pub fn encode(&mut self) -> Encoder<'_> {
        Encoder {
            buffer: &mut self.0,
            used: 0,
        }
    }

    /// The messages in the first `length` bytes, as far as they are whole.
    #[inline]
    pub fn decode(&self, length: usize) -> Messages<'_> {
        Messages {
            rest: &self.0[..length.min(BYTES)],
        }
    }
}

impl<const BYTES: usize> Default for Control<BYTES> {
    fn default() -> Self {
        Self::new()
    }
}

/// Writes messages one behind the other.
#[derive(Debug)]
pub struct Encoder<'a> {
    buffer: &'a mut [u8],
    used: usize,
}

impl Encoder<'_> {
    /// Adds a message.
    ///
    /// # Panics
    /// The buffer has no [`space`] for it.
    #[inline]
    pub fn push<T: Plain>(&mut self, level: c_int, kind: c_int, value: T) {
        let to = &mut self.buffer[self.used..][..space::<T>()];
        // SAFETY: `to` has room for the header, and the value behind it; neither needs to be aligned. A
        // `cmsghdr` of zeroes is valid (musl's has padding, so it cannot be written field by field).
        unsafe {
            let mut header: cmsghdr = std::mem::zeroed();
            header.cmsg_len = (HEADER + size_of::<T>()) as _;
            header.cmsg_level = level;
            header.cmsg_type = kind;
            let to = to.as_mut_ptr();
            to.cast::<cmsghdr>().write_unaligned(header);
            to.add(HEADER).cast::<T>().write_unaligned(value);
        }
        self.used += space::<T>();
    }

    /// Bytes written so far: what the kernel is told as the length of the control messages.
    #[inline]
    pub fn len(&self) -> usize {
        self.used
    }

    /// Whether there is no message yet.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }
}

/// The messages of a buffer.
#[derive(Clone, Debug)]
pub struct Messages<'a> {
    rest: &'a [u8],
}

/// One control message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Protocol or `SOL_SOCKET`.
    pub level: c_int,
    /// Meaning of the value, by level.
    pub kind: c_int,
    value: &'a [u8],
}

impl Message<'_> {
    /// Its value, if it has the bytes of a `T`.
    #[inline]
    pub fn value<T: Plain>(&self) -> Option<T> {
        let bytes = self.value.get(..size_of::<T>())?;
        // SAFETY: there are as many bytes as a `T` has, and any bytes are one.
        Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    /// The next one. A header that states fewer bytes than its own, or more than there are, ends it.
    #[inline]
    fn next(&mut self) -> Option<Message<'a>> {
        let header = self.rest.get(..size_of::<cmsghdr>())?;
        // SAFETY: there are as many bytes as a `cmsghdr` has, which is made of integers.
        let header = unsafe { header.as_ptr().cast::<cmsghdr>().read_unaligned() };
        let length = header.cmsg_len as usize;
        let value = self.rest.get(HEADER..length)?;
        self.rest = self.rest.get(align(length)..).unwrap_or_default();
        Some(Message {
            level: header.cmsg_level,
            kind: header.cmsg_type,
            value,
        })
    }
}

#[cfg(test)]
mod tests;
