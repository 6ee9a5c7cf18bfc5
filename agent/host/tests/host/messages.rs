//! What a person reads when the host is not as the configuration says.

use std::fs;

use crossway_host::Host;

use crate::lab::{Tun, gateway, in_namespace, ip, set_sysctl, state_path, try_ip};
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
fn what_cannot_be_written_down_is_a_warning_and_the_file_that_is_there_stays_whole() {
    in_namespace(async || {
        gateway();
        let path = state_path();
        let mut host = Host::connect_with_state(path.clone()).await.unwrap();
        host.claim_tun(TUN).await.unwrap();
        let _tun = Tun::open(TUN);
        let before = fs::read(&path).unwrap();
        // As a full file system: the new file cannot be made.
        let new = path.with_extension("json.new");
        fs::create_dir(&new).unwrap();
        let report = host.apply(&wanted()).await.unwrap();
        assert_eq!(report.failures, Vec::<String>::new());
        let told = report.warnings.last().unwrap();
        assert!(
            told.starts_with("what was changed on this host is not written down"),
            "{told}"
        );
        assert_eq!(fs::read(&path).unwrap(), before);
        assert!(ip("route").contains("10.2.0.0/24 dev cw-a proto 199"));
        fs::remove_dir(&new).unwrap();
        let report = host.apply(&wanted()).await.unwrap();
        assert_eq!(report.warnings, Vec::<String>::new());
        assert_ne!(fs::read(&path).unwrap(), before);
        host.restore().await.unwrap();
    });
}

#[test]
fn settings_that_cannot_be_made_are_warnings_unless_packets_need_them() {
    in_namespace(async || {
        gateway();
        let mut host = host().await;
        let _tun = Tun::open(TUN);
        // As a container has it, whose owner has set from outside what is needed.
        for interface in ["lan", TUN] {
            for family in ["ipv4", "ipv6"] {
                set_sysctl(&format!("{family}/conf/{interface}/forwarding"), "1");
            }
            set_sysctl(&format!("ipv6/conf/{interface}/force_forwarding"), "1");
        }
        read_only("/proc/sys");
        let report = host.apply(&wanted()).await.unwrap();
        assert_eq!(report.failures, Vec::<String>::new());
        let told = report.warnings.join("\n");
        assert!(
            told.contains("net.ipv6.conf.cw-a.addr_gen_mode should be 1"),
            "{told}"
        );
        assert!(told.contains("mount it writable"), "{told}");
        assert!(ip("route").contains("10.2.0.0/24 dev cw-a proto 199"));
    });
}

/// Mounts a folder read-only for the calling thread, which has a mount namespace of its own from here on.
fn read_only(folder: &str) {
    let folder = std::ffi::CString::new(folder).unwrap();
    let (none, root) = (std::ptr::null(), c"/".as_ptr());
    let private = libc::MS_REC | libc::MS_PRIVATE;
    let again = libc::MS_BIND | libc::MS_REMOUNT | libc::MS_RDONLY;
    // SAFETY: only the calling thread changes its namespace, and the paths end in a zero byte.
    unsafe {
        assert_eq!(libc::unshare(libc::CLONE_NEWNS), 0);
        assert_eq!(libc::mount(none, root, none, private, none.cast()), 0);
        let (from, to) = (folder.as_ptr(), folder.as_ptr());
        assert_eq!(libc::mount(from, to, none, libc::MS_BIND, none.cast()), 0);
        assert_eq!(libc::mount(none, to, none, again, none.cast()), 0);
    }
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
