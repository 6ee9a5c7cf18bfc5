use super::*;
use crate::message::RealEnds;

fn ends() -> FlowEnds {
    FlowEnds {
        protocol: 6,
        local: "10.1.0.2".parse().unwrap(),
        local_port: 40_000,
        remote: "10.2.0.9".parse().unwrap(),
        remote_port: 443,
    }
}

fn view(to_site_packets: u64, from_site_packets: u64) -> FlowView<'static> {
    FlowView {
        ends: ends(),
        site: "paris",
        to_site_packets,
        from_site_packets,
        age_seconds: 60,
        policy: PolicyOfFlow::default(),
    }
}

fn flow(to_site_bytes: u64, rate: u64, age_seconds: u64) -> Flow {
    Flow {
        protocol: "tcp".to_owned(),
        protocol_number: 6,
        local: "10.1.0.2".parse().unwrap(),
        local_port: 1,
        remote: "10.2.0.9".parse().unwrap(),
        remote_port: 2,
        site: "paris".to_owned(),
        vnet: "default".to_owned(),
        to_site_packets: 0,
        to_site_bytes,
        from_site_packets: 0,
        from_site_bytes: 0,
        to_site_bytes_per_second: 0,
        from_site_bytes_per_second: rate,
        age_seconds,
        idle_seconds: 0,
        tcp_flags: String::new(),
        seen_here: true,
        policy: FlowPolicy::default(),
        real: RealEnds::default(),
    }
}

#[test]
fn a_filter_asks_for_either_end_and_for_all_of_its_fields() {
    let wanted = |json: &str| {
        let filter: FlowFilter = serde_json::from_str(json).unwrap();
        filter.matches(&view(5, 0))
    };
    assert!(wanted("{}"));
    assert!(wanted(r#"{"address":"10.2.0.0/24"}"#));
    assert!(wanted(r#"{"address":"10.1.0.2"}"#));
    assert!(!wanted(r#"{"address":"10.3.0.0/24"}"#));
    assert!(wanted(r#"{"port":443}"#));
    assert!(wanted(r#"{"port":40000}"#));
    assert!(!wanted(r#"{"port":80}"#));
    assert!(wanted(r#"{"protocol":6,"site":"paris"}"#));
    assert!(!wanted(r#"{"protocol":17,"site":"paris"}"#));
    assert!(!wanted(r#"{"protocol":6,"site":"rome"}"#));
    assert!(wanted(r#"{"min_age_seconds":60,"max_age_seconds":60}"#));
    assert!(!wanted(r#"{"min_age_seconds":61}"#));
    assert!(!wanted(r#"{"max_age_seconds":59}"#));
}

#[test]
fn a_filter_asks_for_what_the_policy_says() {
    let judged = |rule, verdict, shadow_verdict| FlowView {
        policy: PolicyOfFlow {
            verdict,
            rule,
            shadow_verdict,
        },
        ..view(5, 5)
    };
    let (allowed, denied) = (FlowVerdict::Allowed, FlowVerdict::Denied);
    let flows = [
        judged(Some("web"), allowed, Some(denied)),
        judged(Some("dns"), allowed, None),
        judged(None, denied, Some(allowed)),
    ];
    for (json, expected) in [
        (r#"{"rule":"web"}"#, [true, false, false]),
        (r#"{"verdict":"allowed"}"#, [true, true, false]),
        (r#"{"verdict":"denied"}"#, [false, false, true]),
        (r#"{"shadow_verdict":"denied"}"#, [true, false, false]),
        (r#"{"shadow_verdict":"allowed"}"#, [false, false, true]),
    ] {
        let filter: FlowFilter = serde_json::from_str(json).unwrap();
        assert!(filter.asks_policy());
        assert_eq!(flows.map(|flow| filter.matches(&flow)), expected, "{json}");
    }
}

#[test]
fn source_and_destination_are_those_of_packets_that_went() {
    let (here, there) = (r#""10.1.0.0/24""#, r#""10.2.0.0/24""#);
    let cases = [
        (format!(r#"{{"source":{here}}}"#), [true, false, true]),
        (format!(r#"{{"source":{there}}}"#), [false, true, true]),
        (format!(r#"{{"destination":{there}}}"#), [true, false, true]),
        (
            format!(r#"{{"source":{here},"destination":{there}}}"#),
            [true, false, true],
        ),
        (
            format!(r#"{{"source":{there},"destination":{here}}}"#),
            [false, true, true],
        ),
        (
            format!(r#"{{"source":{here},"destination":{here}}}"#),
            [false; 3],
        ),
        (
            r#"{"direction":"to-site"}"#.to_owned(),
            [true, false, false],
        ),
        (
            r#"{"direction":"from-site"}"#.to_owned(),
            [false, true, false],
        ),
        (r#"{"direction":"one-way"}"#.to_owned(), [true, true, false]),
        (r#"{"direction":"both"}"#.to_owned(), [false, false, true]),
    ];
    for (json, expected) in cases {
        let filter: FlowFilter = serde_json::from_str(&json).unwrap();
        let found = [view(3, 0), view(0, 3), view(3, 3)].map(|flow| filter.matches(&flow));
        assert_eq!(found, expected, "{json}");
    }
}

#[test]
fn a_rate_is_wanted_from_the_least_one_on() {
    let filter: FlowFilter = serde_json::from_str(r#"{"min_bytes_per_second":125}"#).unwrap();
    assert!(filter.matches_rate(125) && !filter.matches_rate(124));
    assert_eq!(filter.to_string(), "--min-rate 1000");
    assert!(FlowFilter::default().matches_rate(0));
}

#[test]
fn a_filter_is_the_same_after_a_trip_over_the_wire() {
    let filter = FlowFilter {
        address: Some("2001:db8::/32".parse().unwrap()),
        port: Some(53),
        protocol: Some(17),
        site: Some("paris".to_owned()),
        source: Some("2001:db8:1::/48".parse().unwrap()),
        destination: Some("2001:db8:2::1".parse().unwrap()),
        direction: Some(FlowDirection::OneWay),
        min_age_seconds: Some(60),
        max_age_seconds: Some(3600),
        min_bytes_per_second: Some(1_000_000),
        verdict: Some(FlowVerdict::Allowed),
        rule: Some("allow #1".to_owned()),
        shadow_verdict: Some(FlowVerdict::Denied),
    };
    let json = serde_json::to_string(&filter).unwrap();
    assert_eq!(serde_json::from_str::<FlowFilter>(&json).unwrap(), filter);
    assert_eq!(
        filter.to_string(),
        "--address 2001:db8::/32 --source 2001:db8:1::/48 --destination 2001:db8:2::1/128 --port 53 \
         --protocol udp --site paris --direction one-way --min-age 60s --max-age 3600s \
         --min-rate 8000000 --verdict allowed --rule \"allow #1\" --shadow denied"
    );
    assert!(serde_json::from_str::<FlowFilter>(r#"{"address":"10.0.0.1/8"}"#).is_err());
}

#[test]
fn the_ends_of_a_key_are_shown_in_its_family() {
    let mut key = FlowKey {
        local: "::ffff:10.1.0.2".parse::<Ipv6Addr>().unwrap().octets(),
        remote: "::ffff:10.2.0.9".parse::<Ipv6Addr>().unwrap().octets(),
        local_port: 40_000_u16.to_be_bytes(),
        remote_port: 443_u16.to_be_bytes(),
        protocol: 6,
        family: 4,
        ..FlowKey::default()
    };
    assert_eq!(FlowEnds::from(&key), ends());
    key.family = 6;
    assert!(FlowEnds::from(&key).local.is_ipv6());
}

#[test]
fn the_top_flows_come_in_the_order_asked_for() {
    let all = || vec![flow(10, 3, 7), flow(30, 1, 8), flow(20, 2, 9)];
    let order = |sort: FlowSort, top| {
        let mut flows = all();
        sort.keep_top(&mut flows, top);
        flows
            .iter()
            .map(|flow| flow.to_site_bytes)
            .collect::<Vec<_>>()
    };
    assert_eq!(order(FlowSort::Bytes, None), [30, 20, 10]);
    assert_eq!(order(FlowSort::Rate, Some(2)), [10, 20]);
    assert_eq!(order(FlowSort::Age, Some(1)), [20]);
    assert_eq!(order(FlowSort::Age, Some(0)), [0_u64; 0]);
}
