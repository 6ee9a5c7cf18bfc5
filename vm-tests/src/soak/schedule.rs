//! What happens when: a schedule that follows from its seed alone, so that a failure can be played again.

use std::time::Duration;

use super::disturbance::Disturbance;

/// Gateways of the ground that run an agent, by their place in it.
const AGENTS: u64 = 4;
/// Paths between the gateways.
const PATHS: u64 = 2;
/// The gateway of site `b`: all its traffic depends on it.
const FAR: usize = 2;

/// An endless schedule. All kinds come in each round, in an order of its own.
#[derive(Clone, Debug)]
pub struct Schedule {
    random: Random,
    round: Vec<u8>,
}

impl Schedule {
    /// The one of a seed.
    pub fn new(seed: u64) -> Self {
        Self {
            random: Random(seed),
            round: Vec::new(),
        }
    }

    /// What is done next.
    pub fn step(&mut self) -> Disturbance {
        if self.round.is_empty() {
            self.round = (0..KINDS).collect();
            for last in (1..self.round.len()).rev() {
                let other = self.random.below(last as u64 + 1) as usize;
                self.round.swap(last, other);
            }
        }
        let kind = self.round.pop().unwrap_or_default();
        self.make(kind)
    }

    fn make(&mut self, kind: u8) -> Disturbance {
        let random = &mut self.random;
        let agent = random.below(AGENTS) as usize;
        let path = random.below(PATHS) as usize;
        let span = random.milliseconds(300, 4000);
        match kind {
            0 => Disturbance::RoutesReloaded {
                routes: 1 + random.below(200) as u16,
            },
            1 => Disturbance::GhostReloaded {
                packets: 1 + random.below(400) as u16,
            },
            2 => Disturbance::FileRefused,
            3 => Disturbance::SiteRemoved { span },
            4 | 5 => Disturbance::PathCut { path, span },
            6 => Disturbance::CarrierLost {
                gateway: agent,
                path,
                span,
            },
            7 | 8 => Disturbance::Stopped {
                gateway: agent,
                pause: span / 4,
            },
            9 => Disturbance::Killed {
                gateway: agent,
                pause: span / 4,
            },
            10 | 11 => Disturbance::HandedOver { gateway: agent },
            12 => Disturbance::Drained { gateway: agent },
            13 => Disturbance::RouterMoved { span },
            14 => Disturbance::PeerLeft { span },
            15 => Disturbance::FlowsBurst {
                flows: 2000 + random.below(8000) as u32,
            },
            16 => Disturbance::Quiet {
                span: random.milliseconds(8000, 15_000),
            },
            _ => Disturbance::None,
        }
    }

    /// What the short form plays, whatever the seed.
    pub fn short() -> Vec<Disturbance> {
        let milliseconds = Duration::from_millis;
        vec![
            Disturbance::GhostReloaded { packets: 300 },
            Disturbance::HandedOver { gateway: FAR },
            Disturbance::PathCut {
                path: 0,
                span: milliseconds(1000),
            },
            Disturbance::Killed {
                gateway: FAR,
                pause: milliseconds(100),
            },
            Disturbance::Stopped {
                gateway: 3,
                pause: milliseconds(100),
            },
        ]
    }
}

/// Kinds of a round, the more frequent ones twice.
const KINDS: u8 = 18;

/// SplitMix64: even, fast, and the same on every machine.
#[derive(Clone, Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    /// In tenths of a second, so that they read well.
    fn milliseconds(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis((from + self.below(to - from)) / 100 * 100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(seed: u64, count: usize) -> Vec<Disturbance> {
        let mut schedule = Schedule::new(seed);
        (0..count).map(|_| schedule.step()).collect()
    }

    #[test]
    fn a_seed_gives_the_same_schedule_each_time_and_another_seed_another() {
        assert_eq!(steps(7, 100), steps(7, 100));
        assert_ne!(steps(7, 100), steps(8, 100));
    }

    #[test]
    fn every_round_has_every_kind() {
        for round in steps(3, 10 * KINDS as usize).chunks(KINDS.into()) {
            let mut names: Vec<&str> = round.iter().map(|step| step.name()).collect();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), 15, "{names:?}");
        }
    }

    #[test]
    fn every_gateway_and_path_of_a_schedule_exists() {
        for step in steps(11, 1000) {
            match step {
                Disturbance::PathCut { path, .. } => assert!(path < 2),
                Disturbance::CarrierLost { gateway, path, .. } => {
                    assert!(gateway < 4 && path < 2);
                }
                Disturbance::HandedOver { gateway } => assert!(gateway < 4),
                _ => {}
            }
        }
    }
}
