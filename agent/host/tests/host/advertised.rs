//! An uplink whose IPv6 default route comes from router advertisements keeps it.
//!
//! ```text
//!   gateway  wan ------ upstream  router (the test sends its advertisements)
//! ```

use std::collections::HashMap;
use std::io;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use crossway_host::forwarding::{self, Facts, Need};
use crossway_host::state::{StateFile, SysctlChange};
use crossway_host::sysctl::{Family, Key, Name};
use crossway_host::{Host, Report, kept_sysctls};

use crate::lab::{
    Tun, assert_same, enter_new_namespace, gateway, in_namespace, ip, snapshot, state_path, sysctl,
    wait_until,
};
use crate::{TUN, wanted};

/// Between two advertisements.
const INTERVAL: Duration = Duration::from_millis(50);

#[test]
fn an_advertised_default_route_survives_start_and_stop() {
    in_namespace(async || {
        let (_router, before) = gateway_with_advertised_route();
        let mut host = Host::connect_with_state(state_path()).await.unwrap();
        host.claim_tun(TUN).await.unwrap();
        let _tun = Tun::open(TUN);
        host.apply(&wanted()).await.unwrap();
        assert_eq!(advertised_routes(), 1);
        assert_eq!(sysctl("ipv6/conf/all/forwarding"), "0");
        assert_eq!(sysctl("ipv6/conf/wan/accept_ra"), "1");
        host.restore().await.unwrap();
        assert_same(&before, &snapshot());
    });
}

#[test]
fn a_kill_in_the_middle_of_the_change_is_mended_by_the_next_start() {
    in_namespace(async || {
        let (_router, before) = gateway_with_advertised_route();
        let path = state_path();
        let (mut file, _) = StateFile::open(path.clone()).unwrap();
        let passing = SysctlChange {
            key: Key::ipv6("wan", Name::AcceptRa),
            before: "1".to_owned(),
            set: "2".to_owned(),
            why: String::new(),
        };
        kept_sysctls::reconcile(&mut file, vec![passing], &mut Report::default());
        assert_eq!(sysctl("ipv6/conf/wan/accept_ra"), "2");
        drop(file);

        let mut host = Host::connect_with_state(path).await.unwrap();
        host.claim_tun(TUN).await.unwrap();
        let _tun = Tun::open(TUN);
        host.apply(&wanted()).await.unwrap();
        assert_eq!(sysctl("ipv6/conf/wan/accept_ra"), "1");
        assert_eq!(advertised_routes(), 1);
        host.restore().await.unwrap();
        assert_same(&before, &snapshot());
    });
}

/// The way of kernels before 6.17, tried by hiding `force_forwarding`.
#[test]
fn so_it_does_where_the_whole_host_has_to_forward() {
    in_namespace(async || {
        let (_router, before) = gateway_with_advertised_route();
        ip("tuntap add cw-a mode tun");
        let (mut file, _) = StateFile::open(state_path()).unwrap();
        let lan = ["lan".to_owned()];
        let need = Need {
            bound: &[],
            tun: TUN,
            lan: &lan,
            ipv6: true,
            wan: &[],
            virtual_macs: &[],
        };
        let plan = forwarding::plan(need, &older_kernel());
        kept_sysctls::reconcile(&mut file, plan.lasting, &mut Report::default());
        assert_eq!(advertised_routes(), 1);
        assert_eq!(sysctl("ipv6/conf/all/forwarding"), "1");
        assert_eq!(sysctl("ipv6/conf/wan/accept_ra"), "2");
        kept_sysctls::reconcile(&mut file, Vec::new(), &mut Report::default());
        ip("link del cw-a");
        assert_same(&before, &snapshot());
    });
}

fn older_kernel() -> Facts {
    let ipv4 = Family::Ipv4.interfaces().unwrap();
    let ipv6 = Family::Ipv6.interfaces().unwrap();
    let known = |key: &Key| key.name != Name::ForceForwarding;
    let values: HashMap<_, _> = forwarding::relevant(&ipv4, &ipv6)
        .filter(known)
        .filter_map(|key| Some((key.clone(), key.read().unwrap()?)))
        .collect();
    Facts { values }
}

fn advertised_routes() -> usize {
    ip("-6 route show default proto ra").lines().count()
}

/// Keeps the router's namespace, and with it the cable to it, while it lives.
struct RouterGuard {
    _alive: mpsc::Sender<()>,
}

/// A gateway whose `wan` leads to a router in another namespace, once it has learned its default
/// route, and what the host looks like then. The router is silent from there on, so that a route
/// that is lost stays lost.
fn gateway_with_advertised_route() -> (RouterGuard, Vec<String>) {
    gateway();
    ip("link del wan");
    // SAFETY: no arguments.
    let own_thread = unsafe { libc::gettid() };
    let (learned, is_learned) = mpsc::channel();
    std::thread::spawn(move || {
        enter_new_namespace();
        ip(&format!(
            "link add upstream type veth peer name wan netns {own_thread}"
        ));
        ip("link set upstream up");
        while let Err(RecvTimeoutError::Timeout) = is_learned.recv_timeout(INTERVAL) {
            // Fails until the cable is up.
            let _ = advertise();
        }
        // Ends when the guard does.
        let _ = is_learned.recv();
    });
    wait_until("the cable is there", || ip("link").contains("wan@"));
    ip("link set wan up");
    ip("addr add 198.51.100.2/24 dev wan");
    ip("route add default via 198.51.100.1");
    wait_until("the default route is learned", || advertised_routes() == 1);
    wait_until("duplicate address detection is done", || {
        !ip("-6 addr show tentative").contains("inet6")
    });
    learned.send(()).unwrap();
    (RouterGuard { _alive: learned }, snapshot())
}

/// Sends a router advertisement (RFC 4861, 4.2) with a lifetime of 1800 s and no prefix to all
/// nodes on the thread's `upstream`.
fn advertise() -> io::Result<()> {
    let message = [134u8, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
    let hops: libc::c_int = 255;
    // SAFETY: every pointer is to a live local and goes with its size; the descriptor is closed.
    unsafe {
        let socket = libc::socket(libc::AF_INET6, libc::SOCK_RAW, libc::IPPROTO_ICMPV6);
        let mut to: libc::sockaddr_in6 = std::mem::zeroed();
        to.sin6_family = libc::AF_INET6 as u16;
        to.sin6_addr.s6_addr = "ff02::1".parse::<std::net::Ipv6Addr>().unwrap().octets();
        to.sin6_scope_id = libc::if_nametoindex(c"upstream".as_ptr());
        libc::setsockopt(
            socket,
            libc::IPPROTO_IPV6,
            libc::IPV6_MULTICAST_HOPS,
            (&raw const hops).cast(),
            size_of_val(&hops) as u32,
        );
        let sent = libc::sendto(
            socket,
            message.as_ptr().cast(),
            message.len(),
            0,
            (&raw const to).cast(),
            size_of_val(&to) as u32,
        );
        let result = if sent < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        };
        libc::close(socket);
        result
    }
}
