//! Class of service (DSCP) and congestion (ECN) between inner packets and the datagrams that carry them.
//!
//! ```text
//!  host a ── [gateway a] wan0 ── wan1 router wan2 ── wan0 [gateway b] ── host b
//!   marks                         outer     changes                       sees
//! ```

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use socket2::SockRef;
use vm_tests::config::DscpModel;
use vm_tests::crossway::{self, Crossway};
use vm_tests::engine::Engine;
use vm_tests::netns::Netns;
use vm_tests::plan::{self, GatewayPlan, Shape};
use vm_tests::topology::{Builder, Family, Topology, Wan};
use vm_tests::traffic::{self, Packet, Recording};
use vm_tests::{wait, with_either_engine};

with_either_engine!(
    marks_arrive_as_they_were_sent_and_show_outside_as_the_model_says,
    congestion_that_an_outer_packet_met_reaches_both_ends_of_the_connection_inside,
    a_class_that_was_changed_on_the_way_is_taken_over_in_the_uniform_model_alone,
    congestion_of_a_packet_without_ecn_is_a_drop_with_a_name,
);

const UP: Duration = Duration::from_secs(10);
const EF: u8 = 46 << 2;
const AF41: u8 = 34 << 2;
const ECT_1: u8 = 0b01;
const ECT_0: u8 = 0b10;
const CE: u8 = 0b11;
const ECN: u8 = 0b11;
/// One after the other without a pause, so that they are sealed, sent and joined together.
const BURST: usize = 16;
const PORT: u16 = 5060;

/// Two gateways with a router between them.
struct Ground {
    gateways: Vec<Crossway>,
    plans: Vec<GatewayPlan>,
    topology: Topology,
}

impl Ground {
    fn build(engine: Engine, dscp: DscpModel, outer: Family) -> Self {
        let topology = Builder::new(&["a", "b"]).wan(Wan::Router).build().unwrap();
        let mut plans = plan::plan(&topology, Shape::FullMesh, outer).unwrap();
        for plan in &mut plans {
            plan.set_engine(engine);
            plan.configure(move |config| config.gateway.dscp = dscp);
        }
        let gateways = crossway::start_all(&topology, &plans).unwrap();
        let ground = Self {
            gateways,
            plans,
            topology,
        };
        for family in Family::ALL {
            traffic::wait_for_ping(ground.host_a(), ground.far(family), UP).unwrap();
        }
        ground
    }

    fn reload_b(&mut self, dscp: DscpModel) {
        let plan = &mut self.plans[1];
        plan.configure(move |config| config.gateway.dscp = dscp);
        self.gateways[1].write_config(plan).unwrap();
        self.gateways[1].command(&["reload"]).unwrap();
    }

    /// What was sent with the class of speech arrives with this one.
    fn assert_class(&self, class: u8) {
        for family in Family::ALL {
            let seen = Recording::start(&self.topology, self.host_b(), "eth0").unwrap();
            for packet in self.send(&[EF], family, &seen, BURST) {
                assert_eq!(marks_of(&packet), class, "{family:?}");
            }
        }
    }

    fn host_a(&self) -> &Netns {
        &self.topology.sites[0].host
    }

    fn host_b(&self) -> &Netns {
        &self.topology.sites[1].host
    }

    fn far(&self, family: Family) -> IpAddr {
        self.topology.sites[1].host_address(family)
    }

    fn router(&self) -> &Netns {
        self.topology.router.as_ref().unwrap()
    }

    /// Changes what the router forwards to gateway b: `change` is a statement of nft(8) about `ip`.
    fn change_on_the_way(&self, change: &str) {
        let table = format!(
            "table ip way {{\n chain forward {{\n type filter hook forward priority 0;\n \
             oifname wan2 udp dport 51820 {change}\n }}\n }}\n"
        );
        vm_tests::process::run(self.router().command("nft").arg(table)).unwrap();
    }

    /// Sends bursts with these marks, each of a size of its own, and waits until the far host has `expected` of them.
    fn send(&self, marks: &[u8], family: Family, seen: &Recording, expected: usize) -> Vec<Packet> {
        let to = SocketAddr::new(self.far(family), PORT);
        let any = if family == Family::V4 {
            "0.0.0.0:0"
        } else {
            "[::]:0"
        };
        let socket = self
            .host_a()
            .enter(|| UdpSocket::bind(any))
            .unwrap()
            .unwrap();
        for (number, marks) in marks.iter().enumerate() {
            let options = SockRef::from(&socket);
            match family {
                Family::V4 => options.set_tos_v4((*marks).into()).unwrap(),
                Family::V6 => options.set_tclass_v6((*marks).into()).unwrap(),
            }
            for _ in 0..BURST {
                socket.send_to(&vec![7; payload(number)], to).unwrap();
            }
        }
        let ours = |packet: &Packet| packet.destination == to.ip() && packet.protocol == 17;
        wait::until("the datagrams to arrive", UP, || {
            let packets = seen.packets().unwrap();
            let packets: Vec<Packet> = packets.into_iter().filter(ours).collect();
            (packets.len() >= expected).then_some(packets)
        })
        .unwrap()
    }
}

/// Payload of the burst with this number: far enough apart that the tunnel's padding does not matter.
fn payload(number: usize) -> usize {
    200 + 64 * number
}

/// Type of service, or traffic class.
fn marks_of(packet: &Packet) -> u8 {
    let (first, second) = (packet.content[0], packet.content[1]);
    match first >> 4 {
        4 => second,
        _ => (first << 4) | (second >> 4),
    }
}

/// The number of the burst that an IP packet belongs to, with `headers` more than its payload.
fn burst_of(packet: &Packet, headers: usize) -> Option<usize> {
    let payload = (packet.bytes as usize).checked_sub(headers)?;
    Some(payload.checked_sub(200)? / 64)
}

fn marks_arrive_as_they_were_sent_and_show_outside_as_the_model_says(engine: Engine) {
    let sent = [0, EF, EF | ECT_0, AF41 | ECT_1, ECT_0, CE, 0];
    for (model, outer) in [
        (DscpModel::Uniform, Family::V4),
        (DscpModel::Pipe, Family::V6),
    ] {
        let ground = Ground::build(engine, model, outer);
        // So that the router sees datagrams, and not what a card would make them of.
        let wan = &ground.topology.sites[0].gateway;
        wan.run("ethtool -K wan0 tx-udp-segmentation off").unwrap();
        for inner in Family::ALL {
            let seen = Recording::start(&ground.topology, ground.host_b(), "eth0").unwrap();
            let outside = Recording::start(&ground.topology, ground.router(), "wan1").unwrap();
            let arrived = ground.send(&sent, inner, &seen, sent.len() * BURST);
            let header = |family| if family == Family::V4 { 20 } else { 40 };
            for packet in &arrived {
                let burst = burst_of(packet, header(inner) + 8).unwrap();
                assert_eq!(marks_of(packet), sent[burst], "{model}, inner {inner:?}");
            }
            let own = ground.topology.sites[0].wan_address(outer);
            let overhead = header(outer) + 8 + 32 + header(inner) + 8;
            let mut counted = vec![0; sent.len()];
            for packet in outside.finish().unwrap() {
                let burst = burst_of(&packet, overhead).filter(|burst| *burst < sent.len());
                let Some(burst) = burst.filter(|_| packet.source == own) else {
                    continue;
                };
                let expected = match model {
                    DscpModel::Uniform => sent[burst],
                    DscpModel::Pipe => sent[burst] & ECN,
                };
                assert_eq!(
                    marks_of(&packet),
                    expected,
                    "{model}, outer {outer:?}, {burst}"
                );
                counted[burst] += 1;
            }
            assert_eq!(counted, vec![BURST; sent.len()]);
        }
    }
}

fn congestion_that_an_outer_packet_met_reaches_both_ends_of_the_connection_inside(engine: Engine) {
    let ground = Ground::build(engine, DscpModel::Pipe, Family::V4);
    for host in [ground.host_a(), ground.host_b()] {
        // Asks for ECN, and grants it.
        host.set_sysctl("net/ipv4/tcp_ecn", "1").unwrap();
    }
    // One in ten, as a router does whose queue grows.
    ground.change_on_the_way("ip ecn ect0 numgen inc mod 10 == 0 ip ecn set ce");
    for family in Family::ALL {
        let seen = Recording::start(&ground.topology, ground.host_b(), "eth0").unwrap();
        let (from, to) = (ground.host_a(), ground.host_b());
        traffic::tcp_transfer(from, to, ground.far(family), 2 << 20).unwrap();
        let packets = seen.finish().unwrap();
        let tcp = packets.iter().filter(|packet| packet.protocol == 6);
        let (mut capable, mut congested, mut echoed) = (0, 0, 0);
        for packet in tcp {
            let header = if family == Family::V4 { 20 } else { 40 };
            if packet.destination == ground.far(family) {
                capable += usize::from(marks_of(packet) & ECN == ECT_0);
                congested += usize::from(marks_of(packet) & ECN == CE);
            } else if packet.content[header + 13] & 0x52 == 0x50 {
                // ACK with ECE, no SYN (RFC 3168, 6.1).
                echoed += 1;
            }
        }
        assert!(
            capable > 0 && congested > 0 && echoed > 0,
            "{capable}, {congested}, {echoed}"
        );
        assert!(congested < capable, "{congested} of {capable}");
    }
    for gateway in &ground.gateways {
        assert_eq!(gateway.dropped().unwrap(), []);
    }
}

fn a_class_that_was_changed_on_the_way_is_taken_over_in_the_uniform_model_alone(engine: Engine) {
    for (change, after) in [("ip dscp set af41", AF41), ("ip dscp set cs0", EF)] {
        let mut ground = Ground::build(engine, DscpModel::Uniform, Family::V4);
        ground.change_on_the_way(change);
        ground.assert_class(after);
        // The near end still shows it, the far end takes it over no more.
        ground.reload_b(DscpModel::Pipe);
        ground.assert_class(EF);
    }
}

fn congestion_of_a_packet_without_ecn_is_a_drop_with_a_name(engine: Engine) {
    let ground = Ground::build(engine, DscpModel::Pipe, Family::V4);
    ground.change_on_the_way("ip ecn set ce");
    let seen = Recording::start(&ground.topology, ground.host_b(), "eth0").unwrap();
    // What is capable of ECN arrives, marked; and the link stays up, whose own packets are no traffic.
    for packet in ground.send(&[EF, EF | ECT_0], Family::V4, &seen, BURST) {
        assert_eq!(marks_of(&packet), EF | CE);
    }
    let dropped = ground.gateways[1].dropped().unwrap();
    let illegal = dropped.iter().find(|(reason, _)| reason == "ecn-illegal");
    assert!(
        illegal.is_some_and(|(_, packets)| *packets >= BURST as u64),
        "{dropped:?}"
    );
    let links = ground.gateways[1].links().unwrap();
    assert_eq!(links[0].state, vm_tests::api::LinkState::Up);
}
