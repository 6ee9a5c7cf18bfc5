use std::net::IpAddr;

use super::*;
use crate::checksum;
use crate::packet::write::Ip;

const ECT_0: u8 = 0b10;
/// Expedited forwarding (RFC 3246), which speech has, and assured forwarding 41 (RFC 2597).
const EF: u8 = 46 << 2;
const AF41: u8 = 34 << 2;

fn packet(ipv4: bool, class: u8) -> Vec<u8> {
    let (source, destination): (IpAddr, IpAddr) = if ipv4 {
        ([10, 1, 0, 10].into(), [10, 2, 0, 10].into())
    } else {
        (
            [0x2001, 0xdb8, 1, 0, 0, 0, 0, 1].into(),
            [0x2001, 0xdb8, 2, 0, 0, 0, 0, 1].into(),
        )
    };
    let ip = Ip {
        source,
        destination,
        class,
        dont_fragment: true,
        ttl: 64,
        protocol: 17,
    };
    let mut packet = vec![0; 100];
    let length = ip.write_udp((1, 2), &[9; 30], &mut packet);
    packet.truncate(length);
    packet
}

#[test]
fn congestion_marks_combine_as_the_rfc_has_it() {
    // RFC 6040, figure 4: rows by the inner, columns by the outer Not-ECT, ECT(0), ECT(1), CE.
    let outers = [NOT_ECT, ECT_0, ECT_1, CE];
    let rows = [
        (
            NOT_ECT,
            [Ok(NOT_ECT), Ok(NOT_ECT), Ok(NOT_ECT), Err(Congested)],
        ),
        (ECT_0, [Ok(ECT_0), Ok(ECT_0), Ok(ECT_1), Ok(CE)]),
        (ECT_1, [Ok(ECT_1), Ok(ECT_1), Ok(ECT_1), Ok(CE)]),
        (CE, [Ok(CE), Ok(CE), Ok(CE), Ok(CE)]),
    ];
    for model in DscpModel::ALL {
        for (inner, row) in rows {
            for (outer, expected) in outers.into_iter().zip(row) {
                for ipv4 in [true, false] {
                    let mut packet = packet(ipv4, inner);
                    let result = decapsulate(&mut packet, outer, model).map(|()| of(&packet));
                    assert_eq!(result, expected, "{model}, inner {inner}, outer {outer}");
                }
            }
        }
    }
}

#[test]
fn the_class_crosses_as_the_model_says() {
    for (model, inner, outer, after) in [
        (DscpModel::Pipe, EF, 0, EF),
        (DscpModel::Pipe, EF, AF41, EF),
        (DscpModel::Uniform, EF, EF, EF),
        (DscpModel::Uniform, EF, AF41, AF41),
        (DscpModel::Uniform, 0, AF41, AF41),
        // Cleared on the way, or never shown.
        (DscpModel::Uniform, EF, 0, EF),
        (DscpModel::Uniform, EF | ECT_0, CE, EF | CE),
    ] {
        for ipv4 in [true, false] {
            let mut packet = packet(ipv4, inner);
            decapsulate(&mut packet, outer, model).unwrap();
            assert_eq!(of(&packet), after, "{model}, inner {inner}, outer {outer}");
        }
    }
    assert_eq!(outer_of(EF | ECT_0, DscpModel::Pipe), ECT_0);
    assert_eq!(outer_of(EF | ECT_0, DscpModel::Uniform), EF | ECT_0);
}

#[test]
fn whatever_is_marked_is_otherwise_as_it_was_and_sums_up() {
    for inner in (0..=u8::MAX).step_by(3) {
        for outer in (0..=u8::MAX).step_by(5) {
            for ipv4 in [true, false] {
                let mut marked = packet(ipv4, inner);
                if decapsulate(&mut marked, outer, DscpModel::Uniform).is_err() {
                    continue;
                }
                let after = of(&marked);
                let fresh = packet(ipv4, after);
                // Zero has two forms in a one's complement sum; both are right.
                if ipv4 {
                    assert_eq!(checksum::finish(0, &marked[..20]), 0);
                    assert_eq!(marked[..10], fresh[..10]);
                    assert_eq!(marked[12..], fresh[12..]);
                } else {
                    assert_eq!(marked, fresh);
                }
            }
        }
    }
}

#[test]
fn a_wrong_sum_stays_wrong_and_short_packets_harm_nobody() {
    let mut packet = packet(true, ECT_0);
    packet[11] ^= 0x55;
    decapsulate(&mut packet, CE, DscpModel::Pipe).unwrap();
    assert_ne!(checksum::finish(0, &packet[..20]), 0);
    for length in 0..20 {
        for first in [0x45, 0x60, 0x00] {
            let mut short = vec![first; length];
            let _ = decapsulate(&mut short, CE | EF, DscpModel::Uniform);
        }
    }
}
