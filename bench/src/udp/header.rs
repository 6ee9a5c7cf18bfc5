//! What each datagram starts with: trial, flow and number, so that the far end can tell loss from
//! reordering, and stragglers of an earlier trial from both.

/// Bytes of the header; no payload is shorter.
pub(super) const BYTES: usize = 16;

/// Header of one datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) trial: u32,
    pub(super) flow: u32,
    /// Counted from 1 in each flow of each trial.
    pub(super) number: u64,
}

impl Header {
    pub(super) fn write(self, payload: &mut [u8]) {
        payload[..4].copy_from_slice(&self.trial.to_le_bytes());
        payload[4..8].copy_from_slice(&self.flow.to_le_bytes());
        payload[8..BYTES].copy_from_slice(&self.number.to_le_bytes());
    }

    /// `None` for what is too short.
    pub(super) fn read(payload: &[u8]) -> Option<Self> {
        let head: &[u8; BYTES] = payload.first_chunk()?;
        let [t0, t1, t2, t3, f0, f1, f2, f3, number @ ..] = *head;
        Some(Self {
            trial: u32::from_le_bytes([t0, t1, t2, t3]),
            flow: u32::from_le_bytes([f0, f1, f2, f3]),
            number: u64::from_le_bytes(number),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_survives_the_wire() {
        let header = Header {
            trial: 7,
            flow: 3,
            number: u64::from(u32::MAX) + 5,
        };
        let mut payload = [0xff; 64];
        header.write(&mut payload);
        assert_eq!(Header::read(&payload), Some(header));
        assert_eq!(Header::read(&payload[..15]), None);
    }
}
