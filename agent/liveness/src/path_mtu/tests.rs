//! Two ends and a path between them, with a clock that jumps from one event to the next.

use super::*;
use crossway_sys::clock;
use crossway_types::codec::{Reader, Writer};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

const ETHERNET: Bounds = Bounds {
    assumed: 1420,
    most: 1420,
    probes: true,
};
const JUMBO: Bounds = Bounds {
    assumed: 8920,
    most: 8920,
    probes: true,
};

/// The way from the first end to the second; the way back takes all.
struct Path {
    /// Largest inner packet that passes; larger ones vanish.
    takes: u16,
    /// Of a hundred packets, lost each way.
    loss: u32,
    /// There and back.
    round_trip: Duration,
    /// The second end is a stock WireGuard.
    is_stock: bool,
}

const PLAIN: Path = Path {
    takes: u16::MAX,
    loss: 0,
    round_trip: Duration::from_millis(20),
    is_stock: false,
};

struct World {
    now: Instant,
    near: PathMtu,
    far: PathMtu,
    path: Path,
    /// To the near end, by the time of arrival.
    answers: Vec<(Instant, Vec<u8>)>,
    random: StdRng,
    /// Large packets flow all the time.
    busy: bool,
    /// Sizes of the probes sent.
    probes: Vec<u16>,
}

impl World {
    fn new(bounds: Bounds, path: Path) -> Self {
        let now = clock::now();
        let ends = Ends {
            local: "fe80::1".parse().unwrap(),
            remote: "fe80::2".parse().unwrap(),
        };
        let swapped = Ends {
            local: ends.remote,
            remote: ends.local,
        };
        let mut near = PathMtu::new(ends, bounds, 1, now);
        near.on_session(now);
        Self {
            now,
            near,
            far: PathMtu::new(swapped, bounds, 2, now),
            path,
            answers: Vec::new(),
            random: StdRng::seed_from_u64(7),
            busy: false,
            probes: Vec::new(),
        }
    }

    fn is_lost(&mut self) -> bool {
        self.random.random_range(0..100) < self.path.loss
    }

    /// Lets time pass.
    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            if self.busy && self.near.gate() < self.near.mtu() {
                self.near.on_large(self.now);
            }
            while let Some(probe) = self.near.poll_probe(self.now) {
                self.carry(&probe);
            }
            let arrival = self.answers.iter().map(|(at, _)| *at).min();
            let due = [arrival, self.near.next_timeout(), Some(end)];
            let next = due.into_iter().flatten().min().unwrap();
            self.now = self.now.max(next);
            if self.now >= end {
                return;
            }
            let (come, rest) = std::mem::take(&mut self.answers)
                .into_iter()
                .partition(|(at, _)| *at <= self.now);
            self.answers = rest;
            let come: Vec<(Instant, Vec<u8>)> = come;
            for (_, answer) in come {
                let message = self.near.decode(&answer).unwrap();
                assert_eq!(self.near.handle_message(&message, self.now), None);
            }
        }
    }

    fn carry(&mut self, probe: &[u8]) {
        let size = probe.len() as u16;
        self.probes.push(size);
        let lost = self.is_lost() || self.is_lost();
        if self.path.is_stock || size > self.path.takes || lost {
            return;
        }
        let message = self.far.decode(probe).unwrap();
        let answer = self.far.handle_message(&message, self.now).unwrap();
        self.answers.push((self.now + self.path.round_trip, answer));
    }

    /// Until the size is this; how long it took.
    fn until(&mut self, mtu: u16, limit: Duration) -> Duration {
        let start = self.now;
        while self.near.mtu() != mtu {
            assert!(
                self.now < start + limit,
                "{:?} after {limit:?}, not {mtu}",
                self.near.report()
            );
            self.run(Duration::from_millis(10));
        }
        self.now - start
    }
}

#[test]
fn a_path_that_takes_all_is_known_after_two_questions() {
    let mut world = World::new(ETHERNET, PLAIN);
    assert_eq!(world.near.report().state, State::Unanswered);
    world.run(Duration::from_secs(1));
    let report = world.near.report();
    assert_eq!((report.mtu, report.state), (1420, State::Found));
    assert_eq!(world.probes, [SHORTEST, 1420]);
    assert_eq!(report.far_mtu, Some(1420));
    world.run(Duration::from_hours(1));
    assert_eq!(
        world.probes.len(),
        2,
        "nothing is asked while nothing flows"
    );
}

#[test]
fn a_narrow_path_is_left_within_a_second_and_found_to_the_byte_within_five() {
    for takes in [576, 1000, 1279, 1280, 1300, 1340, 1419] {
        let path = Path { takes, ..PLAIN };
        let mut world = World::new(ETHERNET, path);
        world.run(Duration::from_secs(1));
        assert!(world.near.mtu() <= takes || takes < 1280, "{takes}");
        world.until(takes, Duration::from_secs(8));
        world.run(Duration::from_secs(8));
        let report = world.near.report();
        assert_eq!((report.mtu, report.state), (takes, State::Found));
        assert_eq!(report.black_holes, 0, "it has never taken more");
        assert_eq!(world.far.report().far_mtu, Some(takes), "it is told");
    }
}

#[test]
fn jumbo_is_used_where_it_passes_and_ethernet_in_between_is_found_quickly() {
    let mut world = World::new(JUMBO, PLAIN);
    world.run(Duration::from_secs(1));
    assert_eq!(world.near.report().state, State::Found);
    assert_eq!(world.near.mtu(), 8920);
    let path = Path {
        takes: 1420,
        ..PLAIN
    };
    let mut world = World::new(JUMBO, path);
    world.run(Duration::from_secs(2));
    let report = world.near.report();
    assert_eq!((report.mtu, report.state), (1420, State::Found));
}

#[test]
fn a_black_hole_is_left_in_two_seconds_at_any_round_trip_and_more_is_used_when_it_heals() {
    for milliseconds in [0, 1, 20, 100, 300] {
        let round_trip = Duration::from_millis(milliseconds);
        let path = Path {
            round_trip,
            ..PLAIN
        };
        let mut world = World::new(ETHERNET, path);
        world.busy = true;
        world.run(Duration::from_secs(10));
        assert_eq!(world.near.mtu(), 1420);
        world.path.takes = 1337;
        let took = world.until(1280, Duration::from_secs(5));
        let limit = if milliseconds <= 20 { 1400 } else { 2500 };
        assert!(took <= Duration::from_millis(limit), "{took:?}");
        assert_eq!(world.near.report().black_holes, 1);
        world.until(1337, Duration::from_secs(20));
        world.path.takes = u16::MAX;
        world.until(1420, Duration::from_secs(30));
        assert_eq!(world.near.report().black_holes, 1);
    }
}

#[test]
fn a_black_hole_while_nothing_flowed_is_found_by_the_first_large_packets() {
    let mut world = World::new(ETHERNET, PLAIN);
    world.run(Duration::from_mins(5));
    world.path.takes = 1300;
    world.run(Duration::from_mins(5));
    assert_eq!(world.near.mtu(), 1420);
    world.busy = true;
    let took = world.until(1280, Duration::from_secs(5));
    assert!(took <= Duration::from_millis(900), "{took:?}");
}

#[test]
fn a_dead_path_is_no_narrow_one() {
    let mut world = World::new(ETHERNET, PLAIN);
    world.busy = true;
    world.run(Duration::from_secs(2));
    world.path.takes = 0;
    world.probes.clear();
    world.run(Duration::from_mins(1));
    let report = world.near.report();
    assert_eq!((report.mtu, report.black_holes), (1420, 0));
    assert!(world.probes.len() < 140, "{}", world.probes.len());
    world.path.takes = u16::MAX;
    world.run(Duration::from_secs(3));
    assert_eq!(world.near.report().state, State::Found);
    assert_eq!(world.near.mtu(), 1420);
}

#[test]
fn loss_is_no_black_hole() {
    let path = Path { loss: 5, ..PLAIN };
    let mut world = World::new(ETHERNET, path);
    world.busy = true;
    world.run(Duration::from_mins(10));
    let report = world.near.report();
    assert!(report.black_holes <= 2, "{report:?}");
    world.until(1420, Duration::from_secs(30));
}

#[test]
fn a_far_end_that_answers_nothing_is_asked_little_and_keeps_what_was_set() {
    let path = Path {
        is_stock: true,
        ..PLAIN
    };
    let mut world = World::new(JUMBO, path);
    world.busy = true;
    for _ in 0..10 {
        world.run(Duration::from_mins(2));
        world.near.on_session(world.now);
    }
    let report = world.near.report();
    assert_eq!((report.mtu, report.state), (8920, State::Unanswered));
    assert!(world.probes.len() <= 33, "{}", world.probes.len());
    assert_eq!(world.near.gate(), 8920);
    // It becomes one that answers.
    world.path.is_stock = false;
    world.path.takes = 1420;
    world.near.on_session(world.now);
    world.until(1420, Duration::from_secs(6));
}

#[test]
fn who_stops_to_answer_is_forgotten_with_a_new_session() {
    let path = Path {
        takes: 1300,
        ..PLAIN
    };
    let mut world = World::new(ETHERNET, path);
    world.busy = true;
    world.until(1300, Duration::from_secs(10));
    world.path.is_stock = true;
    world.run(Duration::from_mins(2));
    assert_eq!(world.near.mtu(), 1300);
    world.near.on_session(world.now);
    let report = world.near.report();
    assert_eq!((report.mtu, report.state), (1420, State::Unanswered));
}

#[test]
fn other_bounds_count_at_once() {
    let mut world = World::new(ETHERNET, PLAIN);
    world.run(Duration::from_secs(1));
    let bounds = |assumed, most, probes| Bounds {
        assumed,
        most,
        probes,
    };
    world.near.set_bounds(bounds(1300, 1300, true), world.now);
    assert_eq!(world.near.mtu(), 1300);
    world.run(Duration::from_secs(1));
    assert_eq!(world.near.report().state, State::Found);
    world.near.set_bounds(bounds(1420, 8920, true), world.now);
    world.until(8920, Duration::from_secs(2));
    world.near.set_bounds(bounds(1400, 8920, false), world.now);
    assert_eq!(world.near.mtu(), 1400);
    assert_eq!(world.near.next_timeout(), None);
    assert_eq!(world.near.report().state, State::Fixed);
    world.near.set_bounds(bounds(1420, 1420, true), world.now);
    world.until(1420, Duration::from_secs(2));
    world.run(Duration::from_secs(1));
    assert_eq!(world.near.report().state, State::Found);
}

#[test]
fn a_path_that_moved_is_looked_at_at_once() {
    let path = Path {
        takes: 1300,
        ..PLAIN
    };
    let mut world = World::new(ETHERNET, path);
    world.until(1300, Duration::from_secs(10));
    world.run(Duration::from_mins(30));
    world.path.takes = u16::MAX;
    world.near.on_moved(world.now);
    world.until(1420, Duration::from_secs(1));
    world.path.takes = 1290;
    world.near.on_moved(world.now);
    world.until(1290, Duration::from_secs(8));
}

#[test]
fn what_is_known_comes_along_and_is_confirmed_at_once() {
    let path = Path {
        takes: 1350,
        ..PLAIN
    };
    let mut world = World::new(ETHERNET, path);
    world.until(1350, Duration::from_secs(10));
    let mut writer = Writer::new(world.now);
    world.near.export(&mut writer);
    let bytes = writer.finish();
    let ends = world.near.ends;
    let mut next = PathMtu::new(ends, ETHERNET, 3, world.now);
    let mut reader = Reader::new(&bytes, world.now);
    next.import(&mut reader).unwrap();
    assert!(reader.is_empty());
    assert_eq!(next.mtu(), 1350);
    assert_eq!(next.report().far_mtu, world.near.report().far_mtu);
    // As the next agent does it: the bounds are told behind what is known.
    let fixed = Bounds {
        probes: false,
        ..ETHERNET
    };
    let mut late = PathMtu::new(ends, fixed, 3, world.now);
    late.import(&mut Reader::new(&bytes, world.now)).unwrap();
    let mut stays_fixed = late.clone();
    stays_fixed.set_bounds(fixed, world.now);
    assert_eq!(stays_fixed.mtu(), 1420);
    late.set_bounds(ETHERNET, world.now);
    for next in [next, late] {
        world.near = next;
        world.probes.clear();
        world.run(Duration::from_secs(3));
        assert_eq!(world.probes[0], 1350);
        assert_eq!(world.near.mtu(), 1350);
    }
    for cut in 0..bytes.len() {
        let mut next = PathMtu::new(ends, ETHERNET, 3, world.now);
        assert!(
            next.import(&mut Reader::new(&bytes[..cut], world.now))
                .is_err()
        );
    }
}

#[test]
fn a_hostile_far_end_cannot_have_a_size_taken_that_was_not_asked_for() {
    let mut random = StdRng::seed_from_u64(3);
    let mut world = World::new(ETHERNET, PLAIN);
    for _ in 0..20_000 {
        let message = Message {
            kind: if random.random_bool(0.5) {
                Kind::Probe
            } else {
                Kind::Answer
            },
            size: random.random(),
            mtu: random.random(),
            id: random.random(),
        };
        world.near.handle_message(&message, world.now);
        world.run(Duration::from_millis(random.random_range(0..50)));
        assert!((LEAST..=1420).contains(&world.near.mtu()));
    }
    assert_eq!(world.near.report().state, State::Found);
    assert_eq!(world.near.mtu(), 1420);
}
