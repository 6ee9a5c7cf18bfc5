//! The two gateways do not hear each other, in both directions or in one.

use vm_tests::crossway::Crossway;
use vm_tests::shared_lan::FAR;
use vm_tests::traffic::{self, Capture};
use vm_tests::wait;

use super::{FEW, MACS, Pair, UP, address, neighbours, routers, states, wait_for_state};

#[test]
fn a_split_shows_two_masters_and_heals_to_the_one_of_higher_priority() {
    let pair = Pair::start();
    // The switch loses the cable between the two: each hears nobody.
    pair.lan.cut("port1").unwrap();
    wait_for_state(&pair.c, "master");
    assert_eq!(states(&pair.a), ["master", "master"]);
    pair.lan.heal("port1").unwrap();
    wait_for_state(&pair.c, "backup");
    assert_eq!(states(&pair.a), ["master", "master"]);
    let log = pair.c.log();
    assert!(log.contains("with priority 150 takes precedence"), "{log}");
    for far in FAR {
        traffic::wait_for_ping(pair.lan.host(), address(far), UP).unwrap();
    }
    assert_eq!(neighbours(pair.lan.host()), MACS);
}

/// Gateway c hears nobody, gateway a hears both.
#[test]
fn a_firewall_that_drops_advertisements_shows_as_a_split_at_both_ends() {
    let pair = Pair::start();
    let c = &pair.lan.topology.site("c").gateway;
    for line in [
        "nft add table inet deaf",
        "nft add chain inet deaf input { type filter hook input priority 0 ; }",
        "nft add rule inet deaf input meta l4proto 112 drop",
    ] {
        c.run(line).unwrap();
    }
    wait_for_state(&pair.c, "master");
    assert_eq!(states(&pair.a), ["master", "master"]);
    let warns = |gateway: &Crossway, words: &str| {
        wait::until(words, UP, || {
            let warnings = gateway.status().unwrap().warnings.join("\n");
            (warnings.matches(words).count() == 2).then_some(())
        })
        .unwrap_or_else(|error| panic!("{error}: {}", gateway.log()));
    };
    warns(&pair.a, "split brain: ");
    warns(
        &pair.c,
        "answers on the LAN, but its advertisements do not arrive",
    );
    c.run("nft delete table inet deaf").unwrap();
    wait_for_state(&pair.c, "backup");
    assert_eq!(states(&pair.a), ["master", "master"]);
}

/// While it is cut off, nobody tells it to give up its role. A frame from the virtual MAC would have the switch send it
/// the hosts' packets as soon as it is back, before it has heard of the other.
#[test]
fn a_master_that_reaches_no_site_does_not_draw_the_hosts_when_it_is_back() {
    let pair = Pair::start();
    let topology = &pair.lan.topology;
    pair.lan.cut("port1").unwrap();
    topology.site("a").gateway.ip("link set wan0 down").unwrap();
    wait_for_state(&pair.c, "master");
    wait::until("the priority of one that reaches nothing", UP, || {
        let mut routers = routers(&pair.a).into_iter();
        routers
            .all(|router| router.priority < router.configured_priority)
            .then_some(())
    })
    .unwrap();
    assert_eq!(states(&pair.a), ["master", "master"]);

    let [first, second] = MACS;
    let drawing = format!("ether src {first} or ether src {second}");
    let watch = |filter: &str| Capture::start(topology, &pair.lan.switch, "port1", filter).unwrap();
    let (drawing, said) = (watch(&drawing), watch("proto 112 or ip6 proto 112"));
    said.wait_for(10, UP).unwrap();
    let pings = pair.pings();
    pair.lan.heal("port1").unwrap();
    wait_for_state(&pair.a, "backup");
    for ping in pings {
        let replies = ping.finish(UP).unwrap();
        assert!(replies.lost() <= FEW, "{}", replies.lost());
    }
    // What c sends leaves by this port, too.
    let seen = drawing.finish().unwrap();
    let from_a = |line: &&String| line.contains(" 10.1.0.1 ") || line.contains("fe80::1 ");
    let drawn: Vec<&String> = seen.iter().filter(from_a).collect();
    assert!(drawn.is_empty(), "{drawn:#?}");
}
