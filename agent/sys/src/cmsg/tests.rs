use std::io::IoSlice;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

use super::*;

const BYTES: usize = 96;

fn info() -> libc::in6_pktinfo {
    libc::in6_pktinfo {
        ipi6_addr: libc::in6_addr {
            s6_addr: std::array::from_fn(|at| at as u8),
        },
        ipi6_ifindex: 7,
    }
}

/// What the macros of the C library make of the same two messages.
fn by_the_macros() -> (Control<BYTES>, usize) {
    let mut control = Control::<BYTES>::new();
    // SAFETY: `control` is zeroed, aligned and longer than both messages; the macros stay inside it.
    let used = unsafe {
        let mut header: libc::msghdr = std::mem::zeroed();
        header.msg_control = (&raw mut control).cast();
        header.msg_controllen = BYTES as _;
        let first = libc::CMSG_FIRSTHDR(&raw const header);
        (*first).cmsg_level = libc::IPPROTO_IPV6;
        (*first).cmsg_type = libc::IPV6_PKTINFO;
        (*first).cmsg_len = libc::CMSG_LEN(size_of::<libc::in6_pktinfo>() as u32) as _;
        libc::CMSG_DATA(first)
            .cast::<libc::in6_pktinfo>()
            .write_unaligned(info());
        let second = libc::CMSG_NXTHDR(&raw const header, first);
        (*second).cmsg_level = libc::SOL_UDP;
        (*second).cmsg_type = libc::UDP_SEGMENT;
        (*second).cmsg_len = libc::CMSG_LEN(2) as _;
        libc::CMSG_DATA(second).cast::<u16>().write_unaligned(1400);
        libc::CMSG_SPACE(size_of::<libc::in6_pktinfo>() as u32) + libc::CMSG_SPACE(2)
    };
    (control, used as usize)
}

fn encoded() -> (Control<BYTES>, usize) {
    let mut control = Control::new();
    let mut encoder = control.encode();
    assert!(encoder.is_empty());
    encoder.push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info());
    encoder.push(libc::SOL_UDP, libc::UDP_SEGMENT, 1400_u16);
    let used = encoder.len();
    (control, used)
}

#[test]
fn the_bytes_are_those_of_the_c_library() {
    let (ours, used) = encoded();
    let (theirs, theirs_used) = by_the_macros();
    assert_eq!(used, theirs_used);
    assert_eq!(ours.0, theirs.0);
}

#[test]
fn what_was_written_is_read_again() {
    let (control, used) = encoded();
    let messages: Vec<_> = control.decode(used).collect();
    assert_eq!(messages.len(), 2);
    let [first, second] = [messages[0], messages[1]];
    assert_eq!(
        (first.level, first.kind),
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO)
    );
    let read = first.value::<libc::in6_pktinfo>().unwrap();
    assert_eq!(read.ipi6_addr.s6_addr, info().ipi6_addr.s6_addr);
    assert_eq!(read.ipi6_ifindex, 7);
    assert_eq!(
        (second.level, second.kind),
        (libc::SOL_UDP, libc::UDP_SEGMENT)
    );
    assert_eq!(second.value(), Some(1400_u16));
    assert_eq!(second.value::<c_int>(), None, "it has two bytes only");
}

#[test]
fn a_buffer_that_is_cut_short_gives_its_whole_messages() {
    let (control, used) = encoded();
    let first = HEADER + size_of::<libc::in6_pktinfo>();
    let both = space::<libc::in6_pktinfo>() + HEADER + 2;
    for length in 0..=used + 200 {
        let whole = match length {
            // Behind the second there are zeroes, which are no message.
            length if length >= both => 2,
            length if length >= first => 1,
            _ => 0,
        };
        assert_eq!(control.decode(length).count(), whole, "{length} bytes");
    }
}

#[test]
fn no_stated_length_leads_out_of_the_buffer_or_round_in_circles() {
    let lengths = (0..=BYTES + 9).chain([usize::MAX, usize::MAX - 7, isize::MAX as usize]);
    for stated in lengths {
        let (mut control, used) = encoded();
        control.0[..ALIGN].copy_from_slice(&stated.to_ne_bytes());
        let messages: Vec<_> = control.decode(used).collect();
        assert!(messages.len() <= used / HEADER, "{stated}");
        if !(HEADER..=used).contains(&stated) {
            assert_eq!(messages, [], "{stated}");
        }
    }
}

#[test]
#[should_panic(expected = "range end index")]
fn more_than_there_is_room_for_is_refused() {
    let mut control = Control::<{ space::<c_int>() }>::new();
    let mut encoder = control.encode();
    encoder.push(0, 0, 1);
    encoder.push(0, 0, 2);
}

#[test]
fn the_kernel_reads_and_writes_the_same() {
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    crate::socket_option::set(&receiver, libc::IPPROTO_IP, libc::IP_PKTINFO, &1).unwrap();
    let sender = UdpSocket::bind("0.0.0.0:0").unwrap();
    sender.connect(receiver.local_addr().unwrap()).unwrap();
    let mut control = Control::<BYTES>::new();
    let mut encoder = control.encode();
    let source = u32::from_ne_bytes([127, 0, 0, 9]);
    let from = libc::in_pktinfo {
        ipi_ifindex: 0,
        ipi_spec_dst: libc::in_addr { s_addr: source },
        ipi_addr: libc::in_addr { s_addr: 0 },
    };
    encoder.push(libc::IPPROTO_IP, libc::IP_PKTINFO, from);
    let used = encoder.len();
    let mut payload = *b"payload";
    let part = IoSlice::new(&payload);
    // SAFETY: all that the header points to lives until the call returns, and is as long as said.
    let sent = unsafe {
        let mut header: libc::msghdr = std::mem::zeroed();
        header.msg_iov = (&raw const part).cast_mut().cast();
        header.msg_iovlen = 1;
        header.msg_control = (&raw mut control).cast();
        header.msg_controllen = used as _;
        libc::sendmsg(sender.as_raw_fd(), &raw const header, 0)
    };
    assert_eq!(sent, 7);
    let mut control = Control::<BYTES>::new();
    let mut part = libc::iovec {
        iov_base: payload.as_mut_ptr().cast(),
        iov_len: payload.len(),
    };
    // SAFETY: as above, and writable.
    let filled = unsafe {
        let mut header: libc::msghdr = std::mem::zeroed();
        header.msg_iov = &raw mut part;
        header.msg_iovlen = 1;
        header.msg_control = (&raw mut control).cast();
        header.msg_controllen = BYTES as _;
        assert_eq!(libc::recvmsg(receiver.as_raw_fd(), &raw mut header, 0), 7);
        header.msg_controllen as usize
    };
    let message = control.decode(filled).next().unwrap();
    assert_eq!(
        (message.level, message.kind),
        (libc::IPPROTO_IP, libc::IP_PKTINFO)
    );
    let info = message.value::<libc::in_pktinfo>().unwrap();
    assert_eq!(info.ipi_addr.s_addr.to_ne_bytes(), [127, 0, 0, 1]);
}
