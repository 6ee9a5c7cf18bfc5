//! `wan_guard`: frames on the WAN, case by case.

use datapath_abi::maps;
use datapath_abi::outcome::{
    DropReason::{
        self, WanBadLength, WanBadType, WanReservedBits, WanTooShort, WanUnknownReceiver,
    },
    Tally,
};
use datapath_abi::settings::{NAT, Settings};

use crate::{
    case::{mutations, noise},
    frame::{
        DESTINATION_OPTIONS, ETHERNET, HOP_BY_HOP, PROVIDER_VLAN, Packet, ROUTING, TCP, UDP, VLAN,
    },
    harness::{Datapath, XDP_DROP, XDP_PASS, hex, settings},
};

/// First port of two lanes.
const PORT: u16 = 51820;
/// A receiver index of ours; its low byte is the session's own.
const OURS: u32 = 0x00ab_cd07;

fn ready() -> Datapath {
    let mut datapath = Datapath::load();
    datapath.set_settings(settings(0));
    datapath.add_session(OURS >> 8);
    datapath.add_local("198.51.100.1/32");
    datapath.add_local("198.51.100.16/28");
    datapath.add_local("2001:db8:b::1/128");
    datapath.add_wan_vlan(7);
    datapath
}

/// A message of a type, with an index at bytes 4 and 8, cut or filled to a length.
fn message(kind: u8, first: u32, second: u32, length: usize) -> Vec<u8> {
    let mut bytes = vec![kind, 0, 0, 0];
    bytes.extend(first.to_le_bytes());
    bytes.extend(second.to_le_bytes());
    bytes.resize(length, 0x5a);
    bytes
}

fn data(length: usize) -> Vec<u8> {
    message(4, OURS, 0, length)
}

fn v4(message: &[u8]) -> Packet {
    Packet::new("203.0.113.7", "198.51.100.1").udp(40000, PORT, message)
}

fn v6(message: &[u8]) -> Packet {
    Packet::new("2001:db8:a::7", "2001:db8:b::1").udp(40000, PORT, message)
}

fn at(destination: &str, message: &[u8]) -> Packet {
    let source = if destination.contains(':') {
        "2001:db8:a::7"
    } else {
        "203.0.113.7"
    };
    Packet::new(source, destination).udp(40000, PORT, message)
}

fn to_port(port: u16) -> Vec<u8> {
    Packet::new("203.0.113.7", "198.51.100.1")
        .udp(40000, port, &[0xff; 40])
        .frame()
}

fn reserved(at: usize) -> Vec<u8> {
    let mut message = data(32);
    message[at] = 1;
    v4(&message).frame()
}

/// The UDP length field of a data message of 64 bytes, changed by this much.
fn udp_length(change: i16) -> Vec<u8> {
    let mut frame = v4(&data(64)).frame();
    let at = ETHERNET + 20 + 4;
    let length = u16::from_be_bytes([frame[at], frame[at + 1]]);
    let length = length.wrapping_add_signed(change);
    frame[at..at + 2].copy_from_slice(&length.to_be_bytes());
    frame
}

#[rustfmt::skip]
fn corpus() -> Vec<(&'static str, Vec<u8>, Result<(), DropReason>)> {
    let junk = [0xff; 40];
    vec![
        // Good messages.
        ("initiation", v4(&message(1, 9, 9, 148)).frame(), Ok(())),
        ("response", v4(&message(2, 9, OURS, 92)).frame(), Ok(())),
        ("cookie reply", v4(&message(3, OURS, 9, 64)).frame(), Ok(())),
        ("keepalive", v4(&data(32)).frame(), Ok(())),
        ("data", v4(&data(1452)).frame(), Ok(())),
        ("data, second lane", Packet::new("203.0.113.7", "198.51.100.1").udp(1, PORT + 1, &data(80)).frame(), Ok(())),
        ("data, another session of the link", v4(&message(4, OURS ^ 0x81, 0, 80)).frame(), Ok(())),
        ("data over IPv6", v6(&data(96)).frame(), Ok(())),
        ("data with IPv4 options", v4(&data(96)).options(&[1; 8]).frame(), Ok(())),
        ("data in a VLAN", v4(&data(96)).tagged(&[(VLAN, 7)]), Ok(())),
        ("Ethernet padding", [v4(&data(32)).frame(), vec![0; 9]].concat(), Ok(())),
        // Junk, by name.
        ("empty datagram", v4(b"").frame(), Err(WanTooShort)),
        ("31 bytes", v4(&data(31)).frame(), Err(WanTooShort)),
        ("type 0", v4(&message(0, OURS, OURS, 64)).frame(), Err(WanBadType)),
        ("type 5", v4(&message(5, OURS, OURS, 64)).frame(), Err(WanBadType)),
        ("STUN", v4(&message(0x40, OURS, OURS, 64)).frame(), Err(WanBadType)),
        ("reserved byte 1", reserved(1), Err(WanReservedBits)),
        ("reserved byte 2", reserved(2), Err(WanReservedBits)),
        ("reserved byte 3", reserved(3), Err(WanReservedBits)),
        ("short initiation", v4(&message(1, 9, 9, 147)).frame(), Err(WanBadLength)),
        ("long initiation", v4(&message(1, 9, 9, 149)).frame(), Err(WanBadLength)),
        ("short response", v4(&message(2, 9, OURS, 91)).frame(), Err(WanBadLength)),
        ("long response", v4(&message(2, 9, OURS, 93)).frame(), Err(WanBadLength)),
        ("short cookie reply", v4(&message(3, OURS, 9, 63)).frame(), Err(WanBadLength)),
        ("long cookie reply", v4(&message(3, OURS, 9, 65)).frame(), Err(WanBadLength)),
        ("UDP length beyond the frame", udp_length(1), Err(WanBadLength)),
        ("UDP length 65535", udp_length(-73), Err(WanBadLength)),
        ("UDP length shorter than the message", udp_length(-33), Err(WanTooShort)),
        ("UDP length 0", udp_length(-72), Err(WanTooShort)),
        ("UDP length 7", udp_length(-65), Err(WanTooShort)),
        ("response for somebody else", v4(&message(2, OURS, 9, 92)).frame(), Err(WanUnknownReceiver)),
        ("cookie reply for somebody else", v4(&message(3, 9, OURS, 64)).frame(), Err(WanUnknownReceiver)),
        ("data for somebody else", v4(&message(4, 9, OURS, 64)).frame(), Err(WanUnknownReceiver)),
        ("index in the wrong byte order", v4(&message(4, OURS.swap_bytes(), 0, 64)).frame(), Err(WanUnknownReceiver)),
        ("junk over IPv6", v6(&junk).frame(), Err(WanBadType)),
        ("junk with IPv4 options", v4(&junk).options(&[1; 40]).frame(), Err(WanBadType)),
        ("junk in a VLAN", v4(&junk).tagged(&[(VLAN, 7)]), Err(WanBadType)),
        ("junk with a priority tag", v4(&junk).tagged(&[(VLAN, 0x6000)]), Err(WanBadType)),
        ("junk in a VLAN with a priority", v4(&junk).tagged(&[(VLAN, 0x6007)]), Err(WanBadType)),
        ("junk in a priority tag in a VLAN", v6(&junk).tagged(&[(PROVIDER_VLAN, 0), (VLAN, 7)]), Err(WanBadType)),
        ("junk for one of many addresses", at("198.51.100.31", &junk).frame(), Err(WanBadType)),
        ("junk behind destination options", v6(&junk).extension(DESTINATION_OPTIONS, &[0; 7]).frame(), Err(WanBadType)),
        ("junk behind hop-by-hop options", v6(&junk).extension(HOP_BY_HOP, &[0; 7]).frame(), Err(WanBadType)),
        ("junk behind a routing header", v6(&junk).extension(ROUTING, &[0; 7]).frame(), Err(WanBadType)),
        // For others.
        ("junk for a host behind us", at("10.1.0.10", &junk).frame(), Ok(())),
        ("data for a WireGuard behind us", at("198.51.100.2", &message(4, 9, 0, 64)).frame(), Ok(())),
        ("junk for the address behind our many", at("198.51.100.32", &junk).frame(), Ok(())),
        ("junk for an IPv6 host behind us", at("2001:db8:b::2", &junk).frame(), Ok(())),
        ("junk in a VLAN that is no WAN", v4(&junk).tagged(&[(VLAN, 8)]), Ok(())),
        ("junk in QinQ", v6(&junk).tagged(&[(PROVIDER_VLAN, 7), (VLAN, 8)]), Ok(())),
        // None of our business.
        ("port below", to_port(PORT - 1), Ok(())),
        ("port above the lanes", to_port(PORT + 2), Ok(())),
        ("port 0", to_port(0), Ok(())),
        ("TCP to our port", Packet::new("203.0.113.7", "198.51.100.1").tcp(1, PORT, 2, 40).frame(), Ok(())),
        ("ICMP", Packet::new("203.0.113.7", "198.51.100.1").icmp(8, 1).frame(), Ok(())),
        ("ARP", [&[0; 12], &[8, 6][..], &[0; 28]].concat(), Ok(())),
        ("first fragment", v4(&junk).fragment(0, true).frame(), Ok(())),
        ("last fragment", v4(&junk).fragment(10, false).frame(), Ok(())),
        ("IPv6 first fragment", v6(&junk).fragment6(0, true).frame(), Ok(())),
        ("IPv6 last fragment", v6(&junk).fragment6(9, false).frame(), Ok(())),
        ("three tags", v4(&junk).tagged(&[(VLAN, 1), (VLAN, 2), (VLAN, 3)]), Ok(())),
        ("half a UDP header", Packet::new("203.0.113.7", "198.51.100.1").transport(UDP, &[0xca; 4]).frame(), Ok(())),
        ("five extension headers", (0..5).fold(v6(&junk), |packet, _| packet.extension(DESTINATION_OPTIONS, &[0; 7])).frame(), Ok(())),
        ("IPv6 with TCP of our bytes", v6(b"").transport(TCP, &junk).frame(), Ok(())),
    ]
}

fn drops(datapath: &Datapath) -> Vec<Tally> {
    DropReason::ALL
        .iter()
        .map(|reason| datapath.drops(*reason))
        .collect()
}

/// Runs the program and checks that the tallies tell the verdict. Returns why the frame was dropped.
fn run(datapath: &mut Datapath, frame: &[u8]) -> Result<(), DropReason> {
    let before = drops(datapath);
    let run = datapath.xdp(frame);
    assert_eq!(run.frame, frame, "the frame is not changed");
    let after = drops(datapath);
    let changed: Vec<DropReason> = DropReason::ALL
        .iter()
        .copied()
        .filter(|reason| before[reason.index() as usize] != after[reason.index() as usize])
        .collect();
    match (run.verdict, changed.as_slice()) {
        (XDP_PASS, []) => Ok(()),
        (XDP_DROP, [reason]) => {
            let index = reason.index() as usize;
            assert_eq!(after[index].packets, before[index].packets + 1);
            assert_eq!(after[index].bytes, before[index].bytes + frame.len() as u64);
            Err(*reason)
        }
        other => panic!("verdict and tallies {other:?} do not fit: {}", hex(frame)),
    }
}

#[test]
fn every_frame_gets_its_verdict() {
    let mut datapath = ready();
    for (name, frame, verdict) in corpus() {
        assert_eq!(run(&mut datapath, &frame), verdict, "{name}");
    }
}

#[test]
fn a_frame_cut_anywhere_is_passed_or_dropped_for_its_length() {
    let mut datapath = ready();
    for (name, frame, verdict) in corpus() {
        if verdict.is_err() || frame.len() > 300 {
            continue;
        }
        // The kernel does not run an XDP program over less than an Ethernet header.
        for length in ETHERNET..frame.len() {
            let verdict = run(&mut datapath, &frame[..length]);
            assert!(
                matches!(verdict, Ok(()) | Err(WanBadLength)),
                "{name} cut to {length}: {verdict:?}"
            );
        }
    }
}

#[test]
fn a_message_cut_anywhere_is_dropped() {
    let mut datapath = ready();
    for whole in [
        message(1, 9, 9, 148),
        message(2, 9, OURS, 92),
        message(3, OURS, 9, 64),
    ] {
        for length in 0..whole.len() {
            let expected = if length < 32 {
                WanTooShort
            } else {
                WanBadLength
            };
            let frame = v4(&whole[..length]).frame();
            assert_eq!(run(&mut datapath, &frame), Err(expected), "{length}");
        }
    }
}

#[test]
fn a_mangled_frame_gets_a_verdict_and_is_not_changed() {
    let mut datapath = ready();
    let frames: Vec<Vec<u8>> = corpus().into_iter().map(|(_, frame, _)| frame).collect();
    let noise = [0x0800_u16, 0x86dd, VLAN].map(|kind| {
        let head = [&[0; 12], &kind.to_be_bytes()[..]].concat();
        noise(&head, 1000)
    });
    for frame in mutations(&frames, 60)
        .into_iter()
        .chain(noise.into_iter().flatten())
    {
        let _: Result<(), DropReason> = run(&mut datapath, &frame);
    }
}

#[test]
fn without_settings_everything_passes() {
    let mut datapath = Datapath::load();
    for (name, frame, _) in corpus() {
        assert_eq!(run(&mut datapath, &frame), Ok(()), "{name}");
    }
    let said = datapath.take_log();
    // The scheduler may move it to another CPU, which then says it as well.
    assert!((1..corpus().len()).contains(&said.len()), "{said:?}");
    let name = maps::WAN_GUARD.as_bytes();
    assert!(said[0].windows(name.len()).any(|window| window == name));
}

#[test]
fn where_addresses_are_translated_an_unknown_receiver_passes_and_no_other_junk() {
    let mut datapath = ready();
    datapath.set_settings(Settings {
        flags: NAT,
        ..settings(0)
    });
    for (name, frame, verdict) in corpus() {
        let expected = verdict.or_else(|reason| match reason {
            WanUnknownReceiver => Ok(()),
            other => Err(other),
        });
        assert_eq!(run(&mut datapath, &frame), expected, "{name}");
    }
}

#[test]
fn a_host_that_knows_no_address_of_its_own_drops_nothing() {
    let mut datapath = Datapath::load();
    datapath.set_settings(settings(0));
    for (name, frame, _) in corpus() {
        assert_eq!(run(&mut datapath, &frame), Ok(()), "{name}");
    }
}

#[test]
fn a_flood_of_junk_is_counted_whole_and_not_told() {
    let mut datapath = ready();
    let frame = v4(&[0; 64]).frame();
    for _ in 0..500 {
        assert_eq!(datapath.xdp(&frame).verdict, XDP_DROP);
    }
    assert_eq!(datapath.drops(WanBadType).packets, 500);
    assert_eq!(datapath.drops(WanBadType).bytes, 500 * frame.len() as u64);
    assert!(datapath.take_log().is_empty());
}
