//! The two gateways do not hear each other, in both directions or in one.

use vm_tests::crossway::Crossway;
use vm_tests::shared_lan::FAR;
use vm_tests::{traffic, wait};

use super::{MACS, Pair, UP, address, neighbours, states, wait_for_state};

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
