//! Without eBPF everything passes, only slower: switched off by configuration, or detached while it runs.
//!
//! ```text
//!   host a ── gateway a (kernel forwards LAN ↔ TUN) ═══ WAN ═══ gateway b (likewise) ── host b
//! ```

use std::fs;
use std::process::Command;
use std::thread;

use vm_tests::crossway::{self, Crossway};
use vm_tests::plan::{self, Shape};
use vm_tests::process;
use vm_tests::topology::{Builder, Family, Topology};
use vm_tests::traffic::{self, Probe};

const TRANSFER: u64 = 4 << 20;

#[test]
fn traffic_passes_with_the_fast_path_switched_off() {
    let (topology, gateways) = two_sites(false);
    let [a, b] = [&topology.sites[0], &topology.sites[1]];
    traffic::exchange_both_ways(a, b, TRANSFER).unwrap();
    for gateway in &gateways {
        let status = gateway.status().unwrap();
        assert!(!status.fast_path);
        assert!(!fs::exists(pins(gateway)).unwrap(), "nothing is attached");
        assert_eq!(gateway.dropped().unwrap(), []);
    }
}

#[test]
fn traffic_passes_with_every_program_detached_at_run_time() {
    let (topology, gateways) = two_sites(true);
    let [a, b] = [&topology.sites[0], &topology.sites[1]];
    traffic::exchange_both_ways(a, b, TRANSFER).unwrap();
    gateways.iter().for_each(detach);
    let counted = [(0, "b"), (1, "a")].map(|(at, far)| gateways[at].site(far).unwrap());
    traffic::exchange_both_ways(a, b, TRANSFER).unwrap();
    for family in Family::ALL {
        let target = b.host_address(family);
        let hops = traffic::traceroute(&a.host, target, Probe::Udp).unwrap();
        let way = [a.gateway_address(family), b.tunnel_address(family), target];
        assert_eq!(hops, way);
    }
    // The programs saw none of it.
    let still = [(0, "b"), (1, "a")].map(|(at, far)| gateways[at].site(far).unwrap());
    assert_eq!(still, counted);
    for gateway in &gateways {
        assert_eq!(gateway.dropped().unwrap(), []);
    }
}

#[test]
fn a_transfer_goes_on_when_the_programs_are_detached_under_it() {
    let (topology, gateways) = two_sites(true);
    let [a, b] = [&topology.sites[0], &topology.sites[1]];
    traffic::exchange_both_ways(a, b, 1 << 16).unwrap();
    thread::scope(|scope| {
        let target = b.host_address(Family::V4);
        let transfer =
            scope.spawn(move || traffic::tcp_transfer(&a.host, &b.host, target, 48 << 20));
        gateways.iter().for_each(detach);
        assert!(!transfer.is_finished(), "the programs went too late");
        transfer.join().unwrap().unwrap();
    });
}

fn two_sites(fast_path: bool) -> (Topology, Vec<Crossway>) {
    let topology = Builder::new(&["a", "b"]).build().unwrap();
    let mut plans = plan::plan(&topology, Shape::FullMesh, Family::V4).unwrap();
    plan::give_tunnel_addresses(&topology, &mut plans);
    for plan in &mut plans {
        plan.configure(move |config| config.gateway.fast_path = fast_path);
    }
    let gateways = crossway::start_all(&topology, &plans).unwrap();
    (topology, gateways)
}

/// As an administrator would: the pins stay, the programs are off.
fn detach(gateway: &Crossway) {
    let mut detached = 0;
    for link in fs::read_dir(format!("{}/links", pins(gateway))).unwrap() {
        let link = link.unwrap().path();
        process::run(
            Command::new("bpftool")
                .args(["link", "detach", "pinned"])
                .arg(link),
        )
        .unwrap();
        detached += 1;
    }
    // lan_ingress, tun_ingress, tun_egress.
    assert_eq!(detached, 3);
}

fn pins(gateway: &Crossway) -> String {
    let status = gateway.status().unwrap();
    status.pins
}
