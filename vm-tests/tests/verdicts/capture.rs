//! The capturing programs: they hand over what is wanted, with the decision of the program that they sit in front of,
//! and leave every packet alone.

use datapath_abi::{
    address,
    capture::{CaptureFilter, Captured, MOST_KEPT, Masked, Place, Way},
    explanation::{Decision, Explanation, HEADERS},
    maps,
    settings::{COUNTED_MARK, Role},
    site::SiteState,
};

use crate::{
    frame::{Packet, VLAN},
    harness::{Context, Datapath, TC_TO_STACK, ifindex, lay_lan, settings},
};

const LOOPBACK: u32 = 1;

/// Frames arrive at the loopback device, which plays the LAN; everything is wanted.
fn ready() -> Datapath {
    let mut datapath = Datapath::load();
    let tun = lay_lan();
    datapath.set_settings(settings(tun));
    datapath.set_interface(LOOPBACK, Role::Lan, 0, 1500);
    datapath.set_interface(tun, Role::Tun, 0, 1420);
    datapath.set_site(1, SiteState::Up, 1420);
    datapath.set_site(3, SiteState::Up, 1280);
    for (prefix, site) in [
        ("10.2.0.0/16", 1),
        ("10.3.0.0/16", 3),
        ("2001:db8:2::/48", 1),
    ] {
        datapath.add_route(0, prefix, site);
    }
    datapath.set_capture(CaptureFilter::default());
    datapath
}

fn tun() -> Context {
    Context {
        ifindex: ifindex("tun0"),
        ..Context::default()
    }
}

fn v4() -> Packet {
    Packet::new("10.1.0.5", "10.2.0.9")
}

fn v6() -> Packet {
    Packet::new("2001:db8:1::5", "2001:db8:2::9")
}

/// Runs a capturing program over a packet, which it must leave alone; what it handed over.
fn capture(
    datapath: &mut Datapath,
    program: &str,
    packet: &[u8],
    context: Context,
) -> Option<(Captured, Vec<u8>)> {
    let run = datapath.tc(program, packet, context);
    assert_eq!(run.verdict, TC_TO_STACK, "the next program has its turn");
    assert_eq!(run.frame, packet, "it changes nothing");
    assert_eq!(run.mark, context.mark);
    let mut captured = datapath.captured();
    assert!(captured.len() <= 1);
    captured.pop()
}

#[test]
fn a_packet_is_handed_over_with_what_would_be_explained_of_it() {
    let mut datapath = ready();
    let big = v4().udp(7, 8, &[1; 1450]).frame();
    let frames = [
        v4().udp(7, 8, b"x").frame(),
        v4().tcp(7, 8, 2, 300).frame(),
        v6().udp(7, 8, b"x").frame(),
        v4().ttl(1).udp(7, 8, b"x").frame(),
        Packet::new("10.1.0.5", "192.0.2.1").udp(7, 8, b"x").frame(),
        big,
    ];
    let out = [
        Packet::new("10.2.0.9", "10.1.0.5").udp(8, 7, b"x").bare(),
        Packet::new("10.2.0.9", "10.3.0.5").udp(8, 7, b"x").bare(),
        Packet::new("10.2.0.9", "10.2.0.5").udp(8, 7, b"x").bare(),
        Packet::new("2001:db8:2::9", "2001:db8:1::5")
            .udp(8, 7, b"x")
            .bare(),
    ];
    let into = [v4().udp(7, 8, b"x").bare(), v6().udp(7, 8, b"x").bare()];
    let all = [
        (maps::CAPTURE_LAN, maps::LAN_INGRESS, &frames[..]),
        (maps::CAPTURE_TUN, maps::TUN_INGRESS, &out[..]),
        (maps::CAPTURE_EGRESS, maps::TUN_EGRESS, &into[..]),
    ];
    for (capturing, program, packets) in all {
        let at_lan = program == maps::LAN_INGRESS;
        let context = if at_lan { Context::default() } else { tun() };
        for packet in packets {
            let (_, explained) = datapath.explain(program, packet, context);
            let (head, bytes) = capture(&mut datapath, capturing, packet, context).unwrap();
            assert_eq!(head.explanation, explained, "{capturing}");
            assert_eq!(&bytes, packet, "{capturing}");
            let length = packet.len() as u32;
            assert_eq!((head.length, head.kept, head.gso_size), (length, length, 0));
            assert_eq!(
                head.ifindex,
                if at_lan { LOOPBACK } else { context.ifindex }
            );
            assert!(head.time_ns > 0);
        }
    }
    let wanted = (frames.len() + out.len() + into.len()) as u64;
    let counts = datapath.capture_counts();
    assert_eq!((counts.wanted, counts.lost), (wanted, 0));
    assert!(datapath.flows().is_empty(), "a capture is no flow");
}

#[test]
fn places_and_marks_are_told_and_what_was_seen_at_the_lan_is_not_seen_again() {
    let mut datapath = ready();
    let (frame, bare) = (v4().udp(7, 8, b"x").frame(), v4().udp(7, 8, b"x").bare());
    let (head, _) = capture(&mut datapath, maps::CAPTURE_LAN, &frame, Context::default()).unwrap();
    assert_eq!(Place::of(head.place), Some(Place::Lan));
    assert_eq!(head.explanation.mark, COUNTED_MARK);
    let (head, _) = capture(&mut datapath, maps::CAPTURE_EGRESS, &bare, tun()).unwrap();
    assert_eq!(Place::of(head.place), Some(Place::IntoTunnel));
    let redirected = Context {
        mark: COUNTED_MARK,
        ..tun()
    };
    let again = capture(&mut datapath, maps::CAPTURE_EGRESS, &bare, redirected);
    assert_eq!(
        again, None,
        "lan_ingress has sent it, and it was seen there"
    );
    let back = Packet::new("10.2.0.9", "10.1.0.5").udp(8, 7, b"x").bare();
    let (head, _) = capture(&mut datapath, maps::CAPTURE_TUN, &back, tun()).unwrap();
    assert_eq!(Place::of(head.place), Some(Place::OutOfTunnel));
    assert!(head.explanation.has(HEADERS));
}

fn prefix(text: &str, length: u32) -> Masked {
    match text.parse().unwrap() {
        std::net::IpAddr::V4(v4) => Masked::new(address::mapped(v4.octets()), 96 + length),
        std::net::IpAddr::V6(v6) => Masked::new(address::from_bytes(v6.octets()), length),
    }
}

/// Everything, but for what is changed.
fn with(change: impl FnOnce(&mut CaptureFilter)) -> CaptureFilter {
    let mut filter = CaptureFilter::default();
    change(&mut filter);
    filter
}

/// Whether a frame that comes by the LAN is captured.
fn is_captured(datapath: &mut Datapath, filter: CaptureFilter, frame: &[u8]) -> bool {
    datapath.set_capture(filter);
    capture(datapath, maps::CAPTURE_LAN, frame, Context::default()).is_some()
}

#[test]
fn every_part_of_the_filter_chooses() {
    let mut datapath = ready();
    let (here, there) = (prefix("10.1.0.5", 32), prefix("10.2.0.0", 16));
    let (any, other) = (Masked::default(), prefix("10.9.0.0", 16));
    let (to, from) = (Way::ToSite as u32, Way::FromSite as u32);
    let frame = v4().udp(7, 8, b"x").frame();
    for (name, filter, expected) in [
        ("all", with(|_| ()), true),
        ("both ends", with(|f| f.ends = [here, there]), true),
        ("ends turned", with(|f| f.ends = [there, here]), true),
        ("one end", with(|f| f.ends = [there, any]), true),
        ("one right end", with(|f| f.ends = [there, other]), false),
        ("another end", with(|f| f.ends = [other, any]), false),
        ("source", with(|f| f.source = here), true),
        ("receiver as source", with(|f| f.source = there), false),
        ("destination", with(|f| f.destination = there), true),
        (
            "sender as destination",
            with(|f| f.destination = here),
            false,
        ),
        ("source port", with(|f| f.port = 7), true),
        ("destination port", with(|f| f.port = 8), true),
        ("another port", with(|f| f.port = 9), false),
        ("protocol", with(|f| f.protocol = 17), true),
        ("another protocol", with(|f| f.protocol = 6), false),
        ("site", with(|f| f.site = 1), true),
        ("another site", with(|f| f.site = 3), false),
        ("this way", with(|f| f.way = to), true),
        ("the other way", with(|f| f.way = from), false),
        ("sites alone", with(|f| f.only_sites = 1), true),
    ] {
        let found = is_captured(&mut datapath, filter, &frame);
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn what_is_of_no_site_of_the_other_family_or_mangled_is_told_apart() {
    let mut datapath = ready();
    let others = Packet::new("10.1.0.5", "192.0.2.1").udp(7, 8, b"x").frame();
    let sites = with(|f| f.only_sites = 1);
    assert!(is_captured(&mut datapath, with(|_| ()), &others));
    assert!(!is_captured(&mut datapath, sites, &others), "no route");
    let [v4, v6] = [v4(), v6()].map(|packet| packet.udp(7, 8, b"x").frame());
    for (wanted, length) in [("2001:db8:2::", 48), ("2001:db8::", 32), ("::", 1)] {
        let filter = with(|f| f.ends[0] = prefix(wanted, length));
        assert!(is_captured(&mut datapath, filter, &v6), "{wanted}");
        let expected = length == 1;
        // An IPv4-mapped address begins with zeroes.
        assert_eq!(is_captured(&mut datapath, filter, &v4), expected);
    }
    // Whose headers cannot be read is of no flow.
    let mut mangled = v4.clone();
    mangled[14] = 0x41;
    assert!(!is_captured(&mut datapath, with(|_| ()), &mangled));
}

#[test]
fn no_more_is_kept_than_asked_for_and_what_finds_no_room_is_counted() {
    let mut datapath = ready();
    let frame = v4().udp(7, 8, &[9; 3000]).frame();
    for snap in [64, 255, 256, 257, 2047, 2048, 2049, 3000, MOST_KEPT] {
        datapath.set_capture(CaptureFilter {
            snap,
            ..CaptureFilter::default()
        });
        let (head, bytes) =
            capture(&mut datapath, maps::CAPTURE_LAN, &frame, Context::default()).unwrap();
        let kept = frame.len().min(snap as usize);
        assert_eq!(bytes, frame[..kept]);
        assert_eq!(
            (head.kept as usize, head.length as usize),
            (kept, frame.len())
        );
    }
    // A ring of 8 MiB has room for some 127 of those that may be super-packets.
    for _ in 0..200 {
        datapath.tc(maps::CAPTURE_LAN, &frame, Context::default());
    }
    let counts = datapath.capture_counts();
    assert_eq!(counts.wanted, 209);
    assert!((70..100).contains(&counts.lost), "{counts:?}");
    assert_eq!(datapath.captured().len() as u64 + counts.lost, 200);
    let after = capture(&mut datapath, maps::CAPTURE_LAN, &frame, Context::default());
    assert!(after.is_some(), "there is room again");
}

#[test]
fn a_super_packet_and_a_tag_beside_the_frame_are_told() {
    let mut datapath = ready();
    let frame = v4().tcp(7, 8, 0x18, 3000).frame();
    let context = Context {
        gso_size: 1000,
        ..Context::default()
    };
    let (head, bytes) = capture(&mut datapath, maps::CAPTURE_LAN, &frame, context).unwrap();
    assert_eq!((head.gso_size, bytes.len()), (1000, frame.len()));
    assert_eq!(head.explanation.packets, 3);
    assert_eq!(head.explanation.decision(), Decision::ToTunnel);
    // In the frame it stays where it is.
    let tagged = v4().udp(7, 8, b"x").tagged(&[(VLAN, 0)]);
    let (head, bytes) = capture(
        &mut datapath,
        maps::CAPTURE_LAN,
        &tagged,
        Context::default(),
    )
    .unwrap();
    assert_eq!(bytes, tagged);
    assert_eq!(head.vlan, 0);
    let expected: [u32; 4] = address::mapped([10, 2, 0, 9]);
    assert_eq!(head.destination, expected, "behind the tag");
    assert_ne!(head.explanation, Explanation::default());
}
