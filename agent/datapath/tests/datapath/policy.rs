//! The policy: its images outlive an agent, and what was denied is read.

use aya::maps::{HashMap, MapData, PerCpuArray, PerCpuValues};
use aya::util::nr_cpus;
use crossway_datapath::{Datapath, Prepared, RuleSet, TcAttach};
use datapath_abi::flow::FlowKey;
use datapath_abi::maps::{self, ACTIVE_RULES, DEFAULT_FLOWS, SHADOW_RULES};
use datapath_abi::policy::{
    CLOSED, Denied, LINE_WORDS, Line, MAGIC, NO_RULE16, RuleFlows, rule_slot,
};
use datapath_abi::user::RuleSets;

use super::support::*;

/// An image in which the first vnet is closed and nothing is allowed, so long.
fn closed(lines: usize) -> Vec<Line> {
    let mut image = vec![[0; LINE_WORDS]; lines];
    image[0][0] = MAGIC;
    image[0][6] = 1;
    image[2][0] = CLOSED;
    image
}

fn load(gateway: &str) -> Datapath {
    load_datapath(gateway, TcAttach::Auto).unwrap()
}

fn generation(datapath: &Datapath) -> u32 {
    datapath.settings.get().unwrap().route_generation
}

#[test]
fn an_image_is_in_force_until_another_takes_its_place_whoever_runs() {
    enter_sandbox();
    let mut killed = load("policy-takeover");
    let sets = |datapath: &Datapath| RuleSets::new(pinned(datapath, maps::POLICY));
    let is = |datapath: &Datapath, set, image: &[Line]| sets(datapath).is(set, image).unwrap();
    assert!(
        !is(&killed, ACTIVE_RULES, &[]),
        "nothing is allowed before the agent says so"
    );
    let before = generation(&killed);
    killed.set_policy(RuleSet::Active, &closed(3)).unwrap();
    assert_ne!(generation(&killed), before, "every flow is judged again");
    drop(killed);

    // The next agent comes, beside one that hands over or behind one that was killed.
    let prepared = Prepared::load_for("policy-takeover", TcAttach::Auto, DEFAULT_FLOWS);
    let mut next = prepared.unwrap().unwrap().finish().unwrap();
    assert!(is(&next, ACTIVE_RULES, &closed(3)));
    let before = generation(&next);
    next.set_policy(RuleSet::Active, &closed(3)).unwrap();
    assert_ne!(
        generation(&next),
        before,
        "the agent before may not have come to that"
    );
    let before = generation(&next);
    next.set_policy(RuleSet::Active, &closed(3)).unwrap();
    assert_eq!(
        generation(&next),
        before,
        "what is so already changes nothing"
    );
    // Of any length, as the rules are.
    for lines in [5000, 3] {
        next.set_policy(RuleSet::Active, &closed(lines)).unwrap();
        assert!(is(&next, ACTIVE_RULES, &closed(lines)));
        assert!(!is(&next, SHADOW_RULES, &[]));
    }
    next.set_policy(RuleSet::Shadow, &[]).unwrap();
    assert!(is(&next, SHADOW_RULES, &[]));
    assert!(
        is(&next, ACTIVE_RULES, &closed(3)),
        "one set is not the other"
    );
    next.detach().unwrap();
    assert!(!any_pins());
}

#[test]
fn flows_of_a_rule_are_counted_from_zero_when_the_rules_change() {
    enter_sandbox();
    let mut datapath = load("policy-counts");
    let mut map: PerCpuArray<MapData, RuleFlows> = pinned(&datapath, maps::POLICY_RULES);
    let cpus = nr_cpus().unwrap();
    let flows = RuleFlows {
        active: 2,
        shadow: 3,
    };
    for slot in [1, rule_slot(NO_RULE16)] {
        let each = PerCpuValues::try_from(vec![flows; cpus]).unwrap();
        map.set(slot, each, 0).unwrap();
    }
    let sum = |active, shadow| RuleFlows {
        active: active * cpus as u64,
        shadow: shadow * cpus as u64,
    };
    let counts = datapath.policy.counts(2).unwrap();
    assert_eq!(counts.rules, [sum(0, 0), sum(2, 3)]);
    assert_eq!((counts.no_rule, counts.open), (sum(2, 3), sum(0, 0)));
    datapath.set_policy(RuleSet::Shadow, &closed(3)).unwrap();
    let counts = datapath.policy.counts(2).unwrap();
    assert_eq!((counts.rules[1], counts.no_rule), (sum(2, 0), sum(2, 0)));
    datapath.detach().unwrap();
}

#[test]
fn denied_flows_are_read() {
    enter_sandbox();
    let datapath = load("policy-denied");
    assert!(datapath.policy.denied().unwrap().is_empty());
    let mut map: HashMap<MapData, FlowKey, Denied> = pinned(&datapath, maps::DENIED);
    let key = FlowKey {
        protocol: 6,
        family: 4,
        ..FlowKey::default()
    };
    let denied = Denied {
        packets: 7,
        ..Denied::default()
    };
    map.insert(key, denied, 0).unwrap();
    assert_eq!(datapath.policy.denied().unwrap(), [(key, denied)]);
    datapath.detach().unwrap();
}
