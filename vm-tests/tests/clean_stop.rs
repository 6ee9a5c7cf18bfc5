//! What is lost where a gateway stops is counted: by the agent's last words, or by the kernel that goes on without it.
//!
//! ```text
//!  host a ── [gateway a: stops] ═══ WAN ═══ [gateway b] ── host b
//! ```

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use vm_tests::kernel::{self, Counts};
use vm_tests::netns::Netns;
use vm_tests::pair::Pair;
use vm_tests::plan::GatewayPlan;
use vm_tests::topology::{Family, Site};
use vm_tests::wait;

/// Enough that some are in every buffer on their way.
const PAUSE: Duration = Duration::from_micros(100);
const BEFORE: Duration = Duration::from_millis(300);
const UNDER_WAY: Duration = Duration::from_millis(500);

/// There may be a million of them.
#[test]
fn a_clean_stop_reads_the_kernels_routes_once() {
    const READ: &str = "read the kernel's routes";
    let mut pair = Pair::start(|_| ()).unwrap();
    assert!(pair.a.stop().unwrap().success());
    pair.a.set_variable("CROSSWAY_LOG", "debug");
    pair.a.start_again().unwrap();
    assert!(pair.a.log().contains(READ));
    let before = pair.a.log().len();
    assert!(pair.a.stop().unwrap().success());
    let log = pair.a.log();
    let (_, stop) = log[before..].split_once("stopping;").unwrap();
    assert_eq!(stop.matches(READ).count(), 1, "{stop}");
    let left = pair.site_a().gateway.ip("route show table all").unwrap();
    assert!(!left.contains("proto 19"), "{left}");
}

#[test]
fn every_packet_to_and_from_a_gateway_that_stops_is_received_or_counted() {
    // Without BFD gateway b goes on to send: a site that it knows to be down is left to its kernel, which may still
    // route it into the tunnel, and then a packet has two names.
    let without_bfd = |plans: &mut [GatewayPlan]| {
        for plan in plans {
            plan.watch_by_wireguard();
        }
    };
    let mut pair = Pair::start(without_bfd).unwrap();
    let (sent, received) = {
        let sites = &pair.topology.sites;
        let nothing = || assert!(wait::pace(BEFORE));
        flood(&sites[0], &sites[1], nothing)
    };
    assert_eq!(sent, received, "nothing is lost before");
    for round in 0..2 {
        let before = counts(&pair);
        let dropped = pair.a.dropped().unwrap();
        let logged = pair.a.log().len();
        let (sites, agent) = (&pair.topology.sites, &mut pair.a);
        let stop = || {
            wait::pace(BEFORE);
            assert!(agent.stop().unwrap().success());
            wait::pace(BEFORE);
        };
        let (sent, received) = flood(&sites[0], &sites[1], stop);
        let after = counts(&pair);
        let last_words = last_words(&pair.a.log()[logged..]);
        let dropped: u64 = dropped.iter().map(|(_, packets)| packets).sum();
        let named: Vec<(&String, u64)> = after
            .iter()
            .map(|(name, count)| (name, count - before.get(name).unwrap_or(&0)))
            .filter(|(_, count)| *count > 0)
            .collect();
        let by_kernels: u64 = named.iter().map(|(_, count)| count).sum();
        let lost = sent - received;
        println!("round {round}: {lost} of {sent} lost; {last_words} in last words, {named:?}");
        assert_eq!(lost, by_kernels + last_words - dropped);
        pair.a.start_again().unwrap();
        pair.wait_until_up().unwrap();
    }
}

/// What the kernels of both gateways counted, and the agent that goes on.
fn counts(pair: &Pair) -> Counts {
    let sites = &pair.topology.sites;
    let mut counts = Counts::new();
    for site in sites {
        counts.extend(kernel::counts(&site.name, &site.gateway).unwrap());
    }
    for (reason, packets) in pair.b.dropped().unwrap() {
        counts.insert(format!("b {reason}"), packets);
    }
    // A device that comes and goes begins anew.
    counts.retain(|name, _| !name.contains("TUN"));
    counts
}

/// `dropped while it ran reason=… packets=…`
fn last_words(log: &str) -> u64 {
    let lines = log
        .lines()
        .filter(|line| line.contains("dropped while it ran"));
    let lines = lines.filter(|line| !line.contains("no-route"));
    let packets = lines.filter_map(|line| {
        let (_, rest) = line.split_once("packets=")?;
        rest.split(' ').next()?.parse::<u64>().ok()
    });
    packets.sum()
}

/// Datagrams both ways while `work` is done; how many were sent, and how many came.
fn flood(one: &Site, other: &Site, work: impl FnOnce()) -> (u64, u64) {
    let (stop, done) = (AtomicBool::new(false), AtomicBool::new(false));
    let (sent, received) = (AtomicU64::new(0), AtomicU64::new(0));
    let bind = |netns: &Netns, site: &Site| {
        let address = site.host_address(Family::V4);
        let socket = netns.enter(|| UdpSocket::bind((address, 0)));
        let socket = socket.unwrap().unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        socket
    };
    let sockets = [one, other].map(|site| bind(&site.host, site));
    let addresses = sockets
        .each_ref()
        .map(|socket| socket.local_addr().unwrap());
    let (sent_so_far, received_so_far) = (&sent, &received);
    let (stopped, ended) = (&stop, &done);
    thread::scope(|scope| {
        for (socket, to) in [(&sockets[0], addresses[1]), (&sockets[1], addresses[0])] {
            scope.spawn(move || {
                while !stopped.load(Ordering::SeqCst) {
                    if socket.send_to(&[0; 100], to).is_ok() {
                        sent_so_far.fetch_add(1, Ordering::SeqCst);
                    }
                    thread::sleep(PAUSE);
                }
            });
            scope.spawn(move || {
                while !ended.load(Ordering::SeqCst) {
                    if socket.recv(&mut [0; 200]).is_ok() {
                        received_so_far.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
        work();
        stop.store(true, Ordering::SeqCst);
        wait::pace(UNDER_WAY);
        done.store(true, Ordering::SeqCst);
    });
    (sent.into_inner(), received.into_inner())
}
