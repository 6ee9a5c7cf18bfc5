//! Whether a mate that has fallen silent is there all the same.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::ids::IfIndex;

/// Discard (RFC 863): hardly anybody listens there, so that a host says that nobody does.
const PORT: u16 = 9;
/// Tries, and how long each waits; the first may be lost while the neighbour is looked for.
const TRIES: u32 = 3;
const WAIT: Duration = Duration::from_millis(300);

/// Whether the host at `address` on the LAN answers. One behind a firewall may be there and not answer.
pub(super) async fn answers(address: IpAddr, lan: IfIndex) -> bool {
    let (any, to): (IpAddr, SocketAddr) = match address {
        IpAddr::V4(_) => (Ipv4Addr::UNSPECIFIED.into(), (address, PORT).into()),
        IpAddr::V6(address) => (
            Ipv6Addr::UNSPECIFIED.into(),
            SocketAddrV6::new(address, PORT, 0, lan.0).into(),
        ),
    };
    let Ok(socket) = UdpSocket::bind((any, 0)).await else {
        return false;
    };
    if socket.connect(to).await.is_err() {
        return false;
    }
    for _ in 0..TRIES {
        let mut nothing = [0; 1];
        let sent = socket.send(&[]).await.map(|_| 0);
        let heard = match sent {
            // The answer to the one before.
            Err(error) => Ok(Err(error)),
            Ok(_) => timeout(WAIT, socket.recv(&mut nothing)).await,
        };
        match heard {
            Ok(Ok(_)) => return true,
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => return true,
            // No such neighbour, or no answer in time.
            Ok(Err(_)) | Err(_) => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_answers_by_saying_that_nobody_listens() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let here = answers(Ipv4Addr::LOCALHOST.into(), IfIndex(1));
        assert!(runtime.block_on(here));
    }
}
