//! The bytes of a state that goes from one agent to the next: integers are little-endian, and times
//! are told by how far they are from now, for no two processes share an [`Instant`].
//!
//! The bytes hold session keys, so no copy of them outlives its use.

use std::fmt;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

/// Room at the start: a lane with some sessions.
const ROOM: usize = 64 * 1024;

/// Writes a state as of one moment.
pub struct Writer {
    bytes: Zeroizing<Vec<u8>>,
    now: Instant,
}

/// Reads what a [`Writer`] wrote.
#[derive(Clone)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    now: Instant,
}

/// The bytes are not what was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged;

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the state from the previous agent is damaged")
    }
}

impl std::error::Error for Damaged {}

impl Writer {
    /// A state as of `now`.
    pub fn new(now: Instant) -> Self {
        Self {
            bytes: Zeroizing::new(Vec::with_capacity(ROOM)),
            now,
        }
    }

    /// What has been written.
    pub fn finish(self) -> Zeroizing<Vec<u8>> {
        self.bytes
    }

    /// Appends bytes whose number the reader knows.
    pub fn bytes(&mut self, bytes: &[u8]) {
        let needed = self.bytes.len() + bytes.len();
        if needed > self.bytes.capacity() {
            // Not by `Vec` itself, which would leave the old bytes in freed memory.
            let mut larger = Zeroizing::new(Vec::with_capacity(2 * needed));
            larger.extend_from_slice(&self.bytes);
            self.bytes = larger;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends a number.
    pub fn u64(&mut self, number: u64) {
        self.bytes(&number.to_le_bytes());
    }

    /// Appends a number.
    pub fn u32(&mut self, number: u32) {
        self.bytes(&number.to_le_bytes());
    }

    /// Appends a number.
    pub fn u16(&mut self, number: u16) {
        self.bytes(&number.to_le_bytes());
    }

    /// Appends yes or no.
    pub fn bool(&mut self, yes: bool) {
        self.bytes(&[yes.into()]);
    }

    /// Appends a span.
    pub fn duration(&mut self, span: Duration) {
        self.u64(span.as_nanos() as u64);
    }

    /// Appends a time, past or to come.
    pub fn instant(&mut self, time: Instant) {
        let ago = self.now.saturating_duration_since(time);
        let ahead = time.saturating_duration_since(self.now);
        self.duration(ago);
        self.duration(ahead);
    }

    /// Appends something or nothing.
    pub fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.bool(value.is_some());
        if let Some(value) = value {
            write(self, value);
        }
    }

    /// Appends a part with its length in front, which a reader that has no use for it passes over.
    pub fn part(&mut self, write: impl FnOnce(&mut Self)) {
        let at = self.bytes.len();
        self.u32(0);
        write(self);
        let length = (self.bytes.len() - at - size_of::<u32>()) as u32;
        self.bytes[at..at + size_of::<u32>()].copy_from_slice(&length.to_le_bytes());
    }
}

impl<'a> Reader<'a> {
    /// Reads `bytes`, where `now` is the moment for which they were written.
    pub fn new(bytes: &'a [u8], now: Instant) -> Self {
        Self { bytes, now }
    }

    /// The moment for which it was written.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Whether all has been read.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// So many bytes.
    pub fn bytes(&mut self, length: usize) -> Result<&'a [u8], Damaged> {
        let (bytes, rest) = self.bytes.split_at_checked(length).ok_or(Damaged)?;
        self.bytes = rest;
        Ok(bytes)
    }

    /// An array.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Damaged> {
        let (bytes, rest) = self.bytes.split_first_chunk().ok_or(Damaged)?;
        self.bytes = rest;
        Ok(*bytes)
    }

    /// A number.
    pub fn u64(&mut self) -> Result<u64, Damaged> {
        self.array().map(u64::from_le_bytes)
    }

    /// A number.
    pub fn u32(&mut self) -> Result<u32, Damaged> {
        self.array().map(u32::from_le_bytes)
    }

    /// A number.
    pub fn u16(&mut self) -> Result<u16, Damaged> {
        self.array().map(u16::from_le_bytes)
    }

    /// Yes or no.
    pub fn bool(&mut self) -> Result<bool, Damaged> {
        match self.array()? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(Damaged),
        }
    }

    /// A span.
    pub fn duration(&mut self) -> Result<Duration, Damaged> {
        self.u64().map(Duration::from_nanos)
    }

    /// A time. One from before this machine's clock began is the earliest that there is.
    pub fn instant(&mut self) -> Result<Instant, Damaged> {
        let (ago, ahead) = (self.duration()?, self.duration()?);
        let time = self.now.checked_sub(ago).unwrap_or(self.now);
        time.checked_add(ahead).ok_or(Damaged)
    }

    /// Something or nothing.
    pub fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Damaged>,
    ) -> Result<Option<T>, Damaged> {
        if self.bool()? {
            read(self).map(Some)
        } else {
            Ok(None)
        }
    }

    /// A part that was written with its length.
    pub fn part(&mut self) -> Result<Reader<'a>, Damaged> {
        let length = self.u32()? as usize;
        let bytes = self.bytes(length)?;
        Ok(Reader {
            bytes,
            now: self.now,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossway_sys::clock;

    #[test]
    fn what_is_written_is_read_and_times_keep_their_distance_from_now() {
        let now = clock::now() + Duration::from_hours(1);
        let mut writer = Writer::new(now);
        writer.option(Some(7), Writer::u32);
        writer.option(None, Writer::u32);
        writer.part(|part| part.bytes(&vec![1; 100_000]));
        writer.instant(now.checked_sub(Duration::from_secs(3)).unwrap());
        writer.instant(now + Duration::from_secs(4));
        let bytes = writer.finish();

        let later = now + Duration::from_secs(100);
        let mut reader = Reader::new(&bytes, later);
        assert_eq!(reader.option(Reader::u32), Ok(Some(7)));
        assert_eq!(reader.option(Reader::u32), Ok(None));
        assert!(!reader.part().unwrap().is_empty());
        assert_eq!(
            reader.instant(),
            Ok(later.checked_sub(Duration::from_secs(3)).unwrap())
        );
        assert_eq!(reader.instant(), Ok(later + Duration::from_secs(4)));
        assert!(reader.is_empty());
    }

    #[test]
    fn bytes_that_end_early_are_an_error_and_no_panic() {
        let now = clock::now();
        let mut writer = Writer::new(now);
        writer.part(|part| part.option(Some(7), Writer::u64));
        let bytes = writer.finish();
        for length in 0..bytes.len() {
            let mut reader = Reader::new(&bytes[..length], now);
            assert_eq!(reader.part().map(drop), Err(Damaged), "{length}");
        }
        assert_eq!(Reader::new(&[2], now).bool(), Err(Damaged));
        assert_eq!(
            Reader::new(&[9, 9, 9, 9], now).part().map(drop),
            Err(Damaged)
        );
    }
}
