//! Against a naive oracle: the set of all counters seen.

use std::collections::HashSet;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

#[derive(Default)]
struct Oracle {
    seen: HashSet<u64>,
    greatest: Option<u64>,
}

impl Oracle {
    fn accept(&mut self, counter: u64) -> bool {
        let old = self
            .greatest
            .is_some_and(|greatest| greatest >= counter && greatest - counter >= WINDOW);
        if old || !self.seen.insert(counter) {
            return false;
        }
        self.greatest = self.greatest.max(Some(counter));
        true
    }
}

#[test]
fn every_order_is_judged_as_by_a_list_of_all_counters() {
    for seed in 0..12 {
        let mut random = StdRng::seed_from_u64(seed);
        let (mut window, mut oracle) = (ReplayWindow::new(), Oracle::default());
        let mut front = random.random_range(0..3u64);
        let spread = [4, 64, 1000, 8100, 8300, 20_000][seed as usize % 6];
        for step in 0..20_000 {
            front += match random.random_range(0..1000) {
                0 => random.random_range(0..30_000),
                1..=20 => random.random_range(0..200),
                _ => random.random_range(0..3),
            };
            let counter = front.saturating_sub(random.random_range(0..spread));
            let expected = oracle.accept(counter);
            assert_eq!(
                window.is_fresh(counter),
                expected,
                "seed {seed}, step {step}, counter {counter}"
            );
            assert_eq!(window.accept(counter), expected);
        }
    }
}

#[test]
fn the_edges_of_the_window_are_exact() {
    let mut window = ReplayWindow::new();
    assert!(window.accept(WINDOW));
    assert!(window.accept(1), "the oldest that is told apart");
    assert!(!window.accept(1));
    assert!(!window.accept(0), "too old");
    assert!(window.accept(u64::MAX - 1));
    assert!(!window.accept(u64::MAX - 1));
    assert!(window.accept(u64::MAX - 2));
    assert!(!window.accept(WINDOW));
}
