use super::dial::{MOST_DIALS, REDIAL_AFTER};
use super::*;
use crate::config::{Endpoint, Link, Liveness, RemoteGateway};
use crate::engine::Engine;
use crate::gateway::names::Answer;
use crate::io::udp;
use crate::liveness::round_trip::RoundTrip;
use crate::tunnel::arrivals::Arrivals;
use crate::tunnel::link_bfd::{LanRole, LinkLiveness};
use crossway_sys::clock;

const HOLD: Duration = Duration::from_secs(5);

fn planned(id: u32, endpoints: &[&str]) -> PlannedLink {
    PlannedLink {
        id: LinkId(id),
        receiver_index: id,
        lane: 0,
        site: Some(SiteId(0)),
        site_name: "paris".to_owned(),
        gateway: RemoteGateway {
            name: format!("paris-{id}"),
            public_key: [id as u8; 32],
            preshared_key_file: None,
            engine: Engine::default(),
            lanes: 1,
            persistent_keepalive: None,
            links: Vec::new(),
        },
        path: Link {
            name: None,
            endpoints: endpoints
                .iter()
                .map(|text| Endpoint::Address(text.parse().unwrap()))
                .collect(),
            wan: None,
            priority: 100,
            liveness: Liveness::default(),
        },
        probe: None,
    }
}

fn peer(id: u32, session: bool) -> PeerSnapshot {
    PeerSnapshot {
        link: LinkId(id),
        endpoint: Some(udp::Endpoint::new("192.0.2.7:51820".parse().unwrap())),
        handshake_age: session.then_some(Duration::from_secs(1)),
        unanswered_for: None,
        unheard_for: None,
        pulse: LinkLiveness::default(),
        sent_packets: 0,
        sent_bytes: 0,
        received_packets: 0,
        received_bytes: 0,
        arrivals: Arrivals::default(),
        handshakes: 1,
        path: None,
        round_trip: RoundTrip::default(),
    }
}

fn links() -> Links {
    Links::new(true)
}

#[test]
fn the_links_that_share_a_sites_flows_are_those_of_the_best_rank_that_lives() {
    let now = clock::now();
    let mut links = links();
    for id in 1..=3 {
        let mut link = planned(id, &["192.0.2.7:51820"]);
        link.path.priority = if id == 3 { 50 } else { 100 };
        links.insert(link, HOLD, now);
    }
    let serving = |links: &Links| -> Vec<u32> {
        let serving = links.serving(SiteId(0), 0);
        serving.iter().map(|link| link.planned.id.0).collect()
    };
    links.on_snapshot((1..=3).map(|id| peer(id, true)).collect(), now);
    let both = serving(&links);
    assert_eq!(both.len(), 2, "{both:?}");
    assert!(!both.contains(&3), "{both:?}");
    links.on_snapshot(vec![peer(1, false)], now);
    assert_eq!(serving(&links), [2]);
    links.on_snapshot(vec![peer(2, false)], now);
    assert_eq!(serving(&links), [3]);
    assert!(links.serving(SiteId(0), 1).is_empty(), "another lane");
}

fn state(links: &Links, id: u32) -> LinkState {
    links.get(LinkId(id)).unwrap().state
}

#[test]
fn a_link_connects_comes_up_and_goes_down_with_its_session() {
    let mut links = links();
    let start = clock::now();
    let after = |seconds| start + Duration::from_secs(seconds);
    links.insert(planned(1, &["192.0.2.7:51820"]), HOLD, start);
    links.on_snapshot(vec![peer(1, false)], after(14));
    assert_eq!(state(&links, 1), LinkState::Connecting);
    links.on_snapshot(vec![peer(1, false)], after(15));
    assert_eq!(state(&links, 1), LinkState::Down);
    assert_eq!(
        links.get(LinkId(1)).unwrap().why,
        "no answer from 192.0.2.7:51820"
    );
    links.on_snapshot(vec![peer(1, true)], after(20));
    assert_eq!(state(&links, 1), LinkState::Up);
    links.on_snapshot(vec![peer(1, true)], after(30));
    assert_eq!(
        links.get(LinkId(1)).unwrap().since,
        after(20),
        "since the change, not the look"
    );
    links.on_snapshot(vec![peer(1, false)], after(210));
    assert_eq!(
        state(&links, 1),
        LinkState::Down,
        "a session that ended is down at once"
    );
}

#[test]
fn a_link_that_flaps_is_held_down_and_says_so() {
    let mut links = links();
    let start = clock::now();
    links.insert(planned(1, &["192.0.2.7:51820"]), HOLD, start);
    let mut ups = 0;
    // Ten times a second, for half a minute.
    for at in 0..300 {
        let now = start + Duration::from_millis(100) * at;
        links.on_snapshot(vec![peer(1, at % 2 == 0)], now);
        let changes = links.poll_changes();
        ups += changes.iter().filter(|change| change.to == "Up").count();
    }
    // Three flaps are free; then it comes up after 1, 2, 4, 8 and 8 s, and not yet after 8 more.
    assert_eq!(ups, 9);
    let now = start + Duration::from_secs(30);
    links.on_snapshot(vec![peer(1, true)], now);
    let link = links.get(LinkId(1)).unwrap();
    assert_eq!(link.state, LinkState::Down);
    assert!(
        link.why.starts_with("flapping: held down, "),
        "{}",
        link.why
    );
    assert!(
        link.why.ends_with(" s more (handshake completed)"),
        "{}",
        link.why
    );
    links.on_snapshot(vec![peer(1, true)], now + Duration::from_secs(32));
    assert_eq!(state(&links, 1), LinkState::Up);
}

#[test]
fn a_far_end_that_does_not_hear_us_is_down_though_its_data_comes() {
    let mut links = links();
    let start = clock::now();
    links.insert(planned(1, &["192.0.2.7:51820"]), HOLD, start);
    let mut at = |second: u64, unheard: Option<u64>| {
        let snapshot = PeerSnapshot {
            unheard_for: unheard.map(Duration::from_secs),
            received_packets: second * 1000,
            ..peer(1, true)
        };
        links.on_snapshot(vec![snapshot], start + Duration::from_secs(second));
        let link = links.get(LinkId(1)).unwrap();
        (link.state, link.why.clone())
    };
    assert_eq!(at(1, None).0, LinkState::Up);
    assert_eq!(at(20, Some(11)).0, LinkState::Up);
    let (state, why) = at(21, Some(12));
    assert_eq!(state, LinkState::Down);
    assert!(why.contains("what is sent to it does not arrive"), "{why}");
    assert_eq!(at(40, None).0, LinkState::Up, "it has got an answer");
}

#[test]
fn a_link_without_an_endpoint_waits_to_be_dialled() {
    let mut links = links();
    let start = clock::now();
    links.insert(planned(1, &[]), HOLD, start);
    let unheard = PeerSnapshot {
        endpoint: None,
        ..peer(1, false)
    };
    links.on_snapshot(vec![unheard], start + Duration::from_mins(1));
    let link = links.get(LinkId(1)).unwrap();
    assert_eq!(link.state, LinkState::Connecting);
    assert!(link.why.starts_with("waits for the far gateway to dial"));
}

#[test]
fn a_link_that_is_not_up_is_dialled_at_each_endpoint_in_turn() {
    let mut links = links();
    let start = clock::now();
    links.insert(planned(1, &["192.0.2.7:1", "192.0.2.8:1"]), HOLD, start);
    let mut dialled = Vec::new();
    for turn in 0..3 {
        let now = start + REDIAL_AFTER * turn;
        let due = links.handle_timeout(now);
        dialled.extend(due.into_iter().map(|dial| dial.remote.to_string()));
        assert_eq!(links.handle_timeout(now + Duration::from_secs(1)), []);
    }
    assert_eq!(dialled, ["192.0.2.7:1", "192.0.2.8:1", "192.0.2.7:1"]);
    links.on_snapshot(vec![peer(1, true)], start);
    let due = links.handle_timeout(start + REDIAL_AFTER * 9);
    assert_eq!(due, [], "a link that is up is left alone");
}

fn by_name(id: u32) -> PlannedLink {
    let mut planned = planned(id, &[]);
    planned.path.endpoints.push(Endpoint::Name {
        host: "far.example".to_owned(),
        port: 7,
    });
    planned
}

fn leads_to(links: &mut Links, addresses: &[&str], now: Instant) {
    assert_eq!(links.resolved.poll_questions().len(), 1);
    let addresses = addresses.iter();
    let answer = Answer {
        host: "far.example".to_owned(),
        addresses: Ok(addresses
            .map(|text| (text.parse::<std::net::IpAddr>().unwrap(), 0).into())
            .collect()),
    };
    links.on_names(vec![answer], now);
}

fn dialled(links: &mut Links, now: Instant) -> Vec<String> {
    let due = links.handle_timeout(now).into_iter();
    due.map(|dial| dial.remote.to_string()).collect()
}

#[test]
fn a_name_is_dialled_at_all_its_addresses_in_turn_and_the_one_that_answered_is_the_first_again() {
    let mut links = Links::new(false);
    let start = clock::now();
    let at = |turn: u32| start + REDIAL_AFTER * turn;
    links.insert(by_name(1), HOLD, start);
    assert_eq!(dialled(&mut links, start), [""; 0]);
    let why = &links.get(LinkId(1)).unwrap().why;
    assert_eq!(why, "far.example is looked up");
    leads_to(
        &mut links,
        &["2001:db8::2", "192.0.2.6", "192.0.2.7"],
        start,
    );
    let turns: Vec<_> = (0..3)
        .flat_map(|turn| dialled(&mut links, at(turn)))
        .collect();
    assert_eq!(turns, ["[2001:db8::2]:7", "192.0.2.6:7", "192.0.2.7:7"]);

    // The last of them answers, later is silent, and the name leads to one more.
    links.on_snapshot(vec![peer(1, true)], at(3));
    links.on_snapshot(vec![peer(1, false)], at(90));
    leads_to(
        &mut links,
        &["2001:db8::2", "192.0.2.9", "192.0.2.7"],
        at(90),
    );
    let turns: Vec<_> = (90..93)
        .flat_map(|turn| dialled(&mut links, at(turn)))
        .collect();
    assert_eq!(turns, ["192.0.2.7:7", "[2001:db8::2]:7", "192.0.2.9:7"]);
}

#[test]
fn a_name_that_was_asked_just_before_its_link_went_down_is_asked_again_soon() {
    let mut links = links();
    let start = clock::now();
    let at = |milliseconds| start + Duration::from_millis(milliseconds);
    links.insert(by_name(1), HOLD, start);
    dialled(&mut links, start);
    leads_to(&mut links, &["192.0.2.7"], start);
    links.on_snapshot(vec![peer(1, true)], at(100));
    links.on_snapshot(vec![peer(1, false)], at(600));
    assert_eq!(dialled(&mut links, at(700)), ["192.0.2.7:7"]);
    assert_eq!(links.resolved.poll_questions(), [], "that was just done");
    dialled(&mut links, at(1700));
    leads_to(&mut links, &["192.0.2.8"], at(1710));
    assert_eq!(dialled(&mut links, at(1800)), ["192.0.2.8:7"]);
}

#[test]
fn a_name_that_leads_elsewhere_is_dialled_there_at_once_unless_the_link_is_up() {
    let mut links = links();
    let start = clock::now();
    links.insert(by_name(1), HOLD, start);
    dialled(&mut links, start);
    leads_to(&mut links, &["192.0.2.7"], start);
    assert_eq!(dialled(&mut links, start), ["192.0.2.7:7"]);
    let later = start + REDIAL_AFTER;
    assert_eq!(
        dialled(&mut links, later),
        ["192.0.2.7:7"],
        "what is known, meanwhile"
    );
    leads_to(&mut links, &["2001:db8::2", "192.0.2.8"], later);
    assert_eq!(
        dialled(&mut links, later),
        ["192.0.2.8:7"],
        "this one has no IPv6"
    );

    let later = later + REDIAL_AFTER;
    dialled(&mut links, later);
    links.on_snapshot(vec![peer(1, true)], later);
    leads_to(&mut links, &["192.0.2.9"], later);
    assert_eq!(dialled(&mut links, later), [""; 0]);
}

#[test]
fn a_link_whose_packets_would_enter_the_tunnel_is_down_and_dialled_elsewhere() {
    let mut links = links();
    let start = clock::now();
    let swallows = |address: &str| {
        let why = "packets would go into the tunnel".to_owned();
        HashMap::from([(address.parse().unwrap(), why)])
    };
    links.insert(planned(1, &["192.0.2.7:1", "192.0.2.8:1"]), HOLD, start);
    links.insert(planned(2, &["192.0.2.9:1"]), HOLD, start);
    links.on_snapshot(vec![peer(1, true)], start);
    assert!(links.poll_moved() && !links.poll_moved());
    assert_eq!(links.own_addresses().len(), 3);

    let died = links.set_swallowed(swallows("192.0.2.7"), start);
    assert_eq!(died, [(LinkId(1), 0)]);
    assert_eq!(state(&links, 1), LinkState::Down);
    assert_eq!(
        links.get(LinkId(1)).unwrap().why,
        "packets would go into the tunnel"
    );
    assert_eq!(
        state(&links, 2),
        LinkState::Connecting,
        "no other is disturbed"
    );
    assert_eq!(
        links.set_swallowed(swallows("192.0.2.7"), start),
        [],
        "it has died already"
    );
    // The other address is as good as ever.
    let to = dialled(&mut links, start);
    assert_eq!(to, ["192.0.2.8:1", "192.0.2.9:1"]);
    assert!(links.poll_moved());
    let answers = PeerSnapshot {
        endpoint: Some(udp::Endpoint::new("192.0.2.8:1".parse().unwrap())),
        ..peer(1, true)
    };
    links.on_snapshot(vec![answers], start);
    assert_eq!(state(&links, 1), LinkState::Up);

    // All that there is: not dialled, until there is a way.
    links.set_swallowed(swallows("192.0.2.9"), start);
    let later = start + REDIAL_AFTER * 9;
    assert_eq!(dialled(&mut links, later), [""; 0]);
    links.set_swallowed(HashMap::new(), later);
    assert_eq!(dialled(&mut links, later), ["192.0.2.9:1"]);
}

#[test]
fn a_link_that_is_bound_to_an_interface_leaves_by_it_whatever_routes_say() {
    let mut links = links();
    let start = clock::now();
    let mut bound = planned(1, &["192.0.2.7:51820"]);
    bound.path.wan = Some("eth0".to_owned());
    links.insert(bound, HOLD, start);
    links.on_snapshot(vec![peer(1, true)], start);
    assert_eq!(links.own_addresses(), []);
    let swallowed = HashMap::from([("192.0.2.7".parse().unwrap(), "no".to_owned())]);
    assert_eq!(links.set_swallowed(swallowed, start), []);
    assert_eq!(state(&links, 1), LinkState::Up);
}

#[test]
fn links_whose_names_nobody_knows_keep_none_from_being_dialled() {
    let mut links = links();
    let start = clock::now();
    for id in 0..2 * MOST_DIALS as u32 {
        links.insert(by_name(id), HOLD, start);
    }
    let last = 2 * MOST_DIALS as u32;
    links.insert(planned(last, &["192.0.2.7:1"]), HOLD, start);
    assert_eq!(dialled(&mut links, start), ["192.0.2.7:1"]);
    assert_eq!(links.resolved.poll_questions().len(), 1);
}

#[test]
fn a_turn_that_another_agent_told_is_taken_whatever_it_is() {
    let mut links = links();
    let start = clock::now();
    links.insert(planned(1, &["192.0.2.7:1", "192.0.2.8:1"]), HOLD, start);
    let told = LinkExport {
        next_endpoint: usize::MAX,
        dial_in_ms: 0,
        since_ms: u64::MAX,
        ..links.export(start).remove(0)
    };
    links.import(told, start);
    let due = links.handle_timeout(start);
    assert_eq!(due[0].remote.to_string(), "192.0.2.8:1");
}

#[test]
fn a_site_is_as_well_as_its_links() {
    let mut links = links();
    let now = clock::now();
    links.insert(planned(1, &["192.0.2.7:1"]), HOLD, now);
    links.insert(planned(2, &["192.0.2.8:1"]), HOLD, now);
    let of_site = |links: &Links| site_state(&links.of_site(SiteId(0))).0;
    assert_eq!(of_site(&links), SiteState::Down);
    links.on_snapshot(vec![peer(1, true), peer(2, false)], now);
    assert_eq!(of_site(&links), SiteState::Degraded);
    links.on_snapshot(vec![peer(2, true)], now);
    assert_eq!(of_site(&links), SiteState::Active);
}

#[test]
fn of_very_many_links_some_are_dialled_at_a_time_and_none_is_forgotten() {
    let mut links = links();
    let start = clock::now();
    let count = 2 * MOST_DIALS + 1;
    for id in 0..count as u32 {
        links.insert(planned(id, &["192.0.2.7:51820"]), HOLD, start);
    }
    let mut dialled = Vec::new();
    for (second, expected) in [(0, MOST_DIALS), (1, MOST_DIALS), (2, 1), (3, 0)] {
        let due = links.handle_timeout(start + Duration::from_secs(second));
        assert_eq!(due.len(), expected, "second {second}");
        dialled.extend(due.into_iter().map(|dial| dial.link));
    }
    dialled.sort();
    dialled.dedup();
    assert_eq!(dialled.len(), count);
}

#[test]
fn a_link_to_a_replica_is_no_sites_and_obeys_no_order() {
    let mut links = links();
    let now = clock::now();
    let replica = PlannedLink {
        site: None,
        site_name: String::new(),
        ..planned(2, &["10.1.0.3:51820"])
    };
    links.insert(planned(1, &["192.0.2.7:51820"]), HOLD, now);
    links.insert(replica, HOLD, now);
    links.on_snapshot(vec![peer(1, true), peer(2, true)], now);
    assert_eq!(state(&links, 2), LinkState::Up);
    assert!(!links.carries(links.get(LinkId(2)).unwrap()));
    assert_eq!(links.of_site(SiteId(0)).len(), 1);
    assert_eq!(links.by_site().len(), 1);
    assert_eq!(links.lanes_up().len(), 1);
    assert_eq!(links.to_replicas().len(), 1);
    let ranks = links.poll_ranks(now);
    assert_eq!(ranks[0].links, [[LinkId(1)]]);
    assert_eq!(links.names(), ["paris/paris-1"]);
    for target in ["", "/paris-2", "paris-2"] {
        assert!(links.named(target).is_empty(), "{target:?}");
    }
    let services = links.poll_services(LanRole::LanDown);
    assert_eq!(services, [(LinkId(1), 0, LanRole::LanDown)]);
    assert_eq!(
        links.on_carriers(
            &[Wan {
                name: "eth0".to_owned(),
                carrier: false,
                index: None,
                mtu: None,
            }],
            now
        ),
        [LinkId(1)]
    );
    links.remove(LinkId(2));
    assert!(links.to_replicas().is_empty());
}
