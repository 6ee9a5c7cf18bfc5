//! What a person reads when the host is not as the configuration says.

use crossway_host::Host;

use crate::lab::{Tun, gateway, in_namespace, ip, state_path, try_ip};
use crate::{TUN, wanted};

async fn host() -> Host {
    let mut host = Host::connect_with_state(state_path()).await.unwrap();
    host.claim_tun(TUN).await.unwrap();
    host
}

#[test]
fn an_interface_that_is_away_is_a_warning_with_the_names_there_are_and_the_rest_is_done() {
    in_namespace(async || {
        gateway();
        let mut host = host().await;
        let _tun = Tun::open(TUN);
        for name in ["eth9", "a-name-longer-than-the-kernel-takes"] {
            let mut wanted = wanted();
            wanted.lan.push(name.to_owned());
            let report = host.apply(&wanted).await.unwrap();
            assert_eq!(report.failures, Vec::<String>::new());
            assert_eq!(
                report.warnings,
                [format!(
                    "LAN interface {name} does not exist: it is taken in as soon as it comes; if the name is wrong, \
                     correct it in the configuration (this host has lo, lan-far, lan, wan-far, wan, cw-a)"
                )]
            );
        }
        assert!(ip("route").contains("10.2.0.0/24 dev cw-a proto 199"));
    });
}

#[test]
fn a_site_whose_routes_somebody_takes_away_is_unreachable_and_not_left_to_the_default_route() {
    in_namespace(async || {
        gateway();
        let mut host = host().await;
        let _tun = Tun::open(TUN);
        host.apply(&wanted()).await.unwrap();
        let get = || try_ip("route get 10.2.0.9");
        assert!(get().contains("dev cw-a"), "{}", get());
        ip("link set cw-a down");
        assert!(!get().contains("dev wan"), "{}", get());
        host.apply(&wanted()).await.unwrap();
        assert!(get().contains("dev cw-a"), "{}", get());
        host.restore().await.unwrap();
        assert!(get().contains("dev wan"), "{}", get());
    });
}

#[test]
fn an_interface_that_is_down_is_a_warning() {
    in_namespace(async || {
        gateway();
        ip("link set lan down");
        ip("link set wan-far down");
        let mut host = host().await;
        let _tun = Tun::open(TUN);
        let report = host.apply(&wanted()).await.unwrap();
        assert_eq!(
            report.warnings,
            [
                "LAN interface lan is down: it carries nothing until `ip link set lan up`",
                "WAN interface wan has no carrier: check its cable and its other end",
            ]
        );
    });
}

#[test]
fn a_name_that_another_kind_of_interface_has_is_refused() {
    in_namespace(async || {
        ip("link add cw-a type bridge");
        let mut host = Host::connect_with_state(state_path()).await.unwrap();
        let error = host.claim_tun(TUN).await.unwrap_err().to_string();
        assert_eq!(
            error,
            "cw-a is the name for the TUN, but exists already as bridge: give the gateway another name, or \
             rename that interface"
        );
    });
}

#[test]
fn a_route_of_another_connector_is_never_replaced() {
    in_namespace(async || {
        gateway();
        let mut host = host().await;
        let _tun = Tun::open(TUN);
        ip("route add 10.2.0.0/24 dev lan proto 199 metric 30199");
        let report = host.apply(&wanted()).await.unwrap();
        let start = "route 10.2.0.0/24 with metric 30199 exists on another interface";
        assert!(report.failures[0].starts_with(start), "{report:?}");
        assert!(ip("route show 10.2.0.0/24").contains("dev lan"));
        // What others have is known all the same: the fast path follows it.
        let others = host.take_other_routes().unwrap();
        assert!(others.iter().any(|route| route.metric == 30_199));
    });
}

#[test]
fn a_hand_made_route_of_the_same_prefix_stays_beside_ours() {
    in_namespace(async || {
        gateway();
        let mut host = host().await;
        let _tun = Tun::open(TUN);
        ip("route add 10.2.0.0/24 dev lan");
        ip("-6 route add 2001:db8:2::/48 dev lan");
        host.apply(&wanted()).await.unwrap();
        assert!(ip("route get 10.2.0.9").contains("dev lan"));
        assert!(ip("-6 route get 2001:db8:2::9").contains("dev lan"));
        host.restore().await.unwrap();
        assert!(ip("route show 10.2.0.0/24").contains("dev lan"));
    });
}

#[test]
fn without_privilege_the_capability_is_named() {
    in_namespace(async || {
        gateway();
        let mut host = host().await;
        let _tun = Tun::open(TUN);
        let nobody = 65_534;
        // SAFETY: three integers. The bare system call changes this thread alone, which ends with
        // the test; glibc's wrapper would change all threads.
        let answer = unsafe { libc::syscall(libc::SYS_setresuid, nobody, nobody, nobody) };
        assert_eq!(answer, 0);
        let report = host.apply(&wanted()).await.unwrap();
        assert_eq!(
            report.failures[0],
            "not permitted to set the MTU of cw-a to 1420: Crossway needs CAP_NET_ADMIN; run it as \
             root, or give its systemd unit AmbientCapabilities=CAP_NET_ADMIN"
        );
    });
}
