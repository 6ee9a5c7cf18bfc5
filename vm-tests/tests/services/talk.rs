//! Servers at both sites, and their clients.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};

use vm_tests::netns::Netns;
use vm_tests::pair::Pair;
use vm_tests::topology::Family;

use crate::DEADLINE;

/// What a server says to each client, and a client to its server.
const WORDS: &[u8] = b"hello";

pub(crate) fn at(address: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(address, port)
}

pub(crate) const ERP: u16 = 8443;
pub(crate) const DNS: u16 = 5353;
pub(crate) const GIT: u16 = 2222;

/// Five clients of two servers at b, one of a server at a, and servers with public addresses.
pub(crate) fn talk(pair: &Pair) {
    let (a, b) = (&pair.site_a().host, &pair.site_b().host);
    let (near, far) = (pair.site_a().host_address(Family::V4), pair.far(Family::V4));
    for number in 0..5 {
        let from = format!("10.1.0.{}", 20 + number);
        a.ip(&format!("addr replace {from}/24 dev eth0")).unwrap();
        let from = from.parse().unwrap();
        talk_tcp(a, from, at(far, ERP));
        talk_udp(a, from, at(far, DNS));
    }
    talk_tcp(b, far, at(near, GIT));
    let (near, far) = (pair.site_a().host_address(Family::V6), pair.far(Family::V6));
    talk_tcp(a, near, at(far, ERP));
}

pub(crate) fn serve(pair: &Pair) {
    let (a, b) = (&pair.site_a().host, &pair.site_b().host);
    for family in Family::ALL {
        serve_tcp(b, at(pair.far(family), ERP));
    }
    serve_udp(b, at(pair.far(Family::V4), DNS));
    serve_tcp(a, at(pair.site_a().host_address(Family::V4), GIT));
}

/// A server that greets whoever connects and waits for its answer.
fn serve_tcp(host: &Netns, at: SocketAddr) {
    let listener = host.enter(|| TcpListener::bind(at)).unwrap().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut heard = [0; WORDS.len()];
            if stream.write_all(WORDS).is_ok() {
                drop(stream.read_exact(&mut heard));
            }
        }
    });
}

/// A server that sends back what it gets.
fn serve_udp(host: &Netns, at: SocketAddr) {
    let socket = host.enter(|| UdpSocket::bind(at)).unwrap().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            drop(socket.send_to(&buffer[..length], from));
        }
    });
}

/// A conversation with a server of [`serve_tcp`], from an address of the host.
fn talk_tcp(host: &Netns, from: IpAddr, to: SocketAddr) {
    let talked = host.enter(|| {
        let socket = socket2::Socket::new(
            socket2::Domain::for_address(to),
            socket2::Type::STREAM,
            None,
        )?;
        socket.bind(&SocketAddr::new(from, 0).into())?;
        socket.connect_timeout(&to.into(), DEADLINE)?;
        let mut stream = TcpStream::from(socket);
        let mut heard = [0; WORDS.len()];
        stream.read_exact(&mut heard)?;
        stream.write_all(WORDS)
    });
    talked.unwrap().unwrap();
}

pub(crate) fn talk_udp(host: &Netns, from: IpAddr, to: SocketAddr) {
    let talked = host.enter(|| {
        let socket = UdpSocket::bind((from, 0))?;
        socket.set_read_timeout(Some(DEADLINE))?;
        socket.send_to(WORDS, to)?;
        socket.recv(&mut [0; 16])
    });
    assert_eq!(talked.unwrap().unwrap(), WORDS.len());
}
