//! Packets that wait for a handshake.

use std::collections::VecDeque;

use datapath_abi::outcome::Tally;

/// Packets that wait for one session; about what a TCP start of a few connections sends.
const MAX_PACKETS: usize = 256;

/// A bounded queue of packets.
#[derive(Debug, Default)]
pub(super) struct PacketQueue(VecDeque<Vec<u8>>);

impl PacketQueue {
    /// Takes a copy, unless too many wait already.
    pub(super) fn push(&mut self, packet: &[u8]) -> bool {
        let room = self.0.len() < MAX_PACKETS;
        if room {
            self.0.push_back(packet.to_vec());
        }
        room
    }

    /// The one that has waited longest.
    pub(super) fn front(&self) -> Option<&[u8]> {
        self.0.front().map(Vec::as_slice)
    }

    /// Forgets that one.
    pub(super) fn pop(&mut self) {
        self.0.pop_front();
    }

    /// Whether none waits.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many wait.
    pub(super) fn tally(&self) -> Tally {
        Tally {
            packets: self.0.len() as u64,
            bytes: self.0.iter().map(|packet| packet.len() as u64).sum(),
        }
    }

    /// Gives up every packet: how many they were.
    pub(super) fn clear(&mut self) -> Tally {
        let tally = self.tally();
        self.0.clear();
        tally
    }
}
