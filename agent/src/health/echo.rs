//! One ICMP echo (RFC 792, RFC 4443 section 4): by the kernel's ping socket, which needs no
//! capability where `net.ipv4.ping_group_range` has our group, else by a raw socket.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{FromRawFd, OwnedFd};

use tokio::net::UdpSocket;

use crossway_types::checksum;

/// Type, code, checksum, identifier, sequence number.
const HEADER: usize = 8;
/// What an answer must bring back, beside the header.
const NONCE: usize = 8;
/// Room for an answer with the IPv4 header that a raw socket shows, with options.
const ANSWER: usize = 60 + HEADER + NONCE;

/// Message types.
const REQUEST_V4: u8 = 8;
const REPLY_V4: u8 = 0;
const REQUEST_V6: u8 = 128;
const REPLY_V6: u8 = 129;

/// Asks `target` by way of `interface` and waits for the answer, for ever: the caller sets the limit.
pub(super) async fn ask(target: IpAddr, interface: &str) -> io::Result<()> {
    let socket = open(target.is_ipv4())?;
    socket.bind_device(Some(interface.as_bytes()))?;
    socket.connect(SocketAddr::new(target, 0)).await?;
    let nonce: [u8; NONCE] = rand::random();
    socket.send(&request(target.is_ipv4(), nonce)).await?;
    let mut bytes = [0; ANSWER];
    loop {
        let length = socket.recv(&mut bytes).await?;
        if is_answer(&bytes[..length], target.is_ipv4(), nonce) {
            return Ok(());
        }
    }
}

/// A socket that sends and receives ICMP messages. (tokio and std know no kind of socket for it, but
/// what they call on a connected one is the same for all kinds.)
fn open(ipv4: bool) -> io::Result<UdpSocket> {
    let (family, protocol) = if ipv4 {
        (libc::AF_INET, libc::IPPROTO_ICMP)
    } else {
        (libc::AF_INET6, libc::IPPROTO_ICMPV6)
    };
    let socket = open_kind(family, libc::SOCK_DGRAM, protocol)
        .or_else(|_| open_kind(family, libc::SOCK_RAW, protocol))?;
    UdpSocket::from_std(socket.into())
}

fn open_kind(family: i32, kind: i32, protocol: i32) -> io::Result<OwnedFd> {
    let kind = kind | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: the call takes no pointer.
    let fd = unsafe { libc::socket(family, kind, protocol) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// An echo request. The identifier may become the kernel's; the nonce tells whose the answer is.
pub fn request(ipv4: bool, nonce: [u8; NONCE]) -> [u8; HEADER + NONCE] {
    let mut message = [0; HEADER + NONCE];
    message[0] = if ipv4 { REQUEST_V4 } else { REQUEST_V6 };
    message[4..6].copy_from_slice(&nonce[..2]);
    message[HEADER..].copy_from_slice(&nonce);
    if ipv4 {
        // The kernel writes that of ICMPv6, which also covers the addresses.
        let sum = checksum::finish(0, &message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    message
}

/// Whether these bytes, with or without an IPv4 header, answer the request with this nonce.
pub fn is_answer(bytes: &[u8], ipv4: bool, nonce: [u8; NONCE]) -> bool {
    let message = match bytes.first() {
        // Version 4 in the upper half: a raw socket's. An echo reply starts with type 0.
        Some(first) if ipv4 && first >> 4 == 4 => {
            let header = usize::from(first & 0xf) * 4;
            bytes.get(header..).unwrap_or_default()
        }
        _ => bytes,
    };
    let reply = if ipv4 { REPLY_V4 } else { REPLY_V6 };
    message.first() == Some(&reply) && message.get(HEADER..HEADER + NONCE) == Some(&nonce)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: [u8; 8] = *b"12345678";

    #[test]
    fn a_request_of_ipv4_has_a_checksum_that_adds_up() {
        let message = request(true, NONCE);
        assert_eq!((message[0], message[1]), (8, 0));
        assert_eq!(checksum::finish(0, &message), 0);
        assert_eq!(request(false, NONCE)[..4], [128, 0, 0, 0]);
    }

    #[test]
    fn only_the_answer_to_our_own_request_counts() {
        let mut reply = request(true, NONCE);
        assert!(!is_answer(&reply, true, NONCE), "the request itself");
        reply[0] = REPLY_V4;
        assert!(is_answer(&reply, true, NONCE));
        assert!(!is_answer(&reply, true, *b"87654321"));
        assert!(!is_answer(&reply[..12], true, NONCE));
        let mut with_header = vec![0; 24];
        with_header[0] = 0x46;
        with_header.extend_from_slice(&reply);
        assert!(is_answer(&with_header, true, NONCE));
        with_header[0] = 0x4f;
        assert!(!is_answer(&with_header, true, NONCE));
        reply[0] = REPLY_V6;
        assert!(is_answer(&reply, false, NONCE));
        assert!(!is_answer(&[], false, NONCE));
    }
}
