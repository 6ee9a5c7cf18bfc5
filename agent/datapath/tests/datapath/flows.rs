//! The flow table, written here as the programs write it.

use std::collections::HashSet;

use aya::maps::{HashMap, MapData, PerCpuArray, PerCpuValues};
use crossway_datapath::{Datapath, FlowEnd, Holder, IdleLimits, Swept, TcAttach, Told, Walk};
use crossway_sys::clock;
use datapath_abi::flow::{FlowCounters, FlowKey, FlowKey4, FlowStat};
use datapath_abi::maps;
use datapath_abi::outcome::Tally;

use super::support::*;

const SECOND: u64 = 1_000_000_000;

/// The programs' side of the table, through the pins.
struct Programs {
    flows: HashMap<MapData, FlowKey4, FlowCounters>,
    stats: PerCpuArray<MapData, u64>,
}

impl Programs {
    fn of(datapath: &Datapath) -> Self {
        Self {
            flows: pinned(datapath, maps::FLOWS4),
            stats: pinned(datapath, maps::FLOW_STATS),
        }
    }

    /// Enters flow number `number`, last seen at `seconds`, as a program would.
    fn enter(&mut self, number: u32, seconds: u64) {
        let counters = FlowCounters {
            last_seen_ns: seconds * SECOND,
            ..FlowCounters::default()
        };
        let key = key(number).to_v4().unwrap();
        self.flows.insert(key, counters, 0).unwrap();
    }

    /// As `enter`, with so many packets to the site.
    fn enter_counted(&mut self, number: u32, seconds: u64, count: u64) {
        let counters = FlowCounters {
            last_seen_ns: seconds * SECOND,
            ..packets(count)
        };
        let key = key(number).to_v4().unwrap();
        self.flows.insert(key, counters, 0).unwrap();
    }

    /// Counts `count` flows as inserted, spread over the CPUs.
    fn count_inserted(&mut self, count: u64) {
        let stat = FlowStat::Inserted as u32;
        let mut each = self.stats.get(&stat, 0).unwrap().to_vec();
        each[0] += count - count / 2;
        *each.last_mut().unwrap() += count / 2;
        let each = PerCpuValues::try_from(each).unwrap();
        self.stats.set(stat, each, 0).unwrap();
    }
}

fn key(number: u32) -> FlowKey {
    let mut local = [0; 16];
    local[12..].copy_from_slice(&number.to_be_bytes());
    FlowKey {
        local,
        protocol: 17,
        family: 4,
        ..FlowKey::default()
    }
}

#[test]
fn a_sweep_removes_idle_flows_in_steps_and_no_others() {
    enter_sandbox();
    let mut datapath =
        Datapath::load_for("flows-sweep", Holder::Successor, TcAttach::Auto, 1 << 20).unwrap();
    let mut programs = Programs::of(&datapath);
    for number in 0..40_000 {
        programs.enter(number, if number % 4 == 0 { 1000 } else { 100 });
    }
    programs.count_inserted(40_000);

    let limits = IdleLimits::default();
    let (mut total, mut steps) = (Swept::default(), 0);
    while !total.finished {
        let step = datapath.flows.sweep(1000 * SECOND, &limits).unwrap();
        assert!(step.seen <= 5 * 4096, "a step is short: {step:?}");
        total.seen += step.seen;
        total.removed += step.removed;
        total.finished = step.finished;
        steps += 1;
    }
    assert_eq!((total.seen, total.removed), (40_000, 30_000));
    assert!(steps > 1);
    let mut left = 0;
    datapath
        .flows
        .for_each(|_, counters| {
            assert_eq!(counters.last_seen_ns, 1000 * SECOND);
            left += 1;
        })
        .unwrap();
    assert_eq!(left, 10_000);
    let summary = datapath.flows.summary().unwrap();
    assert_eq!((summary.present, summary.removed), (10_000, 30_000));
    assert_eq!((summary.inserted, summary.evicted), (40_000, 0));
    datapath.detach().unwrap();
}

/// As programs do while the agent sweeps: 4,000 flows come, 50 packets each, and a second passes.
#[test]
fn a_table_that_fills_up_is_emptied_before_the_kernel_does_it_and_nothing_is_lost() {
    enter_sandbox();
    let mut datapath =
        Datapath::load_for("flows-pressure", Holder::Successor, TcAttach::Auto, 1 << 16).unwrap();
    let mut programs = Programs::of(&datapath);
    let (mut finished, mut ends) = (Tally::default(), HashSet::new());
    let mut entered = 0;
    for second in 1..=60 {
        for _ in 0..4_000 {
            programs.enter_counted(entered, second, 50);
            entered += 1;
        }
        programs.count_inserted(4_000);
        let now = second * SECOND + 1;
        let limits = IdleLimits::default();
        let finish = |_: &FlowKey, counters: &FlowCounters, end| {
            finished.packets += counters.to_site_packets;
            finished.bytes += counters.to_site_bytes;
            ends.insert(end);
        };
        let flows = &mut datapath.flows;
        flows
            .sweep_and_show(now, &limits, |_, _| (), finish)
            .unwrap();
    }
    assert_eq!(ends, HashSet::from([FlowEnd::Pressure]));
    let carried = Tally {
        packets: 50 * u64::from(entered),
        bytes: 5_000 * u64::from(entered),
    };
    let opening = datapath.flows.open(carried).unwrap();
    let (mut present, mut living) = (0, Tally::default());
    let visit = |_: &FlowKey, counters: &FlowCounters| {
        present += 1;
        living.packets += counters.to_site_packets;
        living.bytes += counters.to_site_bytes;
    };
    datapath.flows.for_each(visit).unwrap();
    datapath.flows.settle(&opening, present, living);
    assert_eq!(datapath.flows.account().evicted(), (0, Tally::default()));
    assert_eq!(finished + living, carried);
    assert!(present > 1 << 15, "{present}: more went than needed");
    datapath.detach().unwrap();
}

#[test]
fn pages_show_each_flow_once_whatever_comes_and_goes_meanwhile() {
    enter_sandbox();
    let mut datapath = load_datapath("flows-pages", TcAttach::Auto).unwrap();
    let mut programs = Programs::of(&datapath);
    for number in 0..20_000 {
        programs.enter(number, 1);
    }
    let (mut walk, mut seen, mut pages) = (Walk::default(), Vec::new(), 0);
    loop {
        let mut page = 0;
        let visit = |key: &FlowKey, _: &FlowCounters| {
            page += 1;
            seen.push(*key);
        };
        let last = datapath.flows.step(&mut walk, 500, visit).unwrap();
        assert!(page <= 500, "a page is no larger than asked for: {page}");
        pages += 1;
        // Others come and go.
        programs.enter(1_000_000 + pages, 1);
        datapath.flows.remove(&key(1_000_000 + pages)).unwrap();
        if last {
            break;
        }
        let text = walk.to_string();
        walk = text.parse().unwrap();
    }
    assert!(pages >= 40, "{pages}");
    let different: HashSet<_> = seen.iter().collect();
    assert_eq!(different.len(), seen.len());
    let numbers = different.iter().map(|key| &key.local[12..]);
    let numbers: HashSet<&[u8]> = numbers.collect();
    let all = (0..20_000_u32).all(|number| numbers.contains(&number.to_be_bytes()[..]));
    assert!(all, "{} of 20,000", numbers.len());
    datapath.detach().unwrap();
}

#[test]
fn a_flow_is_taken_out_with_all_that_it_has_counted() {
    enter_sandbox();
    let mut datapath = load_datapath("flows-take", TcAttach::Auto).unwrap();
    let mut programs = Programs::of(&datapath);
    programs.enter_counted(1, 5, 7);
    let taken = datapath.flows.take(&key(1)).unwrap().unwrap();
    assert_eq!((taken.to_site_packets, taken.last_seen_ns), (7, 5 * SECOND));
    assert_eq!(datapath.flows.take(&key(1)).unwrap(), None);
    datapath.detach().unwrap();
}

#[test]
fn flows_that_a_full_table_gave_up_are_counted() {
    enter_sandbox();
    let mut datapath = load_datapath("flows-full", TcAttach::Auto).unwrap();
    let mut programs = Programs::of(&datapath);
    let entered = maps::DEFAULT_FLOWS as u32 + 50_000;
    for number in 0..entered {
        programs.enter(number, 1);
    }
    programs.count_inserted(u64::from(entered));
    let summary = datapath.flows.summary().unwrap();
    assert!(summary.present <= summary.capacity, "{summary:?}");
    assert!(summary.evicted >= 50_000, "{summary:?}");
    assert_eq!(summary.present + summary.evicted, summary.inserted);

    let memory = kernel_memory(&datapath.pin_directory(), maps::FLOWS4);
    println!(
        "a full flow table takes {} KiB of kernel memory",
        memory / 1024
    );

    // The newest flow cannot have been evicted.
    assert!(datapath.flows.remove(&key(entered - 1)).unwrap());
    assert!(!datapath.flows.remove(&key(entered - 1)).unwrap());
    let after = datapath.flows.summary().unwrap();
    assert_eq!((after.removed, after.evicted), (1, summary.evicted));
    datapath.detach().unwrap();
}

#[test]
fn a_million_flows_of_ipv4_fit_where_the_configuration_says_so() {
    enter_sandbox();
    let flows = 1 << 20;
    let mut datapath =
        Datapath::load_for("flows-million", Holder::Successor, TcAttach::Auto, flows).unwrap();
    let mut programs = Programs::of(&datapath);
    for number in 0..1_000_000 {
        programs.enter(number, 1);
    }
    programs.count_inserted(1_000_000);
    let summary = datapath.flows.summary().unwrap();
    assert_eq!((summary.present, summary.evicted), (1_000_000, 0));
    assert_eq!(summary.capacity, (flows + flows / 4) as u64);
    for name in [maps::FLOWS4, maps::FLOWS6] {
        let memory = kernel_memory(&datapath.pin_directory(), name);
        println!("{name}: {} MiB of kernel memory", memory >> 20);
    }
    drop(datapath);

    // Another number is another table; the same one is taken over.
    let again =
        Datapath::load_for("flows-million", Holder::Successor, TcAttach::Auto, flows).unwrap();
    assert!(again.took_over());
    drop(again);
    let mut smaller = load_datapath("flows-million", TcAttach::Auto).unwrap();
    assert!(!smaller.took_over());
    assert_eq!(smaller.flows.summary().unwrap().present, 0);
    smaller.detach().unwrap();
}

#[test]
fn evictions_are_counted_right_after_a_take_over() {
    enter_sandbox();
    let mut killed = load_datapath("flows-takeover", TcAttach::Auto).unwrap();
    let mut programs = Programs::of(&killed);
    for number in 0..1000 {
        programs.enter(number, 1);
    }
    programs.count_inserted(1000);
    assert!(killed.flows.remove(&key(0)).unwrap());
    drop(killed);

    let mut next = load_datapath("flows-takeover", TcAttach::Auto).unwrap();
    let summary = next.flows.summary().unwrap();
    assert_eq!(
        (
            summary.present,
            summary.inserted,
            summary.removed,
            summary.evicted
        ),
        (999, 0, 0, 0),
        "what the agent before removed was not evicted"
    );
    programs.enter(5000, 1);
    programs.count_inserted(1);
    // As the table itself would: the agent does not know.
    programs.flows.remove(&key(7).to_v4().unwrap()).unwrap();
    let summary = next.flows.summary().unwrap();
    assert_eq!((summary.inserted, summary.evicted), (1, 1));
    next.detach().unwrap();
}

fn packets(to_site_packets: u64) -> FlowCounters {
    FlowCounters {
        to_site_packets,
        to_site_bytes: 100 * to_site_packets,
        ..FlowCounters::default()
    }
}

#[test]
fn what_a_replica_tells_is_entered_raised_or_left_alone() {
    enter_sandbox();
    let mut datapath = load_datapath("flows-told", TcAttach::Auto).unwrap();
    let six = FlowKey {
        family: 6,
        local: [0x20; 16],
        ..key(2)
    };
    for key in [key(1), six] {
        let flows = &mut datapath.flows;
        let told = flows.tell(&key, |own| own.is_none().then(|| packets(10)));
        assert_eq!(told.unwrap(), Told::Entered);
        assert_eq!(flows.get(&key).unwrap(), Some(packets(10)));
        let told = flows.tell(&key, |own| own.map(|own| packets(own.to_site_packets + 5)));
        assert_eq!(told.unwrap(), Told::Updated);
        assert_eq!(flows.get(&key).unwrap(), Some(packets(15)));
        assert_eq!(flows.tell(&key, |_| None).unwrap(), Told::Kept);
        assert_eq!(flows.get(&key).unwrap(), Some(packets(15)));
    }
    let summary = datapath.flows.summary().unwrap();
    assert_eq!(
        (summary.present, summary.inserted, summary.evicted),
        (2, 0, 0)
    );
    // In no site's counters: were the two gone by themselves, this is what would be missing.
    let opening = datapath.flows.open(Tally::default()).unwrap();
    datapath.flows.settle(&opening, 0, Tally::default());
    let (flows, counted) = datapath.flows.account().evicted();
    assert_eq!((flows, counted.packets, counted.bytes), (2, 30, 3000));
    datapath.detach().unwrap();
}

#[test]
fn a_flow_that_comes_or_goes_between_the_look_and_the_write_is_looked_at_again() {
    enter_sandbox();
    let mut datapath = load_datapath("flows-told-race", TcAttach::Auto).unwrap();
    let programs = std::cell::RefCell::new(Programs::of(&datapath));
    let told = datapath.flows.tell(&key(1), |own| {
        if own.is_none() {
            programs.borrow_mut().enter(1, 5);
        }
        Some(packets(10 + own.map_or(0, |_| 1)))
    });
    assert_eq!(told.unwrap(), Told::Updated);
    assert_eq!(datapath.flows.get(&key(1)).unwrap(), Some(packets(11)));
    let told = datapath.flows.tell(&key(1), |own| {
        if own.is_some() {
            let key = key(1).to_v4().unwrap();
            programs.borrow_mut().flows.remove(&key).unwrap();
        }
        Some(packets(20 + own.map_or(0, |_| 1)))
    });
    assert_eq!(told.unwrap(), Told::Entered);
    assert_eq!(datapath.flows.get(&key(1)).unwrap(), Some(packets(20)));
    drop(programs);
    datapath.detach().unwrap();
}

#[test]
fn a_replica_cannot_make_the_table_grow_beyond_its_size() {
    enter_sandbox();
    let mut datapath = load_datapath("flows-told-full", TcAttach::Auto).unwrap();
    let count = maps::DEFAULT_FLOWS as u32 + 50_000;
    let start = clock::now();
    for number in 0..count {
        let told = datapath.flows.tell(&key(number), |_| Some(packets(1)));
        assert_eq!(told.unwrap(), Told::Entered);
    }
    let each = start.elapsed().as_nanos() / u128::from(count);
    println!("a flow that is told takes {each} ns");
    let summary = datapath.flows.summary().unwrap();
    assert!(summary.present <= summary.capacity, "{summary:?}");
    assert_eq!(summary.present + summary.evicted, u64::from(count));
    datapath.detach().unwrap();
}
