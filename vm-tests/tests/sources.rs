//! Sources of a LAN are judged by the fast path as by the kernel: `rp_filter` and martians.
//!
//! ```text
//!   host a ── lan0 10.1.0.1/24, rp_filter ── gateway a ═══ WAN ═══ gateway b ── host b
//!                                    lan1 10.1.0.193/26
//!   .10 is lan0's, .200 is lan1's, .130 is in a blackhole, .1 is the gateway's own
//! ```

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use vm_tests::crossway::{self, Crossway};
use vm_tests::packet_socket::{Frames, PacketSocket};
use vm_tests::plan::{self, Shape};
use vm_tests::topology::{Builder, Family, Topology};
use vm_tests::traffic::{self, Capture, wire};
use vm_tests::wait;

const LIMIT: Duration = Duration::from_secs(10);
const SOURCES: [&str; 4] = ["10.1.0.10", "10.1.0.200", "10.1.0.130", "10.1.0.1"];

#[test]
fn the_fast_path_takes_the_sources_that_the_kernel_takes() {
    let [stack, fast] = [false, true].map(|fast_path| {
        let lab = Lab::start(fast_path);
        [0, 1, 2].map(|rp_filter| lab.arrivals(rp_filter))
    });
    let [own, anothers, nobodys, ours] = [0, 1, 2, 3];
    assert!(stack.iter().all(|arrives| arrives[own] && !arrives[ours]));
    assert_eq!(stack.map(|arrives| arrives[anothers]), [true, false, true]);
    assert_eq!(stack.map(|arrives| arrives[nobodys]), [true, false, false]);
    assert_eq!(fast, stack, "for rp_filter 0, 1, 2");
}

#[test]
fn a_source_that_is_refused_is_counted_and_left_to_the_stack() {
    let lab = Lab::start(true);
    assert_eq!(lab.arrivals(1), [true, false, false, false]);
    assert!(lab.gateways[0].left_to_stack("wrong-source").unwrap() >= 3);
    // IPv6 has no such check in the kernel.
    let [a, b] = [&lab.topology.sites[0], &lab.topology.sites[1]];
    traffic::exchange_both_ways(a, b, 1 << 16).unwrap();
}

struct Lab {
    gateways: Vec<Crossway>,
    wire: Capture,
    topology: Topology,
}

impl Lab {
    fn start(fast_path: bool) -> Self {
        let topology = Builder::new(&["a", "b"]).build().unwrap();
        let gateway = &topology.sites[0].gateway;
        for line in [
            "link add lan1 type veth peer name host1",
            "address add 10.1.0.193/26 dev lan1",
            "link set lan1 up",
            "link set host1 up",
            "route add blackhole 10.1.0.128/27",
        ] {
            gateway.ip(line).unwrap();
        }
        gateway
            .set_sysctl("net/ipv4/conf/all/rp_filter", "0")
            .unwrap();
        let mut plans = plan::plan(&topology, Shape::FullMesh, Family::V4).unwrap();
        for plan in &mut plans {
            plan.configure(move |config| config.gateway.fast_path = fast_path);
        }
        let gateways = crossway::start_all(&topology, &plans).unwrap();
        let [a, b] = [&topology.sites[0], &topology.sites[1]];
        traffic::exchange_both_ways(a, b, 1 << 16).unwrap();
        let wire = Capture::start(&topology, &b.host, "eth0", "udp port 9").unwrap();
        Self {
            gateways,
            wire,
            topology,
        }
    }

    /// Which of the sources reach the far host. What the agent was told of late is asked for again.
    fn arrivals(&self, rp_filter: u8) -> [bool; 4] {
        let gateway = &self.topology.sites[0].gateway;
        let key = "net/ipv4/conf/lan0/rp_filter";
        gateway.set_sysctl(key, &rp_filter.to_string()).unwrap();
        let mut last = None;
        let mut again = 0;
        let settled = wait::until("the same twice, after two seconds", LIMIT, || {
            std::thread::sleep(Duration::from_millis(500));
            let arrived = self.send(1000 * u16::from(rp_filter) + 10_000 + 10 * again);
            again += 1;
            let same = last.replace(arrived) == Some(arrived);
            (same && again > 5).then_some(arrived)
        });
        settled.unwrap()
    }

    /// Sends once from each source, from port `port` on, behind a moment in which the first has arrived.
    fn send(&self, port: u16) -> [bool; 4] {
        let [a, b] = [&self.topology.sites[0], &self.topology.sites[1]];
        let socket = PacketSocket::sender(&a.host, "eth0").unwrap();
        let from = wire::mac_of(&a.host, "eth0").unwrap();
        let to = wire::mac_of(&a.gateway, "lan0").unwrap();
        let target = SocketAddr::new(b.host_address(Family::V4), 9);
        let mut frames = Frames::default();
        let order = SOURCES.iter().enumerate().skip(1);
        for (number, source) in order.chain([(0, &SOURCES[0])]) {
            let source = SocketAddr::new(source.parse::<IpAddr>().unwrap(), port + number as u16);
            frames.push(&wire::frame(from, to, &wire::udp(source, target, b"?")));
        }
        socket.send(&frames).unwrap();
        let seen = |number: usize| {
            let marker = format!("{}.{} >", SOURCES[number], port + number as u16);
            self.wire.lines().iter().any(|line| line.contains(&marker))
        };
        wait::until("the host's own source", LIMIT, || seen(0).then_some(())).unwrap();
        [0, 1, 2, 3].map(seen)
    }
}
