//! What a person reads when the host is not as the configuration says.

use crossway_host::Host;

use crate::lab::{Tun, gateway, in_namespace, ip, state_path};
use crate::{TUN, wanted};

async fn host() -> Host {
    let mut host = Host::connect_with_state(state_path()).await.unwrap();
    host.claim_tun(TUN).await.unwrap();
    host
}

#[test]
fn a_wrong_interface_name_is_answered_with_the_names_there_are() {
    in_namespace(async || {
        gateway();
        let mut host = host().await;
        let _tun = Tun::open(TUN);
        for name in ["eth9", "a-name-longer-than-the-kernel-takes"] {
            let mut wanted = wanted();
            wanted.lan = vec![name.to_owned()];
            let error = host.apply(&wanted).await.unwrap_err().to_string();
            assert_eq!(
                error,
                format!(
                    "interface {name} does not exist: this host has lo, lan-far, lan, wan-far, \
                     wan, cw-a (see `ip link`); correct the name in the configuration or create \
                     the interface first"
                )
            );
        }
        assert!(!ip("route").contains("proto 199"), "nothing was changed");
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
        let error = host.apply(&wanted()).await.unwrap_err().to_string();
        let start = "route 10.2.0.0/24 with metric 30199 exists on another interface";
        assert!(error.starts_with(start), "{error}");
        assert!(ip("route show 10.2.0.0/24").contains("dev lan"));
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
        let error = host.apply(&wanted()).await.unwrap_err().to_string();
        assert_eq!(
            error,
            "not permitted to set the MTU of cw-a to 1420: Crossway needs CAP_NET_ADMIN; run it as \
             root, or give its systemd unit AmbientCapabilities=CAP_NET_ADMIN"
        );
    });
}
