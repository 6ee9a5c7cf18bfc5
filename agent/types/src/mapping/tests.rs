//! A packet that is mapped must be the one that is made anew with the other addresses.

mod model;

use std::net::IpAddr;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use self::model::{Spec, Transport};
use super::*;

fn mapping(real: &str, shown: &str) -> Mapping {
    Mapping::new(real.parse().unwrap(), shown.parse().unwrap()).unwrap()
}

/// Those of a gateway: lengths on and off the bounds of bytes and words.
fn own() -> Vec<Mapping> {
    vec![
        mapping("10.0.0.0/24", "10.103.0.0/24"),
        mapping("172.16.0.0/13", "100.72.0.0/13"),
        mapping("2001:db8:1::/48", "fd12:3456:789a::/48"),
    ]
}

/// Those of a site.
fn of_site() -> Vec<Mapping> {
    vec![
        mapping("10.0.0.0/24", "10.101.0.0/24"),
        mapping("192.168.64.0/19", "10.77.32.0/19"),
        mapping("198.51.100.7/32", "203.0.113.200/32"),
        mapping("2001:db8:1::/48", "fd00:101::/48"),
        mapping("2001:db8:2:3::/64", "fd00:102:4:5::/64"),
        mapping("2001:db8:4:8000::/51", "fd00:105:6:e000::/51"),
    ]
}

const SITE: SiteId = SiteId(3);

fn maps() -> Maps {
    Maps::new(&own(), [(SITE, &of_site()[..])]).unwrap()
}

/// By the definition, address by address: (of this site, of the far one) as this side sees them to what the wire has.
fn to_wire(near: IpAddr, far: IpAddr) -> (IpAddr, IpAddr) {
    let mut own = own().into_iter();
    let near = own
        .find_map(|map| by_hand(near, map.real(), map.shown()))
        .unwrap_or(near);
    let mut site = of_site().into_iter();
    let far = site
        .find_map(|map| by_hand(far, map.shown(), map.real()))
        .unwrap_or(far);
    (near, far)
}

fn by_hand(address: IpAddr, from: Prefix, to: Prefix) -> Option<IpAddr> {
    if !from.contains(address) {
        return None;
    }
    let bits = |address: IpAddr| -> String {
        match address {
            IpAddr::V4(v4) => format!("{:032b}", v4.to_bits()),
            IpAddr::V6(v6) => format!("{:0128b}", v6.to_bits()),
        }
    };
    let (head, tail) = (bits(to.address()), bits(address));
    let text = format!(
        "{}{}",
        &head[..to.length().into()],
        &tail[to.length().into()..]
    );
    Some(match address {
        IpAddr::V4(_) => u32::from_str_radix(&text, 2).unwrap().to_be_bytes().into(),
        IpAddr::V6(_) => u128::from_str_radix(&text, 2).unwrap().to_be_bytes().into(),
    })
}

/// An address that is often in a prefix of these, at its bounds or anywhere.
fn address_in(prefixes: &[Prefix], ipv4: bool, random: &mut StdRng) -> IpAddr {
    let of_family: Vec<_> = prefixes.iter().filter(|p| p.is_ipv4() == ipv4).collect();
    let any: u128 = match random.random_range(0..4) {
        0 => 0,
        1 => u128::MAX,
        _ => random.random(),
    };
    let prefix = of_family[random.random_range(0..of_family.len())];
    let (address, length) = match random.random_range(0..10) {
        0 => (prefix.address(), 8),
        _ => (prefix.address(), prefix.length()),
    };
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shr(length.into()).unwrap_or(0);
            (v4.to_bits() | (any as u32 & mask)).to_be_bytes().into()
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shr(length.into()).unwrap_or(0);
            (v6.to_bits() | (any & mask)).to_be_bytes().into()
        }
    }
}

/// A host of this site and one of the far site, as this side sees them.
fn ends(random: &mut StdRng) -> (IpAddr, IpAddr) {
    let ipv4 = random.random();
    let near: Vec<_> = own().iter().map(Mapping::real).collect();
    let far: Vec<_> = of_site().iter().map(Mapping::shown).collect();
    (
        address_in(&near, ipv4, random),
        address_in(&far, ipv4, random),
    )
}

#[test]
fn a_mapped_packet_is_the_one_made_with_the_other_addresses_in_both_directions() {
    let (maps, mut random) = (maps(), StdRng::seed_from_u64(101));
    for _ in 0..10_000 {
        let (near, far) = ends(&mut random);
        let wire = to_wire(near, far);
        let spec = Spec::random(near.is_ipv4(), &mut random);
        let (here, there) = (spec.packets(near, far), spec.packets(wire.0, wire.1));
        for (mut here, there) in here.into_iter().zip(there) {
            maps.outbound(SITE).apply(&mut here, None);
            assert_eq!(here, there, "{spec:?} from {near} to {far}");
        }
        // What comes from the site is not mapped if its real address is what another is shown as.
        let back = (by_site(wire.1), by_own(wire.0));
        let (wire, here) = (spec.packets(wire.1, wire.0), spec.packets(back.0, back.1));
        for (mut wire, here) in wire.into_iter().zip(here) {
            maps.inbound(SITE).apply(&mut wire, None);
            assert_eq!(wire, here, "{spec:?} back");
        }
    }
}

fn by_site(real: IpAddr) -> IpAddr {
    let mut maps = of_site().into_iter();
    maps.find_map(|map| by_hand(real, map.real(), map.shown()))
        .unwrap_or(real)
}

fn by_own(shown: IpAddr) -> IpAddr {
    let mut maps = own().into_iter();
    maps.find_map(|map| by_hand(shown, map.shown(), map.real()))
        .unwrap_or(shown)
}

#[test]
fn the_quoted_packet_of_an_error_is_the_one_that_its_sender_sent() {
    let (maps, mut random) = (maps(), StdRng::seed_from_u64(102));
    for _ in 0..10_000 {
        // A packet from near to far, of which a router of the far site speaks to its sender, or the other way round.
        let ((near, far), (_, router)) = (ends(&mut random), ends(&mut random));
        if router.is_ipv4() != near.is_ipv4() {
            continue;
        }
        let spec = Spec::random(near.is_ipv4(), &mut random);
        let piece = random.random_range(0..spec.packets(near, far).len());
        // The addresses at least, and no half of a checksum.
        let header = if near.is_ipv4() { 20 } else { 40 };
        let quoted = header + random.random_range(0..50) * 2;
        let kind = random.random_range(0..4);
        let error = |packets: Vec<Vec<u8>>, router, to| {
            let packet = &packets[piece];
            Spec::error(kind, &packet[..packet.len().min(quoted)])
                .packets(router, to)
                .remove(0)
        };
        let wire = to_wire(near, far);
        if (by_own(wire.0), by_site(wire.1)) != (near, far) {
            continue;
        }
        let router_on_wire = to_wire(near, router).1;
        if by_site(router_on_wire) != router {
            continue;
        }
        let mut on_wire = error(spec.packets(wire.0, wire.1), router_on_wire, wire.0);
        let here = error(spec.packets(near, far), router, near);
        maps.inbound(SITE).apply(&mut on_wire, None);
        assert_eq!(on_wire, here, "{spec:?}");

        // And one that a router here sends to a far host.
        let router = address_in(
            &own().iter().map(Mapping::real).collect::<Vec<_>>(),
            near.is_ipv4(),
            &mut random,
        );
        let mut here = error(spec.packets(far, near), router, far);
        let router_on_wire = to_wire(router, far).0;
        let on_wire = error(spec.packets(wire.1, wire.0), router_on_wire, wire.1);
        maps.outbound(SITE).apply(&mut here, None);
        assert_eq!(here, on_wire, "{spec:?}");
    }
}

#[test]
fn an_unfinished_checksum_is_right_once_it_is_finished() {
    let (maps, mut random) = (maps(), StdRng::seed_from_u64(103));
    for _ in 0..5_000 {
        let (near, far) = ends(&mut random);
        let mut spec = Spec::random(near.is_ipv4(), &mut random);
        spec.fragment_at = None;
        let Some((here, place)) = spec.unfinished(near, far) else {
            continue;
        };
        let wire = to_wire(near, far);
        let mut mapped = here;
        maps.outbound(SITE).apply(&mut mapped, Some(place));
        let (start, at) = (place - spec.place_of_sum().unwrap(), place);
        let sum = checksum::finish(0, &mapped[start..]);
        let sum = if sum == 0 && spec.transport.is_udp() {
            0xffff
        } else {
            sum
        };
        mapped[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        let mut whole = spec.clone();
        whole.without_sum = false;
        assert_eq!(mapped, whole.packets(wire.0, wire.1).remove(0), "{spec:?}");
    }
}

#[test]
fn anything_can_be_mapped_and_what_has_no_mapping_stays() {
    let (maps, mut random) = (maps(), StdRng::seed_from_u64(104));
    let of_site_alone = Maps::new(&[], [(SITE, &of_site()[..])]).unwrap();
    let mut bytes = [0; 200];
    for _ in 0..30_000 {
        random.fill(&mut bytes[..]);
        bytes[0] = [0x45, 0x46, 0x60, 0x65, 0x4f][random.random_range(0..5)];
        let next = [1, 6, 17, 58, 44, 0, 43, 60, 33, 136, 132][random.random_range(0..11)];
        (bytes[9], bytes[6]) = if bytes[0] >> 4 == 4 {
            (next, 0)
        } else {
            (bytes[9], next)
        };
        // Errors that quote something.
        bytes[20] = 3;
        bytes[40] = 1;
        (bytes[28], bytes[48]) = (0x45, 0x60);
        let length = random.random_range(0..bytes.len());
        let mut packet = bytes[..length].to_vec();
        maps.outbound(SITE)
            .apply(&mut packet, Some(random.random_range(0..300)));
        maps.inbound(SITE).apply(&mut packet, None);
        let mut other = bytes[..length].to_vec();
        maps.inbound(SiteId(7)).apply(&mut other, None);
        maps.inbound(SiteId(0)).apply(&mut other, None);
        let mut untouched = bytes[..length].to_vec();
        of_site_alone
            .outbound(SiteId(7))
            .apply(&mut untouched, None);
        assert_eq!(untouched, bytes[..length]);
    }
}

#[test]
fn addresses_and_prefixes_are_shown_and_found_again() {
    let map = mapping("10.0.0.0/24", "10.101.0.0/24");
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    assert_eq!(
        map.to_shown(address("10.0.0.7")),
        Some(address("10.101.0.7"))
    );
    assert_eq!(
        map.to_real(address("10.101.0.7")),
        Some(address("10.0.0.7"))
    );
    assert_eq!(map.to_real(address("10.102.0.7")), None);
    assert_eq!(map.to_real(address("::1")), None);
    let prefix = |text: &str| text.parse::<Prefix>().unwrap();
    let part = map.prefix_to_real(prefix("10.101.0.128/25"));
    assert_eq!(part, Some(prefix("10.0.0.128/25")));
    assert_eq!(map.prefix_to_real(prefix("10.101.0.0/16")), None);
    assert_eq!(
        Mapping::new(prefix("10.0.0.0/24"), prefix("10.0.0.0/25")),
        None
    );
    assert_eq!(Mapping::new(prefix("10.0.0.0/24"), prefix("::/24")), None);
    assert_eq!(Maps::new(&[], [(SITE, &[][..])]), None);
}

#[test]
fn transports_without_a_pseudo_header_are_left_alone() {
    let maps = maps();
    let (near, far) = (IpAddr::from([10, 0, 0, 7]), IpAddr::from([10, 101, 0, 9]));
    for transport in [
        Transport::Sctp,
        Transport::Esp,
        Transport::Gre,
        Transport::Echo,
    ] {
        let spec = Spec::plain(transport, true);
        let mut packet = spec.packets(near, far).remove(0);
        let payload = packet[20..].to_vec();
        maps.outbound(SITE).apply(&mut packet, None);
        assert_eq!(packet[20..], payload);
        assert_eq!(packet[16..20], [10, 0, 0, 9]);
    }
}
