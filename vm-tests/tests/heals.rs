//! What happens to gateways and mends itself: an interface that flaps, an address that changes, a gateway that
//! stood still. (Names that change: `endpoints.rs`.)
//!
//! ```text
//!                          ┌──────── path 1 ────────┐
//!  host a ── [gateway a1] ─┤                        ├─ [gateway b1] ── host b
//!                          └──────── path 2 ────────┘
//! ```

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use vm_tests::failover::{Gateways, Settings};
use vm_tests::pair::Pair;
use vm_tests::topology::{Family, Near, Redundant};
use vm_tests::traffic::{self, SteadyPing};
use vm_tests::{sys, wait};

const UP: Duration = Duration::from_secs(20);
const HOUR: Duration = Duration::from_hours(1);

fn scene(paths: u8) -> (Gateways, Redundant) {
    let net = Redundant::with_paths(None, paths).unwrap();
    let settings = Settings {
        hold_down_ms: 500,
        ..Settings::default()
    };
    let gateways = Gateways::start(&net, &settings).unwrap();
    (gateways, net)
}

#[test]
fn an_interface_that_goes_down_and_up_again_is_used_again() {
    let (gateways, net) = scene(2);
    let gateway = &net.replicas[0].netns;
    let routes = gateway.ip("route show dev wan0").unwrap();
    let ping = SteadyPing::start(&net.host_a, net.host_address(Near::B), net.directory()).unwrap();
    for _ in 0..3 {
        gateway.ip("link set wan0 down").unwrap();
        link_is(&gateways, 0, "Down");
        ping.goes_on(UP).unwrap();
        gateway.ip("link set wan0 up").unwrap();
        // What the host's network manager does.
        for route in routes.lines().filter(|route| route.contains("via")) {
            gateway
                .ip(&format!("route replace {route} dev wan0"))
                .unwrap();
        }
        link_is(&gateways, 0, "Up");
    }
    ping.goes_on(UP).unwrap();
}

#[test]
fn a_gateway_that_stood_still_for_long_is_back_at_once_when_it_goes_on() {
    let (mut gateways, net) = scene(1);
    let pid = gateways.replica(0).pid().unwrap();
    sys::freeze(pid).unwrap();
    // As a machine that is suspended: nothing runs, and nobody tells it afterwards.
    let far = |state: &str| {
        wait::until(&format!("the far end to see it {state}"), UP, || {
            let links = gateways.far().links().ok()?;
            (links[0].state.as_str() == state).then_some(())
        })
        .unwrap();
    };
    far("Down");
    wait::pace(Duration::from_secs(3));
    sys::thaw(pid).unwrap();
    far("Up");
    let to_b = net.host_address(Near::B);
    traffic::wait_for_ping(&net.host_a, to_b, UP).unwrap();
}

/// The far gateway has heard initiations of an hour from now, and takes none that is older.
#[test]
fn a_clock_that_has_gone_back_keeps_a_restarted_gateway_out_of_no_site() {
    let mut pair = Pair::start(|plans| plans[1].peers[0].endpoint = None).unwrap();
    let told = Path::new("/run/crossway").join(format!("{}.handshakes", pair.a.name()));
    let hour = wait::date().duration_since(SystemTime::UNIX_EPOCH).unwrap() + HOUR;
    let refused = |pair: &Pair| {
        let drops = pair.b.dropped().unwrap();
        let reasons = ["handshake-replayed", "handshake-invalid"];
        let drops = drops
            .into_iter()
            .filter(|(reason, _)| reasons.contains(&reason.as_str()));
        drops.map(|(_, packets)| packets).sum::<u64>()
    };
    assert!(pair.a.stop().unwrap().success());
    fs::write(&told, hour.as_millis().to_string()).unwrap();
    fs::set_permissions(&told, fs::Permissions::from_mode(0o600)).unwrap();
    for kill in [false, true, false] {
        pair.a.start_again().unwrap();
        pair.wait_until_up().unwrap();
        assert!(pair.a.log().contains("the clock of this host is behind"));
        assert_eq!(refused(&pair), 0);
        if kill {
            pair.a.kill().unwrap();
        } else {
            assert!(pair.a.stop().unwrap().success());
        }
    }
    // The proof that it matters: an agent that has forgotten is refused.
    fs::remove_file(&told).unwrap();
    pair.a.start_again().unwrap();
    wait::until("an initiation to be refused", UP, || {
        (refused(&pair) > 0).then_some(())
    })
    .unwrap();
}

#[test]
fn a_gateway_whose_only_address_changes_keeps_its_flows() {
    let pair = Pair::start(|_| ()).unwrap();
    let tcp = pair.steady_tcp(Family::V4).unwrap();
    let gateway = &pair.site_b().gateway;
    for last in [77, 78, 79] {
        // A lease that is given back and another that is taken: for a moment there is no address.
        gateway.ip("-4 address flush dev wan0").unwrap();
        let new = format!("address add 203.0.113.{last}/24 dev wan0");
        gateway.ip(&new).unwrap();
        wait::until("the far end to be found at its new address", UP, || {
            let links = pair.a.links().ok()?;
            let endpoint = links[0].endpoint.as_ref()?;
            endpoint
                .contains(&format!("203.0.113.{last}:"))
                .then_some(())
        })
        .unwrap();
        tcp.goes_on(UP).unwrap();
    }
    tcp.finish().unwrap();
}

/// Waits until the first gateway sees a link in this state.
fn link_is(gateways: &Gateways, link: usize, state: &str) {
    let agent = gateways.all().next().unwrap();
    wait::until(&format!("link {link:?} to be {state}"), UP, || {
        let links = agent.links().ok()?;
        (links[link].state.as_str() == state).then_some(())
    })
    .unwrap();
}
