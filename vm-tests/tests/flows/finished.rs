//! Flows that are over: nothing that was carried is missing, and file and collector say the same.

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use vm_tests::api::{EndReason, EvictedFlows, FinishedFlow, FinishedRecord, FlowsReply};
use vm_tests::config::{Collector, FlowFile};
use vm_tests::crossway::Crossway;
use vm_tests::pair::Pair;
use vm_tests::process::ProcessGuard;
use vm_tests::topology::Family;
use vm_tests::{traffic, wait};

use crate::{DEADLINE, send};

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
