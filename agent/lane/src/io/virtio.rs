//! The header in front of every packet that crosses the TUN: `struct virtio_net_hdr`
//! (Virtio 1.2, 5.1.6; Linux `include/uapi/linux/virtio_net.h`), in native byte order.

/// Bytes of the header on the wire.
pub const HEADER_LEN: usize = 10;

/// The checksum at `csum_start + csum_offset` is the pseudo header's only: finish it.
pub const NEEDS_CSUM: u8 = 1;

/// `gso_type` without the ECN bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GsoType {
    /// One packet.
    None,
    /// TCP over IPv4.
    Tcp4,
    /// TCP over IPv6.
    Tcp6,
    /// UDP datagrams of one size behind one header (kernel 6.2 for TUN).
    UdpL4,
}

const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;
/// Set beside the type where segments carry ECN bits; it changes nothing for us.
const GSO_ECN: u8 = 0x80;

/// `struct virtio_net_hdr`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// [`NEEDS_CSUM`] or 0.
    pub flags: u8,
    /// What the packet is to be cut into.
    pub gso: GsoType,
    /// Bytes of headers in front of the payload; a hint.
    pub header_len: u16,
    /// Payload bytes of each segment.
    pub gso_size: u16,
    /// Where summing starts: the transport header.
    pub csum_start: u16,
    /// Where the sum goes, counted from `csum_start`.
    pub csum_offset: u16,
}

impl Header {
    /// The header of a packet that needs nothing.
    pub const PLAIN: Self = Self {
        flags: 0,
        gso: GsoType::None,
        header_len: 0,
        gso_size: 0,
        csum_start: 0,
        csum_offset: 0,
    };

    /// Reads the header; `None` for a GSO type that we never asked the kernel for.
    pub fn decode(bytes: [u8; HEADER_LEN]) -> Option<Self> {
        let word = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
        let gso = match bytes[1] & !GSO_ECN {
            GSO_NONE => GsoType::None,
            GSO_TCPV4 => GsoType::Tcp4,
            GSO_TCPV6 => GsoType::Tcp6,
            GSO_UDP_L4 => GsoType::UdpL4,
            _ => return None,
        };
        Some(Self {
            flags: bytes[0],
            gso,
            header_len: word(2),
            gso_size: word(4),
            csum_start: word(6),
            csum_offset: word(8),
        })
    }

    /// Writes the header.
    pub fn encode(self) -> [u8; HEADER_LEN] {
        let gso = match self.gso {
            GsoType::None => GSO_NONE,
            GsoType::Tcp4 => GSO_TCPV4,
            GsoType::Tcp6 => GSO_TCPV6,
            GsoType::UdpL4 => GSO_UDP_L4,
        };
        let mut bytes = [0; HEADER_LEN];
        bytes[0] = self.flags;
        bytes[1] = gso;
        for (at, word) in [
            (2, self.header_len),
            (4, self.gso_size),
            (6, self.csum_start),
            (8, self.csum_offset),
        ] {
            bytes[at..at + 2].copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }
}

/// Where the checksum is that holds the pseudo header's sum only.
#[inline]
pub fn unfinished_checksum(header: &Header) -> Option<usize> {
    (header.flags & NEEDS_CSUM != 0)
        .then(|| usize::from(header.csum_start) + usize::from(header.csum_offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_survives_the_wire_and_the_ecn_bit_is_ignored() {
        let header = Header {
            flags: NEEDS_CSUM,
            gso: GsoType::Tcp6,
            header_len: 72,
            gso_size: 1348,
            csum_start: 40,
            csum_offset: 16,
        };
        let mut bytes = header.encode();
        assert_eq!(Header::decode(bytes), Some(header));
        bytes[1] |= GSO_ECN;
        assert_eq!(Header::decode(bytes), Some(header));
        bytes[1] = 3;
        assert_eq!(Header::decode(bytes), None, "UFO was never offered");
    }
}
