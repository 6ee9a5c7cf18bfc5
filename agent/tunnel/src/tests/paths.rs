//! The path MTU of links, over their own sessions.

use super::pulses::{Net, far_site};
use super::*;
use crate::message::DATA_OVERHEAD;
use crate::transmit::Load;
use crossway_liveness::path_mtu::{Bounds, Report, State};

const BOUNDS: Bounds = Bounds {
    assumed: 1420,
    most: 1420,
    probes: true,
};

fn bounded() -> Net {
    let mut net = Net::new();
    for node in &mut net.nodes {
        for link in 0..2 {
            node.tunnel.set_path_bounds(LinkId(link), BOUNDS, node.now);
        }
    }
    net
}

fn report(net: &Net, node: usize, link: usize) -> Report {
    net.nodes[node].snapshot()[link].path.unwrap()
}

#[test]
fn each_link_has_the_mtu_of_its_own_path() {
    let mut net = bounded();
    assert_eq!(report(&net, 0, 0).state, State::Unanswered);
    net.takes[1] = 1300 + DATA_OVERHEAD;
    net.run(Duration::from_secs(8));
    for node in 0..2 {
        for (link, mtu) in [(0, 1420), (1, 1300)] {
            let report = report(&net, node, link);
            assert_eq!((report.mtu, report.state), (mtu, State::Found));
            assert_eq!(report.far_mtu, Some(mtu));
        }
    }
}

#[test]
fn a_black_hole_is_seen_while_large_packets_flow() {
    let mut net = bounded();
    net.run(Duration::from_secs(2));
    let packet = inner([10, 1, 0, 1], [10, 2, 0, 1], 1400);
    let node = &mut net.nodes[0];
    let (_, to) = packet::addresses(&packet).unwrap();
    let slot = node.tunnel.peer_for(to, &packet).unwrap();
    assert!(node.tunnel.gate(slot) < 1400);
    assert_eq!(node.tunnel.judge_size(slot, 1400, true, node.now), None);
    assert_eq!(
        node.tunnel.gate(slot),
        1420,
        "until that has been confirmed"
    );
    assert_eq!(
        node.tunnel.judge_size(slot, 1421, true, node.now),
        Some(1420)
    );
    net.takes[0] = 1290 + DATA_OVERHEAD;
    net.run(Duration::from_secs(2));
    assert_eq!(report(&net, 0, 0).black_holes, 1);
    let node = &mut net.nodes[0];
    let fits = node.tunnel.judge_size(slot, 1400, true, node.now).unwrap();
    assert!(fits <= 1290, "{fits}");
    net.run(Duration::from_secs(6));
    assert_eq!(report(&net, 0, 0).mtu, 1290);
    assert_eq!(
        report(&net, 1, 0).mtu,
        1420,
        "nothing large was sent that way"
    );
}

#[test]
fn ipv6_gets_what_it_needs_also_where_less_is_known_to_pass() {
    let mut net = bounded();
    net.takes[0] = 1200 + DATA_OVERHEAD;
    net.nodes[0].now = net.now;
    net.run(Duration::from_secs(1));
    let node = &mut net.nodes[0];
    let bounds = Bounds {
        assumed: 1200,
        most: 1200,
        probes: false,
    };
    node.tunnel.set_path_bounds(LinkId(0), bounds, node.now);
    let site = far_site(0);
    node.tunnel.set_ranks(site, &[vec![LinkId(0)]]);
    let slot = node.tunnel.slot_of_link(LinkId(0)).unwrap();
    assert_eq!(
        node.tunnel.judge_size(slot, 1201, true, node.now),
        Some(1200)
    );
    assert_eq!(node.tunnel.judge_size(slot, 1280, false, node.now), None);
    assert_eq!(
        node.tunnel.judge_size(slot, 1281, false, node.now),
        Some(1280)
    );
}

#[test]
fn probes_go_alone_and_are_as_long_as_they_say() {
    for engine in [Engine::Crossway, Engine::Boringtun] {
        let (mut a, mut b) = pair_of(engine, engine);
        exchange(&mut a, &mut b);
        for node in [&mut a, &mut b] {
            let link = node.snapshot()[0].link;
            node.tunnel.set_path_bounds(link, BOUNDS, node.now);
        }
        let mut sizes = Vec::new();
        for _ in 0..4 {
            let (now, out) = (a.now, &mut a.out);
            a.tunnel
                .handle_pulses((now, now), out, |_| panic!("there is room"), |_| {});
            for transmit in a.out.parts().0 {
                if transmit.load == Load::Probe {
                    assert_eq!(transmit.count, 1);
                    sizes.push(transmit.bytes());
                }
            }
            exchange(&mut a, &mut b);
            (a.now, b.now) = (a.now + Duration::from_millis(3), a.now);
        }
        assert_eq!(
            sizes,
            [64 + DATA_OVERHEAD, 1420 + DATA_OVERHEAD],
            "{engine}"
        );
        let path = a.snapshot()[0].path.unwrap();
        assert_eq!((path.mtu, path.state), (1420, State::Found));
    }
}
