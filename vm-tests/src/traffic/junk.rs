//! Datagrams that are no WireGuard, or none for whom they reach.

/// One datagram of each kind. `unknown_receiver` is an index that the gateway has given to nobody.
pub fn junk(unknown_receiver: u32) -> [Vec<u8>; 10] {
    let message = |kind: u8, length: usize, receiver_at: usize| {
        let mut bytes = vec![0x5a; length];
        bytes[..4].copy_from_slice(&[kind, 0, 0, 0]);
        bytes[receiver_at..receiver_at + 4].copy_from_slice(&unknown_receiver.to_le_bytes());
        bytes
    };
    let mut reserved = message(4, 64, 4);
    reserved[2] = 1;
    [
        Vec::new(),
        message(4, 31, 4),
        message(0, 64, 4),
        message(5, 1200, 4),
        reserved,
        // An initiation has 148 bytes, a cookie reply 64.
        message(1, 149, 4),
        message(3, 63, 4),
        // Data and a response for a session that nobody has.
        message(4, 1200, 4),
        message(2, 92, 8),
        // An initiation that looks right.
        message(1, 148, 4),
    ]
}
