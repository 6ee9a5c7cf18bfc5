//! What `status` warned of, from when to when, bounded. A warning in which only numbers change is one warning.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::outages::shortened;
use crate::control::message::Warning;

/// Warnings that are kept, some 100 KiB.
pub(super) const CAPACITY: usize = 128;
/// Characters of a warning.
const LONGEST: usize = 600;

/// One of them, by the clock that counts since boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) source: String,
    pub(super) text: String,
    pub(super) began: u64,
    pub(super) ended: Option<u64>,
}

/// The last warnings, by when they began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Warned {
    pub(super) kept: VecDeque<Kept>,
    pub(super) left_out: u64,
}

impl Warned {
    /// Takes all that is warned of now.
    pub(super) fn look(&mut self, warnings: &[Warning], now: u64) {
        let is_there = |kept: &Kept| warnings.iter().any(|warning| is_same(kept, warning));
        for kept in &mut self.kept {
            if kept.ended.is_none() && !is_there(kept) {
                kept.ended = Some(now);
            }
        }
        for warning in warnings {
            let mut going_on = self.kept.iter_mut().filter(|kept| kept.ended.is_none());
            match going_on.find(|kept| is_same(kept, warning)) {
                Some(kept) if kept.text != warning.text => {
                    kept.text = shortened(&warning.text, LONGEST);
                }
                Some(_) => {}
                None => self.begin(warning, now),
            }
        }
    }

    /// Forgets what ended before.
    pub(super) fn expire(&mut self, before: u64) {
        self.kept
            .retain(|kept| kept.ended.is_none_or(|ended| ended >= before));
    }

    fn begin(&mut self, warning: &Warning, now: u64) {
        if self.kept.len() >= CAPACITY {
            let ended = self.kept.iter().position(|kept| kept.ended.is_some());
            self.left_out += 1;
            // As many warnings at once: the first ones stay.
            let Some(ended) = ended else { return };
            self.kept.remove(ended);
        }
        self.kept.push_back(Kept {
            source: warning.source.clone(),
            text: shortened(&warning.text, LONGEST),
            began: now,
            ended: None,
        });
    }
}

fn is_same(kept: &Kept, warning: &Warning) -> bool {
    let words = |text: &str| -> String {
        let text = text.chars().filter(|letter| !letter.is_ascii_digit());
        text.take(LONGEST / 2).collect()
    };
    kept.source == warning.source
        && (kept.text == warning.text || words(&kept.text) == words(&warning.text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warning(text: &str) -> Warning {
        Warning {
            source: "host".to_owned(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn a_warning_lasts_while_it_is_there_whatever_its_numbers() {
        let mut warned = Warned::default();
        warned.look(&[warning("5 records lost"), warning("lan0 is down")], 1);
        warned.look(&[warning("17 records lost")], 2);
        warned.look(&[], 3);
        warned.look(&[warning("lan0 is down")], 4);
        let spans: Vec<_> = warned
            .kept
            .iter()
            .map(|kept| (kept.text.as_str(), kept.began, kept.ended))
            .collect();
        assert_eq!(
            spans,
            [
                ("17 records lost", 1, Some(3)),
                ("lan0 is down", 1, Some(2)),
                ("lan0 is down", 4, None)
            ]
        );
    }

    #[test]
    fn there_are_never_more_than_have_room() {
        let mut warned = Warned::default();
        let word = |number: usize| "x".repeat(number + 1);
        for number in 0..2 * CAPACITY {
            warned.look(&[warning(&word(number))], number as u64);
        }
        assert_eq!(
            (warned.kept.len(), warned.left_out),
            (CAPACITY, CAPACITY as u64)
        );
        let many: Vec<Warning> = (0..2 * CAPACITY)
            .map(|number| warning(&word(number)))
            .collect();
        warned.look(&many, 1000);
        assert_eq!(warned.kept.len(), CAPACITY);
        warned.expire(u64::MAX);
        assert!(warned.kept.iter().all(|kept| kept.ended.is_none()));
    }
}
