//! Socket addresses and packet-info control messages in the kernel's form.
//!
//! A dual-stack socket speaks IPv4 as IPv4-mapped IPv6 (RFC 4291 2.5.5.2); outside this file an
//! IPv4 address is always plain.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::num::NonZeroU32;
use std::os::fd::{AsRawFd, OwnedFd};

use super::Endpoint;

/// Room for an address of either family.
pub type RawAddress = libc::sockaddr_storage;

/// An address of no family.
pub fn empty() -> RawAddress {
    // SAFETY: `sockaddr_storage` is plain data for which all zeroes is a valid value.
    unsafe { std::mem::zeroed() }
}

/// Writes `address` for a socket of the given family; the length of what was written.
pub fn write(to: &mut RawAddress, address: SocketAddr, ipv6: bool) -> libc::socklen_t {
    if ipv6 {
        let v6 = match address {
            SocketAddr::V6(v6) => v6,
            SocketAddr::V4(v4) => SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0),
        };
        let raw = libc::sockaddr_in6 {
            sin6_family: libc::AF_INET6 as libc::sa_family_t,
            sin6_port: v6.port().to_be(),
            sin6_flowinfo: v6.flowinfo(),
            sin6_addr: libc::in6_addr {
                s6_addr: v6.ip().octets(),
            },
            sin6_scope_id: v6.scope_id(),
        };
        // SAFETY: `sockaddr_storage` is larger and at least as aligned as every socket address.
        unsafe { (&raw mut *to).cast::<libc::sockaddr_in6>().write(raw) };
        size_of::<libc::sockaddr_in6>() as libc::socklen_t
    } else {
        let (ip, port) = match address {
            SocketAddr::V4(v4) => (*v4.ip(), v4.port()),
            // Refused by the configuration; sending to 0.0.0.0 fails and is counted.
            SocketAddr::V6(v6) => (v6.ip().to_ipv4_mapped().unwrap_or([0; 4].into()), v6.port()),
        };
        let raw = libc::sockaddr_in {
            sin_family: libc::AF_INET as libc::sa_family_t,
            sin_port: port.to_be(),
            sin_addr: libc::in_addr {
                s_addr: u32::from_ne_bytes(ip.octets()),
            },
            sin_zero: [0; 8],
        };
        // SAFETY: as above.
        unsafe { (&raw mut *to).cast::<libc::sockaddr_in>().write(raw) };
        size_of::<libc::sockaddr_in>() as libc::socklen_t
    }
}

/// Reads what the kernel wrote; `None` for a family that is not IP.
pub fn read(from: &RawAddress) -> Option<SocketAddr> {
    match libc::c_int::from(from.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that a `sockaddr_in` was written here.
            let raw = unsafe { (&raw const *from).cast::<libc::sockaddr_in>().read() };
            let ip = raw.sin_addr.s_addr.to_ne_bytes();
            Some(SocketAddrV4::new(ip.into(), u16::from_be(raw.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that a `sockaddr_in6` was written here.
            let raw = unsafe { (&raw const *from).cast::<libc::sockaddr_in6>().read() };
            let ip = Ipv6Addr::from(raw.sin6_addr.s6_addr);
            let port = u16::from_be(raw.sin6_port);
            Some(match ip.to_ipv4_mapped() {
                Some(v4) => SocketAddrV4::new(v4, port).into(),
                None => SocketAddrV6::new(ip, port, raw.sin6_flowinfo, raw.sin6_scope_id).into(),
            })
        }
        _ => None,
    }
}

/// Control-message payload that makes a datagram leave from `local`, with its level and type.
pub(super) enum PacketInfo {
    V4(libc::in_pktinfo),
    V6(libc::in6_pktinfo),
}

impl PacketInfo {
    /// What makes a datagram to `to` leave as it says; `None` where it says nothing that this socket can
    /// do.
    pub(super) fn leaving(to: &Endpoint, ipv6: bool) -> Option<Self> {
        let interface = to.interface.map_or(0, NonZeroU32::get);
        match (to.local, ipv6) {
            (None, _) if interface == 0 => None,
            (Some(IpAddr::V6(_)), false) => None,
            (None, false) => Some(Self::v4(Ipv4Addr::UNSPECIFIED, interface)),
            (Some(IpAddr::V4(v4)), false) => Some(Self::v4(v4, interface)),
            // Each family has an unspecified address of its own.
            (None, true) if to.remote.is_ipv4() => {
                Some(Self::v6(Ipv4Addr::UNSPECIFIED.to_ipv6_mapped(), interface))
            }
            (None, true) => Some(Self::v6(Ipv6Addr::UNSPECIFIED, interface)),
            (Some(IpAddr::V4(v4)), true) => Some(Self::v6(v4.to_ipv6_mapped(), interface)),
            (Some(IpAddr::V6(v6)), true) => Some(Self::v6(v6, interface)),
        }
    }

    fn v4(address: Ipv4Addr, interface: u32) -> Self {
        Self::V4(libc::in_pktinfo {
            ipi_ifindex: interface as libc::c_int,
            ipi_spec_dst: libc::in_addr {
                s_addr: u32::from_ne_bytes(address.octets()),
            },
            ipi_addr: libc::in_addr { s_addr: 0 },
        })
    }

    fn v6(address: Ipv6Addr, interface: u32) -> Self {
        Self::V6(libc::in6_pktinfo {
            ipi6_addr: libc::in6_addr {
                s6_addr: address.octets(),
            },
            ipi6_ifindex: interface,
        })
    }
}

/// The address a datagram was sent to.
pub(super) fn dialled_v4(info: &libc::in_pktinfo) -> IpAddr {
    // `ipi_addr` is the header's destination; a broadcast there is no source for a reply, and the
    // kernel's choice in `ipi_spec_dst` is.
    IpAddr::V4(info.ipi_spec_dst.s_addr.to_ne_bytes().into())
}

/// The address a datagram was sent to.
pub(super) fn dialled_v6(info: &libc::in6_pktinfo) -> IpAddr {
    Ipv6Addr::from(info.ipi6_addr.s6_addr).to_canonical()
}

pub(super) fn bind(fd: &OwnedFd, listen: SocketAddr) -> io::Result<()> {
    let mut raw = empty();
    let length = write(&mut raw, listen, listen.is_ipv6());
    // SAFETY: `raw` holds an address of `length` bytes.
    let result = unsafe { libc::bind(fd.as_raw_fd(), (&raw const raw).cast(), length) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

pub(super) fn connect(fd: &OwnedFd, to: SocketAddr) -> io::Result<()> {
    let mut raw = empty();
    let length = write(&mut raw, to, to.is_ipv6());
    // SAFETY: `raw` holds an address of `length` bytes.
    let result = unsafe { libc::connect(fd.as_raw_fd(), (&raw const raw).cast(), length) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

pub(super) fn local(fd: &OwnedFd) -> io::Result<SocketAddr> {
    let mut raw = empty();
    let mut length = size_of::<RawAddress>() as libc::socklen_t;
    // SAFETY: `raw` is writable for `length` bytes.
    let result =
        unsafe { libc::getsockname(fd.as_raw_fd(), (&raw mut raw).cast(), &raw mut length) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    read(&raw).ok_or_else(|| io::Error::other("the socket has no IP address"))
}
