use super::*;
use crate::policy::Icmp;

/// TCP's SYN and ACK in byte 13 of its header.
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// Who opened a flow that nobody knows, by a packet of TCP with these flags. One that is neither of the first two packets
/// belongs to a connection that began before anybody looked.
fn opener_of_tcp(flags: u8) -> Opener {
    match flags & (SYN | ACK) {
        SYN => Opener::Sender,
        s if s & SYN != 0 => Opener::Receiver,
        _ => Opener::Either,
    }
}

/// Whether a packet of TCP asks for a new connection, so that what is known of its flow is of an older one.
fn opens_anew(flags: u8) -> bool {
    flags & (SYN | ACK) == SYN
}

#[test]
fn who_opened_a_connection_is_told_by_its_flags() {
    const RST: u8 = 0x04;
    for (flags, opener) in [
        (SYN, Opener::Sender),
        (SYN | 0xc0, Opener::Sender),
        (SYN | ACK, Opener::Receiver),
        (ACK, Opener::Either),
        (RST, Opener::Either),
    ] {
        assert_eq!(opener_of_tcp(flags), opener, "{flags:#x}");
        assert_eq!(opens_anew(flags), opener == Opener::Sender, "{flags:#x}");
    }
}

#[test]
fn who_opened_a_flow_is_told_by_arithmetic_as_by_words() {
    for byte in 0..=u8::MAX {
        let tcp = Opening::of_tcp(byte);
        assert_eq!(tcp.opener(), opener_of_tcp(byte), "{byte:#x}");
        assert_eq!(tcp.asks_again(false), opens_anew(byte), "{byte:#x}");
        assert!(!tcp.asks_again(true) && !tcp.is_alone() && !tcp.is_error());
        for (family, echo) in [(Family::V4, [0, 8]), (Family::V6, [128, 129])] {
            let icmp = Opening::of_icmp(family, byte);
            let (opener, is_error) = match Icmp::of(family, byte) {
                Icmp::Reply => (Opener::Receiver, false),
                Icmp::Error => (Opener::Either, true),
                Icmp::Other => (Opener::Sender, false),
            };
            assert_eq!(
                (icmp.opener(), icmp.is_error()),
                (opener, is_error),
                "{family:?} {byte}"
            );
            assert_eq!(icmp.is_alone(), !echo.contains(&byte), "{family:?} {byte}");
        }
    }
}

#[test]
fn an_echo_without_an_identifier_is_judged_alone() {
    let identifier = |number: u16| {
        let [a, b] = number.to_be_bytes();
        Ports::of_echo([8, 0, 0, 0, a, b, 0, 1])
    };
    for number in [1, 0x80, 0x8000, 0xffff] {
        let opening = Opening::of_icmp(Family::V4, 8);
        assert_eq!(opening.at(identifier(number)), opening, "{number}");
    }
    assert!(Opening::of_icmp(Family::V4, 8).at(identifier(0)).is_alone());
}
