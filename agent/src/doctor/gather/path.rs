//! How large a packet may be on its way: echoes of the far gateway, with fragmentation forbidden.

use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crossway_sys::socket_option;
use socket2::{Domain, Protocol, Socket, Type};

use crate::clock;
use crate::doctor::facts::Measured;
use crate::health::echo;

/// What every path takes: RFC 791 for IPv4, RFC 8200 for IPv6.
const LEAST_V4: u32 = 576;
const LEAST_V6: u32 = 1280;
/// IP header, and that of the echo with its nonce.
const HEADER_V4: usize = 20;
const HEADER_V6: usize = 40;
/// How long an answer may take: half around the earth and back, and a far gateway that is busy.
const PATIENCE: Duration = Duration::from_millis(500);
/// One that does not answer so many times does not answer.
const TRIES: u32 = 3;

/// Whether a packet may be fragmented (`IP_MTU_DISCOVER`; the numbers of IPv6 are the same).
#[derive(Clone, Copy, Debug)]
enum Fragments {
    /// `IP_PMTUDISC_DONT`.
    Allowed = 0,
    /// `IP_PMTUDISC_PROBE`: forbidden, whatever the kernel believes of the path.
    Forbidden = 3,
}

/// Asks `remote` for echoes, through `wan` if that is given. `None` if it answers none, or if they cannot be sent.
pub(super) fn measure(remote: IpAddr, wan: Option<&str>, largest: u32) -> Option<Measured> {
    let asker = Asker::open(remote, wan).ok()?;
    let least = if remote.is_ipv4() { LEAST_V4 } else { LEAST_V6 };
    if largest <= least || !asker.answers(least, Fragments::Forbidden) {
        return None;
    }
    if asker.answers(largest, Fragments::Forbidden) {
        return Some(Measured {
            mtu: largest,
            fragments_pass: true,
        });
    }
    let (mut fits, mut fails) = (least, largest);
    while fails - fits > 1 {
        let middle = fits.midpoint(fails);
        if asker.answers(middle, Fragments::Forbidden) {
            fits = middle;
        } else {
            fails = middle;
        }
    }
    Some(Measured {
        mtu: fits,
        fragments_pass: asker.answers(largest, Fragments::Allowed),
    })
}

struct Asker {
    socket: Socket,
    ipv4: bool,
}

impl Asker {
    fn open(remote: IpAddr, wan: Option<&str>) -> io::Result<Self> {
        let ipv4 = remote.is_ipv4();
        let (domain, protocol) = if ipv4 {
            (Domain::IPV4, Protocol::ICMPV4)
        } else {
            (Domain::IPV6, Protocol::ICMPV6)
        };
        let open = |kind: Type| Socket::new(domain, kind, Some(protocol));
        let socket = open(Type::DGRAM).or_else(|_| open(Type::RAW))?;
        socket.bind_device(wan.map(str::as_bytes))?;
        socket.connect(&SocketAddr::new(remote, 0).into())?;
        Ok(Self { socket, ipv4 })
    }

    /// Whether an echo in a packet of `size` bytes, IP header included, is answered.
    fn answers(&self, size: u32, fragments: Fragments) -> bool {
        (0..TRIES).any(|_| self.ask(size, fragments).unwrap_or(false))
    }

    fn ask(&self, size: u32, fragments: Fragments) -> io::Result<bool> {
        let (level, option, header) = if self.ipv4 {
            (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, HEADER_V4)
        } else {
            (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, HEADER_V6)
        };
        socket_option::set(&self.socket, level, option, &(fragments as libc::c_int))?;
        let nonce = rand::random();
        let mut message = echo::request(self.ipv4, nonce).to_vec();
        // Zeros change no checksum.
        message.resize((size as usize).saturating_sub(header), 0);
        self.socket.send(&message)?;
        let deadline = clock::now() + PATIENCE;
        let mut bytes = vec![0; size as usize + HEADER_V6];
        loop {
            let left = deadline.saturating_duration_since(clock::now());
            if left.is_zero() {
                return Ok(false);
            }
            self.socket.set_read_timeout(Some(left))?;
            match (&self.socket).read(&mut bytes) {
                Ok(length) if echo::is_answer(&bytes[..length], self.ipv4, nonce) => {
                    return Ok(true);
                }
                // Another's answer on a raw socket, or what a router says of an earlier question.
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_larger_than_every_path_takes_is_not_asked_for() {
        let host = IpAddr::from([127, 0, 0, 1]);
        assert_eq!(measure(host, None, LEAST_V4), None);
    }
}
