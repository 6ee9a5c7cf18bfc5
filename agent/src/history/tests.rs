//! A gateway's hours in microseconds.

use std::time::Duration;

use super::*;
use crate::control::message::{HistoryReply, HistoryRequest, Series};
use crate::liveness::round_trip::RoundTrip;

const WALL: u64 = 1_800_000_000_000;
const MINUTE: u64 = 60;
const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;
/// Dropped for a reason in the test.
const REASON: usize = 3;

/// A gateway with some sites of one link each, a look a second.
struct Day {
    history: History,
    second: u64,
    wall: i64,
    sites: Vec<String>,
    /// State of all.
    state: State,
    counters: Counters,
    drops: u64,
}

impl Day {
    fn new(mib: u32, sites: usize) -> Self {
        Self {
            history: History::new(mib),
            second: 1000,
            wall: 0,
            sites: (0..sites).map(|number| format!("s{number}")).collect(),
            state: State::Up,
            counters: Counters::default(),
            drops: 0,
        }
    }

    fn now(&self) -> Moment {
        let boot_ms = self.second * 1000;
        Moment {
            boot_ms,
            wall_ms: (WALL + boot_ms).wrapping_add_signed(self.wall),
        }
    }

    fn look(&mut self) {
        let now = self.now();
        let links: Vec<String> = self.sites.iter().map(|site| format!("{site}/g")).collect();
        let (state, counters) = (self.state, self.counters);
        let looks = self.sites.iter().zip(&links).flat_map(|(site, link)| {
            let of = |kind, name| Look {
                kind,
                name,
                site,
                state,
                counters,
            };
            [
                of(SeriesKind::Site, site.as_str()),
                of(SeriesKind::Link, link.as_str()),
            ]
        });
        let drops = self.history.wants_drops(now).then(|| {
            let mut drops = vec![0; 10];
            drops[REASON] = self.drops;
            drops
        });
        self.history.look(now, looks, drops);
    }

    /// Hours pass in longer steps than seconds, in a multiple of which they are told.
    fn run(&mut self, seconds: u64) {
        let step = if seconds > HOUR { 20 } else { 1 };
        for _ in 0..seconds / step {
            self.second += step;
            self.look();
        }
    }

    /// All states become another for so many milliseconds of the next second.
    fn outage(&mut self, milliseconds: u64) {
        let begin = self.now();
        let end = Moment {
            boot_ms: begin.boot_ms + milliseconds,
            wall_ms: begin.wall_ms + milliseconds,
        };
        let links = self.sites.iter().map(|site| format!("{site}/g"));
        for link in links.collect::<Vec<_>>() {
            let of = (SeriesKind::Link, link.as_str());
            self.history
                .on_change(of, State::Down, "BFD heard nothing", begin);
            self.history.on_change(of, State::Up, "BFD is up", end);
        }
        self.run(1);
    }

    fn answer(&self, since_seconds: Option<u64>) -> HistoryReply {
        let wanted = HistoryRequest {
            since_seconds,
            ..HistoryRequest::default()
        };
        self.history.answer(&wanted, self.now())
    }
}

fn of<'a>(reply: &'a HistoryReply, name: &str) -> &'a Series {
    let mut series = reply.series.iter();
    series.find(|series| series.name == name).unwrap()
}

fn sum(numbers: &[u32]) -> u64 {
    numbers.iter().map(|number| u64::from(*number)).sum()
}

#[test]
fn a_history_that_begins_has_one_interval_and_an_empty_one_none() {
    let mut day = Day::new(8, 1);
    let empty = day.answer(None);
    assert!(empty.begins_unix_milliseconds.is_empty() && empty.series.is_empty());
    assert_eq!(empty.until_unix_milliseconds, day.now().wall_ms);
    day.look();
    let one = day.answer(None);
    assert_eq!(one.begins_unix_milliseconds, [day.now().wall_ms]);
    // It has lasted no time yet.
    assert!(one.series.is_empty());
    day.run(1);
    let one = day.answer(None);
    assert_eq!(of(&one, "s0").states, "U");
    assert_eq!(of(&one, "s0").watched_milliseconds, [1000]);
    assert!(of(&one, "s0").out_milliseconds.is_empty());
}

#[test]
fn an_outage_of_a_second_is_seen_in_the_report_of_a_day() {
    let mut day = Day::new(8, 2);
    day.run(12 * HOUR);
    day.outage(700);
    day.run(11 * HOUR);
    day.run(HOUR);
    let reply = day.answer(None);
    assert_eq!(reply.interval_milliseconds, 60_000);
    let link = of(&reply, "s1/g");
    assert_eq!(sum(&link.out_milliseconds), 700);
    assert_eq!(link.states.matches('D').count(), 1);
    assert!(sum(&link.watched_milliseconds) >= DAY * 1000 - 61_000);
    assert_eq!(reply.outages.len(), 2);
    let outage = &reply.outages[0];
    let lasted = outage.ended_unix_milliseconds.unwrap() - outage.began_unix_milliseconds;
    assert_eq!((lasted, outage.cause.as_str()), (700, "BFD heard nothing"));
    assert_eq!(outage.site, "s0");
    // The last hour knows nothing of it, and has finer intervals.
    let hour = day.answer(Some(HOUR));
    assert_eq!(hour.interval_milliseconds, 10_000);
    assert!(hour.outages.is_empty());
    assert_eq!(hour.begins_unix_milliseconds.len(), 361);
}

#[test]
fn nothing_older_than_a_day_is_kept_and_the_memory_stays_what_it_is() {
    let mut day = Day::new(8, 1);
    day.run(2 * MINUTE);
    let memory = day.history.memory_bytes();
    day.outage(500);
    day.run(2 * DAY);
    let reply = day.answer(None);
    assert!(reply.outages.is_empty());
    assert!(reply.begins_unix_milliseconds.len() <= 1442);
    assert_eq!(day.history.memory_bytes(), memory);
    let cells: usize = day.history.records[0]
        .closed
        .iter()
        .map(VecDeque::len)
        .sum();
    assert!(cells <= 360 + 1440, "{cells}");
}

#[test]
fn more_sites_have_longer_intervals_in_the_same_memory() {
    let mut few = Day::new(1, 2);
    few.run(3 * HOUR);
    few.outage(1000);
    assert_eq!(few.answer(None).interval_milliseconds, 60_000);
    let before = few.answer(None);
    few.sites = (0..60).map(|number| format!("s{number}")).collect();
    few.run(2);
    assert!(few.history.memory_bytes() <= MIB);
    let after = few.answer(None);
    assert!(after.interval_milliseconds >= 16 * 60_000, "{after:?}");
    assert_eq!(after.series.len(), 120);
    for name in ["s0", "s1/g"] {
        let [before, after] = [of(&before, name), of(&after, name)];
        let out = |series: &Series| sum(&series.out_milliseconds);
        assert_eq!(out(before), out(after), "{name}");
        let watched = |series: &Series| sum(&series.watched_milliseconds);
        assert_eq!(watched(before) + 2000, watched(after), "{name}");
    }
    // A thousand and more do not fit in a MiB at all.
    few.sites = (0..1000).map(|number| format!("s{number}")).collect();
    few.run(1);
    assert!(few.history.memory_bytes() <= MIB);
    let left_out = few.answer(None).series_left_out;
    assert!(left_out > 1000, "{left_out}");
}

#[test]
fn eight_mebibytes_are_as_much_as_the_documentation_says() {
    for (sites, minutes) in [(32, 1), (33, 2), (100, 4), (1000, 32)] {
        let mut day = Day::new(8, sites);
        day.run(2);
        let tier = day.history.axes[TIERS - 1].step_ms;
        assert_eq!(tier, minutes * MINUTE * 1000, "{sites} sites");
        let reply = day.answer(None);
        assert_eq!(reply.series_left_out, 0);
        assert!(reply.memory_bytes <= reply.memory_limit_bytes);
    }
}

#[test]
fn pages_have_every_site_and_link_once() {
    let mut day = Day::new(64, 10);
    day.run(90 * MINUTE);
    let mut wanted = HistoryRequest::default();
    let mut names = Vec::new();
    let mut pages = 0;
    loop {
        let reply = day.history.answer(&wanted, day.now());
        names.extend(reply.series.into_iter().map(|series| series.name));
        pages += 1;
        let Some(next) = reply.next else { break };
        wanted.after = next;
    }
    assert!(names.len() == 20 && pages == 1, "{pages}");
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 20);
    let one = HistoryRequest {
        site: Some("s7".to_owned()),
        ..HistoryRequest::default()
    };
    let reply = day.history.answer(&one, day.now());
    let names: Vec<&str> = reply.series.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["s7", "s7/g"]);
    day.run(20 * HOUR);
    assert!(
        day.answer(None).next.is_some(),
        "a day of 20 is more than a page"
    );
}

#[test]
fn rates_losses_and_round_trips_are_told_with_their_extremes() {
    let mut day = Day::new(8, 1);
    day.look();
    for second in 0..2 * HOUR {
        day.counters.to_site_bytes += if second == HOUR { 1_000_000 } else { 1000 };
        day.counters.received += 10;
        if (20 * MINUTE..20 * MINUTE + 10).contains(&second) {
            day.counters.received -= 5;
            day.counters.missing += 5;
        }
        if second % 10 == 0 {
            let slow = second == 30 * MINUTE;
            day.counters.round_trip = RoundTrip {
                last: Duration::from_micros(if slow { 90_000 } else { 2000 }),
                count: day.counters.round_trip.count + 1,
            };
        }
        if second == 40 * MINUTE {
            day.drops += 17;
        }
        day.run(1);
    }
    let reply = day.answer(None);
    let link = of(&reply, "s0/g");
    assert_eq!(link.to_site_peak.iter().max(), Some(&1_000_000));
    assert_eq!(
        link.to_site_bytes.iter().sum::<u64>(),
        (2 * HOUR - 1) * 1000 + 1_000_000
    );
    assert!(link.from_site_bytes.is_empty());
    assert_eq!(sum(&link.missing_messages), 50);
    let worst = *link.worst_loss.iter().max().unwrap();
    assert!((2500..=5000).contains(&worst), "{worst}");
    assert_eq!(link.round_trip_max_microseconds.iter().max(), Some(&90_000));
    assert!(
        link.round_trip_min_microseconds
            .iter()
            .all(|least| *least <= 2000)
    );
    let [dropped] = &reply.drops[..] else {
        panic!("{:?}", reply.drops)
    };
    assert_eq!(dropped.packets.iter().sum::<u64>(), 17);
}

#[test]
fn a_clock_that_is_set_moves_all_times_alike_and_is_told() {
    let mut day = Day::new(8, 1);
    day.run(10 * MINUTE);
    day.outage(5000);
    let before = day.answer(None);
    day.wall -= 3_600_000;
    day.run(10 * MINUTE);
    let after = day.answer(None);
    assert!(after.begins_unix_milliseconds.is_sorted());
    let began = |reply: &HistoryReply| reply.outages[0].began_unix_milliseconds;
    assert_eq!(began(&before) - 3_600_000, began(&after));
    assert_eq!(after.clock_steps.len(), 1);
    assert_eq!(after.clock_steps[0].by_milliseconds, -3_600_000);
}

#[test]
fn a_machine_that_slept_has_an_interval_in_which_nobody_looked() {
    let mut day = Day::new(8, 1);
    day.run(MINUTE);
    day.counters.to_site_bytes = 1 << 40;
    day.second += 2 * HOUR;
    day.run(MINUTE);
    let reply = day.answer(None);
    let link = of(&reply, "s0/g");
    assert!(link.states.contains("U-U"), "{}", link.states);
    let watched = sum(&link.watched_milliseconds);
    assert!((117_000..=121_000).contains(&watched), "{watched}");
    assert!(
        link.to_site_bytes.is_empty(),
        "nobody knows when they passed"
    );
}

#[test]
fn a_site_that_begins_to_connect_is_not_out_and_one_that_left_is_not_any_more() {
    let mut day = Day::new(8, 1);
    day.state = State::Connecting;
    day.run(10);
    assert!(day.answer(None).outages.is_empty());
    day.state = State::Up;
    day.run(10);
    day.state = State::Connecting;
    day.run(10);
    day.state = State::Down;
    day.run(10);
    let reply = day.answer(None);
    assert_eq!(reply.outages.len(), 2);
    assert_eq!(reply.outages[0].ended_unix_milliseconds, None);
    assert_eq!(sum(&of(&reply, "s0").out_milliseconds), 19_000);
    day.sites.clear();
    day.run(10);
    let reply = day.answer(None);
    assert!(
        reply
            .outages
            .iter()
            .all(|outage| outage.ended_unix_milliseconds.is_some())
    );
    assert!(of(&reply, "s0").states.contains('D'));
    day.run(25 * HOUR);
    assert!(
        day.history.records.is_empty(),
        "it is forgotten after a day"
    );
    assert!(day.history.places.is_empty());
}

#[test]
fn the_next_agent_goes_on_and_tells_whether_nobody_looked() {
    for handed_over in [true, false] {
        let mut day = Day::new(8, 3);
        day.run(2 * HOUR);
        day.state = State::Down;
        day.drops = 4;
        day.run(30);
        let bytes = day.history.export("boot");
        let mut next = History::new(8);
        next.go_on(&bytes, "boot", handed_over, day.now()).unwrap();
        if handed_over {
            assert_eq!(next, day.history);
        }
        day.history = next;
        day.counters.to_site_bytes += 500;
        day.run(30);
        let reply = day.answer(None);
        let link = of(&reply, "s2/g");
        assert_eq!(link.states.contains('-'), !handed_over, "{}", link.states);
        assert_eq!(link.to_site_bytes.is_empty(), !handed_over);
        assert_eq!(reply.outages.len(), 6, "each goes on");
    }
}

#[test]
fn a_restart_is_no_outage_of_what_was_up() {
    let mut day = Day::new(8, 1);
    day.run(MINUTE);
    let bytes = day.history.export("boot");
    day.history = History::new(8);
    day.history.go_on(&bytes, "boot", false, day.now()).unwrap();
    day.state = State::Connecting;
    day.run(2);
    day.state = State::Up;
    day.run(MINUTE);
    let reply = day.answer(None);
    assert_eq!(reply.outages, []);
    assert!(of(&reply, "s0").states.contains("U-C"), "{reply:?}");
}

#[test]
fn what_is_of_another_boot_or_damaged_is_left_behind() {
    let mut day = Day::new(8, 2);
    day.run(3 * MINUTE);
    let bytes = day.history.export("boot");
    let (blank, now) = (History::new(8), day.now());
    let mut next = blank.clone();
    assert!(next.go_on(&bytes, "another", true, now).is_err());
    let earlier = Moment {
        boot_ms: now.boot_ms - 1,
        ..now
    };
    assert!(next.go_on(&bytes, "boot", true, earlier).is_err());
    for end in (0..bytes.len()).step_by(7) {
        assert!(
            next.go_on(&bytes[..end], "boot", true, now).is_err(),
            "{end}"
        );
    }
    assert_eq!(next, blank);
    // A flipped byte is refused or read; it never panics.
    for at in (0..bytes.len()).step_by(7) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x81;
        let mut next = blank.clone();
        if next.go_on(&damaged, "boot", true, now).is_ok() {
            next.answer(&HistoryRequest::default(), now);
        }
    }
}

#[test]
fn less_room_makes_intervals_longer_and_no_room_keeps_nothing() {
    let mut day = Day::new(8, 10);
    day.run(2 * HOUR);
    day.history.set_room(1);
    assert!(day.history.memory_bytes() <= MIB);
    assert_eq!(day.answer(None).series.len(), 20);
    day.history.set_room(0);
    assert!(!day.history.is_on());
    day.run(10);
    assert_eq!(day.history, History::new(0));
}
