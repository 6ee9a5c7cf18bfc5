use std::net::Ipv6Addr;

use super::*;
use crate::replica::outbox::MOST_PER_SECOND;

/// The `number`th flow; every third is of IPv6.
fn flow(number: u32) -> (FlowKey, FlowCounters) {
    let [.., a, b, c] = number.to_be_bytes();
    let key = if number.is_multiple_of(3) {
        FlowKey {
            local: Ipv6Addr::from(u128::from(number)).octets(),
            remote: [0x20; 16],
            family: 6,
            ..FlowKey::default()
        }
    } else {
        FlowKey::from(FlowKey4 {
            local: [10, a, b, c],
            remote: [10, 2, 0, 10],
            ..FlowKey4::default()
        })
    };
    let key = FlowKey {
        protocol: 6,
        local_port: [1, 2],
        remote_port: [3, 4],
        ..key
    };
    let counters = FlowCounters {
        to_site_packets: u64::from(number) << 33,
        to_site_bytes: u64::MAX,
        from_site_packets: 3,
        from_site_bytes: 4,
        first_seen_ns: 5,
        last_seen_ns: 6 + u64::from(number),
        route_generation: NOT_SEEN_HERE,
        tcp_flags_to_site: 0x12,
        tcp_flags_from_site: 0x10,
        opened_by: OpenedBy::Remote as u8,
        rule: NO_RULE16,
        shadow_rule: NO_RULE16,
        ..FlowCounters::default()
    };
    (key, counters)
}

fn named(site: &str, number: u32) -> Named<'_> {
    let (key, counters) = flow(number);
    (site, key, counters)
}

fn one_datagram() -> Vec<u8> {
    let datagrams = write((1..9).map(|number| named("paris", number)), false);
    assert_eq!(datagrams.len(), 1);
    datagrams.concat()
}

#[test]
fn flows_are_read_as_they_were_written_by_site_and_in_order() {
    let flows = (0..60).map(|number| named(if number < 7 { "paris" } else { "oslo" }, number));
    let mut datagrams = write(flows.clone(), true);
    assert!(datagrams.len() > 2);
    let mut read_back = Vec::new();
    for datagram in &mut datagrams {
        assert!(datagram.len() <= LONGEST, "{}", datagram.len());
        stamp(datagram, 77);
        let datagram = read(datagram).unwrap();
        assert_eq!((datagram.sent_ns, datagram.raises), (77, true));
        let sections = datagram.sections.into_iter();
        read_back.extend(sections.flat_map(|Section { site, flows, .. }| {
            let site = if site == "paris" { "paris" } else { "oslo" };
            flows
                .into_iter()
                .map(move |(key, counters)| (site, key, counters))
        }));
    }
    assert_eq!(read_back, flows.collect::<Vec<_>>());
}

#[test]
fn seventeen_flows_of_ipv4_share_a_datagram() {
    let of_ipv4 = (0..).map(|number| 1 + 3 * number);
    let flows = of_ipv4.take(17 * 10).map(|number| named("paris", number));
    assert_eq!(write(flows, false).len(), 10);
    assert!(write([], false).is_empty());
}

#[test]
fn datagrams_are_full_and_not_longer_whatever_the_names_of_sites_are() {
    for length in 1..=32 {
        let names: Vec<String> = (0..100).map(|site| format!("{site:0length$}")).collect();
        let names = names.iter().filter(|name| name.len() == length);
        // Each flow has a section of its own.
        let flows = names.map(|name| named(name, 1));
        let each = 2 + length + FLOW4;
        let count = flows.clone().count();
        let fit = (LONGEST - HEAD) / each;
        let datagrams = write(flows, false);
        assert_eq!(datagrams.len(), count.div_ceil(fit), "{length}");
        assert_eq!(datagrams[0].len(), HEAD + fit.min(count) * each, "{length}");
    }
}

#[test]
fn one_tick_of_the_fullest_table_fits_the_pace() {
    // A step of the sweep looks at up to five batches of 4096; all of IPv6, each of another site.
    let names: Vec<String> = (0..4096).map(|site| format!("{site:032}")).collect();
    let flows = (0..5 * 4096_u32).map(|number| named(&names[number as usize / 5], 3 * number));
    let datagrams = write(flows, false);
    assert!(datagrams.len() <= MOST_PER_SECOND, "{}", datagrams.len());
}

#[test]
fn what_is_cut_short_or_of_another_version_is_refused_whole() {
    let whole = one_datagram();
    assert!(read(&whole).is_ok());
    for cut in 0..whole.len() {
        // A head alone says nothing, but is none the worse for it.
        assert_eq!(read(&whole[..cut]).is_ok(), cut == HEAD, "cut to {cut}");
    }
    let mut longer = whole.clone();
    longer.push(0);
    assert_eq!(read(&longer), Err(Malformed));
    for (at, value) in [
        (0, VERSION + 1),
        (RAISES, 2),
        (HEAD, 0),
        (HEAD, 200),
        (HEAD + 1, 0xff),
        (HEAD + 6, 0),
        (HEAD + 7, 5),
    ] {
        let mut other = whole.clone();
        other[at] = value;
        assert_eq!(read(&other), Err(Malformed), "byte {at} is {value}");
    }
}

#[test]
fn hostile_bytes_are_read_without_panic() {
    let whole = one_datagram();
    // Xorshift, so that a failure comes again.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut read_somehow = 0;
    for _ in 0..100_000 {
        let mut bytes = whole.clone();
        for _ in 0..=random() % 4 {
            let at = random() as usize % bytes.len();
            bytes[at] = random() as u8;
        }
        bytes.truncate(random() as usize % (2 * whole.len()));
        read_somehow += usize::from(read(&bytes).is_ok());
    }
    assert!(read_somehow > 0, "counters and addresses may be anything");
}
