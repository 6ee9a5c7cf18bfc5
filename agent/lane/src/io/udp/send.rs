//! `sendmmsg` with UDP_SEGMENT.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::ops::AddAssign;
use std::os::fd::{AsRawFd, RawFd};

use datapath_abi::outcome::Tally;

use super::address::{self, PacketInfo};
use super::ways::WAYS;
use super::{Fragments, UdpSocket};
use crossway_sys::{clock, cmsg};
use crossway_tunnel::transmit::{Load, MAX_TRANSMITS, Transmit, Transmits};

/// Packet info of either family, marks and the segment size, with room to spare.
const CONTROL_BYTES: usize = 128;

type Control = cmsg::Control<CONTROL_BYTES>;

const _: () = assert!(
    cmsg::space::<libc::in6_pktinfo>() + cmsg::space::<libc::c_int>() + cmsg::space::<u16>()
        <= CONTROL_BYTES
);

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
        let length = write_control(control, info, transmit);
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

/// Datagrams that were not sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unsent {
    /// The kernel refused them.
    pub failed: Tally,
    /// Those before them fill the buffer of their way out.
    pub no_room: Tally,
}

impl AddAssign for Unsent {
    fn add_assign(&mut self, more: Self) {
        self.failed += more.failed;
        self.no_room += more.no_room;
    }
}

/// Which socket sends a transmit: 0 is the one that receives, for control; then those of the ways, for data.
type Door = usize;
const DOORS: usize = 2 + WAYS;
/// For probes of the path's MTU: the socket that receives, while fragmentation is forbidden to it.
const PROBES: Door = 1 + WAYS;

/// The door of each transmit of a batch, and the transmits of one door; allocated once.
#[derive(Debug, Default)]
pub(super) struct Sorting {
    doors: Vec<Door>,
    of_one: Vec<Transmit>,
}

impl Sorting {
    pub(super) fn new() -> Self {
        Self {
            doors: Vec::with_capacity(MAX_TRANSMITS),
            of_one: Vec::with_capacity(MAX_TRANSMITS),
        }
    }

    /// Whether all goes by one door, as most batches do.
    fn is_of_one(&self) -> bool {
        self.doors.windows(2).all(|two| two[0] == two[1])
    }
}

impl UdpSocket {
    /// Sends everything and empties the batch, without waiting; what could not be sent. Control goes first. A
    /// segmentation offload that fails is switched off and its transmit sent again datagram by datagram.
    pub fn send(&mut self, batch: &mut Transmits) -> Unsent {
        let (transmits, payload) = batch.parts();
        // Taken out, for `self` is needed meanwhile; an empty one owns no memory.
        let mut sorting = std::mem::take(&mut self.sorting);
        sorting.doors.clear();
        let doors = transmits.iter().map(|transmit| self.door_of(transmit));
        sorting.doors.extend(doors);
        let unsent = if sorting.is_of_one() {
            let door = sorting.doors.first().copied().unwrap_or_default();
            self.send_by(door, transmits, payload)
        } else {
            self.send_in_turn(transmits, payload, &mut sorting)
        };
        self.sorting = sorting;
        batch.clear();
        unsent
    }

    /// What goes by one door after what goes by another.
    fn send_in_turn(
        &mut self,
        transmits: &[Transmit],
        payload: &[u8],
        sorting: &mut Sorting,
    ) -> Unsent {
        let Sorting { doors, of_one } = sorting;
        let mut unsent = Unsent::default();
        for door in 0..DOORS {
            let all = transmits.iter().zip(doors.iter());
            let theirs = all.filter(|(_, of_this)| **of_this == door);
            of_one.clear();
            of_one.extend(theirs.map(|(transmit, _)| *transmit));
            // Who has no way of its own has no socket behind those doors.
            if !of_one.is_empty() {
                unsent += self.send_by(door, of_one, payload);
            }
        }
        unsent
    }

    #[inline]
    fn door_of(&mut self, transmit: &Transmit) -> Door {
        match transmit.load {
            Load::Control => 0,
            Load::Data => self.ways.of(&transmit.to).map_or(0, |way| 1 + way),
            Load::Probe => PROBES,
        }
    }

    /// Sends by one socket, as far as it has room; what could not be sent.
    fn send_by(&mut self, door: Door, transmits: &[Transmit], payload: &[u8]) -> Unsent {
        if door == PROBES {
            self.send_probes(transmits, payload);
            return Unsent::default();
        }
        let (fd, ipv6) = match door {
            0 => (self.fd.as_raw_fd(), self.ipv6),
            _ => (self.ways.socket(door - 1).as_raw_fd(), true),
        };
        let mut by = Sending {
            fd,
            ipv6,
            payload,
            full: false,
            unsent: Unsent::default(),
        };
        let mut next = 0;
        while let Some(transmit) = transmits.get(next) {
            if by.full || !self.gso.is_on() {
                self.send_singly(transmit, &mut by);
                next += 1;
                continue;
            }
            match self.send_from(&transmits[next..], &by) {
                Ok(sent) => next += sent,
                Err(error) => {
                    self.after_failure(transmit, &error, &mut by);
                    next += 1;
                }
            }
        }
        by.unsent
    }

    /// One `sendmmsg`; how many transmits the kernel took.
    fn send_from(&mut self, transmits: &[Transmit], by: &Sending<'_>) -> io::Result<usize> {
        self.headers.write(transmits, by.payload, by.ipv6);
        let headers = &mut self.headers.messages;
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        loop {
            // SAFETY: every header points at live buffers of the lengths it states, written just
            // above; none of the vectors grows before the call returns.
            let sent = unsafe {
                libc::sendmmsg(
                    by.fd,
                    headers.as_mut_ptr(),
                    headers.len() as libc::c_uint,
                    flags,
                )
            };
            if sent > 0 {
                return Ok(sent as usize);
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }

    /// Sends probes, which nobody may fragment, here or on the way. One that does not fit this host's interface is
    /// as lost as one that does not fit a router's.
    #[cold]
    fn send_probes(&mut self, transmits: &[Transmit], payload: &[u8]) {
        if transmits.is_empty() {
            return;
        }
        let mut by = Sending {
            fd: self.fd.as_raw_fd(),
            ipv6: self.ipv6,
            payload,
            full: false,
            unsent: Unsent::default(),
        };
        match super::fragment(&self.fd, self.ipv6, Fragments::Forbidden) {
            Ok(()) => {
                for transmit in transmits {
                    self.send_singly(transmit, &mut by);
                }
            }
            Err(error) => {
                tracing::debug!(%error, "fragmentation cannot be forbidden: no probe is sent");
            }
        }
        if let Err(error) = super::fragment(&self.fd, self.ipv6, Fragments::Allowed) {
            tracing::warn!(%error, "what keeps links alive is not fragmented any more");
        }
    }

    fn after_failure(&mut self, transmit: &Transmit, error: &io::Error, by: &mut Sending<'_>) {
        match error.raw_os_error() {
            // The route's device cannot segment or sum (EIO, EINVAL): that stays so.
            Some(libc::EIO | libc::EINVAL) if transmit.count > 1 => {
                let any = self.send_singly(transmit, by);
                // EINVAL is also what a vanished local address gives; then nothing went through.
                if any {
                    self.gso.fail(error, clock::now());
                }
            }
            // The path is narrower than a segment: single datagrams are fragmented on the way.
            Some(libc::EMSGSIZE) if transmit.count > 1 => {
                self.send_singly(transmit, by);
            }
            _ if transmit.to.local.is_some() && source_is_lost(error) => {
                self.send_singly(transmit, by);
            }
            _ => by.refused(transmit, error),
        }
    }

    /// Sends the datagrams of one transmit without segmentation offload; whether any was sent.
    fn send_singly(&mut self, transmit: &Transmit, by: &mut Sending<'_>) -> bool {
        let mut any = false;
        for mut single in transmit.singles() {
            if by.full {
                by.unsent.no_room += tally(&single);
                continue;
            }
            let mut sent = self.send_from(&[single], by);
            if let Err(error) = &sent
                && single.to.local.is_some()
                && source_is_lost(error)
            {
                // Our address of that time is gone: let the kernel choose another.
                single.to.local = None;
                sent = self.send_from(&[single], by);
            }
            match sent {
                Ok(_) => any = true,
                Err(error) => by.refused(&single, &error),
            }
        }
        any
    }
}

/// What is known of one socket while a batch is sent by it.
struct Sending<'a> {
    fd: RawFd,
    ipv6: bool,
    payload: &'a [u8],
    /// Its buffer takes no more for now.
    full: bool,
    unsent: Unsent,
}

impl Sending<'_> {
    #[cold]
    fn refused(&mut self, transmit: &Transmit, error: &io::Error) {
        self.full = error.kind() == io::ErrorKind::WouldBlock;
        if self.full {
            self.unsent.no_room += tally(transmit);
        } else {
            tracing::debug!(to = %transmit.to.remote, %error, "datagrams refused by the kernel");
            self.unsent.failed += tally(transmit);
        }
    }
}

/// Whether the kernel may say so because no interface has the address any more that a datagram was to leave from.
/// Anything else would only be refused once more, and go out from an address that the far end does not know.
fn source_is_lost(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::EINVAL
                | libc::ENETUNREACH
                | libc::EHOSTUNREACH
                | libc::EADDRNOTAVAIL
                | libc::ENODEV
        )
    )
}

fn tally(transmit: &Transmit) -> Tally {
    Tally {
        packets: transmit.count as u64,
        bytes: transmit.bytes() as u64,
    }
}

/// Writes the control messages of a transmit; the bytes used.
#[inline]
fn write_control(to: &mut Control, info: Option<PacketInfo>, transmit: &Transmit) -> usize {
    let mut to = to.encode();
    match info {
        Some(PacketInfo::V4(info)) => to.push(libc::IPPROTO_IP, libc::IP_PKTINFO, info),
        Some(PacketInfo::V6(info)) => to.push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info),
        None => {}
    }
    if transmit.marks != 0 {
        // By the family that goes out, also from a socket of IPv6.
        let (level, kind) = match transmit.to.remote {
            SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_TOS),
            SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_TCLASS),
        };
        to.push(level, kind, libc::c_int::from(transmit.marks));
    }
    if transmit.count > 1 {
        to.push(libc::SOL_UDP, libc::UDP_SEGMENT, transmit.segment as u16);
    }
    to.len()
}
