//! Whole frames out of and into an interface (packet(7)), many in one system call.

use std::io;
use std::mem::size_of;
use std::os::fd::AsRawFd;
use std::ptr;

use anyhow::{Context, Result};
use nix::net::if_::if_nametoindex;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::netns::Netns;

/// Frames of one system call.
const BATCH: usize = 128;
/// Longest frame that is received whole: what GRO joins on its way to a host.
const ROOM: usize = 65_536 + 64;
/// Bytes asked for as a socket's receive buffer: a tenth of a second of small frames.
const RECEIVE_BUFFER: libc::c_int = 64 << 20;
/// In network order, as socket(2) and `sll_protocol` take it.
const ALL_PROTOCOLS: u16 = (libc::ETH_P_ALL as u16).to_be();

/// Frames, one behind the other.
#[derive(Clone, Debug, Default)]
pub struct Frames {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Frames {
    /// Adds one.
    pub fn push(&mut self, frame: &[u8]) {
        self.bytes.extend_from_slice(frame);
        self.ends.push(self.bytes.len());
    }

    /// Forgets all; the memory stays.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// In their order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = [0].into_iter().chain(self.ends.iter().copied());
        starts
            .zip(&self.ends)
            .map(|(start, end)| &self.bytes[start..*end])
    }
}

/// A socket on one interface.
#[derive(Debug)]
pub struct PacketSocket {
    socket: Socket,
}

impl PacketSocket {
    /// One that sends. It receives nothing, so that it is no load.
    pub fn sender(netns: &Netns, interface: &str) -> Result<Self> {
        Self::open(netns, interface, 0, &[])
    }

    /// One that receives every frame that comes in by the interface; those that leave by it are left out.
    pub fn receiver(netns: &Netns, interface: &str) -> Result<Self> {
        let options = [
            (libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, RECEIVE_BUFFER),
            (libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, 1),
        ];
        Self::open(netns, interface, ALL_PROTOCOLS, &options)
    }

    /// One that receives every frame that comes in by the interface or leaves by it.
    pub fn observer(netns: &Netns, interface: &str) -> Result<Self> {
        let options = [(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, RECEIVE_BUFFER)];
        Self::open(netns, interface, ALL_PROTOCOLS, &options)
    }

    fn open(
        netns: &Netns,
        interface: &str,
        protocol: u16,
        options: &[(libc::c_int, libc::c_int, libc::c_int)],
    ) -> Result<Self> {
        let open = || {
            let socket = Self::unbound()?;
            for option in options {
                socket.set(*option)?;
            }
            socket.bind(interface, protocol)?;
            Ok(socket)
        };
        let opened: io::Result<Self> = netns.enter(open)?;
        let name = netns.name();
        opened.with_context(|| format!("cannot open a packet socket on {interface} in {name}"))
    }

    fn unbound() -> io::Result<Self> {
        let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking(), None)?;
        Ok(Self { socket })
    }

    fn set(&self, (level, name, value): (libc::c_int, libc::c_int, libc::c_int)) -> io::Result<()> {
        crate::sys::set_socket_option(&self.socket, level, name, &value.to_ne_bytes())
    }

    fn bind(&self, interface: &str, protocol: u16) -> io::Result<()> {
        let index = if_nametoindex(interface)?;
        // SAFETY: a `sockaddr_ll` fits into the storage, and all of what it has beside these fields may be zero.
        let ((), address) = unsafe {
            SockAddr::try_init(|storage, length| {
                let address = storage.cast::<libc::sockaddr_ll>();
                (*address).sll_family = libc::AF_PACKET as u16;
                (*address).sll_protocol = protocol;
                (*address).sll_ifindex = index as libc::c_int;
                *length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
                Ok(())
            })
        }?;
        self.socket.bind(&address)
    }

    /// Sends the frames. What the interface has no room for is tried again; returns those that it refuses for
    /// good, such as frames longer than its MTU.
    pub fn send(&self, frames: &Frames) -> Result<u64> {
        let mut vectors: Vec<libc::iovec> = frames
            .iter()
            .map(|frame| libc::iovec {
                iov_base: frame.as_ptr().cast_mut().cast(),
                iov_len: frame.len(),
            })
            .collect();
        let mut headers: Vec<libc::mmsghdr> = vectors.iter_mut().map(header_of).collect();
        let (mut next, mut refused) = (0, 0);
        while next < headers.len() {
            let batch = &mut headers[next..];
            let count = batch.len().min(BATCH);
            // SAFETY: each header points at one vector and that at a frame, all of which live through the
            // call, which only reads them.
            let sent = unsafe {
                libc::sendmmsg(
                    self.socket.as_raw_fd(),
                    batch.as_mut_ptr(),
                    count as libc::c_uint,
                    libc::MSG_DONTWAIT,
                )
            };
            if sent > 0 {
                next += sent as usize;
                continue;
            }
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::EAGAIN | libc::ENOBUFS | libc::EINTR) => std::thread::yield_now(),
                Some(libc::EMSGSIZE | libc::EINVAL) => {
                    refused += 1;
                    next += 1;
                }
                _ => return Err(error).context("cannot send frames"),
            }
        }
        Ok(refused)
    }

    /// Hands what waits to `take`, frame by frame; how many it was.
    pub fn receive(&self, buffers: &mut Buffers, mut take: impl FnMut(&[u8])) -> Result<usize> {
        let mut vectors: Vec<libc::iovec> = buffers
            .0
            .chunks_exact_mut(ROOM)
            .map(|room| libc::iovec {
                iov_base: room.as_mut_ptr().cast(),
                iov_len: room.len(),
            })
            .collect();
        let mut headers: Vec<libc::mmsghdr> = vectors.iter_mut().map(header_of).collect();
        // SAFETY: each header points at one vector and that at a buffer of the stated length, all of which
        // live through the call.
        let received = unsafe {
            libc::recvmmsg(
                self.socket.as_raw_fd(),
                headers.as_mut_ptr(),
                headers.len() as libc::c_uint,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        if received < 0 {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(0),
                _ => Err(error).context("cannot receive frames"),
            };
        }
        let received = received as usize;
        for (header, room) in headers[..received].iter().zip(buffers.0.chunks_exact(ROOM)) {
            take(&room[..header.msg_len as usize]);
        }
        Ok(received)
    }

    /// Frames that this socket had no room for since this was asked last.
    pub fn lost(&self) -> Result<u32> {
        let mut counts = [0_u32; 2];
        let mut length = size_of_val(&counts) as libc::socklen_t;
        // SAFETY: the pointers are to a live `tpacket_stats`, two words, and its true length.
        let result = unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                counts.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        if result == 0 {
            Ok(counts[1])
        } else {
            Err(io::Error::last_os_error()).context("cannot read a packet socket's counters")
        }
    }
}

/// Room for what one call receives.
#[derive(Debug)]
pub struct Buffers(Vec<u8>);

impl Default for Buffers {
    fn default() -> Self {
        Self(vec![0; ROOM * BATCH])
    }
}

fn header_of(vector: &mut libc::iovec) -> libc::mmsghdr {
    // SAFETY: `mmsghdr` is plain data for which all zeroes is a valid value.
    let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
    header.msg_hdr.msg_iov = vector;
    header.msg_hdr.msg_iovlen = 1;
    header
}
