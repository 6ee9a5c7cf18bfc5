//! The route tries against the table in user space.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crossway_datapath::{Datapath, Entry, RouteChanges, Target, TcAttach};
use crossway_sys::clock;
use crossway_types::ids::{SiteId, VnetId};
use crossway_types::prefix::Prefix;
use crossway_types::routes::RouteTable;
use datapath_abi::maps;
use datapath_abi::settings::Settings;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::support::*;

const VNET: VnetId = VnetId(0);

fn load(gateway: &str) -> Datapath {
    enter_sandbox();
    load_datapath(gateway, TcAttach::Auto).unwrap()
}

fn to(site: u32) -> Target {
    Target::Site {
        site: SiteId(site),
        route: site + 100,
    }
}

fn table(routes: &[(&str, Target)]) -> Vec<Entry> {
    routes
        .iter()
        .map(|(prefix, target)| ((VNET, prefix.parse().unwrap()), *target))
        .collect()
}

fn changes(inserted: usize, replaced: usize, removed: usize) -> RouteChanges {
    RouteChanges {
        inserted,
        replaced,
        removed,
    }
}

#[test]
fn only_what_differs_is_written_also_after_a_take_over() {
    let mut datapath = load("routes-diff");
    let first = table(&[
        ("10.2.0.0/16", to(1)),
        ("10.2.3.0/24", Target::Kernel),
        ("2001:db8:2::/48", to(1)),
    ]);
    let second = table(&[
        ("10.2.0.0/16", to(2)),
        ("2001:db8:2::/48", to(1)),
        ("2001:db8:3::/48", to(2)),
    ]);
    let routes = &mut datapath.routes;
    assert_eq!(routes.replace_all(first.clone()).unwrap(), changes(3, 0, 0));
    assert_eq!(routes.replace_all(first.clone()).unwrap(), changes(0, 0, 0));
    drop(datapath);

    let mut datapath = load_datapath("routes-diff", TcAttach::Auto).unwrap();
    let routes = &mut datapath.routes;
    assert_eq!(
        routes.replace_all(second.clone()).unwrap(),
        changes(1, 1, 1)
    );
    assert_eq!(routes.dump().unwrap(), second);
    assert_eq!(routes.len(), 3);
    datapath.detach().unwrap();
}

#[test]
fn a_lookup_finds_the_longest_prefix_of_its_own_vnet() {
    let mut datapath = load("routes-lookup");
    let routes = &mut datapath.routes;
    let mut wanted = table(&[
        ("0.0.0.0/0", to(1)),
        ("10.2.0.0/16", to(2)),
        ("10.2.3.4/32", Target::Kernel),
        ("2001:db8::/32", to(3)),
    ]);
    let other = VnetId(7);
    wanted.push(((other, "10.2.0.0/17".parse().unwrap()), to(9)));
    routes.replace_all(wanted).unwrap();
    let check = |vnet, address: &str, target, prefix: Option<&str>| {
        let address: IpAddr = address.parse().unwrap();
        assert_eq!(routes.lookup(vnet, address).unwrap(), target, "{address}");
        let prefix = prefix.map(|prefix| prefix.parse().unwrap());
        assert_eq!(routes.prefix_of(vnet, address), prefix, "{address}");
    };
    check(VNET, "192.0.2.1", Some(to(1)), Some("0.0.0.0/0"));
    check(VNET, "10.2.0.1", Some(to(2)), Some("10.2.0.0/16"));
    check(VNET, "10.2.3.4", Some(Target::Kernel), Some("10.2.3.4/32"));
    check(VNET, "2001:db8::1", Some(to(3)), Some("2001:db8::/32"));
    check(VNET, "2001:db9::1", None, None);
    check(other, "10.2.0.1", Some(to(9)), Some("10.2.0.0/17"));
    check(other, "10.2.128.1", None, None);
    datapath.detach().unwrap();
}

#[test]
fn the_map_and_the_table_in_user_space_agree_on_random_routes() {
    let mut datapath = load("routes-random");
    let mut random = StdRng::seed_from_u64(6);
    for _ in 0..20 {
        let wanted: HashMap<_, _> = (0..300)
            .map(|_| ((VNET, prefix(&mut random)), to(random.random_range(0..50))))
            .collect();
        let entries = wanted.iter().map(|(route, target)| (*route, *target));
        datapath.routes.replace_all(entries.collect()).unwrap();
        let table = RouteTable::new(wanted.iter().map(|((_, prefix), target)| {
            let Target::Site { site, .. } = target else {
                unreachable!("only sites were made");
            };
            (*prefix, *site)
        }));
        for _ in 0..500 {
            let address = address(&mut random);
            let found = datapath.routes.lookup(VNET, address).unwrap();
            let expected = table.site_of(address).map(|site| to(site.0));
            assert_eq!(found, expected, "{address}");
        }
    }
    datapath.detach().unwrap();
}

#[test]
fn every_change_of_the_routes_raises_their_generation_and_settings_keep_it() {
    let mut datapath = load("routes-generation");
    let generation = |datapath: &Datapath| datapath.settings.get().unwrap().route_generation;
    let route = "10.2.0.0/16".parse().unwrap();
    assert_eq!(generation(&datapath), 0);
    let first = vec![((VNET, route), to(1))];
    datapath.routes.replace_all(first).unwrap();
    assert_eq!(generation(&datapath), 1);
    datapath.routes.replace_all(Vec::new()).unwrap();
    assert_eq!(generation(&datapath), 2);
    let wanted = vec![((VNET, route), to(2))];
    datapath.routes.replace_all(wanted).unwrap();
    assert_eq!(generation(&datapath), 3);
    datapath.settings.set(Settings::default()).unwrap();
    assert_eq!(generation(&datapath), 3);
    drop(datapath);
    let mut next = load_datapath("routes-generation", TcAttach::Auto).unwrap();
    assert_eq!(generation(&next), 3, "flows remember it across a take-over");
    next.routes.replace_all(Vec::new()).unwrap();
    assert_eq!(generation(&next), 4);
    next.detach().unwrap();
}

#[test]
fn a_hundred_thousand_routes_fit() {
    let mut datapath = load("routes-many");
    let wanted: Vec<_> = (0..100_000_u32)
        .map(|number| {
            let address = Ipv4Addr::from(0x0a00_0000 + (number << 6));
            ((VNET, Prefix::containing(address.into(), 26)), to(1))
        })
        .collect();
    let start = clock::now();
    let changed = datapath.routes.replace_all(wanted).unwrap();
    println!("100,000 routes inserted in {:?}", clock::now() - start);
    assert_eq!(changed, changes(100_000, 0, 0));
    let memory = kernel_memory(&datapath.pin_directory(), maps::ROUTES4);
    println!("100,000 routes take {} KiB of kernel memory", memory / 1024);
    let start = clock::now();
    assert_eq!(datapath.routes.dump().unwrap().len(), 100_000);
    println!("100,000 routes read in {:?}", clock::now() - start);
    datapath.detach().unwrap();
}

/// Prefixes and addresses share few leading bits, so that many of them cover each other.
fn prefix(random: &mut StdRng) -> Prefix {
    let address = address(random);
    let longest = if address.is_ipv4() { 32 } else { 128 };
    Prefix::containing(address, random.random_range(0..=longest))
}

fn address(random: &mut StdRng) -> IpAddr {
    let low: u32 = random.random_range(0..1 << 12);
    let high: u32 = random.random_range(0..4) << 28;
    if random.random() {
        Ipv4Addr::from(high | low << 8 | low).into()
    } else {
        let bits = u128::from(high) << 96 | u128::from(low) << 60 | u128::from(low);
        Ipv6Addr::from(bits).into()
    }
}
