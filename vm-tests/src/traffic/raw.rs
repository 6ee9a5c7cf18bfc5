//! Packets of any IP protocol, by raw sockets.

use std::net::{IpAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::netns::Netns;
use crate::sys;

/// Longest packet that a test sends, and more.
const ROOM: usize = 65_536;

/// Sends and receives the payload of one IP protocol.
#[derive(Debug)]
pub struct RawSocket {
    /// std's type only for its `send_to` and `recv_from`, which do not care what kind of socket it is.
    socket: UdpSocket,
    ipv4: bool,
}

impl RawSocket {
    /// Opens one for a protocol number, of the family of `peer`, which packets go to and come from.
    pub fn open(netns: &Netns, protocol: u8, peer: IpAddr) -> Result<Self> {
        let ipv4 = peer.is_ipv4();
        let socket = netns
            .enter(|| -> std::io::Result<UdpSocket> {
                let socket = UdpSocket::from(sys::raw_socket(ipv4, protocol)?);
                socket.connect((peer, 0))?;
                Ok(socket)
            })?
            .with_context(|| {
                let name = netns.name();
                format!("cannot open a raw socket of protocol {protocol} to {peer} in {name}")
            })?;
        Ok(Self { socket, ipv4 })
    }

    /// Sends a packet with this payload.
    pub fn send(&self, payload: &[u8]) -> Result<()> {
        self.socket
            .send(payload)
            .context("cannot send a raw packet")?;
        Ok(())
    }

    /// The payload of the next packet from the peer, and where it came from.
    pub fn receive(&self, limit: Duration) -> Result<(IpAddr, Vec<u8>)> {
        self.socket.set_read_timeout(Some(limit))?;
        let mut buffer = vec![0; ROOM];
        let (length, from) = self
            .socket
            .recv_from(&mut buffer)
            .context("no raw packet came")?;
        // Raw sockets give the IPv4 header (raw(7)), but not the IPv6 header (RFC 3542, 3).
        let start = if self.ipv4 {
            usize::from(buffer[0] & 0xf) * 4
        } else {
            0
        };
        Ok((from.ip(), buffer[start..length].to_vec()))
    }
}
