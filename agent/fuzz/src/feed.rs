//! An input as a sequence of choices. It never ends with an error: what is missing is zero, so that each
//! prefix of an input is one, too.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// What is left of an input.
pub(super) struct Feed<'a>(&'a [u8]);

impl<'a> Feed<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let taken = self.bytes(N);
        array[..taken.len()].copy_from_slice(taken);
        array
    }

    pub(super) fn u8(&mut self) -> u8 {
        u8::from_le_bytes(self.array())
    }

    pub(super) fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    pub(super) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    pub(super) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    pub(super) fn bool(&mut self) -> bool {
        self.u8() & 1 == 1
    }

    /// One of `values`.
    pub(super) fn of<T: Copy>(&mut self, values: &[T]) -> T {
        values[usize::from(self.u8()) % values.len()]
    }

    /// As many of the next `length` bytes as there are.
    pub(super) fn bytes(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// Bytes with their number in front.
    pub(super) fn chunk(&mut self) -> &'a [u8] {
        let length = self.u16();
        self.bytes(length.into())
    }

    /// All that is left.
    pub(super) fn rest(&mut self) -> &'a [u8] {
        self.bytes(usize::MAX)
    }

    /// Up to 65 s or, rarely, up to 4 hours.
    pub(super) fn span(&mut self) -> Duration {
        let milliseconds = u64::from(self.u16());
        match milliseconds & 0xf {
            0xf => Duration::from_millis(milliseconds * 256),
            _ => Duration::from_millis(milliseconds),
        }
    }

    pub(super) fn v4(&mut self) -> Ipv4Addr {
        self.array::<4>().into()
    }

    pub(super) fn v6(&mut self) -> Ipv6Addr {
        self.array::<16>().into()
    }
}

/// Writes what a [`Feed`] reads.
#[derive(Default)]
pub(super) struct Script(Vec<u8>);

impl Script {
    pub(super) fn u8(mut self, number: u8) -> Self {
        self.0.push(number);
        self
    }

    pub(super) fn u16(mut self, number: u16) -> Self {
        self.0.extend(number.to_le_bytes());
        self
    }

    pub(super) fn u32(mut self, number: u32) -> Self {
        self.0.extend(number.to_le_bytes());
        self
    }

    pub(super) fn u64(mut self, number: u64) -> Self {
        self.0.extend(number.to_le_bytes());
        self
    }

    pub(super) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    pub(super) fn chunk(self, bytes: &[u8]) -> Self {
        let length = bytes.len() as u16;
        self.u16(length).bytes(bytes)
    }

    pub(super) fn end(self) -> Vec<u8> {
        self.0
    }
}
