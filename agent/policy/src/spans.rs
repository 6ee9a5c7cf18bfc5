//! Sets of numbers as spans, with the arithmetic of sets. Addresses and ports are such numbers.

/// Sorted spans from first to last number, which neither overlap nor touch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Spans(Vec<(u128, u128)>);

impl Spans {
    /// Of spans in any order.
    pub(crate) fn new(spans: impl IntoIterator<Item = (u128, u128)>) -> Self {
        let mut spans: Vec<_> = spans.into_iter().collect();
        spans.sort_unstable();
        let mut merged: Vec<(u128, u128)> = Vec::with_capacity(spans.len());
        for (first, last) in spans {
            match merged.last_mut() {
                Some(before) if before.1 >= first || before.1 + 1 == first => {
                    before.1 = before.1.max(last);
                }
                _ => merged.push((first, last)),
            }
        }
        Self(merged)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The lowest number.
    pub(crate) fn first(&self) -> Option<u128> {
        self.0.first().map(|span| span.0)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u128, u128)> {
        self.0.iter().copied()
    }

    /// What is in both; fast where one of them is small.
    pub(crate) fn and(&self, other: &Self) -> Self {
        let (few, many) = if self.0.len() <= other.0.len() {
            (&self.0, &other.0)
        } else {
            (&other.0, &self.0)
        };
        let mut common = Vec::new();
        for (first, last) in few {
            let begin = many.partition_point(|span| span.1 < *first);
            let touched = many[begin..].iter().take_while(|span| span.0 <= *last);
            common.extend(touched.map(|span| (span.0.max(*first), span.1.min(*last))));
        }
        Self(common)
    }

    /// What is in this and not in the other; fast where this is small.
    pub(crate) fn without(&self, other: &Self) -> Self {
        let mut left = Vec::new();
        for (first, last) in &self.0 {
            let mut next = Some(*first);
            let begin = other.0.partition_point(|span| span.1 < *first);
            for span in other.0[begin..].iter().take_while(|span| span.0 <= *last) {
                if let Some(from) = next.filter(|from| *from < span.0) {
                    left.push((from, span.0 - 1));
                }
                next = span.1.checked_add(1);
            }
            if let Some(from) = next.filter(|from| from <= last) {
                left.push((from, *last));
            }
        }
        Self(left)
    }

    /// Blocks that are aligned to a power of two and make up the set: first number, and how many
    /// bits of `width` are the same in all of a block.
    pub(crate) fn blocks(&self, width: u32) -> Vec<(u128, u32)> {
        let mut blocks = Vec::new();
        for (first, last) in &self.0 {
            let mut next = Some(*first);
            while let Some(from) = next.filter(|from| from <= last) {
                let fits = (last - from).checked_add(1).map_or(u128::BITS, u128::ilog2);
                let bits = from.trailing_zeros().min(fits).min(width);
                blocks.push((from, width - bits));
                next = 1_u128
                    .checked_shl(bits)
                    .and_then(|size| from.checked_add(size));
            }
        }
        blocks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(list: &[(u128, u128)]) -> Spans {
        Spans::new(list.iter().copied())
    }

    #[test]
    fn spans_that_touch_or_overlap_are_one() {
        assert_eq!(
            spans(&[(5, 9), (0, 2), (3, 4), (8, 12)]),
            Spans(vec![(0, 12)])
        );
        let whole = spans(&[(0, u128::MAX), (7, u128::MAX)]);
        assert_eq!(whole, Spans(vec![(0, u128::MAX)]));
    }

    #[test]
    fn arithmetic_agrees_with_that_of_every_number() {
        let of = |bits: u32| {
            let set = (0..12).filter(|n| bits >> n & 1 == 1);
            Spans::new(set.map(|n| (n, n)))
        };
        for a in (0..1 << 12).step_by(37) {
            for b in (0..1 << 12).step_by(41) {
                assert_eq!(of(a).and(&of(b)), of(a & b));
                assert_eq!(of(a).without(&of(b)), of(a & !b));
            }
        }
        let whole = spans(&[(0, u128::MAX)]);
        let edges = spans(&[(0, 0), (u128::MAX, u128::MAX)]);
        assert_eq!(whole.without(&edges), spans(&[(1, u128::MAX - 1)]));
        assert_eq!(whole.without(&whole), Spans::default());
    }

    #[test]
    fn blocks_are_aligned_and_make_up_the_set() {
        assert_eq!(spans(&[(0, u128::MAX)]).blocks(128), [(0, 0)]);
        assert_eq!(spans(&[(0, 255)]).blocks(8), [(0, 0)]);
        assert_eq!(spans(&[(1, 6)]).blocks(8), [(1, 8), (2, 7), (4, 7), (6, 8)]);
        let last = u128::MAX;
        assert_eq!(
            spans(&[(last - 2, last)]).blocks(128),
            [(last - 2, 128), (last - 1, 127)]
        );
    }
}
