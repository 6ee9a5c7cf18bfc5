//! Several sessions between two gateways, each on a lane of its own.
//!
//! ```text
//!   host a ── gateway a ═╤═ lane 0, UDP 51820 ═╤═ gateway b ── host b
//!                        └─ lane 1, UDP 51821 ─┘
//! ```

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::thread;
use std::time::Duration;

use vm_tests::api::{Link, LinkState, SiteState};
use vm_tests::crossway::{self, Crossway};
use vm_tests::plan::{self, GatewayPlan, Shape};
use vm_tests::topology::{Builder, Family, Topology};
use vm_tests::{traffic, wait};

const LANES: usize = 2;
/// So many flows that each lane gets some: none of them getting one is as likely as 1 in 2^23.
const FLOWS: usize = 24;
/// Datagrams of each flow whose order is looked at.
const NUMBERED: u32 = 2_000;
/// Datagrams sent without a pause.
const BURST: u32 = 16;

fn two_sites(lanes_of: [usize; 2]) -> (Topology, Vec<GatewayPlan>) {
    let topology = Builder::new(&["a", "b"]).build().unwrap();
    let mut plans = plan::plan(&topology, Shape::FullMesh, Family::V4).unwrap();
    for (plan, lanes) in plans.iter_mut().zip(lanes_of) {
        plan.run_lanes(lanes as u16, LANES as u16);
    }
    (topology, plans)
}

/// The links of a gateway in the order of their lanes.
fn links(gateway: &Crossway) -> Vec<Link> {
    let mut links = gateway.links().unwrap();
    links.sort_by_key(|link| link.lane);
    links
}

fn wait_until_up(gateways: &[Crossway], lanes: usize) {
    let up = || {
        gateways.iter().all(|gateway| {
            let links = links(gateway);
            let up = links
                .iter()
                .filter(|link| link.state == LinkState::Up)
                .count();
            up == lanes
        })
    };
    wait::until("every lane to be up", Duration::from_secs(10), || {
        up().then_some(())
    })
    .unwrap();
}

#[test]
fn flows_are_spread_over_the_lanes_and_both_directions_use_the_same() {
    let (topology, plans) = two_sites([LANES; 2]);
    let gateways = crossway::start_all(&topology, &plans).unwrap();
    wait_until_up(&gateways, LANES);
    let (a, b) = (&topology.sites[0], &topology.sites[1]);
    for _ in 0..FLOWS / 2 {
        for family in Family::ALL {
            let to = b.host_address(family);
            traffic::tcp_transfer(&a.host, &b.host, to, 100_000).unwrap();
        }
    }
    let (of_a, of_b) = (links(&gateways[0]), links(&gateways[1]));
    for lane in 0..LANES {
        assert_eq!(usize::from(of_a[lane].lane), lane);
        let port = |links: &[Link]| {
            let endpoint = links[lane].endpoint.as_ref().unwrap();
            let endpoint: SocketAddr = endpoint.parse().unwrap();
            usize::from(endpoint.port())
        };
        assert_eq!(port(&of_a), port(&of_b));
        assert_eq!(port(&of_a) - usize::from(plans[0].listen_port), lane);
        let (at_a, at_b) = (&of_a[lane], &of_b[lane]);
        // A flow of 100 kB has dozens of packets out and answers to them.
        assert!(at_a.tx_packets > 60, "{at_a:?}");
        assert!(at_a.rx_packets > 5, "{at_a:?}");
        assert_eq!(at_a.tx_packets, at_b.rx_packets);
        assert_eq!(at_b.tx_packets, at_a.rx_packets);
    }
}

#[test]
fn packets_of_a_flow_keep_their_order() {
    let (topology, plans) = two_sites([LANES; 2]);
    let gateways = crossway::start_all(&topology, &plans).unwrap();
    wait_until_up(&gateways, LANES);
    let to = topology.sites[1].host_address(Family::V4);
    // What waits in the kernel for a neighbour's address may be overtaken when it comes.
    traffic::wait_for_ping(&topology.sites[0].host, to, Duration::from_secs(5)).unwrap();
    thread::scope(|scope| {
        let flows: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| send_numbered(&topology, to)))
            .collect();
        for flow in flows {
            let (received, late) = flow.join().unwrap();
            assert!(received > NUMBERED as usize / 2, "only {received} came");
            assert_eq!(late, 0, "of {received}");
        }
    });
}

/// Sends numbered datagrams of several sizes as one flow; how many came, and how many of them after one
/// that was sent later.
fn send_numbered(topology: &Topology, to: IpAddr) -> (usize, usize) {
    let (a, b) = (&topology.sites[0].host, &topology.sites[1].host);
    let receiver = b.enter(|| UdpSocket::bind((to, 0))).unwrap().unwrap();
    let address = receiver.local_addr().unwrap();
    receiver
        .set_read_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    let sender = a.enter(|| UdpSocket::bind("0.0.0.0:0")).unwrap().unwrap();
    thread::scope(|scope| {
        let counted = scope.spawn(move || {
            let (mut received, mut late, mut next) = (0, 0, 0);
            let mut datagram = [0; 2048];
            while let Ok(length) = receiver.recv(&mut datagram) {
                let number = u32::from_be_bytes(datagram[..4].try_into().unwrap());
                assert_eq!(length, size_of_number(number));
                received += 1;
                if number < next {
                    late += 1;
                } else {
                    next = number + 1;
                }
                if number + 1 == NUMBERED {
                    break;
                }
            }
            (received, late)
        });
        let mut datagram = [0; 1400];
        for number in 0..NUMBERED {
            datagram[..4].copy_from_slice(&number.to_be_bytes());
            sender
                .send_to(&datagram[..size_of_number(number)], address)
                .unwrap();
            if number % BURST == BURST - 1 {
                // Bursts, so that packets are joined, but no more than the receiver's buffer takes.
                thread::sleep(Duration::from_millis(4));
            }
        }
        counted.join().unwrap()
    })
}

/// Runs of equal sizes, so that they are joined, and changes, so that they are not.
fn size_of_number(number: u32) -> usize {
    [64, 64, 64, 64, 900, 900, 1372][number as usize % 7]
}

#[test]
fn a_far_gateway_with_fewer_lanes_is_served_on_those_it_has() {
    let (topology, plans) = two_sites([LANES, 1]);
    let gateways = crossway::start_all(&topology, &plans).unwrap();
    let (a, b) = (&topology.sites[0], &topology.sites[1]);
    for _ in 0..FLOWS {
        let to = b.host_address(Family::V4);
        traffic::tcp_transfer(&a.host, &b.host, to, 10_000).unwrap();
    }
    let of_a = links(&gateways[0]);
    assert_eq!(of_a[0].state, LinkState::Up);
    assert_ne!(of_a[1].state, LinkState::Up);
    assert_eq!(of_a[1].tx_packets, 0);
    assert_eq!(links(&gateways[1]).len(), 1);
    let sites = gateways[0].sites().unwrap();
    assert_eq!(sites[0].state, SiteState::Degraded);
}
