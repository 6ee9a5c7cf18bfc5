//! The fast path behind virtio network cards. At gateway a the hypervisor joins packets and leaves checksums
//! to the guest, whose packets are so long already in the card; at gateway b each frame comes as it was on the
//! wire, and the guest joins them itself (GRO). Counters must be those of the wire for both.
//!
//! ```text
//!   host a ── lan0 [guest: gateway a] wan0 ═══ wan0 [guest: gateway b] lan0 ── host b
//!   sends 64 KiB      guest_tso4, guest_csum        without                      sends 64 KiB
//! ```

use std::fs;
use std::net::{IpAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use vm_tests::crossway::Counters;
use vm_tests::guest::{Card, GuestGateway, Offloads, Place, ring};
use vm_tests::netns::Netns;
use vm_tests::plan::{self, Shape};
use vm_tests::sys;
use vm_tests::topology::{Builder, Family, Site};
use vm_tests::traffic::{self, HostSegments, UdpEcho};
use vm_tests::wait;

const TRANSFER: u64 = 4 << 20;
/// The handshake, and a ping through it.
const UP: Duration = Duration::from_mins(1);
const SOON: Duration = Duration::from_secs(30);
const GAP: Duration = Duration::from_millis(300);
/// Datagrams that leave in one piece, and their content.
const BURST: usize = 32;
const DATAGRAM: usize = 1200;
const BURSTS: usize = 6;
/// From linux/udp.h.
const SOL_UDP: i32 = 17;
const UDP_SEGMENT: i32 = 103;
/// Without the card's or the guest's joining every packet would be one in the TUN, too.
const JOINED: f64 = 2.0;

#[test]
fn counters_are_those_of_the_wire_whoever_joins_packets_and_full_size_segments_pass() {
    let topology = Builder::new(&["a", "b"]).build().unwrap();
    let mut plans = plan::plan(&topology, Shape::FullMesh, Family::V4).unwrap();
    for plan in &mut plans {
        plan.watch_each(1000, 5);
    }
    let sites = [&topology.sites[0], &topology.sites[1]];
    for site in sites {
        site.host
            .run("ethtool -K eth0 tx on sg on tso on gso on tx-udp-segmentation on")
            .unwrap();
    }
    let places = [(sites[0], Offloads::ALL), (sites[1], Offloads::NONE)].map(|(site, offloads)| {
        let cards = ["lan0", "wan0"].map(|name| Card::new(name).with_offloads(offloads));
        let machine = ring::gateway(1, cards.to_vec()).unwrap();
        Place::prepare(&site.gateway, machine).unwrap()
    });
    let start =
        |index: usize| GuestGateway::start(&places[index], &plans[index], topology.directory());
    let (a, b) = ring::both(|| start(0), || start(1)).unwrap();
    let mut gateways = [a, b];
    the_cards_are_what_they_shall_be(&mut gateways);
    let target = sites[1].host_address(Family::V4);
    traffic::wait_for_ping(&sites[0].host, target, UP).unwrap();

    let mut notes = Vec::new();
    for (from, who) in [(0, "the card"), (1, "the guest")] {
        for family in Family::ALL {
            let joined = tcp_is_counted(&mut gateways, sites, from, family);
            assert!(
                joined > JOINED,
                "TCP joined by {who}: {joined} packets in one"
            );
            notes.push(format!("TCP {joined:.0} in one by {who}"));
        }
        // Not asserted: QEMU's card has no USO before 8.2, and whether the guest joins datagrams is a matter of how many
        // come before it looks.
        let joined = udp_is_counted(&mut gateways, sites, from);
        notes.push(format!("UDP {joined:.0} in one"));
    }
    for gateway in &mut gateways {
        assert_eq!(gateway.dropped().unwrap(), []);
        let status = gateway.status().unwrap();
        assert!(status.fast_path, "{status:?}");
    }
    println!("note: {}", notes.join(", "));
}

fn the_cards_are_what_they_shall_be(gateways: &mut [GuestGateway; 2]) {
    for (gateway, on) in gateways.iter_mut().zip([true, false]) {
        let features = gateway.guest().run("ethtool -k lan0").unwrap();
        let state = if on { "on" } else { "off" };
        let found = features.contains(&format!("rx-gro-hw: {state}"));
        assert!(found, "{features}");
    }
}

/// A transfer is counted to the packet and byte by both gateways. Returns the wire packets in one of the TUN.
fn tcp_is_counted(
    gateways: &mut [GuestGateway; 2],
    sites: [&Site; 2],
    from: usize,
    family: Family,
) -> f64 {
    let (near, far) = (sites[from], sites[1 - from]);
    let target = far.host_address(family);
    let before = into_tun(&mut gateways[from]).unwrap();
    let segments_before = host_segments(&near.host).unwrap();
    let report = traffic::tcp_transfer(&near.host, &far.host, target, TRANSFER).unwrap();
    assert_eq!(report.source_seen, near.host_address(family));
    let segments = report.segments;
    let status = gateways[from].status().unwrap();
    let mtu = u64::from(status.tun.mtu_bytes);
    let headers = if family == Family::V4 { 52 } else { 72 };
    assert_eq!(segments.largest, mtu - headers, "{segments:?}");

    // Of the answers the number alone is known. A late one may still come.
    let of_host = || host_segments(&near.host).unwrap().since(segments_before);
    let is_of_wire = |counted: &Counters| {
        let host = of_host();
        let bytes = host.bytes_sent(&segments, target.is_ipv4());
        (
            counted.to_site_packets,
            counted.to_site_bytes,
            counted.from_site_packets,
        ) == (host.sent, bytes, host.received)
    };
    let source = near.host_address(family);
    let counted = settled(&mut gateways[from], 6, source, is_of_wire);
    assert!(
        is_of_wire(&counted),
        "{counted:?} {segments:?} {:?}",
        of_host()
    );
    let afar = settled(&mut gateways[1 - from], 6, target, |afar| {
        afar.seen_from_afar() == counted
    });
    if segments.sent_again == 0 {
        assert_eq!(afar.seen_from_afar(), counted, "{segments:?}");
    } else {
        assert!(afar.from_site_packets <= counted.to_site_packets);
    }
    let packets = into_tun(&mut gateways[from]).unwrap() - before;
    counted.to_site_packets as f64 / packets as f64
}

fn host_segments(host: &Netns) -> Result<HostSegments> {
    let text = host.enter(|| fs::read_to_string("/proc/thread-self/net/snmp"))??;
    HostSegments::parse(&text)
}

/// Bursts of datagrams come back whole and are counted. Returns the datagrams in one packet of the TUN.
fn udp_is_counted(gateways: &mut [GuestGateway; 2], sites: [&Site; 2], from: usize) -> f64 {
    let (near, far) = (sites[from], sites[1 - from]);
    let echo = UdpEcho::start(&far.host, far.host_address(Family::V4)).unwrap();
    let before = into_tun(&mut gateways[from]).unwrap();
    let came_back = send_bursts(&near.host, &echo).unwrap();
    let packets = into_tun(&mut gateways[from]).unwrap() - before;
    let sent = (BURSTS * BURST) as u64;
    assert_eq!(came_back, sent);
    let bytes = sent * (DATAGRAM as u64 + 28);
    let expected = Counters {
        to_site_packets: sent,
        to_site_bytes: bytes,
        from_site_packets: sent,
        from_site_bytes: bytes,
    };
    for (gateway, local) in [(from, near), (1 - from, far)] {
        let local = local.host_address(Family::V4);
        let counted = settled(&mut gateways[gateway], 17, local, |counted| {
            *counted == expected
        });
        assert_eq!(counted, expected);
    }
    sent as f64 / packets as f64
}

/// Sends each burst in one piece (UDP_SEGMENT) when the last has come back; the datagrams that did.
fn send_bursts(from: &Netns, echo: &UdpEcho) -> Result<u64> {
    let socket = from.enter(|| UdpSocket::bind("0.0.0.0:0"))??;
    socket.connect(echo.address())?;
    let size = (DATAGRAM as libc::c_int).to_ne_bytes();
    sys::set_socket_option(&socket, SOL_UDP, UDP_SEGMENT, &size)?;
    socket.set_read_timeout(Some(SOON))?;
    let mut buffer = [0; DATAGRAM + 1];
    let mut came_back = 0;
    for number in 0..BURSTS {
        let burst = vec![number as u8; BURST * DATAGRAM];
        let sent = socket.send(&burst)?;
        ensure!(sent == burst.len(), "{sent} bytes of {}", burst.len());
        for _ in 0..BURST {
            let length = socket.recv(&mut buffer).context("an echo is missing")?;
            ensure!(
                buffer[..length] == burst[..DATAGRAM],
                "another datagram came back"
            );
            came_back += 1;
        }
    }
    Ok(came_back)
}

/// The flow of a protocol whose near end is `local` that is as it shall be, or else, after a while, the
/// youngest as it is.
fn settled(
    gateway: &mut GuestGateway,
    protocol: u8,
    local: IpAddr,
    is_right: impl Fn(&Counters) -> bool,
) -> Counters {
    let mut last = None;
    let found = wait::try_until("the counters to settle", SOON, || {
        let mut flows = gateway.flows(&[])?;
        flows.retain(|(flow, _)| flow.protocol_number == protocol && flow.local == local);
        flows.sort_by_key(|(flow, _)| flow.age_seconds);
        last = flows.first().map(|(_, counters)| *counters);
        let mut counted = flows.iter().map(|(_, counters)| *counters);
        if let Some(right) = counted.find(&is_right) {
            return Ok(Some(right));
        }
        wait::pace(GAP);
        Ok(None)
    });
    found.unwrap_or_else(|error| last.unwrap_or_else(|| panic!("{error:#}")))
}

/// Packets that the kernel has given to the TUN, joined ones as one.
fn into_tun(gateway: &mut GuestGateway) -> Result<u64> {
    let status = gateway.status()?;
    let tun = status.tun.name;
    let path = format!("cat /sys/class/net/{tun}/statistics/tx_packets");
    Ok(gateway.guest().run(&path)?.trim().parse()?)
}
