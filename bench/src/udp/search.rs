//! The highest rate with little loss, by binary search.

use anyhow::Result;

use super::Trial;

/// Share of the datagrams that may be lost. None at all would measure the hiccups of a shared machine.
pub(crate) const MOST_LOSS: f64 = 0.005;
/// Rates closer than this are the same.
const PRECISION: f64 = 1.04;
/// A sender that offers less than this share of what it was asked for was held up.
const SENDER_SHARE: f64 = 0.97;
/// Trials without a better result by a sender that was held up: then it is not bad luck.
const MOST_HELD_UP: u32 = 3;
/// Datagrams a second to begin with.
const FIRST: f64 = 20_000.0;
/// Below this a path counts as dead.
const LOWEST: f64 = 500.0;

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Found {
    /// The best trial that passed.
    pub(crate) trial: Trial,
    /// The sender could not offer more: the path may carry a higher rate.
    pub(crate) sender_was_the_limit: bool,
}

/// Searches with `trial`, which sends at the rate that it is given. `None` if nothing passed.
pub(crate) fn highest(mut trial: impl FnMut(f64) -> Result<Trial>) -> Result<Option<Found>> {
    let mut best: Option<Trial> = None;
    let mut low = 0.0;
    let mut high = f64::INFINITY;
    let mut rate = FIRST;
    let mut held_up = 0;
    while rate >= LOWEST && high / low > PRECISION {
        let outcome = twice(&mut trial, rate)?;
        let offered = outcome.offered();
        let at_limit = offered < rate * SENDER_SHARE;
        if passes(&outcome) {
            let before = best.map_or(0.0, |best: Trial| best.offered());
            if offered > before {
                best = Some(outcome);
            }
            low = low.max(offered);
            if at_limit && offered <= before * PRECISION {
                held_up += 1;
                if held_up == MOST_HELD_UP {
                    return Ok(best.map(|trial| Found {
                        trial,
                        sender_was_the_limit: true,
                    }));
                }
                // Once more: the machine may have been busy with something else.
                continue;
            }
            held_up = 0;
        } else {
            // What was offered, not what was asked for, was too much.
            high = if at_limit { offered.max(low) } else { rate };
        }
        rate = next(low, high);
    }
    Ok(best.map(|trial| Found {
        trial,
        sender_was_the_limit: false,
    }))
}

/// A failure is believed when it comes twice: the first may be another process's doing.
fn twice(trial: &mut impl FnMut(f64) -> Result<Trial>, rate: f64) -> Result<Trial> {
    let first = trial(rate)?;
    if passes(&first) {
        return Ok(first);
    }
    trial(rate)
}

fn passes(trial: &Trial) -> bool {
    trial.loss() < MOST_LOSS
}

/// Doubles or halves until there are bounds on both sides, then takes the middle.
fn next(low: f64, high: f64) -> f64 {
    if high.is_infinite() {
        low * 2.0
    } else if low == 0.0 {
        high / 2.0
    } else {
        (low * high).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A path that carries `capacity` and a sender that reaches `limit`.
    fn path(capacity: f64, limit: f64) -> impl FnMut(f64) -> Result<Trial> {
        move |rate| {
            let sent = rate.min(limit);
            Ok(Trial {
                sent: sent as u64,
                received: sent.min(capacity) as u64,
                seconds: 1.0,
                ..Trial::default()
            })
        }
    }

    #[test]
    fn the_search_ends_close_below_the_capacity() {
        for capacity in [900.0, 7_000.0, 20_000.0, 131_000.0, 2_500_000.0] {
            let found = highest(path(capacity, f64::INFINITY)).unwrap().unwrap();
            let ratio = found.trial.offered() / capacity;
            assert!((0.95..1.01).contains(&ratio), "{capacity}: {ratio}");
            assert!(!found.sender_was_the_limit);
        }
    }

    #[test]
    fn a_sender_at_its_limit_is_named() {
        let found = highest(path(1e6, 90_000.0)).unwrap().unwrap();
        assert!(found.sender_was_the_limit);
        assert!((found.trial.offered() - 90_000.0).abs() < 1.0);
    }

    #[test]
    fn a_sender_at_its_limit_that_is_still_too_fast_is_searched_below() {
        let found = highest(path(60_000.0, 90_000.0)).unwrap().unwrap();
        assert!(!found.sender_was_the_limit);
        let ratio = found.trial.offered() / 60_000.0;
        assert!((0.95..1.01).contains(&ratio), "{ratio}");
    }

    #[test]
    fn one_hiccup_is_forgiven_and_a_dead_path_ends() {
        let mut good = path(100_000.0, f64::INFINITY);
        let mut calls = 0;
        let found = highest(|rate| {
            calls += 1;
            if calls == 2 {
                return path(0.0, f64::INFINITY)(rate);
            }
            good(rate)
        });
        assert!(found.unwrap().unwrap().trial.offered() > 95_000.0);
        assert_eq!(highest(path(0.0, f64::INFINITY)).unwrap(), None);
    }
}
