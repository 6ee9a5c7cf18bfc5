//! The devices of virtual routers: made down, kept while they are wanted, and gone at the end, whoever was
//! killed in between.

use crossway_host::Host;
use crossway_host::virtual_mac::WantedVirtualMac;
use crossway_types::address::Family;

use crate::lab::{Tun, assert_same, gateway, in_namespace, ip, snapshot, state_path, sysctl};
use crate::{TUN, wanted};

fn devices() -> Vec<WantedVirtualMac> {
    [Family::Ipv4, Family::Ipv6]
        .map(|family| WantedVirtualMac {
            lan: "lan".to_owned(),
            family,
            id: 51,
        })
        .into()
}

#[test]
fn they_come_and_go_with_the_configuration() {
    in_namespace(async || {
        gateway();
        let before = snapshot();
        let mut host = Host::connect_with_state(state_path()).await.unwrap();
        host.claim_tun(TUN).await.unwrap();
        let _tun = Tun::open(TUN);
        let mut wanted = wanted();
        wanted.virtual_macs = devices();
        host.apply(&wanted).await.unwrap();
        let [v4, v6] = host.virtual_macs() else {
            panic!("{:?}", host.virtual_macs());
        };
        let (v4, v6) = (v4.name.clone(), v6.name.clone());
        let link = ip(&format!("-d link show {v4}"));
        assert!(link.contains("00:00:5e:00:01:33"), "{link}");
        assert!(link.contains("state DOWN"), "{link}");
        assert_eq!(sysctl("ipv4/conf/lan/arp_ignore"), "1");
        assert_eq!(sysctl(&format!("ipv6/conf/{v6}/accept_dad")), "0");

        // Somebody is master now; the next look at the host leaves it so.
        ip(&format!("link set {v4} up"));
        ip(&format!("address add 10.1.0.254/32 dev {v4}"));
        let report = host.apply(&wanted).await.unwrap();
        assert_eq!(report.changes, Vec::<String>::new());
        assert!(ip(&format!("address show {v4}")).contains("10.1.0.254/32"));

        wanted.virtual_macs.pop();
        host.apply(&wanted).await.unwrap();
        assert!(!ip("link").contains(&v6));
        wanted.virtual_macs.clear();
        host.apply(&wanted).await.unwrap();
        assert!(!ip("link").contains(&v4));
        assert_eq!(sysctl("ipv4/conf/lan/arp_ignore"), "0");
        host.restore().await.unwrap();
        assert_same(&before, &snapshot());
    });
}

#[test]
fn what_a_killed_master_left_up_is_down_at_the_next_start() {
    in_namespace(async || {
        gateway();
        let before = snapshot();
        let path = state_path();
        let mut killed = Host::connect_with_state(path.clone()).await.unwrap();
        killed.claim_tun(TUN).await.unwrap();
        let tun = Tun::open(TUN);
        let mut wanted = wanted();
        wanted.virtual_macs = devices();
        killed.apply(&wanted).await.unwrap();
        let name = killed.virtual_macs()[0].name.clone();
        ip(&format!("link set {name} up"));
        ip(&format!("address add 10.1.0.254/32 dev {name}"));
        drop((killed, tun));

        let mut next = Host::connect_with_state(path).await.unwrap();
        next.claim_tun(TUN).await.unwrap();
        let _tun = Tun::open(TUN);
        next.apply(&wanted).await.unwrap();
        let left = ip(&format!("address show {name}"));
        assert!(left.contains("state DOWN"), "{left}");
        assert!(!left.contains("10.1.0.254"), "{left}");
        next.restore().await.unwrap();
        assert_same(&before, &snapshot());
    });
}

#[test]
fn what_a_master_hands_over_stays_up() {
    in_namespace(async || {
        gateway();
        let before = snapshot();
        let path = state_path();
        let mut old = Host::connect_with_state(path.clone()).await.unwrap();
        old.claim_tun(TUN).await.unwrap();
        let tun = Tun::open(TUN);
        let mut wanted = wanted();
        wanted.virtual_macs = devices();
        old.apply(&wanted).await.unwrap();
        let name = old.virtual_macs()[0].name.clone();
        ip(&format!("link set {name} up"));
        drop((old, tun));

        let mut next = Host::connect_with_state(path).await.unwrap();
        next.keep_virtual_macs();
        next.claim_tun(TUN).await.unwrap();
        let _tun = Tun::open(TUN);
        next.apply(&wanted).await.unwrap();
        let left = ip(&format!("link show {name}"));
        assert!(left.contains("state UP"), "{left}");
        next.restore().await.unwrap();
        assert_same(&before, &snapshot());
    });
}

#[test]
fn an_interface_of_that_name_which_is_somebody_elses_is_refused() {
    in_namespace(async || {
        gateway();
        let index = ip("-o link show lan");
        let index = index.split(':').next().unwrap();
        let name = format!("vr4-51-{index}");
        ip(&format!("link add {name} type bridge"));
        let mut host = Host::connect_with_state(state_path()).await.unwrap();
        host.claim_tun(TUN).await.unwrap();
        let _tun = Tun::open(TUN);
        let mut wanted = wanted();
        wanted.virtual_macs = devices();
        let report = host.apply(&wanted).await.unwrap();
        let expected =
            format!("{name} is the name for the device of a virtual router, but exists already");
        assert!(report.failures[0].starts_with(&expected), "{report:?}");
    });
}
