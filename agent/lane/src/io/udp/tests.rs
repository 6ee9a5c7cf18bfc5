use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::time::Duration;

use super::*;
use crossway_sys::poll;
use crossway_tunnel::transmit::Transmits;
use crossway_types::marks::DscpModel;

fn socket(listen: &str) -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind(listen.parse().unwrap()).unwrap();
    let address = socket.local_address().unwrap();
    (socket, address)
}

/// Receives until `wanted` datagrams have come, or panics after two seconds.
fn receive(socket: &UdpSocket, wanted: usize) -> Vec<(Endpoint, Vec<u8>)> {
    let deadline = clock::now() + Duration::from_secs(2);
    let mut batch = ReceiveBatch::new();
    let mut datagrams = Vec::new();
    while datagrams.len() < wanted {
        assert!(
            clock::now() < deadline,
            "only {} of {wanted} came",
            datagrams.len()
        );
        poll::wait(&[socket.as_fd(); 3], Duration::from_millis(100)).unwrap();
        batch.receive(socket).unwrap();
        for message in batch.messages() {
            for datagram in message.datagrams() {
                datagrams.push((message.from, datagram.to_vec()));
            }
        }
    }
    datagrams
}

fn push(batch: &mut Transmits, byte: u8, length: usize, to: Endpoint) {
    batch.spare()[..length].fill(byte);
    batch.push_data(length, to);
}

fn push_control(batch: &mut Transmits, byte: u8, length: usize, to: Endpoint) {
    batch.spare()[..length].fill(byte);
    batch.push(length, to);
}

#[test]
fn control_that_stands_behind_data_goes_first() {
    for listen in ["127.0.0.1:0", "[::]:0"] {
        let (mut sender, own) = socket(listen);
        let (receiver, address) = socket("127.0.0.1:0");
        let to = Endpoint::new(address);
        let mut batch = Transmits::new();
        push(&mut batch, 1, 500, to);
        push(&mut batch, 1, 500, to);
        push_control(&mut batch, 2, 100, to);
        push(&mut batch, 3, 500, to);
        assert_eq!(sender.send(&mut batch), Unsent::default());
        let datagrams = receive(&receiver, 4);
        let order: Vec<u8> = datagrams.iter().map(|(_, bytes)| bytes[0]).collect();
        assert_eq!(order, [2, 1, 1, 3], "{listen}");
        for (from, _) in datagrams {
            assert_eq!(from.remote.port(), own.port(), "all from one port");
        }
    }
}

/// As where the port could not be shared at the start, or an agent has handed over.
#[test]
fn control_and_a_probe_leave_together_by_a_socket_without_ways() {
    let (mut from, _) = socket("127.0.0.1:0");
    from.ways = Ways::none();
    let (to, address) = socket("127.0.0.1:0");
    let end = Endpoint::new(address);
    let mut batch = Transmits::new();
    push_control(&mut batch, 1, 100, end);
    batch.spare()[..200].fill(2);
    batch.push_probe(200, end);
    push(&mut batch, 3, 300, end);
    assert_eq!(from.send(&mut batch), Unsent::default());
    let mut lengths: Vec<usize> = receive(&to, 3).iter().map(|(_, it)| it.len()).collect();
    lengths.sort_unstable();
    assert_eq!(lengths, [100, 200, 300]);
}

#[test]
fn a_batch_of_mixed_sizes_arrives_datagram_by_datagram() {
    let (mut sender, _) = socket("127.0.0.1:0");
    let (receiver, address) = socket("127.0.0.1:0");
    let to = Endpoint::new(address);
    let sizes = [1000, 1000, 1000, 400, 1000, 80, 80, 80, 1200];
    let mut batch = Transmits::new();
    for (index, size) in sizes.iter().enumerate() {
        push(&mut batch, index as u8, *size, to);
    }
    assert_eq!(batch.parts().0.len(), 4, "1000x3+400, 1000+80, 80x2, 1200");
    assert_eq!(sender.send(&mut batch), Unsent::default());
    assert!(batch.is_empty());
    let datagrams = receive(&receiver, sizes.len());
    for (index, (_, bytes)) in datagrams.iter().enumerate() {
        assert_eq!(bytes, &vec![index as u8; sizes[index]]);
    }
}

#[test]
fn a_reply_leaves_from_the_address_that_was_dialled() {
    let (mut dialler, dialler_address) = socket("127.0.0.1:0");
    for listen in ["0.0.0.0:0", "[::]:0"] {
        let (mut listener, address) = socket(listen);
        let dialled = SocketAddr::from((Ipv4Addr::new(127, 9, 8, 7), address.port()));
        let mut batch = Transmits::new();
        push(&mut batch, 1, 100, Endpoint::new(dialled));
        dialler.send(&mut batch);
        let (from, _) = receive(&listener, 1).remove(0);
        assert_eq!(
            from,
            Endpoint {
                remote: dialler_address,
                local: Some(dialled.ip()),
                interface: from.interface,
            }
        );
        assert!(from.interface.is_some(), "by the loopback interface");
        push(&mut batch, 2, 100, from);
        push(&mut batch, 2, 100, from);
        listener.send(&mut batch);
        let (from, _) = receive(&dialler, 2).remove(1);
        assert_eq!(from.remote, dialled, "{listen}");
    }
}

#[test]
fn a_local_address_that_is_gone_does_not_stop_the_traffic() {
    let (mut sender, _) = socket("127.0.0.1:0");
    let (receiver, address) = socket("127.0.0.1:0");
    let to = Endpoint {
        remote: address,
        local: Some(Ipv4Addr::new(192, 0, 2, 1).into()),
        interface: None,
    };
    let mut batch = Transmits::new();
    push(&mut batch, 7, 100, to);
    push(&mut batch, 7, 100, to);
    let outcome = sender.send(&mut batch);
    assert_eq!(outcome, Unsent::default());
    receive(&receiver, 2);
}

#[test]
fn segmentation_that_is_off_still_sends_everything() {
    let (mut sender, _) = socket("127.0.0.1:0");
    let (receiver, address) = socket("127.0.0.1:0");
    sender
        .gso
        .fail(&io::Error::from_raw_os_error(libc::EIO), clock::now());
    let to = Endpoint::new(address);
    let mut batch = Transmits::new();
    for index in 0..10 {
        push(&mut batch, index, 500, to);
    }
    assert_eq!(sender.send(&mut batch), Unsent::default());
    assert_eq!(receive(&receiver, 10).len(), 10);
}

#[test]
fn segmentation_that_fails_is_switched_off_and_what_failed_is_sent_again() {
    let (mut sender, _) = socket("127.0.0.1:0");
    let (receiver, address) = socket("127.0.0.1:0");
    // Without checksums the kernel refuses UDP_SEGMENT (EINVAL), at run time only.
    set(&sender.fd, libc::SOL_SOCKET, libc::SO_NO_CHECK, &1).unwrap();
    assert!(sender.gso.is_on());
    let to = Endpoint::new(address);
    let mut batch = Transmits::new();
    for index in 0..10 {
        push_control(&mut batch, index, 500, to);
    }
    assert_eq!(sender.send(&mut batch), Unsent::default());
    assert_eq!(receive(&receiver, 10).len(), 10);
    assert!(
        sender.gso.to_string().contains("failed at run time"),
        "{}",
        sender.gso
    );
}

#[test]
fn an_empty_datagram_is_not_lost_without_a_word() {
    let (sender, _) = socket("127.0.0.1:0");
    let (receiver, address) = socket("127.0.0.1:0");
    let sender = std::net::UdpSocket::from(sender.fd);
    for datagram in [&[][..], &[7; 10]] {
        sender.send_to(datagram, address).unwrap();
    }
    let datagrams = receive(&receiver, 2);
    assert_eq!((datagrams[0].1.len(), datagrams[1].1.len()), (0, 10));
}

#[test]
fn more_messages_than_expected_are_sent_all_the_same() {
    let (mut sender, _) = socket("127.0.0.1:0");
    let (receiver, address) = socket("127.0.0.1:0");
    let to = Endpoint::new(address);
    let mut batch = Transmits::new();
    for index in 0..200 {
        // Each larger than the last, so that none joins another's message.
        push(&mut batch, 5, 100 + index, to);
    }
    assert_eq!(batch.parts().0.len(), 200);
    assert_eq!(sender.send(&mut batch), Unsent::default());
    assert_eq!(receive(&receiver, 200).len(), 200);
}

#[test]
fn a_socket_that_turns_away_gives_out_what_has_come_and_nothing_that_comes() {
    for listen in ["127.0.0.1:0", "[::]:0"] {
        let (mut sender, _) = socket("127.0.0.1:0");
        let (mut receiver, address) = socket(listen);
        let to = Endpoint::new(SocketAddr::from((Ipv4Addr::LOCALHOST, address.port())));
        let mut batch = Transmits::new();
        for (byte, comes) in [(1, true), (2, false)] {
            push(&mut batch, byte, 100, to);
            assert_eq!(sender.send(&mut batch), Unsent::default());
            if comes {
                receiver.turn_away().unwrap();
            }
        }
        // Loopback delivers before the call returns.
        assert_eq!(receive(&receiver, 1)[0].1, [1; 100], "{listen}");
        assert_eq!(ReceiveBatch::new().receive(&receiver).unwrap(), 0);
    }
}

#[test]
fn marks_go_with_their_datagrams_in_every_family() {
    const EF_ECT: u8 = 0xba;
    for (from, to) in [
        ("127.0.0.1:0", "127.0.0.1:0"),
        ("[::]:0", "127.0.0.1:0"),
        ("127.0.0.1:0", "[::]:0"),
        ("[::1]:0", "[::1]:0"),
        ("[::]:0", "[::1]:0"),
    ] {
        let (mut sender, _) = socket(from);
        let (receiver, mut address) = socket(to);
        if to == "[::]:0" {
            address.set_ip(Ipv4Addr::LOCALHOST.into());
        }
        let end = Endpoint::new(address);
        let mut batch = Transmits::new();
        batch.set_dscp(DscpModel::Uniform);
        // Each mark twice, so that a run of them goes out in one call.
        let all = [0, 0, EF_ECT, EF_ECT, 0x03, 0x03, 0];
        for marks in all {
            batch.spare()[..300].fill(marks);
            batch.push_packet(300, end, &[0x45, marks]);
        }
        assert_eq!(batch.parts().0.len(), 4, "runs of one mark");
        assert_eq!(sender.send(&mut batch), Unsent::default());
        let deadline = clock::now() + Duration::from_secs(2);
        let mut received = ReceiveBatch::new();
        let mut marks = Vec::new();
        while marks.len() < all.len() && clock::now() < deadline {
            received.receive(&receiver).unwrap();
            for run in received.messages() {
                marks.extend(run.datagrams().map(|datagram| (run.marks, datagram[0])));
            }
        }
        assert_eq!(marks, all.map(|mark| (mark, mark)), "{from} to {to}");
    }
}
