//! A link that is bound to no uplink, and whose way moves from one uplink to the other.
//!
//! ```text
//!  host a ── [gateway a] wan0 198.51.11.1 ── path 1 ── wan0 203.0.10.1 [gateway b: wireguard-go] ── host b
//!                        wan1 198.51.21.1 ── path 2 ── wan1
//! ```
//! Both paths lead to 203.0.10.1. Each drops what does not come from the address that it gave (BCP 38). The far end
//! speaks only when it is spoken to.

use std::time::Duration;

use vm_tests::config::Wan;
use vm_tests::crossway::Crossway;
use vm_tests::keys::KeyPair;
use vm_tests::peers::{Implementation, StockGateway};
use vm_tests::plan::{GatewayPlan, PeerPlan};
use vm_tests::topology::{Near, Redundant};
use vm_tests::traffic::{self, SteadyPing};

const UP: Duration = Duration::from_secs(10);
/// What wireguard-go needs at this end: 2.1 s.
const BACK: Duration = Duration::from_secs(3);

#[test]
fn a_link_whose_way_moves_to_another_uplink_speaks_from_there() {
    let net = Redundant::with_paths(None, 2).unwrap();
    let (near, far) = (&net.replicas[0], &net.far);
    let [near_plan, far_plan] = plans(&net);
    for path in 0..2 {
        let router = net.path(path);
        router
            .set_sysctl(&format!("net/ipv4/conf/{}/rp_filter", near.port()), "1")
            .unwrap();
        near.netns
            .ip(&format!("route delete {}/32", far.wan[path]))
            .unwrap();
    }
    let second = net.path(1);
    second
        .ip(&format!("route add {}/32 via {}", far.wan[0], far.wan[1]))
        .unwrap();
    let default_by = |path: usize| {
        let hop = near.next_hop(path);
        let route = format!("route replace default via {hop} dev wan{path}");
        near.netns.ip(&route).unwrap();
    };
    default_by(0);
    let directory = net.directory();
    let kind = Implementation::WireguardGo;
    let b = StockGateway::start_in(kind, &far.netns, directory, &far_plan).unwrap();
    let route = format!("route add 10.1.0.0/24 dev {}", b.interface());
    far.netns.ip(&route).unwrap();
    far.netns.set_sysctl("net/ipv4/ip_forward", "1").unwrap();
    let mut agent = Crossway::prepare_in(&near.netns, directory, &near_plan).unwrap();
    agent.start_again().unwrap();
    let far_host = net.host_address(Near::B);
    traffic::wait_for_ping(&net.host_a, far_host, UP).unwrap();
    let ping = SteadyPing::start(&net.host_a, far_host, directory).unwrap();
    ping.goes_on(UP).unwrap();
    for path in [1, 0, 1] {
        default_by(path);
        ping.goes_on(BACK).unwrap();
    }
    let replies = ping.finish(UP).unwrap();
    eprintln!("moved: longest gap {:?}", replies.longest_gap());
    assert!(replies.longest_gap() < BACK, "{:?}", replies.longest_gap());
}

fn plans(net: &Redundant) -> [GatewayPlan; 2] {
    let keys = [(); 2].map(|()| KeyPair::generate().unwrap());
    let gateways = [&net.replicas[0], &net.far];
    let mut plans = [0, 1].map(|own| GatewayPlan::new(gateways[own].name(), keys[own].clone()));
    for (own, other, side) in [(0, 1, Near::B), (1, 0, Near::A)] {
        plans[own].peers.push(PeerPlan {
            site: ["a", "b"][other].to_owned(),
            gateway: gateways[other].name().to_owned(),
            public_key: keys[other].public.clone(),
            endpoint: (own == 0).then(|| net.far.endpoint(0)),
            routes: vec![net.route(side)],
            keepalive: None,
        });
    }
    plans[0].configure(|config| config.gateway.wan.push(Wan::new("wan1")));
    plans
}
