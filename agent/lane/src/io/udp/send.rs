//! `sendmmsg` with UDP_SEGMENT.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use datapath_abi::outcome::Tally;

use super::UdpSocket;
use super::address::{self, PacketInfo};
use crossway_sys::{clock, cmsg, poll};
use crossway_tunnel::transmit::{MAX_TRANSMITS, Transmit, Transmits};

/// Packet info of either family and the segment size, with room to spare.
const CONTROL_BYTES: usize = 96;
/// How long a full socket buffer may hold up the lane before datagrams are dropped.
const FULL_BUFFER_WAIT: Duration = Duration::from_millis(20);

type Control = cmsg::Control<CONTROL_BYTES>;

const _: () = assert!(cmsg::space::<libc::in6_pktinfo>() + cmsg::space::<u16>() <= CONTROL_BYTES);

/// What `sendmmsg` reads beside the payload, allocated once.
pub(super) struct Headers {
    control: Vec<Control>,
    addresses: Vec<address::RawAddress>,
    vectors: Vec<libc::iovec>,
    messages: Vec<libc::mmsghdr>,
}

// SAFETY: the raw pointers in `vectors` and `messages` are written anew for each call, from the other
// fields and from a payload that outlives the call; none is read after it.
unsafe impl Send for Headers {}

impl Headers {
    pub(super) fn new() -> Self {
        Self {
            control: vec![Control::new(); MAX_TRANSMITS],
            addresses: vec![address::empty(); MAX_TRANSMITS],
            vectors: Vec::with_capacity(MAX_TRANSMITS),
            messages: Vec::with_capacity(MAX_TRANSMITS),
        }
    }

    /// Writes a header for each transmit.
    fn write(&mut self, transmits: &[Transmit], payload: &[u8], ipv6: bool) {
        self.vectors.clear();
        self.messages.clear();
        self.make_room(transmits.len());
        for (index, transmit) in transmits.iter().enumerate() {
            self.add(index, transmit, payload, ipv6);
        }
    }

    /// [`Transmits::has_room`] keeps the transmits few; answers to a hostile mix of datagrams may still be
    /// more. Nothing may grow once headers point into it.
    fn make_room(&mut self, count: usize) {
        if count > self.control.len() {
            self.control.resize(count, Control::new());
            self.addresses.resize(count, address::empty());
        }
        self.vectors.reserve(count);
        self.messages.reserve(count);
    }

    fn add(&mut self, index: usize, transmit: &Transmit, payload: &[u8], ipv6: bool) {
        let payload = &payload[transmit.start..transmit.end];
        self.vectors.push(libc::iovec {
            // The kernel only reads it.
            iov_base: payload.as_ptr().cast_mut().cast(),
            iov_len: payload.len(),
        });
        // SAFETY: `mmsghdr` is plain data for which all zeroes is a valid value.
        let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
        let name = &mut self.addresses[index];
        header.msg_hdr.msg_namelen = address::write(name, transmit.to.remote, ipv6);
        header.msg_hdr.msg_name = (&raw mut *name).cast();
        // The vector has room for every transmit, so its elements stay where they are.
        header.msg_hdr.msg_iov = &raw mut self.vectors[index];
        header.msg_hdr.msg_iovlen = 1;
        let control = &mut self.control[index];
        let info = PacketInfo::leaving(&transmit.to, ipv6);
        let segment = (transmit.count > 1).then_some(transmit.segment as u16);
        let length = write_control(control, info, segment);
        if length > 0 {
            header.msg_hdr.msg_control = (&raw mut *control).cast();
            header.msg_hdr.msg_controllen = length as _;
        }
        self.messages.push(header);
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Headers")
    }
}

impl UdpSocket {
    /// Sends everything and empties the batch; what the kernel refused for good. A segmentation offload
    /// that fails is switched off and its transmit sent again datagram by datagram.
    pub fn send(&mut self, batch: &mut Transmits) -> Tally {
        let mut refused = Tally::default();
        let (transmits, payload) = batch.parts();
        let mut next = 0;
        while let Some(transmit) = transmits.get(next) {
            if !self.gso.is_on() {
                refused += self.send_singly(transmit, payload);
                next += 1;
                continue;
            }
            match self.send_from(&transmits[next..], payload) {
                Ok(sent) => next += sent,
                Err(error) => {
                    refused += self.after_failure(transmit, payload, &error);
                    next += 1;
                }
            }
        }
        batch.clear();
        refused
    }

    /// One `sendmmsg`; how many transmits the kernel took.
    fn send_from(&mut self, transmits: &[Transmit], payload: &[u8]) -> io::Result<usize> {
        self.headers.write(transmits, payload, self.ipv6);
        let headers = &mut self.headers.messages;
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        loop {
            // SAFETY: every header points at live buffers of the lengths it states, written just
            // above; none of the vectors grows before the call returns.
            let sent = unsafe {
                libc::sendmmsg(
                    self.fd.as_raw_fd(),
                    headers.as_mut_ptr(),
                    headers.len() as libc::c_uint,
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
                    poll::wait_writable(self.fd.as_fd(), FULL_BUFFER_WAIT)?;
                    if before.elapsed() >= FULL_BUFFER_WAIT {
                        return Err(error);
                    }
                }
                _ => return Err(error),
            }
        }
    }

    fn after_failure(&mut self, transmit: &Transmit, payload: &[u8], error: &io::Error) -> Tally {
        match error.raw_os_error() {
            // The route's device cannot segment or sum (EIO, EINVAL): that stays so.
            Some(libc::EIO | libc::EINVAL) if transmit.count > 1 => {
                let refused = self.send_singly(transmit, payload);
                // EINVAL is also what a vanished local address gives; then nothing went through.
                if refused.packets < transmit.count as u64 {
                    self.gso.fail(error, clock::now());
                }
                refused
            }
            // The path is narrower than a segment: single datagrams are fragmented on the way.
            Some(libc::EMSGSIZE) if transmit.count > 1 => self.send_singly(transmit, payload),
            // Perhaps our address of that time is gone.
            _ if transmit.to.local.is_some() => self.send_singly(transmit, payload),
            _ => {
                tracing::debug!(to = %transmit.to.remote, %error, "datagrams refused by the kernel");
                Tally {
                    packets: transmit.count as u64,
                    bytes: transmit.bytes() as u64,
                }
            }
        }
    }

    /// Sends the datagrams of one transmit without segmentation offload.
    fn send_singly(&mut self, transmit: &Transmit, payload: &[u8]) -> Tally {
        let mut refused = Tally::default();
        for mut single in transmit.singles() {
            let mut sent = self.send_from(&[single], payload);
            if sent.is_err() && single.to.local.is_some() {
                // Our address of that time is gone: let the kernel choose another.
                single.to.local = None;
                sent = self.send_from(&[single], payload);
            }
            if let Err(error) = sent {
                tracing::debug!(to = %single.to.remote, %error, "a datagram refused by the kernel");
                let bytes = single.bytes() as u64;
                refused += Tally { packets: 1, bytes };
            }
        }
        refused
    }
}

/// Writes the control messages of a transmit; the bytes used.
#[inline]
fn write_control(to: &mut Control, info: Option<PacketInfo>, segment: Option<u16>) -> usize {
    let mut to = to.encode();
    match info {
        Some(PacketInfo::V4(info)) => to.push(libc::IPPROTO_IP, libc::IP_PKTINFO, info),
        Some(PacketInfo::V6(info)) => to.push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info),
        None => {}
    }
    if let Some(segment) = segment {
        to.push(libc::SOL_UDP, libc::UDP_SEGMENT, segment);
    }
    to.len()
}
