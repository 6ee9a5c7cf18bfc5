use super::*;

#[test]
fn what_a_name_holds_cannot_break_the_text() {
    let mut reading = Reading::default();
    reading
        .health
        .targets
        .push(crossway_api::message::HealthTarget {
            target: "a\"b\\c\nd".to_owned(),
            state: "up".to_owned(),
            ..Default::default()
        });
    let text = text(reading);
    let line = text
        .lines()
        .find(|line| line.starts_with("crossway_health_target_up{"));
    assert_eq!(
        line,
        Some(r#"crossway_health_target_up{target="a\"b\\c\nd",interface=""} 1"#)
    );
}

#[test]
fn names_are_conventional_and_the_text_has_an_end() {
    let reading = Reading {
        version: ("0.1.0", 7),
        gateway: "berlin-1".to_owned(),
        lanes_busy: vec![1.5],
        offloads: vec![(0, "udp-gso", true)],
        maps: vec![MapUse {
            map: "flows",
            entries: 3,
            capacity: 10,
        }],
        ..Reading::default()
    };
    let text = text(reading);
    for line in [
        r#"crossway_build_info{gateway="berlin-1",version="0.1.0",abi="7"} 1"#,
        r#"crossway_lane_busy_seconds_total{lane="0"} 1.5"#,
        r#"crossway_offload_active{lane="0",offload="udp-gso"} 1"#,
        r#"crossway_map_entries{map="flows"} 3"#,
        "# TYPE crossway_link_receive_bytes counter",
        "# UNIT crossway_link_receive_bytes bytes",
    ] {
        assert!(text.lines().any(|other| other == line), "{line} in\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
    let families: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .collect();
    let mut once = families.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), families.len(), "each family stands once");
}

#[test]
fn whoever_does_not_ask_for_openmetrics_gets_the_format_before_it() {
    let reading = Reading {
        lanes_busy: vec![1.5],
        ..Reading::default()
    };
    let classic = classic(&text(reading));
    let of_lanes: Vec<&str> = classic
        .lines()
        .filter(|line| line.contains("crossway_lane_busy_seconds"))
        .collect();
    assert!(of_lanes[0].starts_with("# HELP crossway_lane_busy_seconds_total Time"));
    assert_eq!(
        of_lanes[1..],
        [
            "# TYPE crossway_lane_busy_seconds_total counter",
            r#"crossway_lane_busy_seconds_total{lane="0"} 1.5"#
        ]
    );
    assert!(
        classic.contains("# TYPE crossway_fast_path gauge\n"),
        "{classic}"
    );
    assert!(!classic.contains("# UNIT") && !classic.contains("# EOF"));
}
