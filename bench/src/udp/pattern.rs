//! Sizes of datagrams in their order.

/// Datagrams that are sent at once: runs of one size, each a flow of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    runs: &'static [Run],
}

/// Datagrams of one size, in bytes of payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) payload: usize,
    pub(super) count: usize,
}

/// Flows of a load; few enough to see each one's order, more than one so that no per-flow shortcut
/// carries it.
pub(super) const FLOWS: usize = 4;

const fn run(payload: usize, count: usize) -> Run {
    Run { payload, count }
}

const fn even(payload: usize) -> [Run; FLOWS] {
    // Short runs: a longer one would be a gift to those who batch.
    [run(payload, 4); FLOWS]
}

const EVEN_64: &[Run] = &even(64);
const EVEN_512: &[Run] = &even(512);
const EVEN_1380: &[Run] = &even(1380);
const IMIX: &[Run] = &[run(64, 7), run(594, 4), run(1380, 1)];

impl Pattern {
    /// 64, 594 and 1380 bytes, 7 : 4 : 1.
    pub(crate) const IMIX: Self = Self { runs: IMIX };
    /// What runs beside a latency measurement.
    pub(crate) const BACKGROUND: Self = Self { runs: EVEN_512 };

    /// Datagrams of one size.
    pub(crate) fn of(payload: usize) -> Self {
        let runs = match payload {
            64 => EVEN_64,
            512 => EVEN_512,
            1380 => EVEN_1380,
            _ => panic!("no load has datagrams of {payload} bytes"),
        };
        Self { runs }
    }

    pub(super) fn runs(self) -> &'static [Run] {
        self.runs
    }

    /// Datagrams of one burst.
    pub(super) fn datagrams(self) -> usize {
        self.runs.iter().map(|run| run.count).sum()
    }

    /// Mean payload in bytes.
    pub(crate) fn mean_payload(self) -> f64 {
        let bytes: usize = self.runs.iter().map(|run| run.payload * run.count).sum();
        bytes as f64 / self.datagrams() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imix_is_the_mix_it_says_it_is() {
        assert_eq!(Pattern::IMIX.datagrams(), 12);
        let mean = Pattern::IMIX.mean_payload();
        assert!((mean - 350.33).abs() < 0.01, "{mean}");
        assert!(Pattern::IMIX.runs().len() <= FLOWS);
        assert_eq!(Pattern::of(64).datagrams(), 16);
    }
}
