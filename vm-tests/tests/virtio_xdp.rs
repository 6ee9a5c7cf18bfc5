//! `wan_guard` in the driver of virtio network cards: which cards take it, what is said of those that do
//! not, and that junk dies in it while WireGuard passes.
//!
//! ```text
//!   host a ── gateway a ═══ WAN ═══ wan0 [guest: gateway b] lan0 ── host b
//!             └ junk from another port ─►│
//!                                 wan1, wan2, wan3: cards of other kinds, without a wire
//! ```

use std::net::UdpSocket;
use std::time::Duration;

use vm_tests::config::{Wan, XdpChoice};
use vm_tests::crossway::Crossway;
use vm_tests::guest::{Card, GuestGateway, Offloads, Place, ring};
use vm_tests::plan::{self, Shape};
use vm_tests::topology::{Builder, Family, Site};
use vm_tests::traffic;
use vm_tests::wait;

/// The handshake, and a ping through it.
const UP: Duration = Duration::from_mins(1);
const SOON: Duration = Duration::from_secs(30);
const GAP: Duration = Duration::from_millis(300);
/// Datagrams of each kind; each kind has another number, so that none can pass for another.
const ROUNDS: usize = 7;
/// Kinds of junk, in the order of [`traffic::junk`], that are counted under a name.
const NAMES: [(&str, &[usize]); 6] = [
    ("wan-too-short", &[0, 1]),
    ("wan-bad-type", &[2, 3]),
    ("wan-reserved-bits", &[4]),
    ("wan-bad-length", &[5, 6]),
    ("wan-unknown-receiver", &[7, 8]),
    ("bad-mac", &[9]),
];

/// Cards of a machine with one CPU.
fn cards() -> Vec<Card> {
    let fixed = Offloads {
        ctrl_guest_offloads: false,
        ..Offloads::ALL
    };
    vec![
        Card::new("lan0"),
        // A queue to send for the CPU, and one more for XDP; the driver switches the offloads off.
        Card::new("wan0").with_queues(2),
        // No queue for XDP.
        Card::new("wan1").with_offloads(Offloads::NONE),
        // Offloads that the driver cannot switch off.
        Card::new("wan2").with_queues(2).with_offloads(fixed),
        Card::new("wan3").with_queues(2),
    ]
}

const WANS: [(&str, XdpChoice); 4] = [
    ("wan0", XdpChoice::Native),
    ("wan1", XdpChoice::Native),
    ("wan2", XdpChoice::Native),
    ("wan3", XdpChoice::Auto),
];

#[test]
fn wan_guard_runs_where_a_card_takes_it_and_the_others_say_why_not() {
    let topology = Builder::new(&["a", "b"]).build().unwrap();
    let mut plans = plan::plan(&topology, Shape::FullMesh, Family::V4).unwrap();
    for plan in &mut plans {
        plan.watch_each(1000, 5);
    }
    plans[1].configure(|config| {
        let wans = WANS.map(|(name, xdp)| Wan {
            xdp,
            ..Wan::new(name)
        });
        config.gateway.wan = wans.to_vec();
    });
    let [a, b] = [&topology.sites[0], &topology.sites[1]];
    let near = Crossway::start(&topology, &plans[0]).unwrap();
    let machine = ring::gateway(1, cards()).unwrap();
    let place = Place::prepare(&b.gateway, machine).unwrap();
    let mut gateway = GuestGateway::start(&place, &plans[1], topology.directory()).unwrap();

    every_card_says_what_became_of_it(&mut gateway);
    traffic::wait_for_ping(&a.host, b.host_address(Family::V4), UP).unwrap();
    traffic::exchange_both_ways(a, b, 1 << 20).unwrap();
    assert_eq!(gateway.dropped().unwrap(), []);
    let expected = send_junk(a, b, &mut gateway);
    let found = wait::until("the drops", SOON, || {
        wait::pace(GAP);
        gateway.dropped().ok().filter(|found| *found == expected)
    });
    assert_eq!(
        found.unwrap_or_else(|_| gateway.dropped().unwrap()),
        expected
    );
    traffic::exchange_both_ways(a, b, 1 << 20).unwrap();
    // Nothing else was taken for junk.
    assert_eq!(gateway.dropped().unwrap(), expected);
    assert_eq!(near.dropped().unwrap(), []);

    // The driver lets it go again.
    plans[1].configure(|config| {
        config.gateway.wan = vec![Wan {
            xdp: XdpChoice::Off,
            ..Wan::new("wan0")
        }];
    });
    gateway.write_config(&plans[1]).unwrap();
    gateway.command(&["reload"]).unwrap();
    let links = gateway.guest().run("ip link show wan0").unwrap();
    assert!(!links.contains("xdp"), "{links:?}");
    assert_eq!(
        guards(&mut gateway),
        [("wan0".to_owned(), "off".to_owned(), "configured".to_owned())]
    );
    assert_eq!(warnings(&mut gateway), "");
    traffic::exchange_both_ways(a, b, 1 << 20).unwrap();
}

fn every_card_says_what_became_of_it(gateway: &mut GuestGateway) {
    let [wan0, wan1, wan2, wan3] = guards(gateway).try_into().unwrap();
    let warnings = warnings(gateway);
    let shown = gateway.command(&["status"]).unwrap();
    assert_eq!(
        (wan0.1.as_str(), wan0.2.as_str()),
        ("xdp-native", "configured")
    );
    // CPUs may share a queue (Linux 5.13).
    assert_eq!(
        (wan1.1.as_str(), wan1.2.as_str()),
        ("xdp-native", "configured")
    );
    assert!(!warnings.contains("wan1"), "{warnings}");
    assert_eq!(wan2.1, "off");
    assert!(wan2.2.contains("ctrl_guest_offloads=on"), "{}", wan2.2);
    assert!(warnings.contains("XDP stays off on wan2: "), "{warnings}");
    assert!(shown.contains("ctrl_guest_offloads=on"), "{shown}");
    assert_eq!(wan3.1, "off");
    assert!(wan3.2.contains("receive offloads"), "{}", wan3.2);
    assert!(!warnings.contains("wan3"), "{warnings}");
    // What one card lacks costs nobody the fast path.
    let status = gateway.status().unwrap();
    assert!(status.fast_path, "{status:?}");
    let note = |(name, mode, reason): (String, String, String)| {
        let reason: String = reason.chars().take(60).collect();
        format!("{name} {mode} ({reason})")
    };
    println!("note: {}", [wan0, wan1, wan2, wan3].map(note).join(", "));
}

/// Interface, mode and reason of each `wan_guard`, by interface.
fn guards(gateway: &mut GuestGateway) -> Vec<(String, String, String)> {
    let status = gateway.status().unwrap();
    let attachments = status.attachments.iter();
    let guards = attachments.filter(|attachment| attachment.hook == "wan_guard");
    let mut guards: Vec<_> = guards
        .map(|guard| {
            (
                guard.interface.clone(),
                guard.mode.clone(),
                guard.reason.clone(),
            )
        })
        .collect();
    guards.sort();
    guards
}

fn warnings(gateway: &mut GuestGateway) -> String {
    gateway.status().unwrap().warnings.join("\n")
}

/// Sends it from the WAN address of `from`, and returns the drops that it makes.
fn send_junk(from: &Site, to: &Site, gateway: &mut GuestGateway) -> Vec<(String, u64)> {
    let links = gateway.links().unwrap();
    let index = links[0].receiver_index.unwrap();
    let address = from.wan_address(Family::V4);
    let socket = from.gateway.enter(|| UdpSocket::bind((address, 0)));
    let socket = socket.unwrap().unwrap();
    // Any index of ours has other upper bits than this.
    let datagrams = traffic::junk(index ^ 0x8000_0000);
    for (kind, datagram) in datagrams.iter().enumerate() {
        for _ in 0..ROUNDS + kind {
            socket.send_to(datagram, to.endpoint(Family::V4)).unwrap();
        }
    }
    let count = |kinds: &[usize]| kinds.iter().map(|kind| (ROUNDS + kind) as u64).sum();
    NAMES
        .iter()
        .map(|(name, kinds)| ((*name).to_owned(), count(kinds)))
        .collect()
}
