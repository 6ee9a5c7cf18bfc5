//! Flags of TCP, in byte 13 of its header (RFC 9293, 3.1).

/// No more data from the sender.
pub const FIN: u8 = 0x01;
/// A connection begins.
pub const SYN: u8 = 0x02;
/// A connection is reset.
pub const RST: u8 = 0x04;
/// To be handed on at once.
pub const PSH: u8 = 0x08;
/// The acknowledgement counts.
pub const ACK: u8 = 0x10;
/// The urgent pointer counts.
pub const URG: u8 = 0x20;
