//! Packets between three networks, 10.1.0.0/16 to 10.3.0.0/16, and what lanes make of them.

mod image;
mod packets;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use self::image::{Rule, image};
use self::packets::{error_about, icmp, later_fragment, tcp, udp};
use super::*;
use crossway_sys::bpf_link::Attached;
use crossway_sys::clock;

const ACK: u8 = 0x10;
const SYN: u8 = 0x02;

/// What 10.1 may open: HTTPS and DNS in 10.2, echoes everywhere.
const RULES: [Rule; 3] = [
    Rule::new(1, 2, 6, 443),
    Rule::new(1, 2, 17, 53),
    Rule::new(1, 2, 1, 0),
];

/// Two lanes of a gateway that judge.
struct Lanes {
    judges: [Judge; 2],
    refused: mpsc::Receiver<Refused>,
    flows: Arc<FlowsOfLanes>,
    ruling: Arc<Ruling>,
    now: Instant,
}

impl Lanes {
    fn under(rules: &[Rule]) -> Self {
        let (refuses, refused) = mpsc::channel(1000);
        let now = clock::now();
        let mut lanes = Self {
            judges: [(); 2].map(|()| Judge::new(refuses.clone(), now)),
            refused,
            flows: Arc::new(FlowsOfLanes::new(now)),
            ruling: Arc::new(Ruling::open()),
            now,
        };
        for judge in &mut lanes.judges {
            judge.share(Arc::clone(&lanes.flows));
        }
        lanes.set(1, rules, None);
        lanes
    }

    fn set(&mut self, generation: u32, rules: &[Rule], shadow: Option<&[Rule]>) {
        let ruling = Ruling::new(
            generation,
            image(rules).into(),
            shadow.map(|rules| image(rules).into()),
        );
        self.ruling = Arc::new(ruling);
        for judge in &mut self.judges {
            judge.set_ruling(Arc::clone(&self.ruling));
        }
    }

    /// The first lane carries what goes out, the second what comes in.
    fn out(&mut self, packet: &[u8]) -> bool {
        self.judges[0].admits(packet, Way::Out, self.now)
    }

    fn comes_in(&mut self, packet: &[u8]) -> bool {
        self.judges[1].admits(packet, Way::In, self.now)
    }

    fn later(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }
}

#[test]
fn answers_pass_by_another_lane_and_nobody_else_opens_anything() {
    let mut lanes = Lanes::under(&RULES);
    assert!(
        !lanes.comes_in(&udp([2, 1], [1, 1], 53, 4000)),
        "nobody has asked"
    );
    assert!(lanes.out(&udp([1, 1], [2, 1], 4000, 53)));
    assert!(lanes.comes_in(&udp([2, 1], [1, 1], 53, 4000)));
    assert!(
        !lanes.comes_in(&udp([2, 1], [1, 1], 53, 4001)),
        "another port"
    );
    assert!(
        !lanes.comes_in(&udp([2, 2], [1, 1], 53, 4000)),
        "another host"
    );
    assert!(!lanes.out(&udp([1, 1], [2, 1], 4000, 54)));
    assert!(!lanes.out(&udp([1, 1], [3, 1], 4000, 53)));
    assert!(lanes.out(&icmp([1, 1], [2, 1], 8)));
    assert!(lanes.comes_in(&icmp([2, 1], [1, 1], 0)));
    assert!(
        !lanes.comes_in(&icmp([2, 1], [1, 1], 8)),
        "the far end may not ask"
    );
}

#[test]
fn a_connection_is_opened_by_its_first_packet_or_picked_up_in_its_midst() {
    let mut lanes = Lanes::under(&RULES);
    assert!(!lanes.comes_in(&tcp([2, 1], [1, 1], 443, 5000, SYN)));
    assert!(lanes.out(&tcp([1, 1], [2, 1], 5000, 443, SYN)));
    assert!(lanes.comes_in(&tcp([2, 1], [1, 1], 443, 5000, SYN | ACK)));
    // A connection the other way between the same ends is another one.
    assert!(!lanes.comes_in(&tcp([2, 1], [1, 1], 443, 5000, SYN)));
    assert!(
        lanes.comes_in(&tcp([2, 1], [1, 1], 443, 5000, ACK)),
        "the first lives on"
    );
    // Nobody has seen these begin.
    assert!(lanes.comes_in(&tcp([2, 9], [1, 9], 443, 6000, ACK)));
    assert!(lanes.out(&tcp([1, 9], [2, 9], 6000, 443, ACK)));
    assert!(lanes.comes_in(&tcp([2, 9], [1, 8], 443, 6000, SYN | ACK)));
    assert!(!lanes.comes_in(&tcp([2, 9], [1, 9], 22, 6000, ACK)));
}

#[test]
fn other_rules_judge_living_flows_anew() {
    let mut lanes = Lanes::under(&RULES);
    let (asks, answer) = (udp([1, 1], [2, 1], 4000, 53), udp([2, 1], [1, 1], 53, 4000));
    let (web, page) = (
        tcp([1, 1], [2, 1], 5000, 443, ACK),
        tcp([2, 1], [1, 1], 443, 5000, ACK),
    );
    assert!(lanes.out(&asks) && lanes.out(&web) && lanes.comes_in(&page));
    lanes.set(2, &RULES[1..], None);
    assert!(
        lanes.comes_in(&answer),
        "it stays allowed, and who opened it is known"
    );
    assert!(lanes.out(&asks));
    assert!(!lanes.out(&web) && !lanes.comes_in(&page));
    lanes.set(3, &RULES[..1], None);
    assert!(!lanes.comes_in(&answer) && !lanes.out(&asks));
    assert!(lanes.comes_in(&page));
}

#[test]
fn a_flow_is_forgotten_after_its_silence() {
    let mut lanes = Lanes::under(&RULES);
    let (asks, answer) = (udp([1, 1], [2, 1], 4000, 53), udp([2, 1], [1, 1], 53, 4000));
    assert!(lanes.out(&asks));
    lanes.later(300);
    assert!(lanes.comes_in(&answer));
    lanes.later(301);
    assert!(!lanes.comes_in(&answer));
    // A connection that was closed by both, or reset, is over sooner.
    assert!(lanes.out(&tcp([1, 1], [2, 1], 5000, 443, SYN)));
    assert!(lanes.comes_in(&tcp([2, 1], [1, 1], 443, 5000, RST | ACK)));
    lanes.set(2, &[Rule::new(1, 2, 6, 443)], None);
    lanes.later(61);
    let before: u64 = lanes.ruling.active().new_flows().sum();
    assert!(lanes.out(&tcp([1, 1], [2, 1], 5000, 443, SYN)));
    let after: u64 = lanes.ruling.active().new_flows().sum();
    assert_eq!((before, after), (0, 1));
}

#[test]
fn fragments_go_by_their_protocol_and_errors_by_what_they_are_about() {
    let mut lanes = Lanes::under(&RULES);
    assert!(lanes.out(&later_fragment([1, 1], [2, 1], 17)));
    assert!(lanes.comes_in(&later_fragment([2, 1], [1, 1], 17)));
    assert!(!lanes.out(&later_fragment([1, 1], [3, 1], 17)));
    assert!(!lanes.out(&later_fragment([1, 1], [2, 1], 47)));
    // A fragment is no flow without ports.
    assert!(!lanes.out(&udp([1, 1], [2, 1], 0, 0)));

    let sent = udp([1, 1], [2, 1], 4000, 53);
    for router in [[2, 254], [9, 9]] {
        assert!(lanes.comes_in(&error_about(&sent, router, [1, 1])));
        assert!(
            lanes.comes_in(&error_about(&sent[..28], router, [1, 1])),
            "the least"
        );
    }
    for quoted in 20..24 {
        let cut = error_about(&sent[..quoted], [2, 254], [1, 1]);
        assert!(!lanes.comes_in(&cut), "its ports are not there: {quoted}");
    }
    let rest = later_fragment([1, 1], [2, 1], 17);
    assert!(lanes.comes_in(&error_about(&rest, [2, 254], [1, 1])));
    assert!(
        !lanes.comes_in(&error_about(&sent, [2, 254], [1, 7])),
        "for another"
    );
    let reply = udp([2, 1], [1, 1], 53, 4000);
    assert!(lanes.out(&error_about(&reply, [1, 254], [2, 1])));
    let other = udp([1, 1], [2, 1], 4000, 54);
    assert!(!lanes.comes_in(&error_about(&other, [2, 254], [1, 1])));
    // By a rule for whoever sends them.
    assert!(lanes.out(&error_about(&other, [1, 1], [2, 1])));
    let error = error_about(&reply, [1, 254], [2, 1]);
    let about_error = error_about(&error, [2, 1], [1, 254]);
    assert!(!lanes.comes_in(&about_error));
}

#[test]
fn what_cannot_be_read_is_denied_and_where_all_is_open_nothing_is_read() {
    let mut lanes = Lanes::under(&RULES);
    let whole = udp([1, 1], [2, 1], 4000, 53);
    for cut in 0..whole.len() {
        assert!(!lanes.out(&whole[..cut]), "cut to {cut}");
    }
    lanes.set(2, &[], None);
    assert!(!lanes.out(&whole));
    lanes.ruling = Arc::new(Ruling::open());
    for judge in &mut lanes.judges {
        judge.set_ruling(Arc::clone(&lanes.ruling));
    }
    assert!(lanes.out(&[0x45; 3]) && lanes.comes_in(&whole));
}

#[test]
fn shadow_rules_count_and_deny_nothing() {
    let mut lanes = Lanes::under(&RULES);
    lanes.set(2, &RULES, Some(&RULES[1..]));
    assert!(lanes.out(&tcp([1, 1], [2, 1], 5000, 443, SYN)));
    assert!(lanes.out(&udp([1, 1], [2, 1], 4000, 53)));
    assert!(lanes.out(&udp([1, 1], [2, 1], 4000, 53)), "known");
    assert!(lanes.out(&udp([1, 1], [2, 1], 4001, 53)));
    let counts = |rules: &RuleSet| rules.new_flows().collect::<Vec<_>>();
    assert_eq!(counts(lanes.ruling.active()), [1, 2, 0]);
    assert_eq!(counts(lanes.ruling.shadow().unwrap()), [2, 0]);
}

#[test]
fn denied_flows_are_told_of_with_their_direction_and_never_without_end() {
    let mut lanes = Lanes::under(&RULES);
    let denied = udp([2, 1], [1, 1], 7, 9);
    for _ in 0..1000 {
        assert!(!lanes.comes_in(&denied));
    }
    let told: Vec<_> = std::iter::from_fn(|| lanes.refused.try_recv().ok()).collect();
    assert_eq!(told.len(), 100);
    assert_eq!(told[0].head(), denied);
    let [flow] = lanes.flows.denied().try_into().unwrap();
    assert_eq!(flow.opened_by, OpenedBy::Remote);
    assert_eq!(
        (flow.packets, flow.bytes),
        (1000, 1000 * denied.len() as u64)
    );
    let DeniedFlow { key, .. } = flow;
    assert_eq!(
        (key.local[12..].to_vec(), key.local_port),
        (vec![10, 1, 0, 1], [0, 9])
    );
    assert_eq!((key.family, key.protocol), (4, 17));
    assert!(!lanes.out(&udp([1, 1], [3, 1], 7, 9)));
    assert_eq!(lanes.flows.denied().len(), 2);
}

/// From port 4000 of 10.1.0.1, which is here, to port 53 of 10.2.0.1.
fn key_of_dns() -> FlowKey {
    let (key, local) = Key::of(
        address::mapped([10, 1, 0, 1]),
        address::mapped([10, 2, 0, 1]),
        17,
        Some(Ports::of_word(u32::from_ne_bytes([0x0f, 0xa0, 0, 53]))),
    );
    key.to_flow(local)
}

#[test]
fn a_flow_that_is_learned_has_its_answers_pass() {
    let mut lanes = Lanes::under(&RULES);
    let answer = udp([2, 1], [1, 1], 53, 4000);
    let key = key_of_dns();
    lanes.flows.learn(&key, OpenedBy::Remote as u8, lanes.now);
    assert!(!lanes.comes_in(&answer), "by no rule for that end");
    lanes.flows.learn(&key, OpenedBy::Local as u8, lanes.now);
    assert!(lanes.comes_in(&answer));
}

#[test]
fn a_flow_that_is_learned_again_lives_on_and_one_that_was_over_begins_anew() {
    let mut lanes = Lanes::under(&RULES);
    let question = udp([1, 1], [2, 1], 4000, 53);
    let answer = udp([2, 1], [1, 1], 53, 4000);
    assert!(lanes.out(&question));
    let key = key_of_dns();
    for silence in [IDLE - 1, IDLE - 1, IDLE + 1] {
        // Programs have judged meanwhile.
        lanes.later(silence.into());
        lanes.flows.learn(&key, OpenedBy::Local as u8, lanes.now);
    }
    assert!(lanes.comes_in(&answer));
    lanes.later(u64::from(IDLE) + 1);
    assert!(!lanes.comes_in(&answer));
}

#[test]
fn a_lane_judges_until_it_is_told_that_programs_do() {
    let mut lanes = Lanes::under(&RULES);
    let denied = udp([1, 1], [3, 1], 1, 2);
    assert!(!lanes.out(&denied));
    // Filters of clsact, which have no links to look at.
    lanes.judges[0].set_programs(Some(Attached::new(Vec::new())));
    lanes.later(1);
    let now = lanes.now;
    lanes.judges[0].look(now);
    assert!(lanes.out(&denied));
    // Something that is no link of an attached program.
    let null = std::fs::File::open("/dev/null").unwrap();
    lanes.judges[0].set_programs(Some(Attached::new(vec![null.into()])));
    assert!(lanes.out(&denied));
    lanes.later(1);
    let now = lanes.now;
    lanes.judges[0].look(now);
    assert!(!lanes.out(&denied));
}
