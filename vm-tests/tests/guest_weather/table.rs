//! The weathers.

use std::ops::RangeInclusive;

/// What one way does to packets, and what must come of it.
#[derive(Clone, Debug)]
pub(super) struct Sky {
    /// In netem's words.
    pub(super) netem: &'static str,
    /// The share of datagrams that netem drops.
    pub(super) lost: RangeInclusive<f64>,
    pub(super) brings: Brings,
}

/// What else than loss comes of a weather.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Brings {
    /// Nothing.
    Nothing,
    /// Packets that come twice.
    Doubles,
    /// Bits that flip, which the kernel finds by its checksums.
    FlippedBits,
    /// Bits that flip, with the kernel's checksums out of the way: WireGuard's own must find them.
    FlippedBitsUnseen,
}

/// One line of the table.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) there: Sky,
    pub(super) back: Sky,
    /// The way back is by another WAN.
    pub(super) detour: bool,
    /// What TCP moves each way: as much as this weather lets through in a few seconds.
    pub(super) tcp_kib: u64,
}

const fn sky(netem: &'static str, lost: RangeInclusive<f64>, brings: Brings) -> Sky {
    Sky {
        netem,
        lost,
        brings,
    }
}

/// Weather that only delays.
const fn slow(netem: &'static str) -> Sky {
    sky(netem, 0.0..=0.0, Brings::Nothing)
}

/// Weather that loses.
const fn lossy(netem: &'static str, lost: RangeInclusive<f64>) -> Sky {
    sky(netem, lost, Brings::Nothing)
}

const fn same(name: &'static str, tcp_kib: u64, there: Sky, back: Sky) -> Row {
    Row {
        name,
        there,
        back,
        detour: false,
        tcp_kib,
    }
}

/// Of 600 datagrams: the ranges hold with more than five standard deviations.
#[rustfmt::skip]
pub(super) const ROWS: [Row; 17] = [
    same("calm", 1024, slow(""), slow("")),
    same("delay 5 ms", 1024, slow("delay 5ms"), slow("delay 5ms")),
    same("delay 200 ms", 256, slow("delay 200ms"), slow("delay 200ms")),
    same("jitter, with overtaking", 512, slow("delay 50ms 20ms"), slow("delay 50ms 20ms")),
    same("reordering", 512, slow("delay 10ms reorder 25% 50%"), slow("delay 10ms reorder 25% 50%")),
    same("loss 0.1 %", 1024, lossy("loss 0.1%", 0.0..=0.012), lossy("loss 0.1%", 0.0..=0.012)),
    same("loss 1 %, delay 20 ms", 512, lossy("delay 20ms loss 1%", 0.0..=0.04), lossy("delay 20ms loss 1%", 0.0..=0.04)),
    same("loss 5 %", 512, lossy("loss 5%", 0.01..=0.1), lossy("loss 5%", 0.01..=0.1)),
    same("loss in bursts", 512, lossy("loss gemodel 1% 25%", 0.0..=0.15), lossy("loss gemodel 1% 25%", 0.0..=0.15)),
    same("duplicates 5 %", 1024, sky("duplicate 5%", 0.0..=0.0, Brings::Doubles), sky("duplicate 5%", 0.0..=0.0, Brings::Doubles)),
    same("flipped bits 5 %", 256, sky("corrupt 5%", 0.0..=0.0, Brings::FlippedBits), sky("corrupt 5%", 0.0..=0.0, Brings::FlippedBits)),
    same("flipped bits 5 %, no checksums", 256, sky("corrupt 5%", 0.0..=0.0, Brings::FlippedBitsUnseen), sky("corrupt 5%", 0.0..=0.0, Brings::FlippedBitsUnseen)),
    same("20 Mbit/s", 1024, slow("rate 20mbit"), slow("rate 20mbit")),
    same("1 Mbit/s and a short queue", 192, lossy("rate 1mbit limit 30", 0.02..=0.95), lossy("rate 1mbit limit 30", 0.02..=0.95)),
    same("slow and lossy only back", 256, slow("delay 5ms"), lossy("delay 120ms 10ms loss 2%", 0.0..=0.06)),
    Row { detour: true, ..same("back by another WAN", 256, slow("delay 10ms"), lossy("delay 80ms loss 1%", 0.0..=0.04)) },
    same("storm", 256, sky("delay 40ms 10ms loss 2% duplicate 3%", 0.0..=0.06, Brings::Doubles), lossy("delay 60ms 30ms loss 3%", 0.002..=0.08)),
];
