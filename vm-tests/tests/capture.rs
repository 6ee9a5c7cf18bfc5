//! `crossway capture`: what is in its file, as tshark reads it.
//!
//! ```text
//!  host a ── lan0 [gateway a] wan0 ════════ [gateway b] ── host b
//!                    capture
//! ```

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use vm_tests::api::CaptureEnd;
use vm_tests::capturing::{Capturing, command, tshark, word};
use vm_tests::pair::Pair;
use vm_tests::topology::Family;
use vm_tests::traffic::{self, Probe, UdpEcho};
use vm_tests::{process, sys};

const DATAGRAMS: u32 = 20;
const GAP: Duration = Duration::from_millis(1);

fn start(pair: &Pair, name: &str, words: &[&str]) -> Capturing {
    let place = (pair.topology.directory(), name);
    Capturing::start(&pair.site_a().gateway, pair.a.name(), place, words).unwrap()
}

/// Datagrams from host a to an echo at host b, and back.
fn echo(pair: &Pair, count: u32) -> UdpEcho {
    let echo = UdpEcho::start(&pair.site_b().host, pair.far(Family::V4)).unwrap();
    echo_to(pair, &echo, count);
    echo
}

fn echo_to(pair: &Pair, echo: &UdpEcho, count: u32) {
    let report = traffic::udp_echo(&pair.site_a().host, echo.address(), count, 200, GAP).unwrap();
    assert_eq!(report.received, count);
}

fn of<'a>(rows: &'a [Vec<String>], key: &str, value: &str) -> Vec<&'a Vec<String>> {
    let rows = rows.iter();
    rows.filter(|row| word(row.last().unwrap(), key) == Some(value))
        .collect()
}

/// Packets on the wire: some are joined to super-packets.
fn on_the_wire(rows: &[&Vec<String>]) -> u32 {
    let packets = rows.iter().map(|row| {
        let joined = word(row.last().unwrap(), "wire-packets");
        joined.map_or(1, |number| number.parse::<u32>().unwrap())
    });
    packets.sum()
}

#[test]
fn both_skins_of_a_chosen_flow_are_in_the_file_with_verdict_and_link() {
    let pair = Pair::start(|_| ()).unwrap();
    let chosen = UdpEcho::start(&pair.site_b().host, pair.far(Family::V4)).unwrap();
    let port = chosen.address().port().to_string();
    let hosts = [
        pair.site_a().host_address(Family::V4).to_string(),
        pair.far(Family::V4).to_string(),
    ];
    let words = [&*hosts[0], &hosts[1], "--protocol", "udp", "--port", &port];
    let mut capture = start(&pair, "chosen", &words);
    echo_to(&pair, &chosen, DATAGRAMS);
    // Others: another port, another protocol, the other family.
    drop(echo(&pair, DATAGRAMS));
    for family in Family::ALL {
        traffic::ping(&pair.site_a().host, pair.far(family), 2).unwrap();
    }
    let summary = capture.end().unwrap();
    assert_eq!(summary.lost_packets, 0);

    let file = capture.file();
    let inner = tshark(
        file,
        "!wg",
        &[
            "frame.interface_name",
            "ip.src",
            "ip.dst",
            "udp.port",
            "frame.comment",
        ],
    )
    .unwrap();
    assert_eq!(inner.len() as u64, summary.inner_packets, "{inner:#?}");
    for row in &inner {
        assert!(row[3].split(',').any(|found| found == port), "{row:?}");
    }
    let link = &pair.a.links().unwrap()[0];
    let name = format!("{}/{}", link.site, link.gateway);
    for (direction, at, from, to) in [
        ("to-site", "lan0", &hosts[0], &hosts[1]),
        (
            "from-site",
            &*pair.a.status().unwrap().tun.name,
            &hosts[1],
            &hosts[0],
        ),
    ] {
        let rows = of(&inner, "direction", direction);
        assert_eq!(on_the_wire(&rows), DATAGRAMS, "{direction}");
        for row in rows {
            assert_eq!([&*row[0], &row[1], &row[2]], [at, from, to]);
            let comment = row.last().unwrap();
            assert_eq!(word(comment, "verdict"), Some("carried"), "{comment}");
            assert_eq!(word(comment, "site"), Some(&*link.site), "{comment}");
            assert_eq!(word(comment, "link"), Some(&*name), "{comment}");
            assert_eq!(word(comment, "lane"), Some("0"), "{comment}");
        }
    }
    assert_eq!(of(&inner, "flow", "new").len(), 1, "the first packet");
    assert_eq!(on_the_wire(&of(&inner, "out", "lan0")), DATAGRAMS);

    let outer = tshark(
        file,
        "wg",
        &[
            "frame.interface_name",
            "wg.receiver",
            "wg.counter",
            "udp.srcport",
            "frame.comment",
        ],
    )
    .unwrap();
    assert_eq!(outer.len() as u64, summary.outer_packets);
    let data = of(&outer, "message", "data");
    assert!(data.len() as u32 >= 2 * DATAGRAMS, "{outer:#?}");
    let mut last = [None, None];
    for row in data {
        assert_eq!(row[0], "wan0");
        let comment = row.last().unwrap();
        assert_eq!(word(comment, "link"), Some(&*name), "{comment}");
        let receiver = word(comment, "receiver").unwrap();
        assert_eq!(number(receiver), number(&row[1]), "as tshark reads it");
        assert_eq!(word(comment, "counter"), Some(&*row[2]), "{comment}");
        let counter: u64 = row[2].parse().unwrap();
        let comes = word(comment, "direction") == Some("from-site");
        if comes {
            assert_eq!(number(receiver) >> 8, link.receiver_index.unwrap() >> 8);
        }
        let before = last[usize::from(comes)].replace(counter);
        assert!(before.is_none_or(|before| before < counter), "{row:?}");
    }
    assert!(last.iter().all(Option::is_some), "both ways: {outer:#?}");
    times_are_now(file);
}

fn number(text: &str) -> u32 {
    let digits = text.strip_prefix("0x").unwrap();
    u32::from_str_radix(digits, 16).unwrap()
}

/// Nanoseconds, of the wall clock.
fn times_are_now(file: &std::path::Path) {
    let told = process::run(Command::new("capinfos").arg(file)).unwrap();
    assert!(told.contains("nanoseconds (9)"), "{told}");
    let times = tshark(file, "", &["frame.time_epoch"]).unwrap();
    let now = vm_tests::wait::date();
    let now = now
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs_f64();
    for time in times {
        let then: f64 = time[0].parse().unwrap();
        assert!((now - then).abs() < 120.0, "{then} is not about {now}");
    }
}

#[test]
fn what_the_fast_path_leaves_to_the_kernel_is_said_with_its_reason() {
    let pair = Pair::start(|_| ()).unwrap();
    let far = pair.far(Family::V4);
    let mut capture = start(
        &pair,
        "left",
        &["--skin", "inner", "--address", &far.to_string()],
    );
    // The first router answers what reaches it with a TTL of 1.
    traffic::traceroute(&pair.site_a().host, far, Probe::Icmp).unwrap();
    let summary = capture.end().unwrap();
    assert_eq!(summary.outer_packets, 0);
    let rows = tshark(
        capture.file(),
        "",
        &["frame.interface_name", "ip.ttl", "frame.comment"],
    )
    .unwrap();
    let left = of(&rows, "verdict", "to-stack");
    assert!(!left.is_empty(), "{rows:#?}");
    for row in left {
        assert_eq!(word(&row[2], "reason"), Some("ttl-expiring"), "{row:?}");
        assert_eq!((&*row[0], &*row[1]), ("lan0", "1"));
    }
    assert!(!of(&rows, "verdict", "carried").is_empty(), "{rows:#?}");
}

#[test]
fn super_packets_are_whole_inside_and_taken_apart_outside() {
    let pair = Pair::start(|_| ()).unwrap();
    let (from, to) = (&pair.site_a().host, &pair.site_b().host);
    let mut capture = start(&pair, "super", &["--protocol", "tcp", "--size", "100M"]);
    traffic::tcp_transfer(from, to, pair.far(Family::V4), 2_000_000).unwrap();
    let summary = capture.end().unwrap();
    assert_eq!(summary.lost_packets, 0, "{summary:?}");
    let file = capture.file();
    let inner = tshark(
        file,
        "tcp && frame.comment contains \"wire-packets\"",
        &["frame.len", "frame.cap_len", "frame.comment"],
    )
    .unwrap();
    assert!(!inner.is_empty(), "a card joins segments");
    for row in &inner {
        assert_eq!(row[0], row[1], "whole");
        let packets: u32 = word(&row[2], "wire-packets").unwrap().parse().unwrap();
        assert!(
            packets > 1 && row[0].parse::<u32>().unwrap() > 1500,
            "{row:?}"
        );
    }
    let outer = tshark(
        file,
        "wg.counter",
        &[
            "frame.len",
            "ip.len",
            "udp.length",
            "ip.checksum.status",
            "udp.checksum.status",
            "frame.comment",
        ],
    )
    .unwrap();
    let parts: Vec<_> = outer
        .iter()
        .filter(|row| word(&row[5], "part").is_some())
        .collect();
    assert!(!parts.is_empty(), "datagrams were sent as super-packets");
    for row in parts {
        let [frame, ip, udp] = [0, 1, 2].map(|at| row[at].parse::<u32>().unwrap());
        assert_eq!((ip, udp), (frame - 14, frame - 34), "{row:?}");
        assert!(frame <= 1514, "{row:?}");
    }
    // Each carries at most so much, and all of it went.
    let counters = outer
        .iter()
        .filter(|row| word(&row[5], "direction") == Some("to-site"));
    assert!(counters.count() as u64 >= 2_000_000 / 1460);
}

#[test]
fn a_capture_goes_as_far_as_it_is_told() {
    let pair = Pair::start(|_| ()).unwrap();
    let packets =
        |capture: &Capturing| tshark(capture.file(), "", &["frame.len", "frame.cap_len"]).unwrap();

    let mut counted = start(&pair, "count", &["--count", "7"]);
    drop(echo(&pair, DATAGRAMS));
    let summary = counted.wait().unwrap();
    assert_eq!((summary.packets, summary.ended), (7, CaptureEnd::Count));
    assert_eq!(packets(&counted).len(), 7);

    let mut sized = start(&pair, "size", &["--size", "4k"]);
    drop(echo(&pair, DATAGRAMS));
    let summary = sized.wait().unwrap();
    assert_eq!(summary.ended, CaptureEnd::Size);
    let length = std::fs::metadata(sized.file()).unwrap().len();
    assert_eq!(length, summary.file_bytes);
    // The statistics stand behind the packets.
    assert!((3_000..4_200).contains(&length), "{length}");
    assert_eq!(packets(&sized).len() as u64, summary.packets);

    let mut timed = start(&pair, "time", &["--seconds", "1", "--snap", "64"]);
    drop(echo(&pair, DATAGRAMS));
    let summary = timed.wait().unwrap();
    assert_eq!(summary.ended, CaptureEnd::Seconds);
    for row in packets(&timed) {
        assert!(row[1].parse::<u32>().unwrap() <= 64, "{row:?}");
    }
}

#[test]
fn what_is_written_to_standard_output_is_read_as_it_comes() {
    let pair = Pair::start(|_| ()).unwrap();
    let gateway = &pair.site_a().gateway;
    let words = ["--protocol", "icmp", "--skin", "inner"];
    let mut capture = command(gateway, pair.a.name(), &words).unwrap();
    let mut capture = capture
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let packets = capture.stdout.take().unwrap();
    // The command itself holds the pipe too, until it is dropped.
    let mut reader = Command::new("tshark")
        .args([
            "-l",
            "-n",
            "-r",
            "-",
            "-c",
            "4",
            "-T",
            "fields",
            "-e",
            "icmp.type",
        ])
        .stdin(packets)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let steady = pair.steady_ping(Family::V4).unwrap();
    // It has seen enough, and goes; that ends the capture.
    let mut types = String::new();
    reader
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut types)
        .unwrap();
    assert!(reader.wait().unwrap().success());
    let types: Vec<&str> = types.lines().collect();
    assert_eq!(types.len(), 4, "{types:?}");
    assert!(types.contains(&"8") && types.contains(&"0"), "{types:?}");
    let mut said = String::new();
    capture
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert!(capture.wait().unwrap().success(), "{said}");
    assert!(
        said.contains("the reader of standard output has gone"),
        "{said}"
    );
    drop(steady);
}

#[test]
fn what_the_buffer_had_no_room_for_is_counted() {
    let pair = Pair::start(|_| ()).unwrap();
    let mut capture = start(
        &pair,
        "lost",
        &["--protocol", "udp", "--skin", "inner", "--buffer", "256k"],
    );
    // It takes nothing while a thousand datagrams pass each way.
    sys::freeze(capture.pid()).unwrap();
    drop(echo(&pair, 1000));
    sys::thaw(capture.pid()).unwrap();
    let summary = capture.end().unwrap();
    assert!(summary.lost_packets > 0, "{summary:?}");
    // Datagrams that the lane has joined are one packet.
    let all = summary.inner_packets + summary.lost_packets;
    assert!((1000..=2000).contains(&all), "{summary:?}");
    // The file says it, too.
    let told = process::run(Command::new("capinfos").args(["-I"]).arg(capture.file())).unwrap();
    assert!(told.contains("Number of interfaces in file"), "{told}");
    let rows = tshark(capture.file(), "udp", &["frame.number"]).unwrap();
    assert_eq!(rows.len() as u64, summary.inner_packets);
}

#[test]
fn a_capture_goes_on_beside_a_hand_over_and_a_reload() {
    let mut pair = Pair::start(|_| ()).unwrap();
    let mut capture = start(&pair, "over", &["--skin", "inner", "--protocol", "icmp"]);
    let ping = |pair: &Pair| {
        let report = traffic::ping(&pair.site_a().host, pair.far(Family::V4), 3).unwrap();
        assert_eq!(report.received, 3);
    };
    ping(&pair);
    pair.a.take_over().unwrap();
    ping(&pair);
    pair.a.command(&["reload"]).unwrap();
    ping(&pair);
    let summary = capture.end().unwrap();
    assert_eq!(summary.inner_packets, 18, "{}", capture.said());
}

#[test]
fn who_asks_for_what_cannot_be_is_told_so() {
    let pair = Pair::start(|_| ()).unwrap();
    let gateway = &pair.site_a().gateway;
    let refused = |words: &[&str], netns: bool| {
        let mut command = if netns {
            command(gateway, pair.a.name(), words).unwrap()
        } else {
            let mut command = Command::new(vm_tests::crossway::binary());
            command
                .args(["--gateway", pair.a.name(), "capture"])
                .args(words);
            command
        };
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code().unwrap(), said)
    };
    let running = start(&pair, "first", &[]);
    for (words, netns, code, expected) in [
        (
            &["--site", "bb"][..],
            true,
            2,
            "there is no site bb: did you mean b?",
        ),
        (&[], true, 1, "a capture of this gateway runs already"),
        (&[], false, 1, "runs in another network namespace"),
        (
            &["10.1.0.1", "2001:db8::1"],
            true,
            2,
            "different IP versions",
        ),
        (&["--json"], true, 2, "standard output has the packets"),
        (&["--snap", "10"], true, 2, "64..=65568"),
        (&["--size", "9"], true, 2, "not a size"),
    ] {
        let (found, said) = refused(words, netns);
        assert!(said.contains(expected), "{words:?}: {said}");
        assert_eq!(found, code, "{words:?}: {said}");
    }
    let file = running.file().to_owned();
    drop(running);
    let (code, said) = refused(&["--write", file.to_str().unwrap()], true);
    assert!(said.contains("overwrites nothing"), "{said}");
    assert_eq!(code, 1);
}
