//! What becomes of a flow that a replica tells of.

use datapath_abi::flow::{FlowCounters, NOT_SEEN_HERE, OpenedBy};

/// Two clocks may differ by so much on when a packet came: the way of a datagram through both gateways.
const TOLERANCE_NS: u64 = 200_000_000;

/// A flow that rests for longer is forgotten, so what comes later is another one: the longest of
/// `IdleLimits` of the data path.
const MOST_REST_NS: u64 = 300_000_000_000;

/// Sets the times of a flow that was sent when the far clock said `sent_ns` to our own clock.
pub fn localise(told: FlowCounters, sent_ns: u64, now_ns: u64) -> FlowCounters {
    let local = |then: u64| now_ns.saturating_sub(sent_ns.saturating_sub(then));
    FlowCounters {
        first_seen_ns: local(told.first_seen_ns),
        last_seen_ns: local(told.last_seen_ns),
        ..told
    }
}

/// The entry for a flow that was told (its times are of our clock) where the table has `own`; `None` where
/// that is to stay. Where we carry the flow, its counters are raised only if the datagram `raises` them, and which end
/// opened it stays as we found it: by that it was judged, and nobody would judge it again.
/// Otherwise the entry says that we have not seen the flow: its site is looked up at its first packet, and
/// until then it is not told back.
pub fn merge(
    own: Option<&FlowCounters>,
    told: &FlowCounters,
    site: u32,
    raises: bool,
) -> Option<FlowCounters> {
    let told = FlowCounters {
        site,
        route_generation: NOT_SEEN_HERE,
        ..*told
    };
    let Some(own) = own else {
        return Some(told);
    };
    let seen_here = own.route_generation != NOT_SEEN_HERE;
    // The programs write to such an entry, and a packet that they count between our look and our write is
    // lost to it: it is written once after a fail-over, and never while two gateways go on side by side.
    let carried = seen_here && own.last_seen_ns.saturating_add(TOLERANCE_NS) >= told.last_seen_ns;
    if carried {
        let same = own.first_seen_ns <= told.last_seen_ns.saturating_add(MOST_REST_NS);
        let new = FlowCounters {
            opened_by: own.opened_by,
            ..raised(own, &told)
        };
        return Some(new).filter(|new| raises && same && new != own);
    }
    // A new flow between the same ends.
    if told.first_seen_ns > own.last_seen_ns.saturating_add(TOLERANCE_NS) {
        return Some(told);
    }
    let merged = FlowCounters {
        site,
        route_generation: NOT_SEEN_HERE,
        ..raised(own, &told)
    };
    (merged != *own).then_some(merged)
}

/// An entry with what it did not know.
fn raised(own: &FlowCounters, told: &FlowCounters) -> FlowCounters {
    FlowCounters {
        to_site_packets: own.to_site_packets.max(told.to_site_packets),
        to_site_bytes: own.to_site_bytes.max(told.to_site_bytes),
        from_site_packets: own.from_site_packets.max(told.from_site_packets),
        from_site_bytes: own.from_site_bytes.max(told.from_site_bytes),
        first_seen_ns: own.first_seen_ns.min(told.first_seen_ns),
        last_seen_ns: own.last_seen_ns.max(told.last_seen_ns),
        tcp_flags_to_site: own.tcp_flags_to_site | told.tcp_flags_to_site,
        tcp_flags_from_site: own.tcp_flags_from_site | told.tcp_flags_from_site,
        opened_by: opener(own, told),
        ..*own
    }
}

/// Which end opened a flow: who saw it begin knows better than who met it in its midst.
fn opener(own: &FlowCounters, told: &FlowCounters) -> u8 {
    let told_first = told.first_seen_ns.saturating_add(TOLERANCE_NS) < own.first_seen_ns;
    let unknown = |flow: &FlowCounters| flow.opened_by == OpenedBy::Unknown as u8;
    if unknown(own) || (told_first && !unknown(told)) {
        told.opened_by
    } else {
        own.opened_by
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn flow(first: u64, last: u64, packets: u64, route_generation: u32) -> FlowCounters {
        FlowCounters {
            to_site_packets: packets,
            to_site_bytes: packets * 100,
            first_seen_ns: first * SECOND,
            last_seen_ns: last * SECOND,
            site: 7,
            route_generation,
            tcp_flags_to_site: 0x02,
            ..FlowCounters::default()
        }
    }

    #[test]
    fn a_flow_that_is_not_there_is_entered_under_our_number_of_its_site() {
        let told = flow(1, 5, 10, 3);
        let entered = merge(None, &told, 2, false).unwrap();
        assert_eq!((entered.site, entered.route_generation), (2, NOT_SEEN_HERE));
        assert_eq!(entered.to_site_packets, 10);
        assert_eq!(entered.first_seen_ns, SECOND);
    }

    #[test]
    fn counters_only_grow_and_the_first_packet_is_the_earliest() {
        let own = FlowCounters {
            from_site_packets: 50,
            tcp_flags_to_site: 0x10,
            ..flow(2, 5, 10, NOT_SEEN_HERE)
        };
        let merged = merge(Some(&own), &flow(1, 9, 20, 0), 7, false).unwrap();
        assert_eq!((merged.to_site_packets, merged.to_site_bytes), (20, 2000));
        assert_eq!(merged.from_site_packets, 50);
        assert_eq!(merged.first_seen_ns, SECOND);
        assert_eq!(merged.last_seen_ns, 9 * SECOND);
        assert_eq!(merged.tcp_flags_to_site, 0x12);
        let older = merge(Some(&merged), &flow(3, 8, 5, 0), 7, false);
        assert_eq!(older, None, "it says nothing new");
    }

    #[test]
    fn every_counter_is_the_higher_of_both_and_every_flag_of_either() {
        let counters = |packets: [u64; 4], flags: [u8; 2]| FlowCounters {
            to_site_packets: packets[0],
            to_site_bytes: packets[1],
            from_site_packets: packets[2],
            from_site_bytes: packets[3],
            tcp_flags_to_site: flags[0],
            tcp_flags_from_site: flags[1],
            ..flow(1, 5, 0, NOT_SEEN_HERE)
        };
        let own = counters([9, 2, 3, 8], [0x02, 0x10]);
        let told = counters([1, 6, 7, 4], [0x12, 0x01]);
        let merged = merge(Some(&own), &told, 7, false).unwrap();
        assert_eq!(merged, counters([9, 6, 7, 8], [0x12, 0x11]));
    }

    #[test]
    fn who_saw_a_flow_begin_says_which_end_opened_it() {
        let opened = |by: OpenedBy, flow| FlowCounters {
            opened_by: by as u8,
            ..flow
        };
        let (known, late) = (flow(1, 5, 10, NOT_SEEN_HERE), flow(4, 6, 3, 0));
        for (own, told, expected) in [
            (OpenedBy::Unknown, OpenedBy::Remote, OpenedBy::Remote),
            (OpenedBy::Local, OpenedBy::Unknown, OpenedBy::Local),
            (OpenedBy::Local, OpenedBy::Remote, OpenedBy::Local),
        ] {
            let merged = merge(Some(&opened(own, known)), &opened(told, late), 7, false).unwrap();
            assert_eq!(merged.opened_by, expected as u8, "{own:?} {told:?}");
        }
        // One that does not go by us, and was met in its midst, for instance by an answer. It is judged at its next packet.
        let (met, saw) = (
            opened(OpenedBy::Remote, late),
            opened(OpenedBy::Local, known),
        );
        let later = FlowCounters {
            last_seen_ns: 7 * SECOND,
            ..saw
        };
        let merged = merge(Some(&met), &later, 7, true).unwrap();
        assert_eq!(merged.opened_by, OpenedBy::Local as u8);
        assert_eq!(merged.route_generation, NOT_SEEN_HERE);
    }

    #[test]
    fn nobody_turns_round_a_flow_that_was_judged_here() {
        for own_opener in [OpenedBy::Unknown, OpenedBy::Local, OpenedBy::Remote] {
            for told_opener in [OpenedBy::Unknown, OpenedBy::Local, OpenedBy::Remote] {
                let own = FlowCounters {
                    opened_by: own_opener as u8,
                    ..flow(5, 9, 10, 3)
                };
                // Told as begun before, after, and going on for longer than here.
                for (first, last, raises) in [(1, 8), (6, 8), (1, 9), (1, 12), (6, 12), (20, 21)]
                    .into_iter()
                    .flat_map(|(first, last)| [true, false].map(|raises| (first, last, raises)))
                {
                    let told = FlowCounters {
                        opened_by: told_opener as u8,
                        ..flow(first, last, 99, 3)
                    };
                    let Some(merged) = merge(Some(&own), &told, 7, raises) else {
                        continue;
                    };
                    let is_judged = merged.route_generation != NOT_SEEN_HERE;
                    assert!(
                        !is_judged || merged.opened_by == own.opened_by,
                        "{own_opener:?} {told_opener:?} {first} {last} {raises}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_flow_that_was_seen_here_later_stays() {
        let own = flow(1, 9, 10, 3);
        assert_eq!(merge(Some(&own), &flow(1, 8, 99, 0), 7, false), None);
        assert_eq!(merge(Some(&own), &flow(1, 9, 99, 0), 7, false), None);
        let later = merge(Some(&own), &flow(1, 10, 99, 0), 7, false).unwrap();
        assert_eq!(later.to_site_packets, 99);
        assert_eq!(later.route_generation, NOT_SEEN_HERE);
    }

    #[test]
    fn a_flow_that_is_carried_here_is_raised_by_what_it_has_missed_and_stays_ours() {
        let own = flow(5, 9, 10, 3);
        let told = flow(1, 8, 99, 0);
        let raised = merge(Some(&own), &told, 7, true).unwrap();
        assert_eq!((raised.to_site_packets, raised.to_site_bytes), (99, 9900));
        assert_eq!(
            (raised.first_seen_ns, raised.last_seen_ns),
            (SECOND, 9 * SECOND)
        );
        assert_eq!((raised.site, raised.route_generation), (7, 3));
        assert_eq!(merge(Some(&raised), &told, 7, true), None, "once");
        // What was told is long over.
        assert_eq!(merge(Some(&flow(500, 501, 10, 3)), &told, 7, true), None);
    }

    #[test]
    fn a_new_flow_between_the_same_ends_begins_anew() {
        let own = flow(1, 9, 1000, NOT_SEEN_HERE);
        let merged = merge(Some(&own), &flow(20, 21, 3, 0), 7, false).unwrap();
        assert_eq!(merged.to_site_packets, 3);
        assert_eq!(merged.first_seen_ns, 20 * SECOND);
    }

    #[test]
    fn times_keep_their_ages_on_another_clock() {
        let told = localise(flow(100, 110, 1, 0), 112 * SECOND, 50 * SECOND);
        assert_eq!(told.first_seen_ns, 38 * SECOND);
        assert_eq!(told.last_seen_ns, 48 * SECOND);
        // Older than this machine, or later than the clock that it was sent by.
        let odd = localise(flow(1, 300, 1, 0), 200 * SECOND, 50 * SECOND);
        assert_eq!(odd.first_seen_ns, 0);
        assert_eq!(odd.last_seen_ns, 50 * SECOND);
    }

    /// Two tables that tell each other all they have, as often as they like.
    #[test]
    fn two_tables_agree_and_fall_silent() {
        let (mut a, mut b) = (Some(flow(1, 5, 10, 3)), None);
        for round in 0..3 {
            if let Some(told) = a {
                b = merge(b.as_ref(), &told, 7, false).or(b);
            }
            let changed = b.and_then(|told| merge(a.as_ref(), &told, 7, false));
            assert_eq!(changed, None, "round {round}");
            a = changed.or(a);
        }
        assert_eq!(b.map(|flow| flow.to_site_packets), Some(10));
    }
}
