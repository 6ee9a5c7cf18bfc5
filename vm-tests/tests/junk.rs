//! Datagrams that are no WireGuard, sent to a gateway's port: each dies under its name, and the tunnel
//! goes on. With `wan_guard` in the driver, in the stack, and without it, where the agent names them.
//!
//! ```text
//!   host a ── gateway a ═══ WAN ═══ gateway b ── host b
//!             └ junk from another port ─►└ 51820
//! ```

use std::net::UdpSocket;
use std::time::Duration;

use vm_tests::config::XdpChoice;
use vm_tests::crossway::{self, Crossway};
use vm_tests::plan::{self, Shape};
use vm_tests::topology::{Builder, Family, Site, Topology};
use vm_tests::traffic;
use vm_tests::wait;

const LIMIT: Duration = Duration::from_secs(5);
/// Datagrams of each kind; each kind has another number, so that none can pass for another.
const ROUNDS: usize = 7;

#[test]
fn wan_guard_in_the_driver_names_junk_and_traffic_goes_on() {
    junk_dies_by_name(XdpChoice::Native, "xdp-native", &GUARDED);
}

#[test]
fn wan_guard_in_the_stack_names_junk_and_traffic_goes_on() {
    junk_dies_by_name(XdpChoice::Generic, "xdp-generic", &GUARDED);
}

#[test]
fn the_agent_names_junk_without_wan_guard() {
    junk_dies_by_name(XdpChoice::Off, "off", &UNGUARDED);
}

/// Kinds of junk, in the order of [`traffic::junk`], that are counted under a name.
type Names = [(&'static str, &'static [usize])];

const GUARDED: [(&str, &[usize]); 6] = [
    ("wan-too-short", &[0, 1]),
    ("wan-bad-type", &[2, 3]),
    ("wan-reserved-bits", &[4]),
    ("wan-bad-length", &[5, 6]),
    ("wan-unknown-receiver", &[7, 8]),
    ("bad-mac", &[9]),
];
const UNGUARDED: [(&str, &[usize]); 3] = [
    ("not-wireguard", &[0, 1, 2, 3, 4, 5, 6]),
    ("bad-mac", &[8, 9]),
    ("no-session", &[7]),
];

fn junk_dies_by_name(choice: XdpChoice, mode: &str, names: &Names) {
    for outer in Family::ALL {
        let (topology, gateways) = two_sites(choice, outer);
        let [a, b] = [&topology.sites[0], &topology.sites[1]];
        let gateway = &gateways[1];
        let status = gateway.status().unwrap();
        let attachments = status.attachments.iter();
        let mut guards = attachments.filter(|attachment| attachment.hook == "wan_guard");
        assert_eq!(guards.next().unwrap().mode, mode, "{status:?}");

        traffic::exchange(a, b, Family::V4, 1 << 20).unwrap();
        let sent = send_junk(a, b, gateway, outer);
        let expected: Vec<(String, u64)> = names
            .iter()
            .map(|(name, kinds)| {
                let packets: usize = kinds.iter().map(|kind| sent[*kind]).sum();
                ((*name).to_owned(), packets as u64)
            })
            .collect();
        let found = wait::until("the drops", LIMIT, || {
            gateway.dropped().ok().filter(|found| *found == expected)
        });
        assert_eq!(
            found.unwrap_or_else(|_| gateway.dropped().unwrap()),
            expected
        );

        traffic::exchange_both_ways(a, b, 1 << 20).unwrap();
        // Nothing else was taken for junk.
        assert_eq!(gateway.dropped().unwrap(), expected);
        assert_eq!(gateways[0].dropped().unwrap(), []);
    }
}

fn two_sites(choice: XdpChoice, outer: Family) -> (Topology, Vec<Crossway>) {
    let topology = Builder::new(&["a", "b"]).build().unwrap();
    let mut plans = plan::plan(&topology, Shape::FullMesh, outer).unwrap();
    for plan in &mut plans {
        plan.configure(move |config| config.gateway.wan[0].xdp = choice);
    }
    let gateways = crossway::start_all(&topology, &plans).unwrap();
    (topology, gateways)
}

/// Sends it from the WAN address of `from`, and returns how many of each kind.
fn send_junk(from: &Site, to: &Site, gateway: &Crossway, outer: Family) -> Vec<usize> {
    let links = gateway.links().unwrap();
    let index = links[0].receiver_index.unwrap();
    let address = from.wan_address(outer);
    let socket = from.gateway.enter(|| UdpSocket::bind((address, 0)));
    let socket = socket.unwrap().unwrap();
    let mut sent = Vec::new();
    // Any index of ours has other upper bits than this.
    for (kind, datagram) in traffic::junk(index ^ 0x8000_0000).iter().enumerate() {
        for _ in 0..ROUNDS + kind {
            socket.send_to(datagram, to.endpoint(outer)).unwrap();
        }
        sent.push(ROUNDS + kind);
    }
    sent
}
