//! Interfaces that the file names and that are away: at the start, for a while, or for ever.
//!
//! ```text
//!  host a ── lan a ── lan0 ┐             ┌ wan0 ── path 1 ── wan0 ┐
//!                          ├ [gateway a] ┤                        ├ [gateway b] lan0 ── host b
//!  host c ── lan c ── lan1 ┘             └ wan1 ── path 2 ── wan1 ┘
//! ```
//! Both families pass inside the tunnel, which goes over IPv4. The interfaces of gateway `a` come and go. What can work
//! works, `status` names the rest, and the routers of the paths never see a packet of a site in the clear.

mod absent {
    pub(crate) mod lab;
}

use std::time::Duration;

use absent::lab::{Kind, Lab, UP, far6};
use vm_tests::config::{Config, Lan, virtual_routers};
use vm_tests::traffic;
use vm_tests::wait;

fn by_the_stack(config: &mut Config) {
    config.gateway.fast_path = false;
}

/// With one of two uplinks gone, the host is followed as before: addresses, foreign routes, MTU.
#[test]
fn a_host_with_one_of_two_uplinks_gone_is_followed_as_before() {
    let mut lab = Lab::start(|_| ());
    lab.remove("wan1");
    lab.wait_for_warning("WAN interface wan1 does not exist", true);
    let [host, second] = lab.hosts();
    traffic::wait_for_ping(host, lab.far(), UP).unwrap();
    traffic::wait_for_ping(second, lab.far(), UP).unwrap();

    // An address that is the source of the sites' routes goes, and they with it.
    let gateway = lab.host();
    gateway.ip("address delete 10.1.0.1/24 dev lan0").unwrap();
    gateway.ip("address add 10.1.0.1/24 dev lan0").unwrap();
    let of_site = || gateway.ip("route show 10.2.0.0/24 proto 199").unwrap();
    wait::until("the site's route to come back", UP, || {
        of_site().contains("src 10.1.0.1").then_some(())
    })
    .unwrap();
    gateway
        .ip("address delete 2001:db8:1::1/64 dev lan0")
        .unwrap();
    gateway
        .ip("address add 2001:db8:1::1/64 dev lan0 nodad")
        .unwrap();
    let of_site6 = || {
        gateway
            .ip("-6 route show 2001:db8:2::/64 proto 199")
            .unwrap()
    };
    wait::until("the site's route of IPv6 to come back", UP, || {
        of_site6().contains("src 2001:db8:1::1").then_some(())
    })
    .unwrap();
    traffic::wait_for_ping(host, far6(), UP).unwrap();
    // A foreign route inside the site's.
    gateway.ip("route add 10.2.0.128/25 dev lan0").unwrap();
    let a = lab.gateways.replica(0);
    wait::until("the foreign route to be followed", UP, || {
        let answer = a.route("10.2.0.200").ok()?;
        answer.why.contains("the kernel's").then_some(())
    })
    .unwrap();
    let gateway = lab.host();
    gateway.ip("route delete 10.2.0.128/25 dev lan0").unwrap();
    gateway.ip("link set wan0 mtu 1400").unwrap();
    let a = lab.gateways.replica(0);
    wait::until("the smaller MTU to be followed", UP, || {
        (a.status().ok()?.tun.mtu_bytes == 1320).then_some(())
    })
    .unwrap();

    lab.bring("wan1", Kind::Veth);
    lab.wait_for_warning("wan1", false);
    lab.wait_until_all_is_back();
    lab.assert_nothing_was_in_the_clear();
    assert!(lab.a().stop().unwrap().success());
}

#[test]
fn a_gateway_starts_without_an_uplink_and_takes_it_in_when_it_comes() {
    let mut lab = Lab::start(|_| ());
    assert!(lab.a().stop().unwrap().success());
    lab.remove("wan1");
    lab.a().start_again().unwrap();
    lab.wait_for_warning("WAN interface wan1 does not exist", true);
    traffic::wait_for_ping(lab.hosts()[0], lab.far(), UP).unwrap();
    lab.bring("wan1", Kind::Veth);
    lab.wait_until_all_is_back();
    lab.wait_for_warning("wan1", false);
}

/// As at a boot where the network comes last.
#[test]
fn a_gateway_starts_without_any_interface_and_takes_each_in_when_it_comes() {
    let mut lab = Lab::start(|_| ());
    assert!(lab.a().stop().unwrap().success());
    let all = ["wan0", "wan1", "lan0", "lan1"];
    for name in all {
        lab.remove(name);
    }
    lab.a().start_again().unwrap();
    for name in all {
        lab.wait_for_warning(&format!("interface {name} does not exist"), true);
    }
    for name in all {
        lab.bring(name, Kind::Veth);
    }
    lab.wait_until_all_is_back();
    lab.wait_for_warning("does not exist", false);
    let status = lab.a().status().unwrap();
    assert!(status.fast_path, "{status:?}");
    let off = |name: &&str| {
        let mut hooks = status.attachments.iter();
        !hooks.any(|hook| hook.interface == **name && hook.mode == "tcx")
    };
    let without: Vec<_> = ["lan0", "lan1"].into_iter().filter(|it| off(it)).collect();
    assert_eq!(without, Vec::<&str>::new(), "{status:?}");
}

#[test]
fn a_lan_goes_and_comes_back_with_another_index_mac_and_type() {
    for by_stack in [false, true] {
        let mut lab = Lab::start(|config| {
            if by_stack {
                by_the_stack(config);
            }
        });
        for kind in [Kind::Veth, Kind::Bridge] {
            lab.remove("lan0");
            lab.wait_for_warning("LAN interface lan0 does not exist", true);
            for far in [lab.far(), far6()] {
                traffic::wait_for_ping(lab.hosts()[1], far, UP).unwrap();
            }
            lab.bring("lan0", kind);
            lab.wait_until_all_is_back();
            lab.wait_for_warning("lan0", false);
        }
        lab.assert_nothing_was_in_the_clear();
    }
}

#[test]
fn a_reload_a_hand_over_and_a_restart_do_without_what_is_away() {
    let mut lab = Lab::start(|_| ());
    lab.remove("lan1");
    lab.remove("wan0");
    lab.wait_for_warning("lan1 does not exist", true);
    lab.change(|config| {
        let more = "10.22.0.0/24".parse().unwrap();
        config.sites[0].routes.push(more);
    });
    let answer = lab.a().route("10.22.0.1").unwrap();
    assert_eq!(answer.site.as_deref(), Some("b"), "{answer:?}");
    // An interface that has never been there.
    lab.change(|config| config.gateway.lan.push(Lan::new("lan7")));
    lab.wait_for_warning("lan7 does not exist", true);

    let far = lab.far();
    assert!(lab.a().take_over().unwrap().success());
    traffic::wait_for_ping(lab.hosts()[0], far, UP).unwrap();
    lab.wait_for_warning("lan1 does not exist", true);

    lab.a().kill().unwrap();
    lab.a().start_again().unwrap();
    traffic::wait_for_ping(lab.hosts()[0], far, UP).unwrap();

    lab.a().kill().unwrap();
    lab.remove("lan0");
    lab.bring("lan1", Kind::Bridge);
    lab.a().start_again().unwrap();
    traffic::wait_for_ping(lab.hosts()[1], far, UP).unwrap();
    lab.bring("wan0", Kind::Veth);
    lab.bring("lan0", Kind::Veth);
    lab.wait_until_all_is_back();
    lab.assert_nothing_was_in_the_clear();
}

#[test]
fn a_virtual_router_goes_with_its_lan_and_comes_back_with_it() {
    let mut lab = Lab::start(|config| {
        let second = ["10.11.0.254".parse().unwrap()];
        let mut routers = virtual_routers(7, 200, Duration::from_millis(100), &second);
        routers[0].interface = "lan1".to_owned();
        let first = ["10.1.0.254".parse().unwrap()];
        routers.extend(virtual_routers(7, 200, Duration::from_millis(100), &first));
        config.gateway.vrrp = routers;
    });
    let masters = |lab: &mut Lab, expected: usize| {
        let a = lab.a();
        wait::until("the virtual routers", UP, || {
            let routers = a.status().ok()?.virtual_routers;
            let masters = routers.iter().filter(|router| router.state == "master");
            (masters.count() == expected).then_some(())
        })
        .unwrap();
    };
    masters(&mut lab, 2);
    lab.remove("lan1");
    masters(&mut lab, 1);
    lab.wait_for_warning("lan1 does not exist", true);
    traffic::wait_for_ping(lab.hosts()[0], "10.1.0.254".parse().unwrap(), UP).unwrap();
    lab.a().take_over().unwrap();
    masters(&mut lab, 1);
    lab.bring("lan1", Kind::Veth);
    masters(&mut lab, 2);
    traffic::wait_for_ping(lab.hosts()[1], "10.11.0.254".parse().unwrap(), UP).unwrap();
    lab.wait_until_all_is_back();
    assert!(lab.a().stop().unwrap().success());
}

#[test]
fn whatever_comes_and_goes_in_whatever_order_all_is_well_in_the_end() {
    any_order(0x5eed, false);
}

#[test]
fn the_same_without_the_fast_path() {
    any_order(0xfeed, true);
}

/// Interfaces, addresses, files and agents come and go at random, with traffic from both LANs all the time.
fn any_order(seed: u64, by_stack: bool) {
    const EVENTS: u32 = 40;
    let mut random = Random(seed);
    let mut lab = Lab::start(|config| {
        if by_stack {
            by_the_stack(config);
        }
    });
    let pings = lab.endless_pings();
    let names = ["lan0", "lan1", "wan0", "wan1"];
    let mut there = [true; 4];
    for event in 0..EVENTS {
        let at = random.below(4);
        let name = names[at];
        let what = random.below(9);
        eprintln!("{event}: {name} {what}, there: {there:?}");
        match what {
            0..=3 if there[at] => {
                lab.remove(name);
                there[at] = false;
            }
            0..=3 => {
                let kind = [Kind::Veth, Kind::Bridge][random.below(2)];
                lab.bring(name, kind);
                there[at] = true;
            }
            4 if there[at] => {
                lab.host().ip(&format!("link set {name} down")).unwrap();
                lab.host().ip(&format!("link set {name} up")).unwrap();
                lab.readdress(name);
            }
            5 if there[at] => {
                lab.host().ip(&format!("address flush dev {name}")).unwrap();
                lab.readdress(name);
            }
            6 => lab.change(|config| {
                let more = "10.22.0.0/24".parse().unwrap();
                let routes = &mut config.sites[0].routes;
                match routes.iter().position(|route| *route == more) {
                    Some(at) => drop(routes.remove(at)),
                    None => routes.push(more),
                }
            }),
            7 => {
                lab.a().kill().unwrap();
                lab.a().start_again().unwrap();
            }
            8 => assert!(lab.a().take_over().unwrap().success()),
            _ => {}
        }
        // Into the settling of the last event, or behind it.
        wait::pace(Duration::from_millis(random.below(300) as u64));
    }
    for (name, there) in names.into_iter().zip(there) {
        if !there {
            lab.bring(name, Kind::Veth);
        }
    }
    lab.wait_until_all_is_back();
    lab.wait_for_warning("interface", false);
    drop(pings);
    lab.assert_nothing_was_in_the_clear();
    assert!(lab.a().stop().unwrap().success(), "{}", lab.a().log());
}

/// The generator of Numerical Recipes: the same order of events each time.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % limit) as usize
    }
}
