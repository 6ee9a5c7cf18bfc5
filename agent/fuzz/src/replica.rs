//! What a replica tells of its flows, and what becomes of it beside our own.

use datapath_abi::flow::{FlowCounters, FlowKey, FlowKey4, NOT_SEEN_HERE};

use super::feed::{Feed, Script};
use crossway::tunnel::replica::LONGEST;
use crossway_tunnel::replica::datagram::{self, Named};
use crossway_tunnel::replica::merge::{localise, merge};

pub(super) fn run(data: &[u8]) {
    let mut feed = Feed::new(data);
    if feed.bool() {
        read(feed.rest());
    } else {
        meet(&mut feed);
    }
}

fn read(bytes: &[u8]) {
    let Ok(told) = datagram::read(bytes) else {
        return;
    };
    let length: usize = told.sections.iter().map(|section| section.length).sum();
    assert_eq!(length + 10, bytes.len(), "all of it was read");
    let flows = flattened(&told);
    let written = datagram::write(flows.iter().copied(), told.raises);
    let mut again = Vec::new();
    for mut datagram in written.clone() {
        assert!(datagram.len() <= LONGEST);
        datagram::stamp(&mut datagram, told.sent_ns);
        let read = datagram::read(&datagram).expect("it was written here");
        assert_eq!((read.sent_ns, read.raises), (told.sent_ns, told.raises));
        again.extend(flattened(&read).into_iter().map(owned));
    }
    let flows: Vec<_> = flows.into_iter().map(owned).collect();
    assert_eq!(flows, again);
    for (_, _, counters) in flows {
        let local = localise(counters, told.sent_ns, 1 << 40);
        assert!(local.first_seen_ns <= local.last_seen_ns);
    }
}

fn flattened<'a>(told: &datagram::Datagram<'a>) -> Vec<Named<'a>> {
    let of_section = |section: &datagram::Section<'a>| {
        let site = section.site;
        let flows = section.flows.clone().into_iter();
        flows.map(move |(key, counters)| (site, key, counters))
    };
    told.sections.iter().flat_map(of_section).collect()
}

fn owned((site, key, counters): Named<'_>) -> (String, FlowKey, FlowCounters) {
    (site.to_owned(), key, counters)
}

fn counters(feed: &mut Feed<'_>) -> FlowCounters {
    let first_seen_ns = feed.u64();
    FlowCounters {
        to_site_packets: feed.u64(),
        to_site_bytes: feed.u64(),
        from_site_packets: feed.u64(),
        from_site_bytes: feed.u64(),
        first_seen_ns,
        last_seen_ns: first_seen_ns.saturating_add(feed.u64() >> (feed.u8() & 63)),
        site: feed.u8().into(),
        route_generation: feed.of(&[NOT_SEEN_HERE, 0, 7]),
        tcp_flags_to_site: feed.u8(),
        tcp_flags_from_site: feed.u8(),
        ..FlowCounters::default()
    }
}

/// A flow is told of where the table may have it.
fn meet(feed: &mut Feed<'_>) {
    let own = feed.bool().then(|| counters(feed));
    let told = localise(counters(feed), feed.u64(), feed.u64());
    assert!(told.first_seen_ns <= told.last_seen_ns);
    let (site, raises) = (u32::from(feed.u8()), feed.bool());
    let Some(merged) = merge(own.as_ref(), &told, site, raises) else {
        return;
    };
    assert_ne!(Some(merged), own, "what changes nothing is not written");
    assert!(merged.first_seen_ns <= merged.last_seen_ns);
    assert_eq!(
        merge(Some(&merged), &told, site, raises),
        None,
        "told twice is told once"
    );
    let Some(own) = own else {
        assert_eq!(
            (merged.site, merged.route_generation),
            (site, NOT_SEEN_HERE)
        );
        return;
    };
    let is_new = merged.first_seen_ns > own.last_seen_ns;
    if !is_new {
        let numbers = |of: &FlowCounters| {
            [
                of.to_site_packets,
                of.to_site_bytes,
                of.from_site_packets,
                of.from_site_bytes,
                of.last_seen_ns,
            ]
        };
        let grown = numbers(&own).into_iter().zip(numbers(&merged));
        assert!(
            grown.into_iter().all(|(before, after)| before <= after),
            "no counter goes back"
        );
        assert_eq!(own.tcp_flags_to_site & !merged.tcp_flags_to_site, 0);
    }
    if merged.route_generation != NOT_SEEN_HERE {
        assert_eq!(
            (merged.route_generation, merged.site),
            (own.route_generation, own.site)
        );
    }
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let counters = FlowCounters {
        to_site_packets: 3,
        to_site_bytes: 300,
        first_seen_ns: 1 << 32,
        last_seen_ns: 1 << 33,
        route_generation: NOT_SEEN_HERE,
        ..FlowCounters::default()
    };
    let v4 = FlowKey {
        protocol: 6,
        local_port: [1, 2],
        ..FlowKey::from(FlowKey4 {
            local: [10, 1, 0, 1],
            remote: [10, 2, 0, 1],
            ..FlowKey4::default()
        })
    };
    let v6 = FlowKey {
        family: 6,
        local: [0x20; 16],
        remote: [0x21; 16],
        ..v4
    };
    let datagrams = |flows: &[Named<'_>], raises| datagram::write(flows.iter().copied(), raises);
    let seed = |bytes: &Vec<u8>| Script::default().u8(1).bytes(bytes).end();
    let flows = [
        ("paris", v4, counters),
        ("paris", v6, counters),
        ("rome", v4, counters),
    ];
    let mut seeds: Vec<Vec<u8>> = datagrams(&flows, true).iter().map(seed).collect();
    seeds.extend(datagrams(&[flows[0]; 20], false).iter().map(seed));
    let numbers = |script: Script, first: u64, generation: u8| {
        script
            .u64(first)
            .u64(1)
            .u64(2)
            .u64(3)
            .u64(4)
            .u64(1 << 30)
            .u8(0)
            .u8(1)
            .u8(generation)
            .u8(2)
            .u8(16)
    };
    for (own, told, generation) in [
        (1 << 32, 1 << 32, 0),
        (1 << 32, 1 << 40, 1),
        (1 << 40, 1 << 32, 1),
    ] {
        let script = numbers(Script::default().u8(0).u8(1), own, generation);
        seeds.push(
            numbers(script, told, 1)
                .u64(1 << 41)
                .u64(1 << 41)
                .u8(1)
                .u8(1)
                .end(),
        );
    }
    seeds
}
