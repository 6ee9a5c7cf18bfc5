//! BFD with FRR's bfdd at the far end of a stock WireGuard peer.
//!
//! ```text
//!  host a ── [gateway a: Crossway] wan0 ─────────── wan0 [gateway b: wireguard-go and bfdd] ── host b
//!             10.255.0.1                                  10.255.0.2
//!             2001:db8:1:ffff::1                          2001:db8:2:ffff::1
//! ```

use std::time::Duration;

use vm_tests::api::WatchedBy;
use vm_tests::config::BfdAddresses;
use vm_tests::crossway::Crossway;
use vm_tests::frr::{BfdPeer, Frr, Router};
use vm_tests::peers::{Implementation, StockGateway};
use vm_tests::plan::{self, Shape};
use vm_tests::topology::{Builder, Family, Topology};
use vm_tests::{traffic, wait};

const UP: Duration = Duration::from_secs(20);

struct Interop {
    agent: Crossway,
    frr: Frr,
    peer: BfdPeer,
    _far: StockGateway,
    topology: Topology,
}

#[test]
fn a_stock_peer_without_bfd_is_watched_by_a_host_behind_it() {
    for family in Family::ALL {
        let topology = Builder::new(&["a", "b"]).build().unwrap();
        let mut plans = plan::plan(&topology, Shape::FullMesh, Family::V4).unwrap();
        plan::give_tunnel_addresses(&topology, &mut plans);
        let host = &topology.sites[1].host;
        let target = topology.sites[1].host_address(family);
        plans[0].configure(move |config| {
            config.sites[0].gateways[0].links[0].liveness.probe = Some(target);
        });
        let agent = Crossway::start(&topology, &plans[0]).unwrap();
        let _far = StockGateway::start(Implementation::WireguardGo, &topology, &plans[1]).unwrap();
        let becomes = |state: &str, why: &str| {
            wait::until(&format!("the link to be {state}: {why}"), UP, || {
                let links = agent.links().ok()?;
                let link = &links[0];
                let says = link.why.contains(why);
                (link.state.as_str() == state && link.watched_by == WatchedBy::WireGuard && says)
                    .then_some(())
            })
            .unwrap_or_else(|error| panic!("{error:#}: {:?}", agent.command(&["links"])));
        };
        becomes("Up", &format!("{target} answers"));
        host.ip("link set eth0 down").unwrap();
        becomes("Down", &format!("{target} does not answer"));
        host.ip("link set eth0 up").unwrap();
        if family == Family::V6 {
            // It goes with the link.
            host.ip(&format!("address replace {target}/64 dev eth0 nodad"))
                .unwrap();
        }
        let gateway = topology.sites[1].gateway_address(family);
        host.ip(&format!("route replace default via {gateway}"))
            .unwrap();
        becomes("Up", &format!("{target} answers"));
    }
}

impl Interop {
    fn start(family: Family) -> Self {
        let topology = Builder::new(&["a", "b"]).build().unwrap();
        let mut plans = plan::plan(&topology, Shape::FullMesh, Family::V4).unwrap();
        plan::give_tunnel_addresses(&topology, &mut plans);
        let [own, remote] = [0, 1].map(|site: usize| topology.sites[site].tunnel_address(family));
        plans[0].configure(move |config| {
            let addresses = BfdAddresses { local: own, remote };
            config.sites[0].gateways[0].links[0].liveness.addresses = Some(addresses);
        });
        let agent = Crossway::start(&topology, &plans[0]).unwrap();
        let far = StockGateway::start(Implementation::WireguardGo, &topology, &plans[1]).unwrap();
        let peer = BfdPeer {
            address: own,
            local: remote,
            interface: far.interface().to_owned(),
        };
        let router = Router {
            system: 65002,
            id: "10.255.0.2".to_owned(),
            announces: Vec::new(),
            neighbours: Vec::new(),
            bfd_peers: vec![peer.clone()],
            bfd_interval: 100,
            bfd_multiplier: 3,
        };
        let frr = Frr::start(&topology.sites[1].gateway, &router).unwrap();
        Self {
            agent,
            frr,
            peer,
            _far: far,
            topology,
        }
    }

    fn link_becomes(&self, state: &str, why: &str) {
        let mut last = String::new();
        let reached = wait::until(&format!("the link to be {state}: {why}"), UP, || {
            let links = self.agent.links().ok()?;
            let link = &links[0];
            last = format!("{link:?}");
            let says = link.why.contains(why);
            (link.state.as_str() == state && link.watched_by == WatchedBy::Bfd && says)
                .then_some(())
        });
        reached.unwrap_or_else(|error| panic!("{error:#}: {last}"));
    }

    fn frr_sees(&self, sessions: usize) {
        wait::try_until("FRR's session", UP, || {
            Ok((self.frr.bfd_up()? == sessions).then_some(()))
        })
        .unwrap();
    }
}

#[test]
fn the_session_comes_up_and_goes_down_with_the_path_and_by_order_of_either_end() {
    for family in Family::ALL {
        let interop = Interop::start(family);
        interop.link_becomes("Up", "BFD is up");
        interop.frr_sees(1);
        let peers = interop.frr.query("show bfd peers json").unwrap();
        assert_eq!(peers[0]["remote-receive-interval"], 100, "{peers}");
        assert_eq!(peers[0]["remote-detect-multiplier"], 3, "{peers}");
        let (a, b) = (&interop.topology.sites[0], &interop.topology.sites[1]);
        let to_b = b.host_address(Family::V4);
        traffic::wait_for_ping(&a.host, to_b, UP).unwrap();

        let filter = "add rule inet cut out meta l4proto udp drop";
        b.gateway.run("nft add table inet cut").unwrap();
        let chain = [
            "nft",
            "add chain inet cut out { type filter hook output priority 0; }",
        ];
        b.gateway.command(chain[0]).arg(chain[1]).status().unwrap();
        b.gateway.command("nft").arg(filter).status().unwrap();
        interop.link_becomes("Down", "BFD heard nothing for 300 ms");
        b.gateway.run("nft delete table inet cut").unwrap();
        interop.link_becomes("Up", "BFD is up");
        interop.frr_sees(1);

        interop.frr.set_bfd_shutdown(&interop.peer, true).unwrap();
        interop.link_becomes("Drained", "drained at the far end");
        interop.frr.set_bfd_shutdown(&interop.peer, false).unwrap();
        interop.link_becomes("Up", "BFD is up");

        interop.agent.command(&["drain", "b"]).unwrap();
        interop.frr_sees(0);
        interop.agent.command(&["undrain", "b"]).unwrap();
        interop.frr_sees(1);
        traffic::wait_for_ping(&a.host, to_b, UP).unwrap();
    }
}
