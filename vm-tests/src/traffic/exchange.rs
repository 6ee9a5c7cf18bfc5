//! A bit of everything from one site to another, nothing of which may be lost, changed or come from
//! somewhere else.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Result, ensure};

use super::{UdpEcho, ping, tcp_transfer_to, udp_echo, wait_for_ping};
use crate::topology::{Family, Site};

/// The first handshake, on a busy machine.
const UP: Duration = Duration::from_secs(10);
const PINGS: u32 = 3;
const DATAGRAMS: u32 = 20;
/// Fits one packet in every tunnel, also over IPv6 with an MTU of 1400.
const DATAGRAM_BYTES: usize = 1200;
const DATAGRAM_GAP: Duration = Duration::from_millis(1);

/// Waits until the host of `from` reaches the host of `to`, then pings it, sends it datagrams that it
/// returns, and `tcp_bytes` by TCP. An error if a packet is lost, the content changed, or the far host
/// sees another source than the sender's address.
pub fn exchange(from: &Site, to: &Site, family: Family, tcp_bytes: u64) -> Result<()> {
    let (source, target) = (from.host_address(family), to.host_address(family));
    exchange_mapped((from, source), (to, target), tcp_bytes)
}

/// As [`exchange`] between hosts that each other know by these addresses, not by those that they have.
pub fn exchange_mapped(
    (from, source): (&Site, IpAddr),
    (to, target): (&Site, IpAddr),
    tcp_bytes: u64,
) -> Result<()> {
    let family = if target.is_ipv4() {
        Family::V4
    } else {
        Family::V6
    };
    let address = to.host_address(family);
    wait_for_ping(&from.host, target, UP)?;
    let pings = ping(&from.host, target, PINGS)?;
    ensure!(
        (pings.sent, pings.received) == (PINGS, PINGS),
        "{source} pings {target}: {pings:?}"
    );

    let tcp = tcp_transfer_to(&from.host, target, (&to.host, address), tcp_bytes)?;
    ensure!(
        tcp.source_seen == source,
        "{target} saw {} by TCP, not {source}",
        tcp.source_seen
    );

    let echo = UdpEcho::start(&to.host, address)?;
    let server = SocketAddr::new(target, echo.address().port());
    let udp = udp_echo(&from.host, server, DATAGRAMS, DATAGRAM_BYTES, DATAGRAM_GAP)?;
    ensure!(
        udp.received == DATAGRAMS,
        "{source} sends datagrams to {target}: {udp:?}"
    );
    let seen = echo.sources_seen();
    ensure!(
        seen == [source],
        "{target} saw {seen:?} by UDP, not {source}"
    );
    Ok(())
}

/// [`exchange`] over both families, started by either side.
pub fn exchange_both_ways(one: &Site, other: &Site, tcp_bytes: u64) -> Result<()> {
    for family in Family::ALL {
        exchange(one, other, family, tcp_bytes)?;
        exchange(other, one, family, tcp_bytes)?;
    }
    Ok(())
}
