//! A take-over that fails: what is wrong with the successor, what hangs, who is killed midway.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use vm_tests::pair::Pair;
use vm_tests::topology::Family;
use vm_tests::{sys, wait};

use super::UP;

#[test]
fn a_file_that_is_wrong_or_a_port_that_is_taken_leaves_the_running_agent_unharmed() {
    let mut pair = Pair::start(|_| ()).unwrap();
    let ping = pair.steady_ping(Family::V4).unwrap();
    let pid = pair.a.pid().unwrap();
    let good = fs::read_to_string(pair.a.config()).unwrap();
    fs::write(pair.a.config(), good.replace("10.2.0.0/24", "10.2.0.1/24")).unwrap();
    let (code, said) = pair.a.take_over_refused().unwrap();
    assert_eq!(code, 2, "{said}");

    // Found out only when the lanes have stopped already.
    let gateway = &pair.site_a().gateway;
    let address = ("::".parse::<std::net::IpAddr>().unwrap(), 51_900);
    let _taken = gateway
        .enter(|| std::net::UdpSocket::bind(address))
        .unwrap()
        .unwrap();
    let mut plan = pair.plans[0].clone();
    plan.listen_port = address.1;
    pair.a.write_config(&plan).unwrap();
    let (code, said) = pair.a.take_over_refused().unwrap();
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("is another WireGuard"), "{said}");
    assert!(!said.contains("starts in its place"), "{said}");
    wait::until("the running agent to say so", UP, || {
        pair.a
            .log()
            .contains("not handed over, this agent goes on")
            .then_some(())
    })
    .unwrap();
    assert_eq!(pair.a.status().unwrap().pid, pid);
    ping.goes_on(UP).unwrap();
    let replies = ping.finish(UP).unwrap();
    assert_eq!(replies.lost(), 0);

    fs::write(pair.a.config(), good).unwrap();
    pair.a.take_over().unwrap();
    assert_eq!(pair.a.gaps().last().unwrap().sessions, 1);
}

#[test]
fn an_agent_that_hangs_is_not_taken_over_and_goes_on_when_it_can() {
    let mut pair = Pair::start(|_| ()).unwrap();
    let pid = pair.a.pid().unwrap();
    sys::freeze(pid).unwrap();
    let refused = pair.a.take_over_refused();
    sys::thaw(pid).unwrap();
    let (code, said) = refused.unwrap();
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("the running agent does not answer"), "{said}");
    assert!(!said.contains("starts in its place"), "{said}");
    pair.wait_until_up().unwrap();
    assert_eq!(pair.a.status().unwrap().pid, pid);
    pair.a.take_over().unwrap();
    pair.wait_until_up().unwrap();
}

/// The successor is killed at every point of its start in turn: either the running agent goes on, or the next
/// start heals what is left.
#[test]
fn a_successor_that_dies_midway_leaves_an_agent_that_goes_on_or_a_start_that_heals() {
    // With BFD the far end would see a link that flaps, and hold it down.
    let mut pair = Pair::start(|plans| {
        for plan in plans {
            plan.watch_by_wireguard();
        }
    })
    .unwrap();
    let ping = pair.steady_ping(Family::V4).unwrap();
    let (mut went_on, mut healed) = (0, 0);
    for milliseconds in (20..=300).step_by(20) {
        let mut next = pair.a.begin_take_over().unwrap();
        wait::pace(Duration::from_millis(milliseconds));
        next.kill().unwrap();
        let alive = wait::until("one of the agents to be there or gone", UP, || {
            match pair.a.status() {
                Ok(_) => Some(true),
                Err(_) => (!pair.a.is_running()).then_some(false),
            }
        });
        if alive.unwrap() {
            went_on += 1;
        } else {
            healed += 1;
            pair.a.forget().unwrap();
            pair.a.start_again().unwrap();
        }
        ping.goes_on(UP).unwrap();
    }
    eprintln!("the running agent went on {went_on} times, the next start healed {healed} times");
    assert!(went_on > 0);
    pair.wait_until_up().unwrap();
    assert_eq!(pair.b.dropped().unwrap_or_default(), Vec::new());
}

/// It is held before it answers, and killed when the successor has begun.
#[test]
fn a_successor_whose_predecessor_is_killed_meanwhile_starts_in_its_place() {
    let mut pair = Pair::start(|_| ()).unwrap();
    let before = pair.a.pid().unwrap();
    sys::freeze(before).unwrap();
    let next = pair.a.begin_take_over().unwrap();
    let descriptors = PathBuf::from(format!("/proc/{}/fd", next.pid()));
    wait::until("the successor to have its programs", UP, || {
        let descriptors = fs::read_dir(&descriptors).ok()?;
        let mut links = descriptors.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        links
            .any(|link| link.ends_with("anon_inode:bpf-prog"))
            .then_some(())
    })
    .unwrap();
    sys::kill(before).unwrap();
    assert!(!pair.a.succeed(next).unwrap().success());
    pair.wait_until_up().unwrap();
    assert!(pair.a.log().contains("this one starts in its place"));
    assert!(pair.a.stop().unwrap().success());
}
