//! `sendmmsg` with UDP_SEGMENT.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use super::address::{self, PacketInfo};
use super::{Endpoint, UdpSocket};
use crate::clock;
use crate::io::poll;

/// Room for several super-packets' worth of datagrams.
const PAYLOAD_BYTES: usize = 512 * 1024;
/// Messages of one call.
const MESSAGES: usize = 64;
/// Segments of one message that every kernel with UDP_SEGMENT takes (UDP_MAX_SEGMENTS before 6.9).
const MAX_SEGMENTS: usize = 64;
/// Payload of one message: 65,535 less an IPv6 header and UDP's, rounded down.
const MAX_MESSAGE: usize = 65_000;
/// Packet info of either family and the segment size, with room to spare.
const CONTROL_BYTES: usize = 96;
/// How long a full socket buffer may hold up the lane before datagrams are dropped.
const FULL_BUFFER_WAIT: Duration = Duration::from_millis(20);

#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; CONTROL_BYTES]);

/// Datagrams of one size (but perhaps the last) to one endpoint.
#[derive(Clone, Copy)]
pub(super) struct Message {
    to: Endpoint,
    start: usize,
    end: usize,
    segment: usize,
    count: usize,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendOutcome {
    /// Datagrams that the kernel refused for good.
    pub dropped_packets: u64,
    /// Their bytes.
    pub dropped_bytes: u64,
}

/// Datagrams gathered for one `sendmmsg` call, allocated once.
pub struct SendBatch {
    payload: Box<[u8]>,
    used: usize,
    pub(super) messages: Vec<Message>,
    control: Vec<Control>,
    addresses: Vec<address::RawAddress>,
    vectors: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
}

// SAFETY: the raw pointers in `vectors` and `headers` are written anew for each call from the other
// fields, which move with the owner and are reached through this struct only.
unsafe impl Send for SendBatch {}

impl SendBatch {
    /// An empty batch.
    pub fn new() -> Self {
        Self {
            payload: vec![0; PAYLOAD_BYTES].into_boxed_slice(),
            used: 0,
            messages: Vec::with_capacity(MESSAGES),
            control: vec![Control([0; CONTROL_BYTES]); MESSAGES],
            addresses: vec![address::empty(); MESSAGES],
            vectors: Vec::with_capacity(MESSAGES),
            headers: Vec::with_capacity(MESSAGES),
        }
    }

    /// Whether nothing waits to be sent.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Bytes that wait to be sent.
    pub fn bytes(&self) -> usize {
        self.used
    }

    /// Whether `datagrams` more, of `bytes` in all, certainly fit.
    pub fn has_room(&self, datagrams: usize, bytes: usize) -> bool {
        let messages = datagrams
            .div_ceil(MAX_SEGMENTS)
            .max(bytes.div_ceil(MAX_MESSAGE))
            + 1;
        self.payload.len() - self.used >= bytes && MESSAGES - self.messages.len() >= messages
    }

    /// Where the next datagram is to be written; all that is left of the buffer.
    pub fn spare(&mut self) -> &mut [u8] {
        &mut self.payload[self.used..]
    }

    /// Takes the first `length` bytes of [`Self::spare`] as a datagram for `to`.
    pub fn push(&mut self, length: usize, to: Endpoint) {
        let start = self.used;
        self.used += length;
        if let Some(last) = self.messages.last_mut() {
            // A shorter datagram may end a message: the kernel cuts every `segment` bytes.
            let open = (last.end - last.start).is_multiple_of(last.segment);
            if open
                && last.to == to
                && length <= last.segment
                && last.count < MAX_SEGMENTS
                && last.end - last.start + length <= MAX_MESSAGE
            {
                last.end += length;
                last.count += 1;
                return;
            }
        }
        self.messages.push(Message {
            to,
            start,
            end: self.used,
            segment: length,
            count: 1,
        });
    }

    /// Sends everything. A segmentation offload that fails is switched off and its message sent
    /// again datagram by datagram.
    pub fn send(&mut self, socket: &mut UdpSocket) -> SendOutcome {
        let mut outcome = SendOutcome::default();
        let mut next = 0;
        while next < self.messages.len() {
            if !socket.gso.is_on() {
                outcome.add(self.send_singly(self.messages[next], socket));
                next += 1;
                continue;
            }
            match self.send_from(next, socket) {
                Ok(sent) => next += sent,
                Err(error) => {
                    let message = self.messages[next];
                    outcome.add(self.after_failure(message, &error, socket));
                    next += 1;
                }
            }
        }
        self.messages.clear();
        self.used = 0;
        outcome
    }

    /// The datagrams that wait, for tests that play the network.
    #[cfg(any(test, fuzzing))]
    pub fn take_datagrams(&mut self) -> Vec<(Endpoint, Vec<u8>)> {
        let mut datagrams = Vec::new();
        for message in self.messages.drain(..) {
            for datagram in self.payload[message.start..message.end].chunks(message.segment) {
                datagrams.push((message.to, datagram.to_vec()));
            }
        }
        self.used = 0;
        datagrams
    }

    /// One `sendmmsg` for the messages from `first` on; how many the kernel took.
    fn send_from(&mut self, first: usize, socket: &UdpSocket) -> io::Result<usize> {
        self.vectors.clear();
        self.headers.clear();
        self.make_room_for_headers();
        for index in first..self.messages.len() {
            let message = self.messages[index];
            self.add_header(index, message, socket.ipv6);
        }
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        loop {
            // SAFETY: every header points at live buffers of the lengths it states, written just
            // above; none of the vectors grows before the call returns.
            let sent = unsafe {
                libc::sendmmsg(
                    socket.fd.as_raw_fd(),
                    self.headers.as_mut_ptr(),
                    self.headers.len() as libc::c_uint,
                    flags,
                )
            };
            if sent > 0 {
                return Ok(sent as usize);
            }
            let error = io::Error::last_os_error();
            match error.kind() {
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::WouldBlock => {
                    let before = clock::now();
                    poll::wait_writable(socket.as_fd(), FULL_BUFFER_WAIT)?;
                    if before.elapsed() >= FULL_BUFFER_WAIT {
                        return Err(error);
                    }
                }
                _ => return Err(error),
            }
        }
    }

    /// [`Self::has_room`] keeps the messages few; answers to a hostile mix of datagrams may still be
    /// more. Nothing may grow once headers point into it.
    fn make_room_for_headers(&mut self) {
        let count = self.messages.len();
        if count > self.control.len() {
            self.control.resize(count, Control([0; CONTROL_BYTES]));
            self.addresses.resize(count, address::empty());
        }
        self.vectors.reserve(count);
        self.headers.reserve(count);
    }

    fn add_header(&mut self, index: usize, message: Message, ipv6: bool) {
        let payload = &mut self.payload[message.start..message.end];
        self.vectors.push(libc::iovec {
            iov_base: payload.as_mut_ptr().cast(),
            iov_len: payload.len(),
        });
        // SAFETY: `mmsghdr` is plain data for which all zeroes is a valid value.
        let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
        let name = &mut self.addresses[index];
        header.msg_hdr.msg_namelen = address::write(name, message.to.remote, ipv6);
        header.msg_hdr.msg_name = (&raw mut *name).cast();
        // The vector has room for every message, so its elements stay where they are.
        header.msg_hdr.msg_iov = &raw mut self.vectors[self.headers.len()];
        header.msg_hdr.msg_iovlen = 1;
        header.msg_hdr.msg_control = (&raw mut self.control[index]).cast();
        header.msg_hdr.msg_controllen = CONTROL_BYTES as _;
        let info = PacketInfo::leaving(&message.to, ipv6);
        let segment = (message.count > 1).then_some(message.segment as u16);
        let length = write_control(&header.msg_hdr, info.as_ref(), segment);
        header.msg_hdr.msg_controllen = length as _;
        if length == 0 {
            header.msg_hdr.msg_control = std::ptr::null_mut();
        }
        self.headers.push(header);
    }

    fn after_failure(
        &mut self,
        message: Message,
        error: &io::Error,
        socket: &mut UdpSocket,
    ) -> SendOutcome {
        match error.raw_os_error() {
            // The route's device cannot segment or sum (EIO, EINVAL): that stays so.
            Some(libc::EIO | libc::EINVAL) if message.count > 1 => {
                let outcome = self.send_singly(message, socket);
                // EINVAL is also what a vanished local address gives; then nothing went through.
                if outcome.dropped_packets < message.count as u64 {
                    socket.gso.fail(error, clock::now());
                }
                outcome
            }
            // The path is narrower than a segment: single datagrams are fragmented on the way.
            Some(libc::EMSGSIZE) if message.count > 1 => self.send_singly(message, socket),
            // Perhaps our address of that time is gone.
            _ if message.to.local.is_some() => self.send_singly(message, socket),
            _ => {
                tracing::debug!(to = %message.to.remote, %error, "datagrams refused by the kernel");
                SendOutcome {
                    dropped_packets: message.count as u64,
                    dropped_bytes: (message.end - message.start) as u64,
                }
            }
        }
    }

    /// Sends the datagrams of one message without segmentation offload.
    fn send_singly(&mut self, message: Message, socket: &UdpSocket) -> SendOutcome {
        let mut outcome = SendOutcome::default();
        let kept = std::mem::take(&mut self.messages);
        let mut start = message.start;
        while start < message.end {
            let end = message.end.min(start + message.segment);
            let single = Message {
                start,
                end,
                count: 1,
                ..message
            };
            self.messages.push(single);
            let mut sent = self.send_from(0, socket);
            if sent.is_err() && message.to.local.is_some() {
                // Our address of that time is gone: let the kernel choose another.
                self.messages[0].to.local = None;
                sent = self.send_from(0, socket);
            }
            if let Err(error) = sent {
                tracing::debug!(to = %message.to.remote, %error, "a datagram refused by the kernel");
                outcome.dropped_packets += 1;
                outcome.dropped_bytes += (end - start) as u64;
            }
            self.messages.clear();
            start = end;
        }
        self.messages = kept;
        outcome
    }
}

impl Default for SendBatch {
    fn default() -> Self {
        Self::new()
    }
}

impl SendOutcome {
    fn add(&mut self, other: Self) {
        self.dropped_packets += other.dropped_packets;
        self.dropped_bytes += other.dropped_bytes;
    }
}

/// Writes the control messages into the buffer that `header` names; the bytes used.
fn write_control(header: &libc::msghdr, info: Option<&PacketInfo>, segment: Option<u16>) -> usize {
    let mut used = 0;
    // SAFETY: `msg_control` is a zeroed-or-overwritten, 8-aligned buffer of CONTROL_BYTES, more than
    // the two messages together; the CMSG macros stay inside it.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(header);
        let mut put = |level, kind, length: usize, data: *const u8| {
            (*message).cmsg_level = level;
            (*message).cmsg_type = kind;
            (*message).cmsg_len = libc::CMSG_LEN(length as libc::c_uint) as _;
            std::ptr::copy_nonoverlapping(data, libc::CMSG_DATA(message), length);
            let space = libc::CMSG_SPACE(length as libc::c_uint) as usize;
            used += space;
            message = message.byte_add(space);
        };
        match info {
            Some(PacketInfo::V4(info)) => put(
                libc::IPPROTO_IP,
                libc::IP_PKTINFO,
                size_of::<libc::in_pktinfo>(),
                (&raw const *info).cast(),
            ),
            Some(PacketInfo::V6(info)) => put(
                libc::IPPROTO_IPV6,
                libc::IPV6_PKTINFO,
                size_of::<libc::in6_pktinfo>(),
                (&raw const *info).cast(),
            ),
            None => {}
        }
        if let Some(segment) = &segment {
            put(
                libc::SOL_UDP,
                libc::UDP_SEGMENT,
                size_of::<u16>(),
                (&raw const *segment).cast(),
            );
        }
    }
    used
}
