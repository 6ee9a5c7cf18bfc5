//! Two replicas of one gateway.

use super::*;

const FAR_SITE: u32 = 9;

/// Both have a route to 10.9.0.0/16, which the other one must not use.
fn replicas() -> (Node, Node) {
    let mut a = Node::new(1, "10.1.0.2:51820");
    let mut b = Node::new(2, "10.1.0.3:51820");
    let keys = (a.public_key(), b.public_key());
    for (node, key, far) in [
        (&mut a, keys.1, "10.1.0.3:51820"),
        (&mut b, keys.0, "10.1.0.2:51820"),
    ] {
        let spec = PeerSpec {
            link: LinkId(5),
            site: None,
            engine: Engine::Crossway,
            receiver_index: 0x1000,
            public_key: key,
            preshared_key: None,
            keepalive: Some(25),
            endpoint: Some(Endpoint::new(far.parse().unwrap())),
            interface: None,
            liveness: Liveness::default(),
            probe_source: None,
        };
        node.tunnel.add_peer(spec, node.now, &mut node.out);
        let route = ("10.9.0.0/16".parse().unwrap(), SiteId(FAR_SITE));
        node.tunnel.set_routes(Arc::new(RouteTable::new([route])));
    }
    exchange(&mut a, &mut b);
    (a, b)
}

fn tell(node: &mut Node, payloads: &[Vec<u8>]) -> u64 {
    let (tunnel, out) = (&mut node.tunnel, &mut node.out);
    let lost = tunnel.send_to_replica(LinkId(5), payloads, out, |_| panic!("there is room"));
    lost.packets
}

#[test]
fn a_replica_hears_what_the_other_tells_it() {
    let (mut a, mut b) = replicas();
    let told = [b"flows".to_vec(), vec![7; replica::LONGEST]];
    assert_eq!(tell(&mut a, &told), 0);
    let mut heard = Vec::new();
    for (_, datagram) in a.out.take_datagrams() {
        let (handled, landing) = b.handle(&datagram, a.address);
        if let Handled::FromReplica(link, payload) = handled {
            assert_eq!(link, LinkId(5));
            heard.push(landing[payload].to_vec());
        }
    }
    assert_eq!(heard, told);
    assert_eq!(b.snapshot()[0].received_packets, 2);
    assert_eq!(a.snapshot()[0].sent_packets, 2);
}

#[test]
fn a_replica_carries_no_traffic_and_may_send_none() {
    let (mut a, mut b) = replicas();
    let packet = inner([10, 1, 0, 10], [10, FAR_SITE as u8, 0, 10], 100);
    let (_, destination) = packet::addresses(&packet).unwrap();
    assert_eq!(a.tunnel.peer_for(destination, &packet), None);
    // From a host of ours, of the far site, of nobody, and from the replica itself to another port.
    let link_local = {
        let mut packet = vec![0; 60];
        packet[0] = 0x60;
        packet[5] = 20;
        packet[6..8].copy_from_slice(&[17, 255]);
        packet[8..24].copy_from_slice(&link_bfd::link_local(&a.public_key()).octets());
        packet[24..40].copy_from_slice(&link_bfd::link_local(&b.public_key()).octets());
        packet
    };
    let from_far = inner([10, FAR_SITE as u8, 0, 10], [10, 1, 0, 10], 100);
    let from_nowhere = inner([192, 0, 2, 1], [10, 1, 0, 10], 100);
    for packet in [packet, from_far, from_nowhere, link_local] {
        let peer = a.tunnel.peer_of(LinkId(5)).unwrap();
        assert!(peer.send_control(&packet, &mut a.out));
        let sent = a.out.take_datagrams();
        assert_eq!(sent.len(), 1);
        let (handled, _) = b.handle(&sent[0].1, a.address);
        assert_eq!(handled, Handled::Dropped(DropReason::SourceNotInSite));
    }
}

#[test]
fn a_site_cannot_speak_as_a_replica() {
    let mut a = Node::new(1, "192.0.2.1:51820");
    let mut b = Node::new(2, "192.0.2.2:51820");
    a.add(&b, 2, true);
    b.add(&a, 1, true);
    exchange(&mut a, &mut b);
    let lost = a
        .tunnel
        .send_to_replica(LinkId(2), &[b"flows".to_vec()], &mut a.out, |_| ());
    assert_eq!(lost.packets, 1, "it is no replica");
}

#[test]
fn without_a_session_what_is_told_counts_as_lost() {
    let mut a = Node::new(1, "10.1.0.2:51820");
    let (tunnel, out) = (&mut a.tunnel, &mut a.out);
    let payloads = [b"flows".to_vec(), b"and more".to_vec()];
    let lost = tunnel.send_to_replica(LinkId(5), &payloads, out, |_| panic!("there is room"));
    assert_eq!((lost.packets, lost.bytes), (2, 13));
}
