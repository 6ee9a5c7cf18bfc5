//! What is told of conversations: which, in pages of a table of a million, and what became of them.
//!
//! ```text
//!  host a ── [gateway a] ═══ WAN ═══ [gateway b] ── host b
//! ```

use std::collections::HashSet;
use std::io::Write;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use aya::maps::{HashMap, Map, MapData};
use datapath_abi::flow::{FlowCounters, FlowKey4};
use datapath_abi::maps;
use vm_tests::api::{EndReason, EvictedFlows, FinishedFlow, FinishedRecord, Flow, FlowsReply};
use vm_tests::config::{Collector, FlowFile};
use vm_tests::crossway::Crossway;
use vm_tests::netns::Netns;
use vm_tests::pair::Pair;
use vm_tests::process::ProcessGuard;
use vm_tests::topology::Family;
use vm_tests::{traffic, wait};

const DEADLINE: Duration = Duration::from_secs(20);

/// The flow table of a gateway, as its programs write it.
fn table(gateway: &Crossway) -> HashMap<MapData, FlowKey4, FlowCounters> {
    let pin = Path::new("/sys/fs/bpf/crossway").join(gateway.name());
    let map = MapData::from_pin(pin.join(maps::FLOWS4)).unwrap();
    Map::LruHashMap(map).try_into().unwrap()
}

/// CLOCK_MONOTONIC, where the machine was never suspended.
fn now_ns() -> u64 {
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
    let seconds: u64 = uptime.split('.').next().unwrap().parse().unwrap();
    seconds * 1_000_000_000
}

/// Flow number `number` has seen as many packets.
fn enter_flows(gateway: &Crossway, count: u32) {
    let mut table = table(gateway);
    let now = now_ns();
    for number in 0..count {
        let [_, a, b, c] = number.to_be_bytes();
        let key = FlowKey4 {
            local: [10, a, b, c],
            remote: [10, 2, 0, 10],
            protocol: 17,
            ..FlowKey4::default()
        };
        let counters = FlowCounters {
            to_site_packets: u64::from(number),
            to_site_bytes: 100 * u64::from(number),
            first_seen_ns: now,
            last_seen_ns: now,
            ..FlowCounters::default()
        };
        table.insert(key, counters, 0).unwrap();
    }
}

fn memory_of(gateway: &Crossway) -> u64 {
    gateway.status().unwrap().memory_rss_bytes
}

#[test]
fn a_million_flows_are_told_page_by_page_and_the_gateway_keeps_one_page() {
    const FLOWS: u32 = 1_000_000;
    let room = |plans: &mut [vm_tests::plan::GatewayPlan]| {
        plans[0].configure(|config| config.gateway.flows = 1 << 21);
    };
    let pair = Pair::start(room).unwrap();
    enter_flows(&pair.a, FLOWS);
    let before = memory_of(&pair.a);

    // Page after page in the order of the table: each flow once.
    let page = |sort: &str, top: &str, after: Option<&str>| -> FlowsReply {
        let mut words = vec!["flows", "--protocol", "udp", "--sort", sort, "--top", top];
        words.extend(after.iter().flat_map(|after| ["--after", after]));
        pair.a.ask(&words).unwrap()
    };
    let mut seen = HashSet::new();
    let mut after: Option<String> = None;
    for _ in 0..3 {
        let reply = page("table", "4000", after.as_deref());
        assert!(
            (1..=4000).contains(&reply.flows.len()),
            "{}",
            reply.flows.len()
        );
        seen.extend(reply.flows.iter().map(|flow| flow.local));
        assert_eq!(reply.matched, reply.flows.len() as u64);
        after = reply.next;
        assert!(after.is_some(), "there are more");
    }
    assert!(seen.len() > 11_000, "{}", seen.len());

    // The heaviest, and those behind.
    let first = page("bytes", "3", None);
    let second = page("packets", "2", None);
    let behind = page("bytes", "3", first.next.as_deref());
    let packets =
        |flows: &[Flow]| -> Vec<u64> { flows.iter().map(|flow| flow.to_site_packets).collect() };
    assert_eq!(packets(&first.flows), [999_999, 999_998, 999_997]);
    assert_eq!(packets(&second.flows), [999_999, 999_998]);
    assert_eq!(packets(&behind.flows), [999_996, 999_995, 999_994]);
    assert_eq!(first.matched, u64::from(FLOWS));
    assert!(first.present >= u64::from(FLOWS), "{}", first.present);
    let by_rate = page("rate", "3", None);
    assert_eq!(
        (by_rate.matched, by_rate.flows.len()),
        (u64::from(FLOWS), 3)
    );
    let grown = memory_of(&pair.a).saturating_sub(before);
    println!("answers took {} KiB", grown / 1024);
    assert!(grown < 64 << 20, "{grown} bytes");

    // Many of them: the command line asks for each page.
    let many = [
        "flows",
        "--protocol",
        "udp",
        "--source",
        "10.0.0.0/16",
        "--top",
        "0",
    ];
    let many: FlowsReply = pair.a.ask(&many).unwrap();
    // Number 0 has sent nothing.
    assert_eq!(many.flows.len(), (1 << 16) - 1);
    assert_eq!(packets(&many.flows[..2]), [65_535, 65_534]);
    let different: HashSet<_> = many.flows.iter().map(|flow| flow.local).collect();
    assert_eq!(different.len(), many.flows.len());
    let grown = memory_of(&pair.a).saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes");
}

/// A datagram from one host to the other, from a port to a port.
fn send(from: &Netns, source: &str, to: &str, count: usize) {
    let sent = from.enter(|| {
        let socket = UdpSocket::bind(source)?;
        (0..count).try_for_each(|_| socket.send_to(b"hello", to).map(drop))
    });
    sent.unwrap().unwrap();
}

#[test]
fn filters_choose_by_ends_direction_age_and_rate() {
    let pair = Pair::start(|_| ()).unwrap();
    let near = pair.site_a().host_address(Family::V4);
    let far = pair.far(Family::V4);
    let host = &pair.site_a().host;
    send(host, &format!("{near}:5000"), &format!("{far}:9"), 3);
    send(
        &pair.site_b().host,
        &format!("{far}:6000"),
        &format!("{near}:9"),
        2,
    );
    let chosen = |words: &[&str]| -> Vec<(u16, u16)> {
        let all = ["flows", "--protocol", "udp", "--port", "9"];
        let words = [&all[..], words].concat();
        let reply: FlowsReply = pair.a.ask(&words).unwrap();
        let mut ports: Vec<_> = reply
            .flows
            .iter()
            .map(|flow| (flow.local_port, flow.remote_port))
            .collect();
        ports.sort_unstable();
        ports
    };
    // Hosts answer that nobody listens, by ICMP: these two are one-way.
    let (mine, theirs) = ((5000, 9), (9, 6000));
    wait::until("both flows", DEADLINE, || {
        (chosen(&[]) == [theirs, mine]).then_some(())
    })
    .unwrap();
    let (near, far) = (near.to_string(), far.to_string());
    assert_eq!(chosen(&["--source", &near]), [mine]);
    assert_eq!(chosen(&["--source", &far]), [theirs]);
    assert_eq!(chosen(&["--destination", &far]), [mine]);
    assert_eq!(chosen(&["--address", &far]), [theirs, mine]);
    assert_eq!(chosen(&["--direction", "to-site"]), [mine]);
    assert_eq!(chosen(&["--direction", "from-site"]), [theirs]);
    assert_eq!(chosen(&["--direction", "one-way"]), [theirs, mine]);
    assert_eq!(chosen(&["--direction", "both"]), []);
    assert_eq!(chosen(&["--min-age", "1h"]), []);
    assert_eq!(chosen(&["--max-age", "1h"]), [theirs, mine]);
    assert_eq!(chosen(&["--site", "b"]), [theirs, mine]);
    let unknown = pair.a.command(&["flows", "--site", "nowhere"]).unwrap_err();
    assert!(
        unknown.to_string().contains("no site nowhere"),
        "{unknown:#}"
    );
    assert_eq!(chosen(&["--min-rate", "1"]), [], "they are at rest");

    // One that goes on is found by its rate, whatever the order.
    let ping = pair.steady_ping(Family::V4).unwrap();
    for sort in ["rate", "bytes", "age", "idle", "table"] {
        wait::until("a rate", DEADLINE, || {
            let words = ["flows", "--min-rate", "100", "--sort", sort];
            let reply: FlowsReply = pair.a.ask(&words).unwrap();
            reply
                .flows
                .iter()
                .any(|flow| flow.protocol == "icmp")
                .then_some(())
        })
        .unwrap();
    }
    drop(ping);
    let (code, said) = pair
        .a
        .failing_command(&["flows", "--after", "nonsense"])
        .unwrap();
    assert!(
        code == 1 && said.contains("write what `next` says"),
        "{code} {said}"
    );
    traffic::wait_for_ping(host, pair.far(Family::V6), DEADLINE).unwrap();
}

/// What the file has, and what the kernel evicted.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    flows: Vec<FinishedFlow>,
    evicted: EvictedFlows,
}

impl Told {
    fn read(file: &Path) -> Self {
        let mut told = Self::default();
        for line in std::fs::read_to_string(file).unwrap_or_default().lines() {
            match serde_json::from_str(line).unwrap() {
                FinishedRecord::Flow(flow) => told.flows.push(*flow),
                FinishedRecord::Evicted(more) => {
                    told.evicted.flows += more.flows;
                    told.evicted.packets += more.packets;
                    told.evicted.bytes += more.bytes;
                }
            }
        }
        told
    }

    fn counted(&self) -> (u64, u64) {
        let flows = self.flows.iter().map(|flow| {
            (
                flow.to_site_packets + flow.from_site_packets,
                flow.to_site_bytes + flow.from_site_bytes,
            )
        });
        sum(flows.chain([(self.evicted.packets, self.evicted.bytes)]))
    }
}

fn sum(all: impl Iterator<Item = (u64, u64)>) -> (u64, u64) {
    all.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
}

/// What the sites have counted, and what the flows of the table have.
fn carried_and_living(gateway: &Crossway) -> ((u64, u64), (u64, u64)) {
    let reply: FlowsReply = gateway.ask(&["flows", "--top", "0"]).unwrap();
    let living = reply.flows.iter().map(|flow| {
        (
            flow.to_site_packets + flow.from_site_packets,
            flow.to_site_bytes + flow.from_site_bytes,
        )
    });
    let living = sum(living);
    let sites = gateway.sites().unwrap();
    let carried = sites.iter().map(|site| {
        let traffic = &site.traffic;
        (
            traffic.to_site_packets + traffic.from_site_packets,
            traffic.to_site_bytes + traffic.from_site_bytes,
        )
    });
    (sum(carried), living)
}

/// So many flows of one datagram each, from as many ports and addresses.
fn send_flows(pair: &Pair, round: u16, count: u16) {
    let near = pair.site_a().host_address(Family::V4);
    let far = pair.far(Family::V4);
    let sent = pair.site_a().host.enter(|| {
        let socket = UdpSocket::bind((near, 1000 + round))?;
        (0..count).try_for_each(|number| {
            let payload = vec![0; usize::from(number % 100)];
            socket.send_to(&payload, (far, 1024 + number)).map(drop)
        })
    });
    sent.unwrap().unwrap();
}

/// Until every packet that the sites have counted is in a flow of the table, in a record, or told as evicted.
fn wait_until_all_is_told(pair: &Pair, file: &Path, when: &str) -> Told {
    wait::until(
        &format!("the sum to be right {when}"),
        Duration::from_secs(40),
        || {
            let (carried, living) = carried_and_living(&pair.a);
            let told = Told::read(file);
            let right = sum([living, told.counted()].into_iter()) == carried;
            if !right {
                println!("{when}: {carried:?} = {living:?} + {:?}?", told.counted());
            }
            right.then_some(told)
        },
    )
    .unwrap()
}

/// Records, evictions and living flows together are what the sites have counted, whatever happens to the agent.
#[test]
fn finished_and_living_flows_are_all_that_was_carried_through_evictions_kills_and_hand_overs() {
    let folder = std::env::temp_dir().join(format!("crossway-flows-sum-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("flows.jsonl");
    let path = file.clone();
    let mut pair = Pair::start(|plans| {
        plans[0].configure(move |config| {
            config.gateway.flows = 16_384;
            config.flows.file = Some(FlowFile {
                path: path.clone(),
                size_mib: 64,
                count: 1,
            });
        });
    })
    .unwrap();
    let followed = follow(&pair, &folder.join("followed"));
    // Fewer than fit, then many more at once: the agent has no time to make room.
    send_flows(&pair, 0, 5_000);
    let told = wait_until_all_is_told(&pair, &file, "after some");
    assert_eq!(told.evicted.flows, 0, "there was room");
    for round in 1..=3 {
        send_flows(&pair, round, 30_000);
    }
    let told = wait_until_all_is_told(&pair, &file, "after too many");
    assert!(told.evicted.flows > 0, "{:?}", told.evicted);
    assert!(
        told.flows
            .iter()
            .any(|flow| flow.end == EndReason::Pressure)
    );
    let shown = wait::until("the follower to be told", DEADLINE, || {
        let output = followed.output();
        let flows = output
            .lines()
            .filter(|line| line.starts_with(r#"{"record":"flow""#));
        (flows.count() > 1000).then_some(output)
    })
    .unwrap();
    assert!(
        shown.lines().all(|line| line.starts_with('{')),
        "not NDJSON"
    );
    let shown = pair
        .a
        .command(&["flows", "--finished", "--last", "3"])
        .unwrap();
    println!("{shown}");
    assert_eq!(shown.lines().count(), 3, "{shown}");
    drop(followed);

    pair.a.upgrade().unwrap();
    pair.a.take_back().unwrap();
    wait_until_all_is_told(&pair, &file, "after a hand-over");
    send_flows(&pair, 4, 12_000);
    wait_until_all_is_told(&pair, &file, "after more");

    // Nothing is on its way from the table to the file.
    let mut last = 0;
    wait::until("the table to rest", Duration::from_secs(40), || {
        wait::pace(Duration::from_secs(2));
        let now = Told::read(&file).flows.len();
        (std::mem::replace(&mut last, now) == now).then_some(())
    })
    .unwrap();
    pair.a.kill_and_restart(Duration::from_millis(200)).unwrap();
    pair.wait_until_up().unwrap();
    wait_until_all_is_told(&pair, &file, "after a kill");
    send_flows(&pair, 5, 30_000);
    send_flows(&pair, 6, 9_000);
    wait_until_all_is_told(&pair, &file, "at last");

    let (carried, _) = carried_and_living(&pair.a);
    assert!(pair.a.stop().unwrap().success());
    let told = Told::read(&file);
    assert_eq!(told.counted(), carried, "after a stop nothing lives");
    println!("{} records, {:?}", told.flows.len(), told.evicted);
    std::fs::remove_dir_all(&folder).unwrap();
}

/// nfcapd of nfdump, a collector of others, beside gateway a.
#[test]
fn a_collector_gets_what_was_carried_by_ipfix_and_the_file_says_the_same() {
    let folder = std::env::temp_dir().join(format!("crossway-ipfix-{}", std::process::id()));
    let flows = folder.join("nfdump");
    std::fs::create_dir_all(&flows).unwrap();
    let file = folder.join("flows.jsonl");
    let path = file.clone();
    let mut pair = Pair::start(|plans| {
        plans[0].configure(move |config| {
            config.flows.file = Some(FlowFile {
                path: path.clone(),
                size_mib: 1,
                count: 2,
            });
            config.flows.collector = Some(Collector {
                address: "127.0.0.1:4739".parse().unwrap(),
                domain: 7,
                enterprise: 32_473,
                template_pace: Duration::from_secs(1),
            });
        });
    })
    .unwrap();
    let gateway = &pair.topology.sites[0].gateway;
    let flows = flows.to_str().unwrap();
    let words = ["-w", flows, "-b", "127.0.0.1", "-p", "4739", "-t", "3600"];
    let log = folder.join("nfcapd.log");
    let mut collector = gateway.spawn("nfcapd", "nfcapd", &words, &log).unwrap();
    wait::until("the collector to listen", DEADLINE, || {
        let sockets = gateway.run("ss -Hlun sport = :4739").unwrap();
        (!sockets.is_empty()).then_some(())
    })
    .unwrap();

    let host = &pair.topology.sites[0].host;
    for family in Family::ALL {
        let near = pair.site_a().host_address(family);
        let far = pair.far(family);
        let (near, far) = (SocketAddr::new(near, 5000), SocketAddr::new(far, 9));
        send(host, &near.to_string(), &far.to_string(), 20);
        traffic::wait_for_ping(host, far.ip(), DEADLINE).unwrap();
    }
    // Templates come again: what was sent before it listened is no matter.
    wait::pace(Duration::from_secs(3));
    let totals = pair.a.sites().unwrap()[0].traffic;
    assert!(pair.a.stop().unwrap().success());
    let told = Told::read(&file);
    println!("{}", std::fs::read_to_string(&file).unwrap());
    assert_eq!(told.evicted, EvictedFlows::default());
    let to_site: u64 = told.flows.iter().map(|flow| flow.to_site_packets).sum();
    let from_site: u64 = told.flows.iter().map(|flow| flow.from_site_bytes).sum();
    assert_eq!(to_site, totals.to_site_packets);
    assert_eq!(from_site, totals.from_site_bytes);
    let echoes = told.flows.iter().filter(|flow| flow.protocol == "icmp");
    assert!(echoes.clone().count() > 0 && echoes.clone().all(|flow| flow.from_site_packets > 0));
    assert!(told.flows.iter().all(|flow| flow.end == EndReason::Stopped));
    assert!(
        told.flows.iter().all(|flow| flow.links.len() == 1),
        "{told:?}"
    );

    // nfcapd puts its file in place when it ends.
    wait::pace(Duration::from_secs(1));
    assert!(collector.terminate(DEADLINE).unwrap().success());
    let said = collector.output();
    let counts = format!("Flows: {}, ", told_ways(&told));
    assert!(said.contains(&counts), "{counts} in {said}");
    assert!(
        said.contains("Sequence Errors: 0, Bad Packets: 0"),
        "{said}"
    );
    let dumped = gateway
        .run(&format!(
            "nfdump -R {flows} -q -N -o fmt:%pr;%sa;%sp;%da;%dp;%pkt;%byt;%dir"
        ))
        .unwrap();
    println!("{dumped}");
    let rows: Vec<Vec<&str>> = dumped
        .lines()
        .map(|line| line.split(';').map(str::trim).collect())
        .filter(|row: &Vec<&str>| row.len() == 8)
        .collect();
    let counted = rows
        .iter()
        .map(|row| (row[5].parse().unwrap(), row[6].parse().unwrap()));
    assert_eq!(sum(counted), told.counted(), "{dumped}");
    for family in Family::ALL {
        let (near, far) = (pair.site_a().host_address(family), pair.far(family));
        let is_it = |row: &&Vec<&str>| {
            row[0] == "17" && row[1].parse() == Ok(near) && row[3].parse() == Ok(far)
        };
        let row = rows.iter().find(is_it).unwrap();
        let ip = if family == Family::V4 { 28 } else { 48 };
        let expected = ["5000", "9", "20", &(20 * (ip + 5)).to_string()].map(str::to_owned);
        assert_eq!(
            [row[2], row[4], row[5], row[6]].map(str::to_owned),
            expected
        );
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Directions with packets: each is a record of IPFIX.
fn told_ways(told: &Told) -> usize {
    let ways = told.flows.iter().map(|flow| {
        usize::from(flow.to_site_packets > 0) + usize::from(flow.from_site_packets > 0)
    });
    ways.sum()
}

/// `flows --finished --follow` on gateway a, until it is dropped.
fn follow(pair: &Pair, log: &Path) -> ProcessGuard {
    let binary = vm_tests::crossway::binary();
    let mut command = Command::new(binary);
    command.args([
        "--gateway",
        pair.a.name(),
        "--json",
        "flows",
        "--finished",
        "--follow",
    ]);
    ProcessGuard::spawn("follow", &mut command, log).unwrap()
}

/// `crossway top` on a terminal of script(1), 80 columns and 24 lines.
struct Terminal {
    script: Child,
    log: PathBuf,
    pid: PathBuf,
}

impl Terminal {
    fn start(pair: &Pair, folder: &Path) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let (log, pid) = (folder.join("typescript"), folder.join("pid"));
        let command = format!(
            "stty rows 24 cols 80; echo $$ > {}; exec {} --gateway {} top",
            pid.display(),
            vm_tests::crossway::binary().display(),
            pair.a.name()
        );
        let script = Command::new("script")
            .args(["--quiet", "--flush", "--return", "--command", &command])
            .arg(&log)
            .env("TERM", "xterm")
            .env("SHELL", "/bin/sh")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self { script, log, pid }
    }

    fn shown(&self) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    fn wait_for(&self, word: &str) {
        wait::until(&format!("{word} on the terminal"), DEADLINE, || {
            self.shown().contains(word).then_some(())
        })
        .unwrap();
    }

    fn press(&mut self, key: u8) {
        let keys = self.script.stdin.as_mut().unwrap();
        keys.write_all(&[key]).and_then(|()| keys.flush()).unwrap();
    }

    /// The program has ended well and left the terminal as it was: main screen, cursor shown.
    fn ends_cleanly(&mut self) {
        let ended = wait::until("top to end", DEADLINE, || self.script.try_wait().unwrap());
        assert!(ended.unwrap().success(), "{}", self.shown());
        let shown = self.shown();
        for (on, off) in [("\x1b[?1049h", "\x1b[?1049l"), ("\x1b[?25l", "\x1b[?25h")] {
            let (on, off) = (shown.rfind(on).unwrap(), shown.rfind(off).unwrap());
            assert!(on < off, "{shown:?}");
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        drop(self.script.kill());
        drop(self.script.wait());
    }
}

#[test]
fn top_shows_a_running_gateway_and_leaves_the_terminal_as_it_was() {
    let folder = std::env::temp_dir().join(format!("crossway-top-{}", std::process::id()));
    let pair = Pair::start(|_| ()).unwrap();
    let ping = pair.steady_ping(Family::V4).unwrap();
    let mut terminal = Terminal::start(&pair, &folder.join("keys"));
    for word in ["SITE", "Active", "DROPPED", "PROTO", "icmp", "10.2.0.10"] {
        terminal.wait_for(word);
    }
    // Only cells that change are drawn: a word on an empty line comes in one piece, its spaces do not come.
    terminal.press(b'?');
    terminal.wait_for("this");
    terminal.press(b'x');
    terminal.press(b'q');
    terminal.ends_cleanly();

    let mut terminal = Terminal::start(&pair, &folder.join("signal"));
    terminal.wait_for("PROTO");
    let pid = std::fs::read_to_string(&terminal.pid).unwrap();
    let pid = nix::unistd::Pid::from_raw(pid.trim().parse().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    terminal.ends_cleanly();
    drop(ping);

    // Where nobody looks, it says what else there is.
    let (code, said) = pair.a.failing_command(&["top"]).unwrap();
    assert_eq!(code, 2, "{said}");
    assert!(
        said.contains("needs a terminal") && said.contains("crossway flows"),
        "{said}"
    );
    std::fs::remove_dir_all(&folder).unwrap();
}
