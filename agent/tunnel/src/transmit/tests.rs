use super::*;

fn far(number: u8) -> Endpoint {
    Endpoint::new((std::net::Ipv4Addr::new(192, 0, 2, number), 51820).into())
}

/// Datagrams and bytes of each transmit.
fn waiting(batch: &Transmits) -> Vec<(usize, usize)> {
    let (transmits, _) = batch.parts();
    transmits
        .iter()
        .map(|one| (one.count, one.bytes()))
        .collect()
}

fn batch_of(lengths: &[usize]) -> Transmits {
    let mut batch = Transmits::new();
    for length in lengths {
        batch.push_data(*length, far(1));
    }
    batch
}

#[test]
fn datagrams_of_one_size_are_one_transmit_which_a_shorter_one_ends() {
    assert_eq!(
        waiting(&batch_of(&[100, 100, 40, 100])),
        [(3, 240), (1, 100)]
    );
    assert_eq!(waiting(&batch_of(&[100, 101])), [(1, 100), (1, 101)]);
    let batch = batch_of(&[100; 130]);
    assert_eq!(waiting(&batch), [(64, 6400), (64, 6400), (2, 200)]);
    assert_eq!(batch.bytes(), 13_000);
    // As many bytes as the kernel takes at once, and not one more.
    assert_eq!(waiting(&batch_of(&[13_000; 6])), [(5, 65_000), (1, 13_000)]);
}

#[test]
fn what_differs_in_endpoint_load_or_marks_does_not_share_a_transmit() {
    let mut batch = Transmits::new();
    batch.push_data(100, far(1));
    batch.push_data(100, far(2));
    batch.push(100, far(2));
    batch.push(100, far(2));
    // Capable of ECN, and of another class, which shows where that is wanted.
    let packet = [0x45, 0xb9];
    batch.push_packet(100, far(2), &packet);
    batch.set_dscp(DscpModel::Uniform);
    batch.push_packet(100, far(2), &packet);
    let (transmits, _) = batch.parts();
    let kinds: Vec<_> = transmits
        .iter()
        .map(|one| (one.to, one.load, one.marks, one.count))
        .collect();
    let expected = [
        (far(1), Load::Data, 0, 1),
        (far(2), Load::Data, 0, 1),
        (far(2), Load::Control, 0, 2),
        (far(2), Load::Data, 0x01, 1),
        (far(2), Load::Data, 0xb9, 1),
    ];
    assert_eq!(kinds, expected);
}

#[test]
fn each_datagram_is_taken_out_as_it_was_written() {
    let mut batch = Transmits::new();
    let written: Vec<Vec<u8>> = [30, 30, 7, 31]
        .iter()
        .map(|length| vec![*length as u8; *length])
        .collect();
    for datagram in &written {
        batch.spare()[..datagram.len()].copy_from_slice(datagram);
        batch.push(datagram.len(), far(1));
    }
    assert!(!batch.is_empty());
    let taken: Vec<Vec<u8>> = batch
        .take_datagrams()
        .into_iter()
        .map(|(_, bytes)| bytes)
        .collect();
    assert_eq!(taken, written);
    assert!(batch.is_empty());
    assert_eq!((batch.bytes(), waiting(&batch)), (0, vec![]));
    let single = batch_of(&[50, 20]).parts().0[0]
        .singles()
        .map(|one| (one.start, one.end, one.count));
    assert_eq!(single.collect::<Vec<_>>(), [(0, 50, 1), (50, 70, 1)]);
}

#[test]
fn there_is_room_for_what_certainly_fits() {
    let mut batch = Transmits::new();
    assert!(batch.has_room(64 * 63, 0));
    assert!(
        !batch.has_room(64 * 63 + 1, 0),
        "a transmit may be open already"
    );
    assert!(batch.has_room(1, PAYLOAD_BYTES));
    assert!(!batch.has_room(1, PAYLOAD_BYTES + 1));
    batch.push_data(1000, far(1));
    assert!(batch.has_room(1, PAYLOAD_BYTES - 1000));
    assert!(!batch.has_room(1, PAYLOAD_BYTES - 999));
    for number in 2..=62 {
        batch.push_data(10, far(number));
    }
    assert!(batch.has_room(64, 65_000));
    assert!(!batch.has_room(65, 100));
    assert!(!batch.has_room(2, 65_001));
    batch.push_data(10, far(63));
    assert!(!batch.has_room(1, 10));
}
