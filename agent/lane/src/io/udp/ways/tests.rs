use std::net::{Ipv4Addr, SocketAddr, UdpSocket as StdSocket};
use std::num::NonZeroU32;

use super::super::{ReceiveBatch, UdpSocket};
use super::*;

fn bound(listen: &str) -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind(listen.parse().unwrap()).unwrap();
    let address = socket.local_address().unwrap();
    (socket, address)
}

/// Datagrams from 64 sources to the port, one of each; how many have come to the receiver.
fn heard(socket: &UdpSocket, port: u16) -> usize {
    for _ in 0..64 {
        let source = StdSocket::bind("127.0.0.1:0").unwrap();
        source
            .send_to(&[7; 40], (Ipv4Addr::LOCALHOST, port))
            .unwrap();
    }
    // Loopback delivers before the call returns.
    let mut batch = ReceiveBatch::new();
    let mut heard = 0;
    while batch.receive(socket).unwrap() > 0 {
        heard += batch
            .messages()
            .map(|run| run.datagrams().count())
            .sum::<usize>();
    }
    heard
}

#[test]
fn whatever_comes_for_the_port_comes_to_the_socket_that_receives() {
    for listen in ["0.0.0.0:0", "127.0.0.1:0", "[::]:0"] {
        let (socket, address) = bound(listen);
        assert_eq!(socket.ways.sockets.len(), WAYS);
        assert_eq!(heard(&socket, address.port()), 64, "{listen}");
    }
}

#[test]
fn an_agent_that_takes_over_hears_all_with_and_without_the_sockets_of_the_one_before() {
    for listen in ["0.0.0.0:0", "[::]:0"] {
        let (before, address) = bound(listen);
        let fd = before.fd.try_clone().unwrap();
        let after = UdpSocket::taken_over(fd, &[]).unwrap();
        assert_eq!(after.ways.sockets.len(), WAYS);
        assert_eq!(heard(&after, address.port()), 64, "both, {listen}");
        drop(before);
        assert_eq!(heard(&after, address.port()), 64, "one, {listen}");
    }
}

#[test]
fn nobody_else_can_bind_the_port() {
    for listen in ["0.0.0.0:0", "127.0.0.1:0", "[::]:0"] {
        let (_socket, address) = bound(listen);
        let specific = SocketAddr::from((Ipv4Addr::LOCALHOST, address.port()));
        for wanted in [address, specific] {
            for option in [None, Some(libc::SO_REUSEPORT), Some(libc::SO_REUSEADDR)] {
                let other = new_socket(wanted.is_ipv6()).unwrap();
                if let Some(option) = option {
                    set(&other, libc::SOL_SOCKET, option, &1).unwrap();
                }
                let refused = SockRef::from(&other).bind(&wanted.into()).unwrap_err();
                let errno = refused.raw_os_error();
                assert_eq!(errno, Some(libc::EADDRINUSE), "{wanted}, {option:?}");
            }
        }
    }
}

#[test]
fn a_port_that_others_share_is_not_joined() {
    let other = new_socket(false).unwrap();
    share(&other, true).unwrap();
    let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    SockRef::from(&other).bind(&any.into()).unwrap();
    let address = SockRef::from(&other).local_addr().unwrap();
    let refused = UdpSocket::bind(address.as_socket().unwrap()).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
}

#[test]
fn each_way_has_a_socket_and_a_new_one_takes_that_of_the_way_used_longest_ago() {
    let (socket, _) = bound("127.0.0.1:0");
    let mut ways = socket.ways;
    let way = |number: u8| Endpoint {
        remote: SocketAddr::from(([192, 0, 2, 1], 51820)),
        local: Some([203, 0, 113, number].into()),
        interface: NonZeroU32::new(number.into()),
    };
    let numbers: Vec<_> = (1..=4)
        .map(|number| ways.of(&way(number)).unwrap())
        .collect();
    let mut sorted = numbers.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, [0, 1, 2, 3]);
    assert_eq!(ways.of(&way(1)), Some(numbers[0]));
    assert_eq!(ways.of(&way(5)), Some(numbers[1]), "that of way 2");
    assert_eq!(ways.of(&way(1)), Some(numbers[0]));
    let elsewhere = Endpoint {
        remote: SocketAddr::from(([192, 0, 2, 9], 1)),
        ..way(5)
    };
    assert_eq!(
        ways.of(&elsewhere),
        Some(numbers[1]),
        "one uplink, one buffer"
    );
    assert_eq!(Ways::none().of(&way(1)), None);
}
