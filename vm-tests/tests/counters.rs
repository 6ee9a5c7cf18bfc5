//! What a gateway counts is what the wire at its host carried: every packet and byte, both directions of
//! a conversation in one flow.
//!
//! ```text
//!   host a ──●── gateway a ═══ WAN ═══ gateway b ──●── host b
//!            └ tcpdump                             └ tcpdump
//! ```

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use vm_tests::crossway::{self, Counters, Crossway};
use vm_tests::plan::{self, Shape};
use vm_tests::topology::{Builder, Family, Site};
use vm_tests::traffic::{self, Capture, Packet, Recording};
use vm_tests::wait;

const LIMIT: Duration = Duration::from_secs(5);
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

/// Protocol, local address and port, remote address and port.
type Key = (u8, IpAddr, u16, IpAddr, u16);
type Flows = BTreeMap<Key, Counters>;

#[test]
fn flows_and_sites_count_what_the_wire_carried() {
    let topology = Builder::new(&["a", "b"]).build().unwrap();
    let plans = plan::plan(&topology, Shape::FullMesh, Family::V4).unwrap();
    let [a, b] = [&topology.sites[0], &topology.sites[1]];
    let recordings = [a, b].map(|site| Recording::start(&topology, &site.host, "eth0").unwrap());
    let gateways = crossway::start_all(&topology, &plans).unwrap();
    let status = gateways[0].status().unwrap();
    let tun = &status.tun.name;
    let super_packets = Capture::start(&topology, &a.gateway, tun, "tcp and greater 3000").unwrap();

    traffic::exchange_both_ways(a, b, 4 << 20).unwrap();

    for (gateway, recording, near, far) in [
        (&gateways[0], &recordings[0], a, b),
        (&gateways[1], &recordings[1], b, a),
    ] {
        let (wire, counted) = settled(gateway, recording, near, far);
        assert_eq!(
            wire,
            counted,
            "the wire of {} and its flows",
            gateway.name()
        );
        // A ping or several, TCP and UDP, each way, each family.
        assert!(wire.len() >= 4 * 3, "{wire:?}");
        let both_ways = |flow: &Counters| flow.to_site_packets > 0 && flow.from_site_packets > 0;
        // The first ping may have come before the far gateway was there.
        let one_way = wire.iter().filter(|(_, flow)| !both_ways(flow));
        assert!(
            one_way.clone().all(|((protocol, ..), _)| *protocol == ICMP),
            "{one_way:?}"
        );
        assert_eq!(gateway.site(&far.name).unwrap(), sum(&counted));
        assert_eq!(gateway.dropped().unwrap(), []);
    }
    // It was not packet by packet that the programs saw them.
    assert!(!super_packets.lines().is_empty());
    for recording in recordings {
        recording.finish().unwrap();
    }
}

/// The flows on the wire and those of the gateway, as soon as they are equal: the last packet of a
/// connection may still be on its way when its content has arrived.
fn settled(gateway: &Crossway, recording: &Recording, near: &Site, far: &Site) -> (Flows, Flows) {
    let look = || {
        let packets = recording.packets().unwrap();
        (of_the_wire(&packets, near, far), of_the_gateway(gateway))
    };
    let equal = wait::until("equal counts", LIMIT, || {
        Some(look()).filter(|(wire, counted)| wire == counted)
    });
    equal.unwrap_or_else(|_| look())
}

fn of_the_wire(packets: &[Packet], near: &Site, far: &Site) -> Flows {
    let mut flows = Flows::new();
    for packet in packets {
        let Packet {
            source,
            destination,
            bytes,
            protocol,
            ..
        } = *packet;
        let between = |from: &Site, to: &Site| {
            Family::ALL.iter().any(|&family| {
                (source, destination) == (from.host_address(family), to.host_address(family))
            })
        };
        if between(near, far) {
            let (source_port, destination_port) = ports(packet);
            let key = (protocol, source, source_port, destination, destination_port);
            let flow = flows.entry(key).or_default();
            flow.to_site_packets += 1;
            flow.to_site_bytes += bytes;
        } else if between(far, near) {
            let (source_port, destination_port) = ports(packet);
            let key = (protocol, destination, destination_port, source, source_port);
            let flow = flows.entry(key).or_default();
            flow.from_site_packets += 1;
            flow.from_site_bytes += bytes;
        }
    }
    flows
}

/// Ports, or twice the identifier of an echo.
fn ports(packet: &Packet) -> (u16, u16) {
    let start = if packet.source.is_ipv4() { 20 } else { 40 };
    let word = |at: usize| {
        u16::from_be_bytes([packet.content[start + at], packet.content[start + at + 1]])
    };
    match packet.protocol {
        ICMP | ICMPV6 => (word(4), word(4)),
        TCP | UDP => (word(0), word(2)),
        other => panic!("nobody sends protocol {other}"),
    }
}

fn of_the_gateway(gateway: &Crossway) -> Flows {
    let mut flows = Flows::new();
    for (flow, counters) in gateway.flows(&[]).unwrap() {
        let key = (
            flow.protocol_number,
            flow.local,
            flow.local_port,
            flow.remote,
            flow.remote_port,
        );
        let twice: Option<Counters> = flows.insert(key, counters);
        assert_eq!(twice, None, "{flow:?}");
        assert_ne!(flow.site, "");
    }
    flows
}

fn sum(flows: &Flows) -> Counters {
    flows
        .values()
        .fold(Counters::default(), |sum, flow| Counters {
            to_site_packets: sum.to_site_packets + flow.to_site_packets,
            to_site_bytes: sum.to_site_bytes + flow.to_site_bytes,
            from_site_packets: sum.from_site_packets + flow.from_site_packets,
            from_site_bytes: sum.from_site_bytes + flow.from_site_bytes,
        })
}
