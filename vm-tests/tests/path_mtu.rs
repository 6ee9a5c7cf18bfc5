//! Paths that take less than the WAN's interface says, from the start or of a sudden, and say nothing of it.
//!
//! ```text
//!  host a ── [gateway a] wan0 ── wan1 router wan2 ── wan0 [gateway b] ── host b
//!                                     drops what is longer than it says, either way or one way
//! ```
//! With two paths it is the topology of `failover.rs`.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use vm_tests::api::{End, Explained, Link, PathMtuState};
use vm_tests::config::PathMtuMode;
use vm_tests::crossway::{self, Crossway};
use vm_tests::engine::Engine;
use vm_tests::failover::{Gateways, Settings};
use vm_tests::netns::Netns;
use vm_tests::plan::{self, GatewayPlan, Shape};
use vm_tests::topology::{Builder, Family, Near, Redundant, Site, Topology, Wan};
use vm_tests::traffic::{self, Capture, SteadyTcp};
use vm_tests::wait;

/// What a transfer may hang in a black hole.
const HANG: Duration = Duration::from_secs(5);
const LIMIT: Duration = Duration::from_secs(20);
/// The first try of more comes ten seconds after a black hole, and the machine may be busy.
const RAISED: Duration = Duration::from_secs(60);
const TRANSFER: u64 = 4 << 20;
/// Around an inner packet.
const AROUND_V4: u16 = 60;
const AROUND_V6: u16 = 80;

/// Which way the router drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Both,
    FromA,
}

struct Ground {
    gateways: Vec<Crossway>,
    plans: Vec<GatewayPlan>,
    topology: Topology,
}

impl Ground {
    fn build(builder: Builder, outer: Family, change: impl Fn(&mut GatewayPlan)) -> Self {
        Self::behind(builder, outer, None, change)
    }

    /// The router takes packets of so many bytes from the beginning.
    fn behind(
        builder: Builder,
        outer: Family,
        takes: Option<u16>,
        change: impl Fn(&mut GatewayPlan),
    ) -> Self {
        let topology = builder.build().unwrap();
        if let Some(takes) = takes {
            narrow(topology.router.as_ref().unwrap(), takes, Way::Both);
        }
        let mut plans = plan::plan(&topology, Shape::FullMesh, outer).unwrap();
        plans.iter_mut().for_each(change);
        let gateways = crossway::start_all(&topology, &plans).unwrap();
        Self {
            gateways,
            plans,
            topology,
        }
    }

    fn sites(&self) -> [&Site; 2] {
        [&self.topology.sites[0], &self.topology.sites[1]]
    }

    fn router(&self) -> &Netns {
        self.topology.router.as_ref().unwrap()
    }

    fn until_found(&self, gateway: usize, mtu: u16, limit: Duration) -> Link {
        until_found(&self.gateways[gateway], mtu, limit)
    }

    /// Both ends have found it.
    fn until_both_found(&self, mtu: u16, limit: Duration) {
        for gateway in [0, 1] {
            self.until_found(gateway, mtu, limit);
        }
    }
}

fn routed() -> Builder {
    Builder::new(&["a", "b"]).wan(Wan::Router)
}

fn unchanged(_: &mut GatewayPlan) {}

/// From now on `router` takes packets of `takes` bytes, IP header included, and drops longer ones in silence.
fn narrow(router: &Netns, takes: u16, way: Way) {
    widen(router);
    let of_way = if way == Way::FromA {
        "iifname wan1 "
    } else {
        ""
    };
    for command in [
        "nft add table inet narrow".to_owned(),
        "nft add chain inet narrow path { type filter hook forward priority 0 ; }".to_owned(),
        format!("nft add rule inet narrow path {of_way}meta length gt {takes} counter drop"),
    ] {
        router.run(&command).unwrap();
    }
}

/// It takes all again.
fn widen(router: &Netns) {
    // There may be none.
    let _ = router.run("nft delete table inet narrow");
}

fn until_found(gateway: &Crossway, mtu: u16, limit: Duration) -> Link {
    let mut last = None;
    let found = wait::until("the path MTU to be found", limit, || {
        let link = gateway.links().ok()?.into_iter().next()?;
        last.clone_from(&link.path_mtu);
        let path = link.path_mtu.as_ref()?;
        ((path.mtu_bytes, path.state) == (mtu, PathMtuState::Found)).then_some(link)
    });
    found.unwrap_or_else(|error| panic!("{error:#}: {last:?}, not {mtu}"))
}

/// A ping of `mtu` bytes passes; one with a byte more is answered with what fits, from the gateway next to the host.
fn too_big_is_answered(topology: &Topology, from: &Site, to: IpAddr, mtu: u16) {
    let (family, filter, headers) = if to.is_ipv4() {
        (Family::V4, "icmp[0]=3", 28)
    } else {
        (Family::V6, "icmp6 and ip6[40]=2", 48)
    };
    let ping = |size: u16| {
        let data = size - headers;
        from.host
            .run(&format!("ping -n -c 1 -W 1 -M do -s {data} {to}"))
    };
    wait::until("a ping that fits", LIMIT, || ping(mtu).ok()).unwrap();
    let capture = Capture::start(topology, &from.host, "eth0", filter).unwrap();
    assert!(ping(mtu + 1).is_err());
    let line = capture.wait_for(1, LIMIT).unwrap().remove(0);
    let says = if to.is_ipv4() {
        format!("need to frag (mtu {mtu})")
    } else {
        format!("packet too big, mtu {mtu}")
    };
    let from_gateway = format!("{} > ", from.gateway_address(family));
    assert!(
        line.contains(&says) && line.contains(&from_gateway),
        "{line}"
    );
}

/// The longest time in which nothing arrived since a moment, over some seconds from now on.
fn longest_hang(tcp: &SteadyTcp, since: Instant) -> Duration {
    tcp.goes_on(LIMIT).unwrap();
    tcp.since(since).stall
}

#[test]
fn a_path_that_is_narrow_from_the_start_is_found_and_all_who_send_follow() {
    for (outer, around) in [(Family::V4, AROUND_V4), (Family::V6, AROUND_V6)] {
        for fast_path in [true, false] {
            let ground = Ground::behind(routed(), outer, Some(1300 + around), |plan| {
                plan.configure(move |config| config.gateway.fast_path = fast_path);
            });
            ground.until_both_found(1300, LIMIT);
            let [a, b] = ground.sites();
            for family in Family::ALL {
                let headers = if family == Family::V4 { 40 } else { 60 };
                let mss = format!("mss {},", 1300 - headers);
                for (from, to) in [(a, b), (b, a)] {
                    let ends = [from, to].map(|site| {
                        Capture::start(&ground.topology, &site.host, "eth0", "tcp").unwrap()
                    });
                    traffic::exchange(from, to, family, TRANSFER).unwrap();
                    for (capture, flags) in ends.iter().zip(["Flags [S.]", "Flags [S]"]) {
                        let lines = capture.wait_for(3, LIMIT).unwrap();
                        let line = lines.iter().find(|line| line.contains(flags)).unwrap();
                        assert!(line.contains(&mss), "not {mss} in {line}");
                    }
                    too_big_is_answered(&ground.topology, from, to.host_address(family), 1300);
                }
            }
            for gateway in [0, 1] {
                let path = ground.until_found(gateway, 1300, LIMIT).path_mtu.unwrap();
                assert_eq!((path.far_mtu_bytes, path.black_holes), (Some(1300), 0));
            }
        }
    }
}

#[test]
fn a_transfer_does_not_hang_in_a_black_hole_and_uses_more_when_the_path_heals() {
    for (inner, outer, around, way) in [
        (Family::V4, Family::V4, AROUND_V4, Way::Both),
        (Family::V6, Family::V6, AROUND_V6, Way::Both),
        (Family::V6, Family::V4, AROUND_V4, Way::FromA),
        (Family::V4, Family::V6, AROUND_V6, Way::FromA),
    ] {
        let ground = Ground::build(routed(), outer, unchanged);
        ground.until_both_found(1420, LIMIT);
        let [a, b] = ground.sites();
        let tcp = SteadyTcp::start(&a.host, &b.host, b.host_address(inner)).unwrap();
        tcp.goes_on(LIMIT).unwrap();
        let from = wait::now();
        narrow(ground.router(), 1330 + around, way);
        let found = ground.until_found(0, 1330, LIMIT);
        let case = format!("{inner:?} in {outer:?}, {way:?}");
        let hang = longest_hang(&tcp, from);
        println!("{case}: nothing for {hang:?}");
        assert!(hang < HANG, "{case}: {hang:?}");
        assert_eq!(found.path_mtu.unwrap().black_holes, 1, "{case}");
        let text = ground.gateways[0].command(&["links"]).unwrap();
        assert!(text.contains("1330, 1 black hole"), "{text}");
        if way == Way::FromA {
            // The other direction takes what it always took.
            ground.until_found(1, 1420, LIMIT);
        }
        widen(ground.router());
        ground.until_found(0, 1420, RAISED);
        tcp.goes_on(LIMIT).unwrap();
        tcp.finish().unwrap();
        let events = ground.gateways[0].command(&["events"]).unwrap();
        assert!(events.contains("path MTU 1420 -> path MTU 12"), "{events}");
    }
}

#[test]
fn without_probes_the_same_transfer_hangs() {
    let ground = Ground::build(routed(), Family::V4, |plan| {
        plan.configure(|config| config.gateway.path_mtu = PathMtuMode::Fixed);
    });
    let [a, b] = ground.sites();
    let to = b.host_address(Family::V4);
    traffic::wait_for_ping(&a.host, to, LIMIT).unwrap();
    let tcp = SteadyTcp::start(&a.host, &b.host, to).unwrap();
    tcp.goes_on(LIMIT).unwrap();
    let before = tcp.taken();
    narrow(ground.router(), 1330 + AROUND_V4, Way::Both);
    let from = wait::now();
    wait::until("the transfer to hang", LIMIT, || {
        let passed = tcp.since(from + Duration::from_secs(1)).bytes;
        (passed == 0 && wait::now() > from + HANG).then_some(())
    })
    .unwrap();
    assert!(tcp.taken() > before / 2, "it has sent before");
    widen(ground.router());
    tcp.goes_on(LIMIT).unwrap();
    tcp.finish().unwrap();
}

#[test]
fn a_host_that_hears_no_icmp_does_not_hang_either() {
    let ground = Ground::build(routed(), Family::V4, unchanged);
    ground.until_both_found(1420, LIMIT);
    let [a, b] = ground.sites();
    for command in [
        "nft add table inet deaf",
        "nft add chain inet deaf in { type filter hook input priority 0 ; }",
        "nft add rule inet deaf in icmp type destination-unreachable drop",
        "nft add rule inet deaf in icmpv6 type packet-too-big drop",
    ] {
        a.host.run(command).unwrap();
    }
    for family in Family::ALL {
        let tcp = SteadyTcp::start(&a.host, &b.host, b.host_address(family)).unwrap();
        tcp.goes_on(LIMIT).unwrap();
        let from = wait::now();
        narrow(ground.router(), 1310 + AROUND_V4, Way::Both);
        ground.until_found(0, 1310, LIMIT);
        let hang = longest_hang(&tcp, from);
        assert!(hang < HANG, "{family:?}: {hang:?}");
        tcp.finish().unwrap();
        widen(ground.router());
        ground.until_both_found(1420, RAISED);
    }
}

#[test]
fn datagrams_of_ipv4_that_may_be_fragmented_are() {
    let ground = Ground::behind(routed(), Family::V4, Some(1300 + AROUND_V4), unchanged);
    ground.until_both_found(1300, LIMIT);
    let [a, b] = ground.sites();
    let to = b.host_address(Family::V4);
    let ping = || {
        a.host
            .run(&format!("ping -n -c 1 -W 1 -M dont -s 1392 {to}"))
    };
    wait::until("a ping in two fragments", LIMIT, || ping().ok()).unwrap();
    let dropped = ground.gateways[0].dropped().unwrap();
    assert!(
        dropped.iter().all(|(word, _)| word != "packet-too-big"),
        "{dropped:?}"
    );
    let explained = |words: &str| {
        let question = format!("explain {} {to} {words}", a.host_address(Family::V4));
        let words: Vec<&str> = question.split(' ').collect();
        ground.gateways[0].ask::<Explained>(&words).unwrap()
    };
    let without = explained("udp --size 1420");
    assert_eq!((without.end, without.mtu_bytes), (End::ToSite, Some(1300)));
    assert_eq!(explained("tcp --size 1420 --df").end, End::ToSite);
    let with = explained("udp --size 1420 --df");
    assert_eq!(with.end, End::Answered);
    assert_eq!(with.reason.as_deref(), Some("packet-too-big"));
    assert_eq!(with.answer.as_deref(), Some("fragmentation-needed"));
}

#[test]
fn a_router_that_says_what_it_takes_is_not_needed_and_does_no_harm() {
    for outer in Family::ALL {
        let ground = Ground::build(Builder::new(&["a", "b"]).middle_mtu(1400), outer, unchanged);
        let around = if outer == Family::V4 {
            AROUND_V4
        } else {
            AROUND_V6
        };
        ground.until_both_found(1400 - around, LIMIT);
        let [a, b] = ground.sites();
        for family in Family::ALL {
            traffic::exchange(a, b, family, TRANSFER).unwrap();
            let to = b.host_address(family);
            too_big_is_answered(&ground.topology, a, to, 1400 - around);
        }
    }
}

#[test]
fn jumbo_is_used_where_the_path_takes_it_and_is_no_black_hole_where_it_does_not() {
    let jumbo = || routed().wan_mtu(9000).lan_mtu(9000);
    for (takes, mtu) in [(None, 8920), (Some(1500), 1440)] {
        let ground = Ground::behind(jumbo(), Family::V4, takes, unchanged);
        ground.until_both_found(mtu, LIMIT);
        let [a, b] = ground.sites();
        for family in Family::ALL {
            traffic::exchange(a, b, family, TRANSFER).unwrap();
            let to = b.host_address(family);
            if takes.is_some() {
                too_big_is_answered(&ground.topology, a, to, mtu);
            } else {
                let data = mtu - if family == Family::V4 { 28 } else { 48 };
                let ping = format!("ping -n -c 1 -W 1 -M do -s {data} {to}");
                wait::until("a jumbo ping", LIMIT, || a.host.run(&ping).ok()).unwrap();
            }
        }
    }
}

#[test]
fn each_of_two_links_has_its_own_and_a_failover_to_the_smaller_one_heals() {
    let net = Redundant::with_paths(None, 2).unwrap();
    let settings = Settings {
        hold_down_ms: 0,
        ..Settings::default()
    };
    narrow(net.path(1), 1300 + AROUND_V4, Way::Both);
    let gateways = Gateways::start(&net, &settings).unwrap();
    gateways.wait_until_ready().unwrap();
    let of_path = |path: usize| {
        let name = format!("path-{}", path + 1);
        let links = gateways.far().links().ok()?;
        let link = links
            .into_iter()
            .find(|link| link.link.as_ref() == Some(&name))?;
        let path = link.path_mtu?;
        (path.state == PathMtuState::Found).then_some(path.mtu_bytes)
    };
    wait::until("both paths to be known", LIMIT, || {
        (of_path(0)? == 1420 && of_path(1)? == 1300).then_some(())
    })
    .unwrap();
    let to = net.host_address(Near::A);
    let tcp = SteadyTcp::start(&net.host_b, &net.host_a, to).unwrap();
    tcp.goes_on(LIMIT).unwrap();
    let from = wait::now();
    net.cut_path(0).unwrap();
    wait::until("the flows to have moved", LIMIT, || {
        let carriers = gateways.carriers().ok()?;
        carriers
            .iter()
            .all(|link| link.ends_with("path-2"))
            .then_some(())
    })
    .unwrap();
    let hang = longest_hang(&tcp, from);
    assert!(hang < HANG, "{hang:?}");
    net.mend_path(0).unwrap();
    tcp.goes_on(LIMIT).unwrap();
    tcp.finish().unwrap();
}

#[test]
fn what_is_known_survives_a_hand_over_and_is_learned_anew_after_a_crash() {
    let mut ground = Ground::behind(routed(), Family::V4, Some(1310 + AROUND_V4), unchanged);
    ground.until_both_found(1310, LIMIT);
    ground.gateways[0].take_over().unwrap();
    let path = ground.gateways[0]
        .links()
        .unwrap()
        .remove(0)
        .path_mtu
        .unwrap();
    assert_eq!(path.mtu_bytes, 1310, "{path:?}");
    ground.until_both_found(1310, LIMIT);
    ground.gateways[0].kill_and_restart(Duration::ZERO).unwrap();
    ground.until_both_found(1310, LIMIT);
}

#[test]
fn a_reload_fixes_the_mtu_bounds_it_and_lets_it_be_looked_for_again() {
    let mut ground = Ground::behind(routed(), Family::V4, Some(1310 + AROUND_V4), unchanged);
    ground.until_both_found(1310, LIMIT);
    let mut reload = |mode: PathMtuMode, mtu: Option<u16>| {
        let plan = &mut ground.plans[0];
        plan.configure(move |config| {
            config.gateway.path_mtu = mode;
            config.gateway.mtu = mtu;
        });
        ground.gateways[0].write_config(plan).unwrap();
        ground.gateways[0].command(&["reload"]).unwrap();
        let links = ground.gateways[0].links().unwrap();
        links[0].path_mtu.clone().unwrap()
    };
    let path = reload(PathMtuMode::Fixed, None);
    assert_eq!((path.mtu_bytes, path.state), (1420, PathMtuState::Fixed));
    let path = reload(PathMtuMode::Fixed, Some(1400));
    assert_eq!((path.mtu_bytes, path.state), (1400, PathMtuState::Fixed));
    let path = reload(PathMtuMode::Auto, Some(1290));
    assert_eq!(path.mtu_bytes, 1290);
    reload(PathMtuMode::Auto, None);
    ground.until_found(0, 1310, LIMIT);
}

#[test]
fn the_second_engine_finds_its_paths_too() {
    let ground = Ground::behind(routed(), Family::V4, Some(1310 + AROUND_V4), |plan| {
        plan.set_engine(Engine::Boringtun);
    });
    ground.until_both_found(1310, LIMIT);
    let [a, b] = ground.sites();
    traffic::exchange(a, b, Family::V4, TRANSFER).unwrap();
}
