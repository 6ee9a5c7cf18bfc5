//! Whether an interface of this host has an address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

/// Whether `address` is one of this host's interfaces' now. Three system calls; nothing is
/// sent. Not by bind(2), which takes any address where `ip_nonlocal_bind` is set.
pub fn is_own(address: IpAddr) -> bool {
    let any: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let source = UdpSocket::bind((any, 0)).and_then(|socket| {
        // The discard port (RFC 863).
        socket.connect((address, 9))?;
        socket.local_addr()
    });
    // What goes to an own address comes from that address.
    source.is_ok_and(|source| source.ip() == address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_ours_and_the_rest_of_the_world_is_not() {
        assert!(is_own("127.0.0.1".parse().unwrap()));
        assert!(is_own("::1".parse().unwrap()));
        assert!(!is_own("192.0.2.1".parse().unwrap()));
        assert!(!is_own("2001:db8::1".parse().unwrap()));
    }
}
