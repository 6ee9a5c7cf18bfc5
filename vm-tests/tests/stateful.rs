//! Beside a firewall that drops what conntrack calls invalid, as firewalld, Docker and kube-proxy install it: what the
//! fast path carries one way must not be left to that firewall the other way.
//!
//! ```text
//!   host a ── gateway a ═══ WAN ═══ gateway b ── host b
//!             ct state invalid drop, in both
//! ```

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::Stdio;
use std::time::Duration;

use vm_tests::crossway::{self, Crossway};
use vm_tests::netns::Netns;
use vm_tests::plan::{self, Shape};
use vm_tests::topology::{Builder, Family, Topology};
use vm_tests::{stateful_firewall, traffic, wait};

const TRANSFER: u64 = 8 << 20;
/// The kernel asks three times for a neighbour, a second apart.
const GIVES_UP: Duration = Duration::from_secs(8);

#[test]
fn a_gateway_that_knows_no_neighbour_loses_nothing() {
    let (topology, gateways) = two_sites(true, false);
    forget_neighbours(&topology);
    passes(&topology, &gateways);
}

#[test]
fn a_gateway_that_knows_no_neighbour_loses_nothing_where_the_lan_segments() {
    let (topology, gateways) = two_sites(true, true);
    forget_neighbours(&topology);
    passes(&topology, &gateways);
}

#[test]
fn a_gateway_that_knows_one_of_two_ends_loses_nothing() {
    let (topology, gateways) = two_sites(true, false);
    passes(&topology, &gateways);
    for site in &topology.sites {
        forget_neighbours(&topology);
        // This one is known.
        traffic::ping(&site.gateway, site.host_address(Family::V4), 1).unwrap();
        traffic::ping(&site.gateway, site.host_address(Family::V6), 1).unwrap();
        passes(&topology, &gateways);
    }
}

#[test]
fn a_gateway_that_starts_again_loses_no_connection() {
    let (topology, mut gateways) = two_sites(true, false);
    passes(&topology, &gateways);
    gateways[1].stop().unwrap();
    forget_neighbours(&topology);
    gateways[1].start_again().unwrap();
    let [a, b] = [&topology.sites[0], &topology.sites[1]];
    traffic::wait_for_ping(&a.host, b.host_address(Family::V4), Duration::from_secs(10)).unwrap();
    forget_neighbours(&topology);
    passes(&topology, &gateways);
}

#[test]
fn the_segments_of_a_super_packet_keep_their_order_where_the_lan_does_not_segment() {
    let (topology, gateways) = two_sites(true, false);
    let [a, b] = [&topology.sites[0], &topology.sites[1]];
    let target = b.host_address(Family::V4);
    passes(&topology, &gateways);
    let report = traffic::tcp_transfer(&a.host, &b.host, target, 4 * TRANSFER).unwrap();
    let sent = report.segments;
    // A last segment that overtakes the others makes hundreds of them.
    println!("note: {sent:?} at {:.0} Mbit/s", report.mbit_per_second());
    assert!(
        sent.sent_again * sent.largest * 100 <= sent.content,
        "{sent:?}"
    );
    assert_eq!(gateways[1].left_to_stack("not-to-lan").unwrap(), 0);
}

#[test]
fn a_host_that_is_not_there_is_told_of_as_by_the_kernel() {
    for fast_path in [false, true] {
        let (topology, _gateways) = two_sites(fast_path, false);
        let [a, b] = [&topology.sites[0], &topology.sites[1]];
        for (nobody, family) in [("10.2.0.77", Family::V4), ("2001:db8:2::77", Family::V6)] {
            let nobody: IpAddr = nobody.parse().unwrap();
            let start = wait::now();
            let connected = a
                .host
                .enter(|| TcpStream::connect_timeout(&SocketAddr::new(nobody, 9), GIVES_UP))
                .unwrap();
            let error = connected.expect_err("nobody is there");
            assert_eq!(
                error.kind(),
                ErrorKind::HostUnreachable,
                "{fast_path} {nobody}: {error} after {:?}",
                start.elapsed()
            );
            let by = b.gateway_address(family);
            let text = ping_text(&a.host, nobody);
            assert!(text.contains(&format!("From {by} ")), "{fast_path}: {text}");
        }
    }
}

/// What ping says of three requests.
fn ping_text(from: &Netns, to: IpAddr) -> String {
    let output = from
        .command("ping")
        .args(["-n", "-c", "3", "-i", "0.2", "-W", "5", &to.to_string()])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn passes(topology: &Topology, gateways: &[Crossway]) {
    let [a, b] = [&topology.sites[0], &topology.sites[1]];
    for family in Family::ALL {
        for (from, to) in [(a, b), (b, a)] {
            let report = traffic::ping(&from.host, to.host_address(family), 10).unwrap();
            assert_eq!((report.sent, report.received), (10, 10), "{family:?}");
            let target = to.host_address(family);
            traffic::tcp_transfer(&from.host, &to.host, target, TRANSFER).unwrap();
        }
    }
    for (gateway, site) in gateways.iter().zip(&topology.sites) {
        let invalid = stateful_firewall::dropped(&site.gateway).unwrap();
        assert_eq!(invalid, 0, "packets of half a flow");
        assert_eq!(gateway.left_to_stack("redirect-failed").unwrap(), 0);
    }
}

/// Both gateways have just started; their hosts know them, for they have always been there.
fn forget_neighbours(topology: &Topology) {
    for site in &topology.sites {
        for family in Family::ALL {
            let gateway = site.gateway_address(family);
            let address = traffic::wire::mac_of(&site.gateway, "lan0").unwrap();
            let address = address.map(|byte| format!("{byte:02x}")).join(":");
            site.host
                .ip(&format!(
                    "neighbour replace {gateway} lladdr {address} dev eth0 nud permanent"
                ))
                .unwrap();
            let host = site.host_address(family);
            // Also an entry that is used.
            site.gateway
                .ip(&format!("neighbour flush to {host} dev lan0"))
                .unwrap();
        }
    }
}

fn two_sites(fast_path: bool, segments: bool) -> (Topology, Vec<Crossway>) {
    let topology = Builder::new(&["a", "b"]).build().unwrap();
    for site in &topology.sites {
        stateful_firewall::lay(&site.gateway).unwrap();
        if segments {
            let line = "ethtool -K lan0 tso on gso on";
            site.gateway.run(line).unwrap();
        }
    }
    let mut plans = plan::plan(&topology, Shape::FullMesh, Family::V4).unwrap();
    for plan in &mut plans {
        plan.configure(move |config| config.gateway.fast_path = fast_path);
    }
    let gateways = crossway::start_all(&topology, &plans).unwrap();
    (topology, gateways)
}
