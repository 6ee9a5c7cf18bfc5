//! A made-up day as a page. `CROSSWAY_REPORT=FOLDER cargo test -p crossway --lib cli::report` leaves the pages there, to be
//! looked at.

use std::collections::HashSet;

use super::*;
use crate::control::message::{
    ClockStep, DropSeries, EndReason, Event, EventKind, FinishedFlow, Flow, FlowPolicy, Outage,
    RealEnds, Series, SeriesKind, WarningSpan,
};

const BEGIN: u64 = 1_800_000_000_000;
const MINUTE_MS: u64 = 60_000;
/// What a name or a warning may be.
const EVIL: &str = "<script>alert(\"1\")</script> & 'x' --> ]]> \u{202e}";

/// A day of intervals of a minute.
fn blank(intervals: usize) -> Report {
    let begins = (0..intervals as u64).map(|minute| BEGIN + minute * MINUTE_MS);
    Report {
        history: HistoryReply {
            gateway: "berlin-1".to_owned(),
            version: "0.1.0".to_owned(),
            started_unix_milliseconds: BEGIN - 3 * 86_400_000,
            interval_milliseconds: MINUTE_MS,
            begins_unix_milliseconds: begins.collect(),
            until_unix_milliseconds: BEGIN + intervals as u64 * MINUTE_MS,
            memory_bytes: 900_000,
            memory_limit_bytes: 8 << 20,
            ..HistoryReply::default()
        },
        ..Report::default()
    }
}

/// Numbers that look like those of a gateway, the same each time.
struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most.max(1)
    }
}

fn healthy(kind: SeriesKind, site: &str, name: &str, intervals: usize, seed: u64) -> Series {
    let mut random = Random(seed * 7919 + 17);
    let base = 50_000 + random.below(4_000_000);
    let day = |minute: usize| {
        let angle = (minute as f64 / 720.0 - 0.6) * std::f64::consts::PI;
        (1.2 + angle.sin()) * base as f64
    };
    let mut rates = |share: f64| -> Vec<u64> {
        let rates = (0..intervals).map(|minute| {
            (day(minute) * share) as u64 + random.below((day(minute) * share) as u64 / 3)
        });
        rates.collect()
    };
    let (to, from) = (rates(1.0), rates(0.4));
    let bytes = |rates: &[u64]| rates.iter().map(|rate| rate * 60).collect();
    let peak = |rates: &[u64]| rates.iter().map(|rate| rate * 9 / 5).collect();
    let mut series = Series {
        kind,
        name: name.to_owned(),
        site: site.to_owned(),
        states: "U".repeat(intervals),
        watched_milliseconds: vec![MINUTE_MS as u32; intervals],
        to_site_bytes: bytes(&to),
        from_site_bytes: bytes(&from),
        to_site_peak: peak(&to),
        from_site_peak: peak(&from),
        ..Series::default()
    };
    if kind == SeriesKind::Link {
        let trips: Vec<u32> = (0..intervals)
            .map(|_| (11_000 + random.below(900)) as u32)
            .collect();
        series.round_trip_min_microseconds = trips.iter().map(|trip| trip - 400).collect();
        series.round_trip_max_microseconds = trips.iter().map(|trip| trip + 900).collect();
        series.round_trip_mean_microseconds = trips;
        series.received_messages = vec![60_000; intervals];
        let lost = |_| {
            if random.below(40) == 0 {
                random.below(9) as u32
            } else {
                0
            }
        };
        series.missing_messages = (0..intervals).map(lost).collect();
    }
    series
}

fn add_site(report: &mut Report, site: &str, intervals: usize) {
    let seed = report.history.series.len() as u64;
    for (kind, name) in [
        (SeriesKind::Site, site.to_owned()),
        (SeriesKind::Link, format!("{site}/{site}-1")),
    ] {
        let series = healthy(kind, site, &name, intervals, seed);
        report.history.series.push(series);
    }
}

/// A link is down in some intervals, `out` milliseconds of each, and with it its site if that is `whole`.
fn break_link(report: &mut Report, site: &str, at: std::ops::Range<usize>, out: u32, whole: bool) {
    let intervals = report.history.begins_unix_milliseconds.len();
    for series in &mut report.history.series {
        if series.site != site || !(whole || series.kind == SeriesKind::Link) {
            continue;
        }
        series
            .states
            .replace_range(at.clone(), &"D".repeat(at.len()));
        series.out_milliseconds.resize(intervals, 0);
        for interval in at.clone() {
            series.out_milliseconds[interval] = out;
        }
        let began = BEGIN + at.start as u64 * MINUTE_MS + 7_300;
        report.history.outages.push(Outage {
            kind: series.kind,
            name: series.name.clone(),
            site: site.to_owned(),
            began_unix_milliseconds: began,
            ended_unix_milliseconds: Some(began + u64::from(out) * at.len() as u64),
            cause: "BFD heard nothing for 300 ms".to_owned(),
        });
    }
}

/// Four sites, of which two had trouble.
fn eventful() -> Report {
    let intervals = 1440;
    let mut report = blank(intervals);
    for site in ["paris", "rome", "oslo", EVIL] {
        add_site(&mut report, site, intervals);
    }
    break_link(&mut report, "rome", 400..423, 60_000, true);
    break_link(&mut report, "rome", 1100..1101, 700, true);
    break_link(&mut report, "oslo", 900..901, 900, false);
    let oslo = &mut report.history.series[5];
    oslo.worst_loss = (0..intervals)
        .map(|interval| {
            if (600..660).contains(&interval) {
                420
            } else {
                3
            }
        })
        .collect();
    for interval in 600..660 {
        oslo.missing_messages[interval] = 2_400;
        oslo.round_trip_max_microseconds[interval] = 46_000 + interval as u32;
    }
    let paris = &mut report.history.series[0];
    paris.states.replace_range(200..260, &"G".repeat(60));
    for series in &mut report.history.series {
        series.states.replace_range(1200..1215, &"-".repeat(15));
    }
    let evil = &mut report.history.series[7];
    evil.states.replace_range(300..500, &"R".repeat(200));
    evil.states.replace_range(500..520, &"C".repeat(20));
    report.history.drops.push(DropSeries {
        reason: "no-route".to_owned(),
        packets: (0..intervals as u64)
            .map(|at| u64::from(at % 37 == 0) * at)
            .collect(),
    });
    report.history.warnings.push(WarningSpan {
        source: "host".to_owned(),
        text: format!("the chain inet filter forward drops what is left to the kernel: {EVIL}"),
        began_unix_milliseconds: BEGIN + 1000,
        ended_unix_milliseconds: None,
    });
    report.history.clock_steps.push(ClockStep {
        unix_milliseconds: BEGIN + 77 * MINUTE_MS,
        by_milliseconds: -61_000,
    });
    report.history.finished.push(FinishedFlow {
        end: EndReason::Closed,
        protocol: "tcp".to_owned(),
        protocol_number: 6,
        local: "2001:db8:1::10".parse().unwrap(),
        local_port: 40_000,
        remote: "2001:db8:2::10".parse().unwrap(),
        remote_port: 873,
        site: "paris".to_owned(),
        links: vec!["paris-1".to_owned()],
        vnet: "default".to_owned(),
        to_site_packets: 9_000_000,
        to_site_bytes: 12_000_000_000,
        from_site_packets: 1_000_000,
        from_site_bytes: 60_000_000,
        first_seen_unix_milliseconds: BEGIN,
        last_seen_unix_milliseconds: BEGIN + 3_600_000,
        tcp_flags: "SAPF/SAF".to_owned(),
        policy: FlowPolicy::default(),
    });
    report.flows.push(Flow {
        protocol: "udp".to_owned(),
        protocol_number: 17,
        local: "10.1.0.10".parse().unwrap(),
        local_port: 5060,
        remote: "10.2.0.10".parse().unwrap(),
        remote_port: 5060,
        site: EVIL.to_owned(),
        vnet: "default".to_owned(),
        to_site_packets: 1,
        to_site_bytes: 400_000_000,
        from_site_packets: 1,
        from_site_bytes: 300_000_000,
        to_site_bytes_per_second: 0,
        from_site_bytes_per_second: 0,
        age_seconds: 7_000,
        idle_seconds: 0,
        tcp_flags: String::new(),
        seen_here: true,
        policy: FlowPolicy::default(),
        real: RealEnds::default(),
    });
    report.events.push(Event {
        sequence: 1,
        unix_milliseconds: BEGIN + 400 * MINUTE_MS,
        kind: EventKind::Site,
        subject: EVIL.to_owned(),
        from: Some("Active".to_owned()),
        to: "Down".to_owned(),
        cause: EVIL.to_owned(),
    });
    report
}

fn page_of(report: &Report, name: &str) -> String {
    let page = page::page(&Facts::of(report), None);
    if let Some(folder) = std::env::var_os("CROSSWAY_REPORT") {
        std::fs::write(PathBuf::from(folder).join(name), &page).unwrap();
    }
    check(&page);
    page
}

/// Every element is closed, by its own name and in order; every number is none that is none; nothing is loaded, and no
/// script is run.
fn check(page: &str) {
    const VOID: [&str; 1] = ["meta"];
    let mut open: Vec<&str> = Vec::new();
    let mut ids = HashSet::new();
    let (_, body) = page.split_once("<!DOCTYPE html>").unwrap();
    let (style, end) = (
        body.find("<style>").unwrap(),
        body.find("</style>").unwrap(),
    );
    assert!(!body[style..end].contains("url(") && !body[style..end].contains("@import"));
    let body = format!("{}{}", &body[..style], &body[end + "</style>".len()..]);
    for piece in body.split('<').skip(1) {
        let (tag, text) = piece.split_once('>').expect("a tag ends");
        assert!(!text.contains('>'), "{piece}");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "{piece}");
            continue;
        }
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        assert!(
            !["script", "link", "img", "iframe", "object"].contains(&name),
            "{piece}"
        );
        for word in [
            " src=",
            " on",
            "javascript:",
            "http://",
            "https://",
            "NaN",
            "inf",
        ] {
            assert!(!attributes.contains(word), "{word} in <{tag}>");
        }
        if let Some((_, id)) = attributes.split_once("id=\"") {
            let id = id.split('"').next().unwrap();
            assert!(ids.insert(id.to_owned()), "{id} twice");
        }
        if !VOID.contains(&name) {
            open.push(name);
        }
    }
    assert_eq!(open, [""; 0]);
}

/// Headings, in their order.
fn headings(page: &str) -> Vec<String> {
    let pieces = page.split("<h2>").skip(1);
    let headings = pieces.map(|piece| piece.split("</h2>").next().unwrap().to_owned());
    headings.collect()
}

#[test]
fn what_matters_comes_first_and_names_are_harmless() {
    let page = page_of(&eventful(), "eventful.html");
    let escaped =
        "Site &lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; &amp; 'x' --&gt; ]]&gt; \u{202e}";
    assert_eq!(
        headings(&page),
        [
            "What was out",
            "What was warned of",
            "All sites",
            "Site paris",
            "Site rome",
            "Site oslo",
            escaped,
            "Conversations with the most bytes",
            "What was dropped",
            "What changed",
            "About this report"
        ]
    );
    assert!(
        page.contains(
            "<p class=\"headline\">Site rome was out for 23m 00s; link oslo/oslo-1 lost 4.20 % in its worst ten \
             seconds; 1 warning; the clock was set.</p>"
        ),
        "{}",
        text::headline(&Facts::of(&eventful()))
    );
    assert!(page.contains("default-src 'none'; style-src 'unsafe-inline'"));
    assert!(page.contains("[2001:db8:1::10]:40000") && page.contains("goes on"));
    assert!(page.contains("UTC"));
    assert!(!page.contains("<script"));
}

#[test]
fn a_second_of_outage_is_a_bar_that_is_seen_in_a_day() {
    let page = page_of(&eventful(), "eventful.html");
    let bar = page
        .split("<rect ")
        .find(|rect| rect.contains("down, 02:20:00 to 02:21:00"))
        .expect("the second outage of rome");
    assert!(
        bar.contains("class=\"down\"") && bar.contains("width=\"3.0\""),
        "{bar}"
    );
}

#[test]
fn nothing_happened_where_nothing_did() {
    let mut report = blank(1440);
    for site in ["paris", "rome"] {
        add_site(&mut report, site, 1440);
    }
    let page = page_of(&report, "calm.html");
    assert!(page.contains("<p class=\"headline\">Nothing happened.</p>"));
    assert!(page.contains("class=\"verdict calm\""));
    let facts = Facts::of(&report);
    assert!(facts.nothing_happened());
    assert_eq!(headings(&page)[0], "All sites");
}

#[test]
fn a_history_that_has_just_begun_is_a_page_too() {
    for intervals in [0, 1, 2] {
        let mut report = blank(intervals);
        add_site(&mut report, "paris", intervals);
        let page = page_of(&report, &format!("begun-{intervals}.html"));
        let words = ["Nothing has been measured yet.", "Nothing happened."];
        assert!(page.contains(words[usize::from(intervals > 0)]), "{page}");
        assert!(text::summary(&Facts::of(&report)).contains("site paris"));
        // It began this very moment.
        report.history.until_unix_milliseconds = BEGIN;
        page_of(&report, "moment.html");
    }
    page_of(&Report::default(), "empty.html");
    // Shorter lists than intervals, from an agent of another version.
    let mut report = blank(10);
    add_site(&mut report, "paris", 3);
    page_of(&report, "short.html");
}

#[test]
fn fifty_sites_of_a_day_are_less_than_two_megabytes_and_a_thousand_not_more() {
    let mut report = blank(1440);
    for site in 0..50 {
        add_site(&mut report, &format!("site-{site}"), 1440);
        break_link(&mut report, &format!("site-{site}"), 100..101, 5000, false);
    }
    let of_fifty = page_of(&report, "fifty.html").len();
    assert!(of_fifty < 2_000_000, "{of_fifty}");
    let mut report = blank(90);
    for site in 0..1000 {
        add_site(&mut report, &format!("site-{site}"), 90);
    }
    break_link(&mut report, "site-777", 10..12, 60_000, true);
    let page = page_of(&report, "thousand.html");
    assert!(page.len() < 2_000_000, "{}", page.len());
    assert!(page.contains("800 more sites are not shown"));
    assert!(page.contains("Site site-777 was out for 2m 00s"));
    assert_eq!(
        headings(&page)[2],
        "Site site-777",
        "what there is most to tell of"
    );
}
