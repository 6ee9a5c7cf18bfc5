//! The host integration in network namespaces of its own. Needs root.
//!
//! ```text
//!   10.1.0.1/24            +---------+            198.51.100.2/24
//!   2001:db8:1::1/64   lan | gateway | wan   default via 198.51.100.1
//!                          +---------+
//!                             cw-a        10.255.0.1/32
//!                      the test is the far side
//! ```

#[path = "host/advertised.rs"]
mod advertised;
#[path = "host/kernel.rs"]
mod kernel;
#[path = "host/lab.rs"]
mod lab;
#[path = "host/messages.rs"]
mod messages;
#[path = "host/redirects.rs"]
mod redirects;
#[path = "host/takeover.rs"]
mod takeover;
#[path = "host/virtual_macs.rs"]
mod virtual_macs;

use crossway_host::watch::{Changes, Watch};
use crossway_host::{Host, Report, Wanted};
use crossway_types::interface::InterfaceAddress;
use lab::{Tun, assert_same, gateway, in_namespace, ip, snapshot, state_path, sysctl};

const TUN: &str = "cw-a";

/// Two sites, both families.
fn wanted() -> Wanted {
    Wanted {
        bound_wans: Vec::new(),
        tun: TUN.to_owned(),
        mtu: 1420,
        addresses: vec![address("10.255.0.1", 32)],
        routes: [
            "10.2.0.0/24",
            "10.3.0.0/24",
            "2001:db8:2::/48",
            "2001:db8:3::/48",
        ]
        .map(|text| text.parse().unwrap())
        .into(),
        down: Vec::new(),
        lan: vec!["lan".to_owned()],
        wan: vec!["wan".to_owned()],
        sites: Vec::new(),
        by_stack: false,
        virtual_macs: Vec::new(),
    }
}

fn feature(interface: &str, line: &str) -> bool {
    lab::run("ethtool", &format!("-k {interface}")).contains(line)
}

fn address(text: &str, length: u8) -> InterfaceAddress {
    InterfaceAddress {
        address: text.parse().unwrap(),
        length,
    }
}

#[test]
fn a_clean_stop_leaves_the_host_as_it_was() {
    in_namespace(async || {
        gateway();
        let before = snapshot();
        let path = state_path();
        let mut host = Host::connect_with_state(path.clone()).await.unwrap();
        host.claim_tun(TUN).await.unwrap();
        let _tun = Tun::open(TUN);
        let report = host.apply(&wanted()).await.unwrap();
        assert!(report.warnings.is_empty(), "{report:?}");
        assert!(path.exists());

        assert!(ip("link show cw-a").contains("mtu 1420"));
        let routes = ip("route show dev cw-a");
        for line in [
            "10.2.0.0/24 proto 199 scope link src 10.255.0.1 metric 30199",
            "10.3.0.0/24 proto 199 scope link src 10.255.0.1 metric 30199",
        ] {
            assert!(routes.contains(line), "{routes}");
        }
        let routes = ip("-6 route show dev cw-a");
        let line = "2001:db8:2::/48 proto 199 src 2001:db8:1::1 metric 30199";
        assert!(routes.contains(line), "{routes}");
        assert_eq!(sysctl("ipv4/conf/lan/forwarding"), "1");
        assert_eq!(sysctl("ipv4/conf/wan/forwarding"), "0");
        assert!(!ip("-6 addr show dev cw-a").contains("fe80"));
        assert!(feature("lan", "rx-udp-gro-forwarding: on"));
        assert!(feature("wan", "rx-udp-gro-forwarding: off"));
        assert_eq!(
            host.apply(&wanted()).await.unwrap(),
            Report::default(),
            "a second time changes nothing"
        );

        host.restore().await.unwrap();
        assert_same(&before, &snapshot());
        assert!(!path.exists());
    });
}

#[test]
fn a_feature_that_somebody_had_on_stays_on() {
    in_namespace(async || {
        gateway();
        lab::run("ethtool", "-K lan rx-udp-gro-forwarding on");
        let before = snapshot();
        let mut host = Host::connect_with_state(state_path()).await.unwrap();
        host.claim_tun(TUN).await.unwrap();
        let _tun = Tun::open(TUN);
        host.apply(&wanted()).await.unwrap();
        host.restore().await.unwrap();
        assert_same(&before, &snapshot());
        assert!(feature("lan", "rx-udp-gro-forwarding: on"));
    });
}

#[test]
fn a_tun_that_was_there_stays_as_it_was() {
    in_namespace(async || {
        gateway();
        let _tun = Tun::open(TUN);
        ip("addr add 10.99.0.1/24 dev cw-a");
        ip("link set cw-a mtu 1300 up");
        ip("route add 10.98.0.0/16 dev cw-a");
        let before = snapshot();
        let mut host = Host::connect_with_state(state_path()).await.unwrap();
        host.claim_tun(TUN).await.unwrap();
        host.apply(&wanted()).await.unwrap();
        assert!(ip("addr show dev cw-a").contains("10.255.0.1/32"));
        host.restore().await.unwrap();
        assert_same(&before, &snapshot());
    });
}

#[test]
fn a_reload_touches_only_what_changed() {
    in_namespace(async || {
        gateway();
        let before = snapshot();
        let mut host = Host::connect_with_state(state_path()).await.unwrap();
        host.claim_tun(TUN).await.unwrap();
        let _tun = Tun::open(TUN);
        host.apply(&wanted()).await.unwrap();

        let mut ipv4_only = wanted();
        ipv4_only
            .routes
            .retain(crossway_types::prefix::Prefix::is_ipv4);
        ipv4_only.addresses = vec![address("10.255.0.2", 32)];
        ipv4_only.lan.clear();
        let report = host.apply(&ipv4_only).await.unwrap();
        let lines = report.changes.join("\n");
        for expected in [
            "cw-a: address 10.255.0.2/32",
            "cw-a: no address 10.255.0.1/32",
            "cw-a: 2 routes replaced",
            "cw-a: 2 routes removed",
            "net.ipv4.conf.lan.forwarding restored to 0",
            "net.ipv6.conf.cw-a.forwarding restored to 0",
        ] {
            assert!(lines.contains(expected), "{expected} in\n{lines}");
        }
        let routes = ip("route show proto 199");
        assert_eq!(routes.matches("src 10.255.0.2").count(), 2, "{routes}");

        host.restore().await.unwrap();
        assert_same(&before, &snapshot());
    });
}

#[test]
fn a_sysctl_that_somebody_else_set_meanwhile_is_left_alone() {
    in_namespace(async || {
        gateway();
        lab::set_sysctl("ipv4/conf/all/rp_filter", "1");
        let mut host = Host::connect_with_state(state_path()).await.unwrap();
        host.claim_tun(TUN).await.unwrap();
        let _tun = Tun::open(TUN);
        host.apply(&wanted()).await.unwrap();
        assert_eq!(sysctl("ipv4/conf/cw-a/rp_filter"), "2");
        assert_eq!(sysctl("ipv6/conf/lan/accept_ra"), "2");
        lab::set_sysctl("ipv6/conf/lan/accept_ra", "0");
        let report = host.restore().await.unwrap();
        assert_eq!(sysctl("ipv6/conf/lan/accept_ra"), "0");
        let lines = report.changes.join("\n");
        let expected =
            "net.ipv6.conf.lan.accept_ra stays at 0: somebody has changed it since it was set to 2";
        assert!(lines.contains(expected), "{lines}");
    });
}

#[test]
fn the_watch_tells_of_links_addresses_and_routes() {
    in_namespace(async || {
        gateway();
        let host = Host::connect_with_state(state_path()).await.unwrap();
        let mut watch = Watch::start(host.route_port()).unwrap();
        ip("addr add 10.77.0.1/24 dev lan");
        until(&mut watch, |seen| seen.addresses && seen.routes).await;
        ip("link set wan mtu 1400");
        until(&mut watch, |seen| seen.links).await;
        ip("-6 route add 2001:db8:77::/48 dev lan");
        until(&mut watch, |seen| seen.routes).await;
        ip("route del default");
        until(&mut watch, |seen| seen.routes).await;
    });
}

/// Notes on a change are queued before the change returns.
const SETTLED: std::time::Duration = std::time::Duration::from_millis(300);

#[test]
fn the_watch_is_silent_about_our_own_routes_and_tells_what_others_do_to_them() {
    in_namespace(async || {
        gateway();
        let mut host = Host::connect_with_state(state_path()).await.unwrap();
        host.claim_tun(TUN).await.unwrap();
        let _tun = Tun::open(TUN);
        let mut wanted = wanted();
        host.apply(&wanted).await.unwrap();
        let mut watch = Watch::start(host.route_port()).unwrap();
        // What the kernel still does about the new interface.
        while tokio::time::timeout(SETTLED, watch.changed()).await.is_ok() {}
        wanted.routes.push("10.66.0.0/16".parse().unwrap());
        host.apply(&wanted).await.unwrap();
        assert!(ip("route show 10.66.0.0/16").contains(TUN));
        let told = tokio::time::timeout(SETTLED, watch.changed()).await;
        assert!(told.is_err(), "{told:?}");
        ip("route del 10.66.0.0/16");
        until(&mut watch, |seen| seen.routes).await;
    });
}

async fn until(watch: &mut Watch, enough: impl Fn(Changes) -> bool) {
    let mut seen = Changes::default();
    let waiting = async {
        while !enough(seen) {
            let changes = watch.changed().await.unwrap();
            seen.links |= changes.links;
            seen.addresses |= changes.addresses;
            seen.routes |= changes.routes;
        }
    };
    let waited = tokio::time::timeout(lab::PATIENCE, waiting).await;
    waited.unwrap_or_else(|_| panic!("the watch told only {seen:?}"));
}
