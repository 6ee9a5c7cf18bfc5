//! Which size is tried next.

/// What every path is expected to carry: with it IPv6 works inside (RFC 8200, 5; the BASE_PLPMTU of RFC 8899).
pub(super) const BASE: u16 = 1280;
/// What Ethernet leaves in a tunnel over IPv6: paths that take more than it are rare, paths that take just it are not.
const ETHERNET: u16 = 1420;
/// What is assumed where nothing passes that was tried: every IPv4 host takes it (RFC 791).
pub(super) const LEAST: u16 = 576;

/// The sizes between which the limit lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Search {
    /// Passes, or is taken to.
    pub(super) good: u16,
    /// Does not pass, or is beyond what may be tried.
    pub(super) bad: u16,
    /// The most that may be tried.
    most: u16,
    /// `good` was the limit before: whether that has moved at all is asked first.
    raises: bool,
}

impl Search {
    /// From nothing known, below a size that does not pass.
    pub(super) fn below(bad: u16, most: u16) -> Self {
        Self {
            good: LEAST,
            bad: bad.min(most.saturating_add(1)),
            most,
            raises: false,
        }
    }

    /// From a size that passes upwards.
    pub(super) fn above(good: u16, most: u16) -> Self {
        Self {
            good: good.min(most),
            bad: most.saturating_add(1),
            most,
            raises: true,
        }
    }

    /// Whether it only asks if a limit that was known has moved.
    pub(super) fn raises(self) -> bool {
        self.raises
    }

    /// The size to be tried now; `None` where the limit is known.
    pub(super) fn candidate(self) -> Option<u16> {
        let Self { good, bad, .. } = self;
        if good.saturating_add(1) >= bad {
            return None;
        }
        let within = |size: &u16| (good + 1..bad).contains(size);
        if within(&self.most) {
            return Some(self.most);
        }
        if self.raises || good == ETHERNET {
            return Some(good + 1);
        }
        let usual = [BASE, ETHERNET].into_iter().find(within);
        usual.or_else(|| Some(good.midpoint(bad)))
    }

    /// A size passes.
    pub(super) fn on_passed(&mut self, size: u16) {
        // The limit has moved: it is looked for.
        self.raises = false;
        self.good = self.good.max(size);
    }

    /// A size does not pass.
    pub(super) fn on_failed(&mut self, size: u16) {
        self.bad = self.bad.min(size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sizes that are tried on a path, and what is found.
    fn sizes(mut search: Search, path: u16) -> (Vec<u16>, u16) {
        let mut tried = Vec::new();
        while let Some(size) = search.candidate() {
            tried.push(size);
            assert!(tried.len() < 24, "{tried:?}");
            if size <= path {
                search.on_passed(size);
            } else {
                search.on_failed(size);
            }
        }
        (tried, search.good)
    }

    #[test]
    fn every_limit_is_found_to_the_byte() {
        for most in [576, 577, 1279, 1280, 1281, 1420, 1440, 8920, 65_455] {
            for path in (LEAST..=most).step_by(37).chain([LEAST, most]) {
                let (tried, found) = sizes(Search::below(most + 1, most), path);
                assert_eq!(found, path, "{tried:?} of {most}");
                let (_, found) = sizes(Search::above(path, most), path);
                assert_eq!(found, path);
            }
        }
    }

    #[test]
    fn usual_paths_are_found_with_few_questions() {
        assert_eq!(sizes(Search::below(1421, 1420), 1420).0, [1420]);
        assert_eq!(
            sizes(Search::below(8921, 8920), 1420).0,
            [8920, 1280, 1420, 1421]
        );
        assert_eq!(sizes(Search::above(1320, 1420), 1320).0, [1420, 1321]);
        assert_eq!(sizes(Search::above(1320, 1420), 1420).0, [1420]);
        assert_eq!(sizes(Search::above(1420, 1420), 1420).0, []);
        let (tried, _) = sizes(Search::below(65_456, 65_455), 9000);
        assert!(tried.len() <= 20, "{tried:?}");
    }
}
