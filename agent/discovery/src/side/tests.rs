use crossway_types::packet::tcp_flags::{PSH, RST};
use crossway_types::protocol::{DCCP, SCTP, UDP, UDP_LITE};

use super::*;

/// A flow between these ports that the local end has opened, with a packet each way.
fn flow(protocol: u8, local: u16, remote: u16) -> (FlowKey, FlowCounters) {
    let key = FlowKey {
        protocol,
        local_port: local.to_be_bytes(),
        remote_port: remote.to_be_bytes(),
        family: 4,
        ..FlowKey::default()
    };
    let counters = FlowCounters {
        to_site_packets: 1,
        from_site_packets: 1,
        opened_by: OpenedBy::Local as u8,
        ..FlowCounters::default()
    };
    (key, counters)
}

fn tcp(local: u16, remote: u16, to_site: u8, from_site: u8) -> (FlowKey, FlowCounters) {
    let (key, counters) = flow(TCP, local, remote);
    let counters = FlowCounters {
        tcp_flags_to_site: to_site,
        tcp_flags_from_site: from_site,
        ..counters
    };
    (key, counters)
}

fn verdict((key, counters): (FlowKey, FlowCounters)) -> Verdict {
    judge(&key, &counters, |_| false)
}

/// With that end in the catalogue.
fn verdict_knowing(side: Side, (key, counters): (FlowKey, FlowCounters)) -> Verdict {
    judge(&key, &counters, |other| other == side)
}

fn opened(by: OpenedBy, (key, counters): (FlowKey, FlowCounters)) -> (FlowKey, FlowCounters) {
    let opened_by = by as u8;
    (
        key,
        FlowCounters {
            opened_by,
            ..counters
        },
    )
}

#[test]
fn of_tcp_the_end_that_was_sent_the_first_syn_is_the_service_whatever_the_ports() {
    let both = SYN | ACK | PSH;
    let there = tcp(80, 50_000, both, both);
    let spoken = |side| Verdict::Service(side, Reason::Spoken);
    assert_eq!(verdict(there), spoken(Side::Remote));
    assert_eq!(
        verdict(opened(OpenedBy::Remote, there)),
        spoken(Side::Local)
    );
    // Nor what the catalogue has.
    assert_eq!(verdict_knowing(Side::Local, there), spoken(Side::Remote));
    // A connection to an open port that was reset at once has a service, too.
    let looked = tcp(40_000, 22, SYN | RST, SYN | ACK);
    assert_eq!(verdict(looked), spoken(Side::Remote));
}

#[test]
fn a_syn_that_gets_a_reset_or_nothing_is_unanswered() {
    for answer in [0, RST | ACK, RST, ACK] {
        let scanned = tcp(40_000, 81, SYN, answer);
        let expected = Verdict::Unanswered(Some(Side::Remote));
        assert_eq!(verdict(scanned), expected, "{answer:#x}");
        let of_nobody = opened(OpenedBy::Unknown, scanned);
        let told = verdict_knowing(Side::Remote, of_nobody);
        assert_eq!(told, Verdict::Unanswered(None), "{answer:#x}");
    }
}

#[test]
fn tcp_whose_beginning_was_not_seen_goes_by_what_is_known_and_then_by_ports() {
    let data = ACK | PSH;
    // After a rest, the server spoke first.
    let resumed = opened(OpenedBy::Remote, tcp(40_000, 5432, data, ACK));
    let known = verdict_knowing(Side::Remote, resumed);
    assert_eq!(known, Verdict::Service(Side::Remote, Reason::Known));
    assert_eq!(
        verdict(resumed),
        Verdict::Service(Side::Remote, Reason::Port)
    );
    // From a replica.
    let both = SYN | ACK;
    let told = opened(OpenedBy::Unknown, tcp(443, 40_000, both, both));
    assert_eq!(verdict(told), Verdict::Service(Side::Local, Reason::Port));
    // A stray segment and the reset that it got.
    let stray = tcp(40_000, 80, data, RST);
    assert_eq!(verdict(stray), Verdict::Unanswered(None));
}

#[test]
fn of_udp_the_end_that_was_spoken_to_first_unless_one_is_known() {
    let asked = flow(UDP, 53, 40_000);
    let spoken = |side| Verdict::Service(side, Reason::Spoken);
    assert_eq!(verdict(asked), spoken(Side::Remote));
    assert_eq!(
        verdict(opened(OpenedBy::Remote, asked)),
        spoken(Side::Local)
    );
    let known = Verdict::Service(Side::Local, Reason::Known);
    assert_eq!(verdict_knowing(Side::Local, asked), known);
    // Both: as if neither were.
    let (key, counters) = asked;
    assert_eq!(judge(&key, &counters, |_| true), spoken(Side::Remote));
    let unanswered = FlowCounters {
        from_site_packets: 0,
        ..counters
    };
    let expected = Verdict::Unanswered(Some(Side::Remote));
    assert_eq!(verdict((key, unanswered)), expected);
}

#[test]
fn the_port_decides_only_where_it_can() {
    let by_port = |local, remote| verdict(opened(OpenedBy::Unknown, flow(UDP, local, remote)));
    let port = |side| Verdict::Service(side, Reason::Port);
    assert_eq!(by_port(53, 1024), port(Side::Local));
    assert_eq!(by_port(8080, 1023), port(Side::Remote));
    assert_eq!(by_port(32_767, 32_768), port(Side::Local));
    assert_eq!(by_port(123, 123), Verdict::Nothing);
    assert_eq!(by_port(5060, 5061), Verdict::Nothing);
    assert_eq!(by_port(40_000, 50_000), Verdict::Nothing);
}

#[test]
fn protocols_without_ports_have_services_and_icmp_and_later_fragments_have_none() {
    let gre = flow(47, 0, 0);
    assert_eq!(verdict(gre), Verdict::Service(Side::Remote, Reason::Spoken));
    let of_nobody = opened(OpenedBy::Unknown, gre);
    assert_eq!(verdict(of_nobody), Verdict::Nothing);
    for protocol in [ICMP, IGMP, ICMPV6] {
        assert_eq!(verdict(flow(protocol, 7, 7)), Verdict::Nothing);
    }
    for protocol in [TCP, UDP, DCCP, SCTP, UDP_LITE] {
        assert_eq!(verdict(flow(protocol, 0, 0)), Verdict::Nothing);
    }
}
