use crossway_api::message::{ReviewState, Service, ServiceOrder, ServicesOrder, ServicesRequest};
use crossway_api::service_filter::ServiceFilter;
use datapath_abi::flow::{FlowKey4, OpenedBy};

use super::*;

const TCP: u8 = 6;
const UDP: u8 = 17;
const SYN_ACK: u8 = 0x12;
const RST_ACK: u8 = 0x14;
const SECOND: u64 = 1_000_000_000;
const CLOCK: WallClock = WallClock {
    now_ns: 100 * SECOND,
    unix_milliseconds: 1_800_000_000_000,
};

/// A connection from here to a server of site 7, which has answered.
fn there(client: u32, server: [u8; 4], port: u16, bytes: u64) -> Flow {
    let key = FlowKey4 {
        local: (0x0a01_0000 + client).to_be_bytes(),
        remote: server,
        local_port: 40_000_u16.to_be_bytes(),
        remote_port: port.to_be_bytes(),
        protocol: TCP,
        ..FlowKey4::default()
    };
    let counters = FlowCounters {
        to_site_packets: 1,
        to_site_bytes: bytes,
        from_site_packets: 1,
        from_site_bytes: 10 * bytes,
        first_seen_ns: 90 * SECOND,
        last_seen_ns: 95 * SECOND,
        site: 7,
        tcp_flags_to_site: 0x1a,
        tcp_flags_from_site: SYN_ACK,
        opened_by: OpenedBy::Local as u8,
        ..FlowCounters::default()
    };
    (key.into(), counters)
}

/// The same the other way: a client of site 7, and a server here.
fn here(client: [u8; 4], server: [u8; 4], port: u16, bytes: u64) -> Flow {
    let (_, counters) = there(1, server, port, bytes);
    let key = FlowKey4 {
        local: server,
        remote: client,
        local_port: port.to_be_bytes(),
        remote_port: 40_000_u16.to_be_bytes(),
        protocol: TCP,
        ..FlowKey4::default()
    };
    let counters = FlowCounters {
        to_site_bytes: 10 * bytes,
        from_site_bytes: bytes,
        opened_by: OpenedBy::Remote as u8,
        ..counters
    };
    (key.into(), counters)
}

/// A SYN that a closed port has refused.
fn refused(client: u32, port: u16) -> Flow {
    let (key, counters) = there(client, [10, 2, 0, 10], port, 40);
    let counters = FlowCounters {
        tcp_flags_to_site: 0x02,
        tcp_flags_from_site: RST_ACK,
        ..counters
    };
    (key, counters)
}

/// A whole pass through the table.
fn pass(living: Vec<Flow>, ended: Vec<Flow>) -> Batch {
    Batch {
        living,
        ended,
        pass_began: true,
        pass_ended: true,
        clock: CLOCK,
        sites: HashMap::from([(7, "paris".to_owned())]),
    }
}

fn catalogue(bound: usize) -> Catalogue {
    Catalogue::new(Scope::default(), bound)
}

fn all(catalogue: &Catalogue) -> Vec<Service> {
    catalogue
        .answer(&ServicesRequest::default())
        .unwrap()
        .services
}

fn only(catalogue: &Catalogue) -> Service {
    let services = all(catalogue);
    assert_eq!(services.len(), 1, "{services:#?}");
    services.into_iter().next().unwrap()
}

fn order(catalogue: &mut Catalogue, targets: &[&str], order: ServiceOrder) -> Result<(), String> {
    let targets = targets.iter().map(|target| (*target).to_owned()).collect();
    let wanted = ServicesOrder { targets, order };
    let ordered = catalogue.order(&wanted, ("uid 0", 5));
    ordered.map(drop).map_err(|refused| refused.0)
}

const fn decide(state: ReviewState) -> ServiceOrder {
    ServiceOrder::Decide { state }
}

#[test]
fn services_are_found_on_both_sides_with_their_clients_bytes_and_times() {
    let mut found = catalogue(10);
    let far = [
        there(1, [10, 2, 0, 10], 443, 100),
        there(2, [10, 2, 0, 10], 443, 100),
    ];
    let near = here([10, 2, 0, 77], [10, 1, 0, 10], 22, 5);
    found.take(&pass([&far[..], &[near]].concat(), Vec::new()));
    let [ssh, https] = all(&found).try_into().unwrap();
    assert_eq!(https.name().to_string(), "10.2.0.10:443/tcp");
    assert_eq!(https.site.as_deref(), Some("paris"));
    assert_eq!(
        (https.clients, https.clients_exact, https.flows),
        (2, true, 2)
    );
    assert_eq!(
        (https.to_service_bytes, https.from_service_bytes),
        (200, 2000)
    );
    assert!(https.clients_here && https.client_sites.is_empty() && !https.guessed);
    assert_eq!(https.first_seen_unix_milliseconds, 1_799_999_990_000);
    assert_eq!(https.last_seen_unix_milliseconds, 1_799_999_995_000);
    assert_eq!(ssh.name().to_string(), "10.1.0.10:22/tcp");
    assert_eq!((ssh.site, ssh.clients_here), (None, false));
    assert_eq!(ssh.client_sites, ["paris"]);
    assert_eq!((ssh.to_service_bytes, ssh.from_service_bytes), (5, 50));
}

#[test]
fn public_addresses_are_not_of_interest_unless_they_are_configured() {
    let public = [203, 0, 113, 5];
    let flows = || pass(vec![there(1, public, 443, 1), refused(1, 5)], Vec::new());
    let mut found = catalogue(10);
    found.take(&flows());
    assert!(all(&found).is_empty());
    let networks = ["203.0.113.0/24".parse().unwrap()];
    let mut found = Catalogue::new(Scope::with(&networks), 10);
    found.take(&flows());
    assert_eq!(only(&found).name().to_string(), "203.0.113.5:443/tcp");
}

#[test]
fn a_port_scan_enters_nothing_and_what_does_not_fit_is_counted() {
    let mut found = catalogue(2);
    let scan: Vec<Flow> = (1..=1000).map(|port| refused(1, port)).collect();
    found.take(&pass(scan.clone(), Vec::new()));
    found.take(&pass(Vec::new(), scan));
    let reply = found.answer(&ServicesRequest::default()).unwrap();
    assert_eq!((reply.present, reply.unanswered_flows), (0, 1000));
    assert!(!found.is_full());

    let open: Vec<Flow> = (1..=5)
        .map(|port| there(1, [10, 2, 0, 10], port, 1))
        .collect();
    found.take(&pass(open.clone(), Vec::new()));
    let reply = found.answer(&ServicesRequest::default()).unwrap();
    assert_eq!((reply.present, reply.capacity), (2, 2));
    assert_eq!(reply.not_entered_flows, 3);
    assert!(found.is_full());
    // Room is made, and one of the others comes in.
    let first = reply.services[0].name().to_string();
    order(&mut found, &[&first], ServiceOrder::Forget).unwrap();
    assert_eq!(all(&found).len(), 1);
    found.take(&pass(open[2..].to_vec(), open[..2].to_vec()));
    assert_eq!(all(&found).len(), 2);
}

#[test]
fn counts_are_those_of_whole_passes_and_a_flow_counts_once() {
    let mut found = catalogue(10);
    let at = |bytes| there(1, [10, 2, 0, 10], 443, bytes);
    let mut begin = pass(vec![at(100)], Vec::new());
    begin.pass_ended = false;
    found.take(&begin);
    assert_eq!(only(&found).flows, 0, "the pass goes on");
    let mut end = pass(vec![there(2, [10, 2, 0, 10], 443, 1)], Vec::new());
    end.pass_began = false;
    found.take(&end);
    assert_eq!(
        (only(&found).flows, only(&found).to_service_bytes),
        (2, 101)
    );
    // A step is missed: the pass says nothing, and what has ended counts.
    found.take(&begin);
    found.miss();
    let mut ended = pass(Vec::new(), vec![at(120)]);
    ended.pass_began = false;
    found.take(&ended);
    assert_eq!(
        (only(&found).flows, only(&found).to_service_bytes),
        (2, 120)
    );
    found.take(&pass(vec![there(2, [10, 2, 0, 10], 443, 5)], Vec::new()));
    assert_eq!(
        (only(&found).flows, only(&found).to_service_bytes),
        (2, 125)
    );
    assert_eq!(only(&found).clients, 2);
}

#[test]
fn a_guess_ends_when_a_beginning_is_seen() {
    let mut found = catalogue(10);
    let (key, counters) = there(1, [10, 2, 0, 10], 443, 1);
    let resumed = FlowCounters {
        tcp_flags_to_site: 0x18,
        tcp_flags_from_site: 0x10,
        ..counters
    };
    found.take(&pass(vec![(key, resumed)], Vec::new()));
    assert!(only(&found).guessed);
    found.take(&pass(vec![(key, resumed)], Vec::new()));
    assert!(only(&found).guessed, "it knows it by its own guess alone");
    found.take(&pass(vec![(key, counters)], Vec::new()));
    assert!(!only(&found).guessed);
}

#[test]
fn udp_stays_with_the_service_that_is_known_when_its_server_speaks_first_after_a_rest() {
    let mut found = catalogue(10);
    let (key, counters) = there(1, [10, 2, 0, 10], 5060, 1);
    let key = FlowKey {
        protocol: UDP,
        ..key
    };
    found.take(&pass(vec![(key, counters)], Vec::new()));
    let by_server = FlowCounters {
        opened_by: OpenedBy::Remote as u8,
        ..counters
    };
    found.take(&pass(vec![(key, by_server)], vec![(key, counters)]));
    assert_eq!(only(&found).name().to_string(), "10.2.0.10:5060/udp");
    assert_eq!(only(&found).flows, 2);
}

#[test]
fn every_state_leads_to_every_other_and_says_who_and_when() {
    let mut found = catalogue(10);
    found.take(&pass(vec![there(1, [10, 2, 0, 10], 443, 1)], Vec::new()));
    assert_eq!(only(&found).state, ReviewState::Unreviewed);
    assert_eq!(only(&found).changed_unix_milliseconds, None);
    for from in ReviewState::ALL {
        for to in ReviewState::ALL {
            for state in [from, to] {
                order(&mut found, &["10.2.0.10:443"], decide(state)).unwrap();
                assert_eq!(only(&found).state, state);
            }
        }
    }
    let service = only(&found);
    assert_eq!(service.changed_unix_milliseconds, Some(5));
    assert_eq!(service.changed_by, "uid 0");
}

#[test]
fn groups_hold_services_and_stand_for_them() {
    let mut found = catalogue(10);
    let ports = [443, 5432, 22];
    found.take(&pass(
        ports.map(|port| there(1, [10, 2, 0, 10], port, 1)).to_vec(),
        Vec::new(),
    ));
    let erp = |note: Option<&str>| ServiceOrder::Group {
        name: "erp".to_owned(),
        note: note.map(str::to_owned),
    };
    let two = ["10.2.0.10:443/tcp", "10.2.0.10:5432"];
    order(&mut found, &two, erp(Some("SAP"))).unwrap();
    order(&mut found, &[], erp(None)).unwrap();
    let reply = found.answer(&ServicesRequest::default()).unwrap();
    assert_eq!(reply.groups[0].note, "SAP", "it stays");
    assert_eq!(reply.groups[0].services, 2);
    order(&mut found, &["erp"], decide(ReviewState::Approved)).unwrap();
    let approved = |found: &Catalogue| {
        let filter = ServiceFilter {
            state: Some(ReviewState::Approved),
            ..ServiceFilter::default()
        };
        let request = ServicesRequest {
            filter,
            ..ServicesRequest::default()
        };
        found.answer(&request).unwrap().matched
    };
    assert_eq!(approved(&found), 2);
    let out = ServiceOrder::Ungroup {
        name: "erp".to_owned(),
    };
    order(&mut found, &["10.2.0.10:443"], out.clone()).unwrap();
    order(&mut found, &["erp"], decide(ReviewState::Unapproved)).unwrap();
    assert_eq!(approved(&found), 1);
    order(&mut found, &[], out).unwrap();
    assert!(all(&found).iter().all(|service| service.group.is_none()));
    assert!(
        found
            .answer(&ServicesRequest::default())
            .unwrap()
            .groups
            .is_empty()
    );
}

#[test]
fn what_is_not_there_is_refused_with_what_is_meant_and_nothing_changes() {
    let mut found = catalogue(10);
    let (key, counters) = there(1, [10, 2, 0, 10], 53, 1);
    let udp = FlowKey {
        protocol: UDP,
        ..key
    };
    found.take(&pass(vec![(key, counters), (udp, counters)], Vec::new()));
    let erp = ServiceOrder::Group {
        name: "erp".to_owned(),
        note: None,
    };
    order(&mut found, &[], erp).unwrap();
    let approve = decide(ReviewState::Approved);
    for (targets, said) in [
        (
            &["10.2.0.10:53"][..],
            "10.2.0.10:53 may be 10.2.0.10:53/tcp or 10.2.0.10:53/udp: write which",
        ),
        (
            &["10.2.0.1:53/tcp"],
            "10.2.0.1:53/tcp is no service of the catalogue, and no group: did you mean 10.2.0.10:53/tcp?",
        ),
        (
            &["10.2.0.10:53/tcp", "epr"],
            "epr is no service of the catalogue, and no group: did you mean erp?",
        ),
        (
            &["nothing"],
            "nothing is no service of the catalogue, and no group: `crossway services` lists them, as ADDRESS:PORT/PROTOCOL",
        ),
        (&[], "no service is named, or only groups without any"),
        (&["erp"], "no service is named, or only groups without any"),
    ] {
        let refused = order(&mut found, targets, approve.clone()).unwrap_err();
        assert_eq!(refused, said);
    }
    assert!(order(&mut found, &["10.2.0.10:53/tcp"; 33], approve).is_err());
    for name in ["", "10.0.0.1", "a b", "ä", &"x".repeat(65)] {
        let wrong = ServiceOrder::Group {
            name: name.to_owned(),
            note: None,
        };
        let refused = order(&mut found, &[], wrong).unwrap_err();
        assert!(
            refused.contains("cannot be the name of a group"),
            "{refused}"
        );
    }
    for text in ["a\nb", &"x".repeat(1001)] {
        let wrong = ServiceOrder::Note {
            text: text.to_owned(),
        };
        assert!(order(&mut found, &["10.2.0.10:53/tcp"], wrong).is_err());
    }
    let services = all(&found);
    assert!(
        services
            .iter()
            .all(|it| it.state == ReviewState::Unreviewed && it.note.is_empty())
    );
}

#[test]
fn an_order_that_cannot_be_kept_is_taken_back() {
    let mut found = catalogue(10);
    found.take(&pass(vec![there(1, [10, 2, 0, 10], 443, 1)], Vec::new()));
    found.on_written();
    let before = all(&found);
    let target = || vec!["10.2.0.10:443/tcp".to_owned()];
    for order in [
        decide(ReviewState::Approved),
        ServiceOrder::Forget,
        ServiceOrder::Group {
            name: "erp".to_owned(),
            note: None,
        },
    ] {
        let wanted = ServicesOrder {
            targets: target(),
            order,
        };
        let (ordered, undo) = found.order(&wanted, ("uid 0", 5)).unwrap();
        assert_eq!(ordered.services.len(), 1);
        found.undo(undo);
        assert_eq!(all(&found), before);
        assert!(found.changes().forgotten.is_empty());
        assert!(
            found
                .answer(&ServicesRequest::default())
                .unwrap()
                .groups
                .is_empty()
        );
    }
}

/// Resident memory of this process, bytes (proc(5), statm).
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    4096 * pages
}

/// What the documentation says it costs. Run alone and optimised, as it says there, for figures.
#[test]
fn a_pass_through_a_million_flows_meets_every_one_of_them() {
    const FLOWS: u32 = 1_000_000;
    const SERVICES: u32 = 16_384;
    let flow = |number: u32| {
        let [_, _, a, b] = (number % SERVICES).to_be_bytes();
        there(number / SERVICES, [10, 2, a, b], 443, 1)
    };
    let steps: Vec<Vec<Flow>> = (0..FLOWS)
        .map(flow)
        .collect::<Vec<_>>()
        .chunks(16_384)
        .map(<[Flow]>::to_vec)
        .collect();
    let last = steps.len() - 1;
    let batches = steps.into_iter().enumerate().map(|(step, living)| Batch {
        pass_began: step == 0,
        pass_ended: step == last,
        ..pass(living, Vec::new())
    });
    let batches: Vec<Batch> = batches.collect();
    let mut found = catalogue(SERVICES as usize);
    let before = resident();
    for name in ["the first pass", "another pass"] {
        let start = crossway_sys::clock::of_processor();
        for batch in &batches {
            found.take(batch);
        }
        let took = crossway_sys::clock::of_processor().saturating_sub(start);
        println!("{name} through a million flows: {took:?} of the processor");
    }
    let grown = resident().saturating_sub(before);
    println!("{} bytes for each service", grown / u64::from(SERVICES));
    let services = all(&found);
    assert_eq!(services.len(), SERVICES as usize);
    assert_eq!(
        services.iter().map(|it| it.flows).sum::<u64>(),
        u64::from(FLOWS)
    );
    assert!(services.iter().all(|it| (61..=62).contains(&it.clients)));
}
