use super::*;
use crate::config::Endpoint;

fn config(sites: &[(&str, &str, u8, &str)]) -> Config {
    let keys = "[gateway]\nname = \"g\"\nprivate_key_file = \"k\"\nlisten = \"0.0.0.0:1\"\n\
                [[gateway.lan]]\ninterface = \"l\"\n[[gateway.wan]]\ninterface = \"w\"\n";
    let mut config = Config::parse(
        &format!(
            "{keys}[[site]]\nname = \"x\"\nroutes = [\"10.9.0.0/16\"]\n[[site.gateway]]\nname = \"x1\"\n\
             public_key = \"{}\"\n",
            crate::keys::public_key_text(&[9; 32])
        ),
        std::path::Path::new("test.toml"),
    )
    .unwrap()
    .config;
    let template = config.sites.remove(0);
    for (name, route, key, endpoint) in sites {
        let mut site = template.clone();
        site.name = (*name).to_owned();
        site.routes = vec![route.parse().unwrap()];
        site.gateways[0].name = format!("{name}-1");
        site.gateways[0].public_key = [*key; 32];
        site.gateways[0].links[0].endpoints = vec![Endpoint::Address(endpoint.parse().unwrap())];
        config.sites.push(site);
    }
    config
}

const PARIS: (&str, &str, u8, &str) = ("paris", "10.2.0.0/24", 2, "192.0.2.2:1");
const ROME: (&str, &str, u8, &str) = ("rome", "10.3.0.0/24", 3, "192.0.2.3:1");

#[test]
fn the_same_file_changes_nothing() {
    let mut numbers = Numbers::default();
    let old = numbers.plan(&config(&[PARIS, ROME]), 1);
    let new = numbers.plan(&config(&[PARIS, ROME]), 1);
    assert!(old.difference(&new).is_empty());
}

#[test]
fn a_site_keeps_its_numbers_when_others_come_and_go() {
    let mut numbers = Numbers::default();
    let old = numbers.plan(&config(&[PARIS, ROME]), 1);
    let new = numbers.plan(&config(&[ROME]), 1);
    assert_eq!(old.sites[1], new.sites[0]);
    assert_eq!(old.links[1], new.links[0]);
    let difference = old.difference(&new);
    assert_eq!(difference.sites_removed, [old.sites[0].clone()]);
    assert_eq!(difference.links.removed, [old.links[0].clone()]);
    assert!(difference.sites_added.is_empty() && difference.links.added.is_empty());
}

#[test]
fn a_number_that_goes_to_another_name_is_given_back_first() {
    let mut numbers = Numbers::default();
    let old = numbers.plan(&config(&[PARIS]), 1);
    let new = numbers.plan(&config(&[ROME]), 1);
    assert_eq!(old.sites[0].id, new.sites[0].id);
    let difference = old.difference(&new);
    assert_eq!(difference.sites_removed, [old.sites[0].clone()]);
    assert_eq!(difference.sites_added, [new.sites[0].clone()]);
    assert_eq!(difference.links.added, [new.links[0].clone()]);
    assert_eq!(difference.links.removed, [old.links[0].clone()]);
}

#[test]
fn another_endpoint_moves_the_link_and_another_key_replaces_it() {
    let mut numbers = Numbers::default();
    let old = numbers.plan(&config(&[PARIS]), 1);
    let moved = numbers.plan(&config(&[("paris", "10.2.0.0/24", 2, "192.0.2.9:1")]), 1);
    let difference = old.difference(&moved);
    assert_eq!(difference.links.moved, [moved.links[0].clone()]);
    assert!(difference.links.added.is_empty() && !difference.routes);

    let rekeyed = numbers.plan(&config(&[("paris", "10.2.0.0/24", 7, "192.0.2.2:1")]), 1);
    let difference = old.difference(&rekeyed);
    assert_eq!(difference.links.removed, [old.links[0].clone()]);
    assert_eq!(difference.links.added, [rekeyed.links[0].clone()]);
}

#[test]
fn another_prefix_touches_routes_only() {
    let mut numbers = Numbers::default();
    let old = numbers.plan(&config(&[PARIS]), 1);
    let new = numbers.plan(&config(&[("paris", "10.2.0.0/23", 2, "192.0.2.2:1")]), 1);
    let difference = old.difference(&new);
    assert!(difference.routes && !difference.is_empty());
    assert!(difference.links.added.is_empty() && difference.links.removed.is_empty());
    assert!(difference.sites_added.is_empty() && difference.links.moved.is_empty());
}

#[test]
fn a_far_gateway_with_lanes_has_a_link_for_each_that_both_ends_run() {
    let mut numbers = Numbers::default();
    let mut file = config(&[PARIS, ROME]);
    file.sites[0].gateways[0].lanes = 4;
    let plan = numbers.plan(&file, 2);
    let lanes: Vec<_> = plan
        .links
        .iter()
        .map(|link| (link.site_name.as_str(), link.lane))
        .collect();
    assert_eq!(lanes, [("paris", 0), ("paris", 1), ("rome", 0)]);
    assert_eq!((plan.sites[0].lanes, plan.sites[1].lanes), (2, 1));
    file.sites[0].gateways[0].lanes = 1;
    let fewer = numbers.plan(&file, 2);
    let difference = plan.difference(&fewer);
    assert_eq!(difference.links.removed, [plan.links[1].clone()]);
}

#[test]
fn a_replica_has_a_link_without_a_site_on_the_first_lane() {
    let mut numbers = Numbers::default();
    let mut file = config(&[PARIS, ROME]);
    file.gateway.replicas = vec![file.sites.remove(1).gateways.remove(0)];
    file.gateway.replicas[0].lanes = 4;
    let plan = numbers.plan(&file, 2);
    let [paris, replica] = &plan.links[..] else {
        panic!("{:?}", plan.links);
    };
    assert_eq!(paris.site, Some(plan.sites[0].id));
    assert_eq!((replica.site, replica.lane), (None, 0));
    assert_eq!(replica.name(), "rome-1");
    assert_ne!(replica.receiver_index, paris.receiver_index);
    assert_eq!(plan.routes().count(), 1);

    assert_eq!(
        numbers.plan(&file, 2).links,
        plan.links,
        "it keeps its numbers"
    );
    file.gateway.replicas.clear();
    let difference = plan.difference(&numbers.plan(&file, 2));
    assert_eq!(difference.links.removed, std::slice::from_ref(replica));
    assert!(!difference.routes && difference.sites_removed.is_empty());
}

#[test]
fn a_pre_shared_key_in_another_file_begins_a_new_session_unless_it_is_known_to_be_the_same() {
    let mut numbers = Numbers::default();
    let mut file = config(&[PARIS, ROME]);
    let share = |file: &mut Config, path: Option<&str>| {
        file.sites[0].gateways[0].preshared_key_file = path.map(Into::into);
    };
    share(&mut file, Some("a.psk"));
    let shared = numbers.plan(&file, 1);
    for path in [None, Some("b.psk")] {
        share(&mut file, path);
        let other = numbers.plan(&file, 1);
        let links = shared.difference(&other).links;
        assert_eq!(links.added, [other.links[0].clone()]);
        assert_eq!(links.removed, [shared.links[0].clone()]);
    }
}
