//! `recvmmsg` with UDP_GRO.

use std::io;
use std::num::NonZeroU32;
use std::os::fd::AsRawFd;

use super::{Endpoint, UdpSocket, address};
use crossway_sys::cmsg;

/// Messages of one call. With GRO each holds up to 64 datagrams.
const MESSAGES: usize = 32;
/// Largest UDP payload, so also the largest run of datagrams that GRO builds.
const MESSAGE_BYTES: usize = 65_535;
/// Control messages: packet info and marks of either family and the GRO size, with room to spare.
const CONTROL_BYTES: usize = 160;

type Control = cmsg::Control<CONTROL_BYTES>;

const _: () = assert!(
    cmsg::space::<libc::in_pktinfo>()
        + cmsg::space::<libc::in6_pktinfo>()
        + 3 * cmsg::space::<libc::c_int>()
        <= CONTROL_BYTES
);

/// Buffers for one `recvmmsg` call, allocated once.
pub struct ReceiveBatch {
    payload: Box<[u8]>,
    control: Vec<Control>,
    addresses: Vec<address::RawAddress>,
    vectors: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
    filled: usize,
}

// SAFETY: the raw pointers in `vectors` and `headers` point into the other fields' heap memory,
// which moves with the owner and is reached through this struct only.
unsafe impl Send for ReceiveBatch {}

/// A run of datagrams from one endpoint.
pub struct Received<'a> {
    /// Where it came from, and which of our addresses it was sent to.
    pub from: Endpoint,
    /// Their type of service or traffic class: datagrams that differ in it do not come in one run.
    pub marks: u8,
    /// Bytes of each datagram but perhaps the last.
    segment: usize,
    /// The datagrams, one behind the other.
    bytes: &'a [u8],
}

impl<'a> Received<'a> {
    /// The datagrams, one by one; an empty one is one too.
    pub fn datagrams(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let empty = self.bytes.is_empty().then_some(self.bytes);
        empty.into_iter().chain(self.bytes.chunks(self.segment))
    }
}

impl ReceiveBatch {
    /// Empty buffers.
    pub fn new() -> Self {
        let mut batch = Self {
            payload: vec![0; MESSAGES * MESSAGE_BYTES].into_boxed_slice(),
            control: vec![Control::new(); MESSAGES],
            addresses: vec![address::empty(); MESSAGES],
            vectors: Vec::with_capacity(MESSAGES),
            headers: Vec::with_capacity(MESSAGES),
            filled: 0,
        };
        for chunk in batch.payload.chunks_exact_mut(MESSAGE_BYTES) {
            let vector = libc::iovec {
                iov_base: chunk.as_mut_ptr().cast(),
                iov_len: MESSAGE_BYTES,
            };
            batch.vectors.push(vector);
        }
        for index in 0..MESSAGES {
            // SAFETY: `mmsghdr` is plain data for which all zeroes is a valid value.
            let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
            header.msg_hdr.msg_iov = &raw mut batch.vectors[index];
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_name = (&raw mut batch.addresses[index]).cast();
            header.msg_hdr.msg_control = (&raw mut batch.control[index]).cast();
            batch.headers.push(header);
        }
        batch
    }

    /// Takes what the socket has, without waiting; the number of messages.
    pub fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        // The kernel wrote the lengths of what was received before.
        for header in &mut self.headers {
            header.msg_hdr.msg_namelen = size_of::<address::RawAddress>() as libc::socklen_t;
            header.msg_hdr.msg_controllen = CONTROL_BYTES as _;
        }
        self.filled = 0;
        // SAFETY: every header points at live buffers of the lengths it states (set up in `new`,
        // and none of the vectors has grown since).
        let received = unsafe {
            libc::recvmmsg(
                socket.fd.as_raw_fd(),
                self.headers.as_mut_ptr(),
                MESSAGES as libc::c_uint,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        if received >= 0 {
            self.filled = received as usize;
            return Ok(self.filled);
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EAGAIN | libc::EINTR | libc::ENOBUFS | libc::ENOMEM) => Ok(0),
            _ => Err(error),
        }
    }

    /// The messages of the last call; those from a non-IP address or cut short are left out.
    pub fn messages(&self) -> impl Iterator<Item = Received<'_>> {
        (0..self.filled).filter_map(|index| {
            let header = &self.headers[index];
            if header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 {
                return None;
            }
            let remote = address::read(&self.addresses[index])?;
            let length = header.msg_len as usize;
            let start = index * MESSAGE_BYTES;
            let mut received = Received {
                from: Endpoint::new(remote),
                marks: 0,
                segment: length.max(1),
                bytes: &self.payload[start..start + length],
            };
            let filled = header.msg_hdr.msg_controllen as _;
            read_control(self.control[index].decode(filled), &mut received);
            Some(received)
        })
    }
}

impl Default for ReceiveBatch {
    fn default() -> Self {
        Self::new()
    }
}

#[inline]
fn read_control(messages: cmsg::Messages<'_>, received: &mut Received<'_>) {
    for message in messages {
        match (message.level, message.kind) {
            (libc::SOL_UDP, libc::UDP_GRO) => {
                if let Some(size) = message.value::<libc::c_int>() {
                    received.segment = usize::try_from(size).unwrap_or(0).max(1);
                }
            }
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                if let Some(info) = message.value::<libc::in_pktinfo>() {
                    received.from.local = Some(address::dialled_v4(&info));
                    received.from.interface = NonZeroU32::new(info.ipi_ifindex as u32);
                }
            }
            (libc::IPPROTO_IP, libc::IP_TOS) => {
                received.marks = message.value::<u8>().unwrap_or(0);
            }
            (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                received.marks = message.value::<libc::c_int>().unwrap_or(0) as u8;
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                if let Some(info) = message.value::<libc::in6_pktinfo>() {
                    received.from.local = Some(address::dialled_v6(&info));
                    received.from.interface = NonZeroU32::new(info.ipi6_ifindex);
                }
            }
            _ => {}
        }
    }
}
