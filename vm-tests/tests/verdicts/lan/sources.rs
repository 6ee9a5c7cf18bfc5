//! The sources of frames: those that the kernel would take, and how long that is remembered.

use datapath_abi::{
    flow::{FlowCounters, FlowKey},
    maps,
    outcome::StackReason::WrongSource,
    settings::{STRICT_SOURCES, Settings},
};

use super::{LOOPBACK, from, ready};
use crate::{
    case::{Verdict, run},
    harness::{Context, Datapath, ifindex, settings},
};

/// Sends from `source` by the loopback device, whose flags are these.
fn verdict_from(datapath: &mut Datapath, source: &str, flags: u32) -> Verdict {
    datapath.set_lan_flags(LOOPBACK, flags);
    run(
        datapath,
        maps::LAN_INGRESS,
        &from(source),
        Context::default(),
    )
    .1
}

#[test]
fn sources_are_those_that_the_kernel_would_take() {
    let refused = Verdict::Stack(WrongSource);
    for (source, strict, loose) in [
        ("10.1.0.5", Verdict::Redirect, Verdict::Redirect),
        ("10.9.0.5", refused, Verdict::Redirect),
        ("10.1.0.1", refused, refused),
        ("10.8.0.5", refused, refused),
        ("192.0.2.5", refused, refused),
        ("2001:db8:9::5", Verdict::Redirect, Verdict::Redirect),
    ] {
        // Each with its first packet, of a flow that the other has not made.
        for (flags, expected) in [(STRICT_SOURCES, strict), (0, loose)] {
            let mut datapath = ready();
            assert_eq!(
                verdict_from(&mut datapath, source, flags),
                expected,
                "{source} {flags}"
            );
            assert_eq!(verdict_from(&mut datapath, source, flags), expected);
        }
    }
}

#[test]
fn a_source_is_asked_for_again_at_another_interface_or_when_routes_change() {
    let mut datapath = ready();
    assert_eq!(
        verdict_from(&mut datapath, "10.9.0.5", 0),
        Verdict::Redirect
    );
    // It is known now: what the interface asks is not looked at until the agent says that something is new.
    let strict = STRICT_SOURCES;
    assert_eq!(
        verdict_from(&mut datapath, "10.9.0.5", strict),
        Verdict::Redirect
    );
    let later = Settings {
        route_generation: 1,
        ..settings(ifindex("tun0"))
    };
    datapath.set_settings(later);
    let refused = Verdict::Stack(WrongSource);
    assert_eq!(verdict_from(&mut datapath, "10.9.0.5", strict), refused);
    // By the interface that it belongs to it may go, and by the first still not.
    let lan1 = ifindex("lan1");
    datapath.set_lan_flags(lan1, strict);
    let context = Context {
        ifindex: lan1,
        ..Context::default()
    };
    let mut frame = from("10.9.0.5");
    let lan1_address = link_address("lan1");
    frame[..6].copy_from_slice(&lan1_address);
    let (_, verdict, _) = run(&mut datapath, maps::LAN_INGRESS, &frame, context);
    assert_eq!(verdict, Verdict::Redirect);
    assert_eq!(verdict_from(&mut datapath, "10.9.0.5", strict), refused);
}

#[test]
fn what_came_out_of_the_tunnel_first_does_not_vouch_for_the_source() {
    let mut datapath = ready();
    let flow = FlowKey {
        local: std::net::Ipv4Addr::new(10, 9, 0, 5)
            .to_ipv6_mapped()
            .octets(),
        remote: std::net::Ipv4Addr::new(10, 2, 0, 9)
            .to_ipv6_mapped()
            .octets(),
        local_port: 1_u16.to_be_bytes(),
        remote_port: 2_u16.to_be_bytes(),
        protocol: 17,
        family: 4,
        ..FlowKey::default()
    };
    let counters = FlowCounters {
        from_site_packets: 1,
        site: 1,
        ..FlowCounters::default()
    };
    datapath.write_flow(&flow, &counters);
    let strict = STRICT_SOURCES;
    let refused = Verdict::Stack(WrongSource);
    assert_eq!(verdict_from(&mut datapath, "10.9.0.5", strict), refused);
}

/// The link-layer address of an interface.
fn link_address(interface: &str) -> [u8; 6] {
    let output = std::process::Command::new("ip")
        .args(["-br", "link", "show", interface])
        .output()
        .expect("the command ip (package iproute2) runs");
    let text = String::from_utf8(output.stdout).unwrap();
    let address = text.split_whitespace().nth(2).expect("a third column");
    let bytes: Vec<u8> = address
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect();
    bytes.try_into().expect("six bytes")
}
