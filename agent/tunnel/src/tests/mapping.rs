//! Two sites with one prefix behind one gateway.

use super::*;
use crossway_types::mapping::{Mapping, Maps};

/// A and B have 10.0.0.0/24 both, C (site 3 of either) shows A (site 1) and B (site 2) as others.
fn three() -> [Node; 3] {
    let [mut a, mut b, mut c] = [
        Node::new(1, "192.0.2.1:51820"),
        Node::new(2, "192.0.2.2:51820"),
        Node::new(3, "192.0.2.3:51820"),
    ];
    c.add(&a, 1, false);
    c.add(&b, 2, false);
    a.add(&c, 3, true);
    b.add(&c, 3, true);
    let prefix = |text: &str| text.parse().unwrap();
    let shown = [1, 2].map(|site| (prefix(&format!("10.10{site}.0.0/24")), SiteId(site)));
    let maps = shown.map(|(shown, site)| {
        let map = Mapping::new(prefix("10.0.0.0/24"), shown).unwrap();
        (site, [map])
    });
    let maps = Maps::new(&[], maps.iter().map(|(site, maps)| (*site, &maps[..])));
    let routes = RouteTable::new(shown).with_maps(maps);
    c.tunnel.set_routes(Arc::new(routes));
    [a, b, c]
}

fn address_of(packet: &[u8]) -> (IpAddr, IpAddr) {
    packet::addresses(packet).unwrap()
}

#[test]
fn sites_with_one_prefix_are_told_apart_by_what_they_are_shown_as() {
    let [mut a, mut b, mut c] = three();
    for (site, node) in [(1, &mut a), (2, &mut b)] {
        node.seal(&inner([10, 0, 0, 7], [10, 3, 0, 1], 100));
        let (_, arrived) = exchange(node, &mut c);
        let shown = IpAddr::from([10, 100 + site, 0, 7]);
        assert_eq!(arrived.len(), 1);
        assert_eq!(address_of(&arrived[0]), (shown, [10, 3, 0, 1].into()));

        // Its answer, as a lane sends it.
        let mut answer = inner([10, 3, 0, 1], [10, 100 + site, 0, 7], 100);
        let slot = c.tunnel.peer_for(shown, &answer).unwrap();
        c.tunnel.map_outbound(slot, &mut answer, None);
        let mut sealer = c.tunnel.sealer(slot, c.now).unwrap();
        assert_eq!(sealer.seal(&answer, &mut c.out), Sealed::Ready);
        let (arrived, _) = exchange(node, &mut c);
        assert_eq!(
            address_of(&arrived[0]),
            ([10, 3, 0, 1].into(), [10, 0, 0, 7].into())
        );
    }
}

#[test]
fn a_source_is_judged_by_what_it_is_shown_as() {
    let [mut a, _, mut c] = three();
    a.seal(&inner([10, 0, 0, 7], [10, 3, 0, 1], 100));
    assert_eq!(exchange(&mut a, &mut c).1.len(), 1);
    // What another site is shown as, and a network that nobody has.
    for source in [[10, 102, 0, 7], [10, 0, 1, 7]] {
        a.seal(&inner(source, [10, 3, 0, 1], 100));
        let (_, datagram) = a.out.take_datagrams().remove(0);
        let (handled, _) = c.handle(&datagram, a.address);
        assert_eq!(handled, Handled::Dropped(DropReason::SourceNotInSite));
    }
}

#[test]
fn what_the_gateway_sends_of_its_own_is_mapped_like_what_it_forwards() {
    let [mut a, mut b, mut c] = three();
    let prefix = |text: &str| text.parse().unwrap();
    // C shows its own network too, and A and B know it as that only.
    let own = Mapping::new(prefix("10.3.0.0/24"), prefix("10.103.0.0/24")).unwrap();
    for (site, node) in [(1, &mut a), (2, &mut b)] {
        let shown = prefix(&format!("10.10{site}.0.0/24"));
        let of_site = [Mapping::new(prefix("10.0.0.0/24"), shown).unwrap()];
        let maps = Maps::new(&[own], [(SiteId(site), &of_site[..])]);
        let routes = RouteTable::new([(shown, SiteId(site))]).with_maps(maps);
        c.tunnel.set_routes(Arc::new(routes));
        let theirs = RouteTable::new([(own.shown(), SiteId(3))]);
        node.tunnel.set_routes(Arc::new(theirs));

        node.seal(&inner([10, 0, 0, 7], [10, 103, 0, 1], 100));
        let (_, asked) = exchange(node, &mut c);
        let far = IpAddr::from([10, 100 + site as u8, 0, 7]);
        assert_eq!(address_of(&asked[0]), (far, [10, 3, 0, 1].into()));

        let mut reset = inner([10, 3, 0, 1], [10, 100 + site as u8, 0, 7], 100);
        let sealed = c.tunnel.send_own(&mut reset, c.now, &mut c.out);
        assert_eq!(sealed, Sealed::Ready);
        let (arrived, _) = exchange(node, &mut c);
        assert_eq!(arrived.len(), 1, "its source is one of the site");
        let ends = ([10, 103, 0, 1].into(), [10, 0, 0, 7].into());
        assert_eq!(address_of(&arrived[0]), ends);
    }
    let mut nowhere = inner([10, 3, 0, 1], [10, 109, 0, 7], 100);
    let sealed = c.tunnel.send_own(&mut nowhere, c.now, &mut c.out);
    assert_eq!(sealed, Sealed::Dropped(DropReason::NoRoute));
}
