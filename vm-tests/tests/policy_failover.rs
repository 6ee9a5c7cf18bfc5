//! A closed policy on two gateways of one LAN: what was allowed goes on where one takes over from the other.
//!
//! ```text
//!             ┌─ [gateway a1, rules] ─┐
//!  host a ────┤         ║             ├──── path ──── [gateway b1] ── host b
//!             └─ [gateway a2, rules] ─┘
//! ```

use std::net::{IpAddr, UdpSocket};
use std::time::Duration;

use vm_tests::failover::{Gateways, Settings};
use vm_tests::netns::Netns;
use vm_tests::topology::{Near, Redundant};
use vm_tests::traffic::SteadyTcp;
use vm_tests::wait;

const SOON: Duration = Duration::from_secs(20);
const RULES: &str = r#"
[[allow]]
name = "out"
from = ["lan"]
to = ["b"]
ports = ["udp/8000", "tcp"]
"#;

#[test]
fn a_replica_lets_the_answers_to_a_flow_pass_that_it_was_told_of_and_nothing_else() {
    let net = Redundant::with_pair(None).unwrap();
    let settings = Settings {
        in_step: true,
        rules: RULES.to_owned(),
        ..Settings::default()
    };
    let mut gateways = Gateways::start(&net, &settings).unwrap();
    hosts_send_to(&net, 0);
    let at_a = bind(&net.host_a, net.host_address(Near::A), 9000);
    let at_b = bind(&net.host_b, net.host_address(Near::B), 8000);
    let stranger = bind(&net.host_b, net.host_address(Near::B), 8001);
    let tcp = SteadyTcp::start(&net.host_a, &net.host_b, net.host_address(Near::B)).unwrap();
    wait::until("a2 to know the flow from a1", SOON, || {
        send(&at_a, &at_b);
        let flows = gateways.replica(1).flows(&["--protocol", "udp"]).ok()?;
        (!flows.is_empty()).then_some(())
    })
    .unwrap();

    gateways.replica(0).kill().unwrap();
    hosts_send_to(&net, 1);
    drain(&at_a);
    // Host a has been silent since: all that comes is an answer to what it said by the other gateway.
    wait::until("an answer by a2", SOON, || {
        send(&stranger, &at_a);
        send(&at_b, &at_a);
        receive(&at_a)
    })
    .map(|source| assert_eq!(source, 8000))
    .unwrap();
    for _ in 0..20 {
        send(&stranger, &at_a);
        send(&at_b, &at_a);
        assert_eq!(receive(&at_a), Some(8000));
    }
    tcp.goes_on(SOON).unwrap();
    assert!(tcp.is_alive());
    let dropped = gateways.replica(1).dropped().unwrap();
    let denied = dropped.iter().find(|(word, _)| word == "policy-denied");
    assert!(denied.is_some_and(|(_, count)| *count >= 20), "{dropped:?}");
    tcp.finish().unwrap();
}

fn hosts_send_to(net: &Redundant, gateway: usize) {
    let own = net.replicas[gateway].lan;
    let route = format!("route replace default via {own}");
    net.host_a.ip(&route).unwrap();
}

fn bind(host: &Netns, address: IpAddr, port: u16) -> UdpSocket {
    let socket = host.enter(|| UdpSocket::bind((address, port)));
    let socket = socket.unwrap().unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    socket
}

/// A datagram that the kernel refuses is lost.
fn send(from: &UdpSocket, to: &UdpSocket) {
    let _ = from.send_to(b"datagram", to.local_addr().unwrap());
}

/// The port that the next datagram comes from, if one comes.
fn receive(at: &UdpSocket) -> Option<u16> {
    let (_, source) = at.recv_from(&mut [0; 64]).ok()?;
    Some(source.port())
}

fn drain(at: &UdpSocket) {
    at.set_nonblocking(true).unwrap();
    while receive(at).is_some() {}
    at.set_nonblocking(false).unwrap();
}
