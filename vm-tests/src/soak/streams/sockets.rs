//! Sockets of both ends of a stream.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;

use anyhow::{Context, Result};

use super::datagram::Kind;
use crate::netns::Netns;
use crate::sys;

/// Receivers are threads that wait for a core; what comes meanwhile must have room.
const BUFFER: i32 = 8 << 20;

/// The sockets of a stream's ends, and where it is sent.
pub(super) fn open(
    kind: Kind,
    [from, to]: [(&Netns, IpAddr); 2],
) -> Result<(UdpSocket, UdpSocket, SocketAddr)> {
    if kind == Kind::Echo {
        let socket = open_echo(from.0, to.1)?;
        let sending = socket.try_clone()?;
        return Ok((sending, socket, SocketAddr::new(to.1, 0)));
    }
    let [sending, receiving] = [bind(from)?, bind(to)?];
    let to = receiving.local_addr()?;
    Ok((sending, receiving, to))
}

fn bind((netns, address): (&Netns, IpAddr)) -> Result<UdpSocket> {
    let socket = netns
        .enter(|| UdpSocket::bind((address, 0)))?
        .with_context(|| format!("cannot bind {address} in {}", netns.name()))?;
    enlarge(&socket)?;
    Ok(socket)
}

fn open_echo(netns: &Netns, to: IpAddr) -> Result<UdpSocket> {
    let protocol = if to.is_ipv4() { 1 } else { 58 };
    let socket = netns.enter(|| -> std::io::Result<UdpSocket> {
        let socket = UdpSocket::from(sys::raw_socket(to.is_ipv4(), protocol)?);
        socket.connect((to, 0))?;
        Ok(socket)
    })??;
    enlarge(&socket)?;
    Ok(socket)
}

fn enlarge(socket: &impl AsFd) -> Result<()> {
    sys::set_socket_option(
        socket,
        libc::SOL_SOCKET,
        libc::SO_RCVBUFFORCE,
        &BUFFER.to_ne_bytes(),
    )?;
    Ok(())
}
