//! One queue of the TUN device: whole super-packets in and out, each behind a [`virtio::Header`].

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::offload::{Offload, ToldOff};
use super::virtio;
use crossway_sys::clock;

/// Longest packet that the TUN hands over, with its header.
pub const MAX_READ: usize = virtio::HEADER_LEN + 65_535;

/// The offloads' names.
const TSO: &str = "tun-tso";
const USO: &str = "tun-uso";

// Linux include/uapi/linux/if_tun.h.
/// `_IOR('T', 224, int)`.
const TUNSETSTEERINGEBPF: libc::Ioctl = 0x8004_54e0_u32 as libc::Ioctl;
const TUN_F_CSUM: libc::c_uint = 0x01;
const TUN_F_TSO4: libc::c_uint = 0x02;
const TUN_F_TSO6: libc::c_uint = 0x04;
const TUN_F_USO4: libc::c_uint = 0x20;
const TUN_F_USO6: libc::c_uint = 0x40;

/// An open queue.
#[derive(Debug)]
pub struct TunQueue {
    fd: OwnedFd,
    /// TCP super-packets, both ways.
    pub tso: Offload,
    /// UDP super-packets, both ways (kernel 6.2).
    pub uso: Offload,
}

impl TunQueue {
    /// Opens a queue of the TUN called `name`, making the device if there is none, and keeps the
    /// device beyond the life of this process, so that a killed agent leaves no gap in the routes.
    ///
    /// # Errors
    /// EPERM without `CAP_NET_ADMIN`, EBUSY where another process has the queue, EINVAL where a
    /// device of the name is of another kind.
    pub fn open(name: &str) -> io::Result<Self> {
        let fd = open_clone_device()?;
        let mut request = interface_request(name)?;
        request.ifr_ifru.ifru_flags =
            (libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_VNET_HDR | libc::IFF_MULTI_QUEUE) as i16;
        // SAFETY: TUNSETIFF reads and writes one `ifreq`, which `request` is.
        check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETIFF, &raw mut request) })?;
        let length: libc::c_int = virtio::HEADER_LEN as libc::c_int;
        // SAFETY: TUNSETVNETHDRSZ reads one int.
        check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETVNETHDRSZ, &raw const length) })?;
        let persist: libc::c_ulong = 1;
        // SAFETY: TUNSETPERSIST takes its argument by value.
        check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETPERSIST, persist) })?;

        let now = clock::now();
        let tcp = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6;
        let tso = set_offload(&fd, tcp);
        let uso = match &tso {
            Ok(()) => set_offload(&fd, tcp | TUN_F_USO4 | TUN_F_USO6),
            Err(_) => Err(io::Error::from_raw_os_error(libc::EINVAL)),
        };
        Ok(Self {
            fd,
            tso: Offload::probed(TSO, tso, now),
            uso: Offload::probed(USO, uso, now),
        })
    }

    /// A queue that another agent of this gateway has opened, with what that found out about it: to probe
    /// again takes a lock of the kernel's that others may hold for milliseconds.
    pub fn taken_over(fd: OwnedFd, off: &[ToldOff]) -> Self {
        let now = clock::now();
        Self {
            fd,
            tso: Offload::told(TSO, off, now),
            uso: Offload::told(USO, off, now),
        }
    }

    /// The same queue once more, to steer it later.
    pub fn try_clone(&self) -> io::Result<OwnedFd> {
        self.fd.try_clone()
    }

    /// Lets `program` (a socket filter) say which queue of the device takes a packet (kernel 4.16).
    pub fn steer(&self, program: BorrowedFd<'_>) -> io::Result<()> {
        steer(self.fd.as_fd(), program)
    }

    /// Reads one packet with its header; `None` when the queue is empty.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        // SAFETY: the pointer and the length are those of one exclusive slice.
        let read = unsafe {
            libc::read(
                self.fd.as_raw_fd(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
            )
        };
        if read >= 0 {
            return Ok(Some(read as usize));
        }
        let error = io::Error::last_os_error();
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(None),
            _ => Err(error),
        }
    }

    /// Writes one packet with its header.
    pub fn write(&self, packet: &[u8]) -> io::Result<()> {
        // SAFETY: the pointer and the length are those of one slice.
        let written =
            unsafe { libc::write(self.fd.as_raw_fd(), packet.as_ptr().cast(), packet.len()) };
        if written < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }
}

impl AsFd for TunQueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Lets `program` say which queue of a device takes a packet; `queue` is any of its queues.
pub fn steer(queue: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let fd: libc::c_int = program.as_raw_fd();
    // SAFETY: TUNSETSTEERINGEBPF reads one int.
    check(unsafe { libc::ioctl(queue.as_raw_fd(), TUNSETSTEERINGEBPF, &raw const fd) }).map(drop)
}

fn open_clone_device() -> io::Result<OwnedFd> {
    let flags = libc::O_RDWR | libc::O_NONBLOCK | libc::O_CLOEXEC;
    // SAFETY: the path is a NUL-terminated literal.
    let fd = check(unsafe { libc::open(c"/dev/net/tun".as_ptr(), flags) })?;
    // SAFETY: the kernel has just made this descriptor and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn interface_request(name: &str) -> io::Result<libc::ifreq> {
    if name.is_empty() || name.len() >= libc::IFNAMSIZ {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!(
                "interface name {name:?} must have 1 to {} bytes",
                libc::IFNAMSIZ - 1
            ),
        ));
    }
    // SAFETY: `ifreq` is plain data for which all zeroes is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    Ok(request)
}

fn set_offload(fd: &OwnedFd, mask: libc::c_uint) -> io::Result<()> {
    let mask = libc::c_ulong::from(mask);
    // SAFETY: TUNSETOFFLOAD takes its argument by value.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETOFFLOAD, mask) }).map(drop)
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
