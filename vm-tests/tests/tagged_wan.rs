//! WANs whose frames have tags (IEEE 802.1Q): a VLAN interface, and a line on which every frame has a priority alone.
//!
//! ```text
//!   host a ── [gateway a] wan0 ─ trunk0 ═══ VLAN 7 ═══ trunk0 ─ wan0 [gateway b] ── host b
//!   host a ── [gateway a] wan0 ═══════ a tag of VLAN 0 is put in ═══════► wan0 [gateway b] ── host b
//! ```

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use vm_tests::config::{Wan, XdpChoice};
use vm_tests::crossway::{self, Crossway};
use vm_tests::netns::Netns;
use vm_tests::packet_socket::{Buffers, Frames, PacketSocket};
use vm_tests::plan::{self, Shape};
use vm_tests::topology::{Builder, Family, LISTEN_PORT, Site, Topology};
use vm_tests::{traffic, wait};

const UP: Duration = Duration::from_secs(10);
/// What the guard calls junk, and what the agent does.
const BY_GUARD: &str = "wan-bad-type";
const BY_AGENT: &str = "not-wireguard";

/// The guard sits at the VLAN interface, or at the one below, whose frames of other VLANs are none of its business.
#[test]
fn a_wan_that_is_a_vlan_carries_the_tunnel_and_is_guarded() {
    for outer in Family::ALL {
        for guarded in ["wan0", "trunk0"] {
            let topology = Builder::new(&["a", "b"]).build().unwrap();
            if topology.sites.iter().any(|site| lay_vlans(site).is_err()) {
                println!("note: this kernel has no VLAN interfaces");
                return;
            }
            let gateways = start(&topology, outer, guarded);
            let [a, b] = [&topology.sites[0], &topology.sites[1]];
            traffic::exchange_both_ways(a, b, 1 << 20).unwrap();
            let b_runs = &gateways[1];
            assert_counted_by_programs(b_runs);
            send_junk(&a.gateway, b.wan_address(outer));
            let seen = || dropped_by(b_runs, BY_GUARD);
            wait::until("the guard to name it", UP, || (seen() > 0).then_some(())).unwrap();
            let before = (seen(), dropped_by(b_runs, BY_AGENT));
            send_junk(&a.gateway, "198.18.8.2".parse().unwrap());
            wait::until("the agent to name what is in another VLAN", UP, || {
                (dropped_by(b_runs, BY_AGENT) > before.1).then_some(())
            })
            .unwrap();
            assert_eq!(seen(), before.0, "{outer:?}, guarded at {guarded}");
        }
    }
}

#[test]
fn frames_with_a_priority_alone_are_the_wans_own() {
    let topology = Builder::new(&["a", "b"]).build().unwrap();
    let line = Netns::create(&format!("{}-line", topology.prefix())).unwrap();
    lay_line(&topology, &line);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| relay(&line, &stop));
        let _stop = StopGuard(&stop);
        for outer in Family::ALL {
            let gateways = start(&topology, outer, "wan0");
            let [a, b] = [&topology.sites[0], &topology.sites[1]];
            traffic::exchange_both_ways(a, b, 1 << 18).unwrap();
            let b_runs = &gateways[1];
            assert_counted_by_programs(b_runs);
            assert_eq!(dropped_by(b_runs, BY_GUARD), 0);
            send_junk(&a.gateway, b.wan_address(outer));
            wait::until("the guard to name it", UP, || {
                (dropped_by(b_runs, BY_GUARD) > 0).then_some(())
            })
            .unwrap();
            assert_eq!(dropped_by(b_runs, BY_AGENT), 0);
        }
    });
}

/// Both gateways, that of site b with the guard at this interface.
fn start(topology: &Topology, outer: Family, guarded: &str) -> Vec<Crossway> {
    let mut plans = plan::plan(topology, Shape::FullMesh, outer).unwrap();
    let guarded = guarded.to_owned();
    plans[1].configure(move |config| {
        let with = |interface: &str, xdp| {
            let mut wan = Wan::new(interface);
            wan.xdp = xdp;
            wan
        };
        config.gateway.wan = vec![with(&guarded, XdpChoice::Generic)];
        if guarded != "wan0" {
            config.gateway.wan.push(with("wan0", XdpChoice::Off));
        }
    });
    let gateways = crossway::start_all(topology, &plans).unwrap();
    let [a, b] = [&topology.sites[0], &topology.sites[1]];
    for family in Family::ALL {
        traffic::wait_for_ping(&a.host, b.host_address(family), UP).unwrap();
    }
    gateways
}

/// TCP both ways, of which the programs count each segment.
fn assert_counted_by_programs(gateway: &Crossway) {
    assert!(gateway.status().unwrap().fast_path);
    let counters = gateway.site("a").unwrap();
    assert!(counters.to_site_packets > 100, "{counters:?}");
    assert!(counters.from_site_packets > 100, "{counters:?}");
}

/// A datagram to the tunnel's port that is none of WireGuard's.
fn send_junk(from: &Netns, to: IpAddr) {
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = from.enter(|| UdpSocket::bind(any)).unwrap().unwrap();
    socket
        .send_to(&[0x40; 100], SocketAddr::new(to, LISTEN_PORT))
        .unwrap();
}

fn dropped_by(gateway: &Crossway, reason: &str) -> u64 {
    let drops = gateway.dropped().unwrap();
    let found = drops.iter().find(|(found, _)| found == reason);
    found.map_or(0, |(_, packets)| *packets)
}

/// Has `wan0` be VLAN 7 of what it was, beside VLAN 8.
fn lay_vlans(site: &Site) -> anyhow::Result<()> {
    let gateway = &site.gateway;
    for words in [
        "link set wan0 down".to_owned(),
        "link set wan0 name trunk0".to_owned(),
        "link set trunk0 up".to_owned(),
        "link add link trunk0 name wan0 type vlan id 7".to_owned(),
        "link add link trunk0 name other0 type vlan id 8".to_owned(),
        "link set wan0 up".to_owned(),
        "link set other0 up".to_owned(),
        "address flush dev trunk0".to_owned(),
        format!("address add 198.18.8.{}/24 dev other0", site.number),
        format!("address add {}/24 dev wan0", site.wan_address(Family::V4)),
        format!(
            "address add {}/64 dev wan0 nodad",
            site.wan_address(Family::V6)
        ),
    ] {
        gateway.ip(&words)?;
    }
    Ok(())
}

/// Puts a namespace into the cable between both gateways.
fn lay_line(topology: &Topology, line: &Netns) {
    topology.sites[0].gateway.ip("link delete wan0").unwrap();
    for site in &topology.sites {
        let gateway = &site.gateway;
        let (port, name) = (port_of(&site.name), line.name());
        for words in [
            format!("link add wan0 type veth peer name {port} netns {name}"),
            "link set wan0 up".to_owned(),
            format!("address add {}/24 dev wan0", site.wan_address(Family::V4)),
            format!(
                "address add {}/64 dev wan0 nodad",
                site.wan_address(Family::V6)
            ),
        ] {
            gateway.ip(&words).unwrap();
        }
        line.ip(&format!("link set {port} up")).unwrap();
        // Each frame is to be whole, as on a wire.
        gateway
            .run("ethtool -K wan0 tx off gso off tso off")
            .unwrap();
        line.run(&format!("ethtool -K {port} gro off")).unwrap();
    }
}

/// The line's port towards a site.
fn port_of(site: &str) -> String {
    format!("to-{site}")
}

/// Carries frames between both ports until told to stop; those for site b get a tag.
fn relay(line: &Netns, stop: &AtomicBool) {
    /// Priority 5, VLAN 0.
    const TAG: [u8; 4] = [0x81, 0, 0xa0, 0];
    /// Both link-layer addresses.
    const ADDRESSES: usize = 12;
    let ways = [("a", "b", true), ("b", "a", false)].map(|(from, to, tags)| {
        let from = PacketSocket::receiver(line, &port_of(from)).unwrap();
        (
            from,
            PacketSocket::sender(line, &port_of(to)).unwrap(),
            tags,
        )
    });
    let mut buffers = Buffers::default();
    let mut frames = Frames::default();
    while !stop.load(Ordering::Relaxed) {
        let mut any = false;
        for (from, to, tags) in &ways {
            frames.clear();
            let taken = from.receive(&mut buffers, |frame| {
                let (addresses, rest) = frame.split_at(ADDRESSES);
                let tag: &[u8] = if *tags { &TAG } else { &[] };
                frames.push(&[addresses, tag, rest].concat());
            });
            any |= taken.unwrap() > 0;
            to.send(&frames).unwrap();
        }
        if !any {
            wait::pace(Duration::from_micros(200));
        }
    }
}

/// Stops the relay, also after a panic.
struct StopGuard<'a>(&'a AtomicBool);

impl Drop for StopGuard<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
