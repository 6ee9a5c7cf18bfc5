//! Hosts that talk.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use vm_tests::topology::{Family, Site};
use vm_tests::wait;

/// Long enough for anything that passes.
pub(crate) const LIMIT: Duration = Duration::from_secs(5);
/// Long enough to see that a connection does not come about.
pub(crate) const SHORT: Duration = Duration::from_millis(800);

/// A socket at the host of a site.
pub(crate) fn udp(site: &Site, family: Family, port: u16) -> UdpSocket {
    let address = SocketAddr::new(site.host_address(family), port);
    let socket = site.host.enter(|| UdpSocket::bind(address));
    let socket = socket.unwrap().unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    socket
}

/// Sends so many datagrams, some milliseconds apart.
pub(crate) fn send(from: &UdpSocket, to: &UdpSocket, count: u32) {
    for _ in 0..count {
        from.send_to(b"datagram", to.local_addr().unwrap()).unwrap();
        wait::pace(Duration::from_millis(2));
    }
}

/// Waits for the next datagram, which must be from `from`.
pub(crate) fn receive(at: &UdpSocket, from: &UdpSocket) {
    let mut buffer = [0; 64];
    let (_, source) = at.recv_from(&mut buffer).unwrap();
    assert_eq!(source, from.local_addr().unwrap());
}

/// One datagram there and one back.
pub(crate) fn ask(from: &UdpSocket, to: &UdpSocket) {
    send(from, to, 1);
    receive(to, from);
    send(to, from, 1);
    receive(from, to);
}

pub(crate) fn listen(site: &Site, family: Family, port: u16) -> TcpListener {
    let address = SocketAddr::new(site.host_address(family), port);
    site.host
        .enter(|| TcpListener::bind(address))
        .unwrap()
        .unwrap()
}

/// Connects to a listener.
pub(crate) fn connect(from: &Site, to: &TcpListener, limit: Duration) -> io::Result<TcpStream> {
    let address = to.local_addr()?;
    let stream = from
        .host
        .enter(|| TcpStream::connect_timeout(&address, limit));
    let stream = stream.map_err(io::Error::other)??;
    stream.set_read_timeout(Some(LIMIT))?;
    Ok(stream)
}

/// Both ends of a connection, over which bytes have passed both ways.
pub(crate) fn connected(from: &Site, to: &TcpListener) -> [TcpStream; 2] {
    let mut near = connect(from, to, LIMIT).unwrap();
    let (mut far, _) = to.accept().unwrap();
    far.set_read_timeout(Some(LIMIT)).unwrap();
    exchange(&mut near, &mut far).unwrap();
    [near, far]
}

/// A word there and one back.
pub(crate) fn exchange(one: &mut TcpStream, other: &mut TcpStream) -> io::Result<()> {
    let mut buffer = [0; 4];
    one.write_all(b"ping")?;
    other.read_exact(&mut buffer)?;
    other.write_all(b"pong")?;
    one.read_exact(&mut buffer)
}
