//! VRRPv3 (RFC 5798) without I/O: [`packet`] is the advertisement on the wire, [`router`] the state machine of
//! one virtual router, [`frame`] and [`announce`] the frames that hosts and switches see, [`track`] what takes
//! off the priority.

pub mod announce;
pub mod frame;
pub mod packet;
pub mod router;
pub mod track;

use std::time::Duration;

/// Time between advertisements, in hundredths of a second: 1 to 4095, what 12 bits hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interval(u16);

impl Interval {
    /// The longest.
    pub const LONGEST: Self = Self(4095);

    /// `None` for what a packet cannot say, or no interval at all.
    pub const fn from_centiseconds(centiseconds: u16) -> Option<Self> {
        match centiseconds {
            1..=4095 => Some(Self(centiseconds)),
            _ => None,
        }
    }

    /// Hundredths of a second.
    pub const fn centiseconds(self) -> u16 {
        self.0
    }

    /// As a span of time.
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0 as u64 * 10)
    }
}

/// The address owner's priority (RFC 5798, 5.2.4): always master while it runs.
pub const OWNER: u8 = 255;
/// Priority of the advertisement by which a master stops.
pub const RELEASE: u8 = 0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_has_twelve_bits_and_is_never_nothing() {
        assert_eq!(Interval::from_centiseconds(0), None);
        assert_eq!(Interval::from_centiseconds(4096), None);
        let shortest = Interval::from_centiseconds(1).unwrap();
        assert_eq!(shortest.duration(), Duration::from_millis(10));
        assert_eq!(Interval::LONGEST.duration(), Duration::from_millis(40_950));
    }
}
