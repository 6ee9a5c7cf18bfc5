//! Each packet is asked about, sent, and looked for wherever it might be.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use vm_tests::api::{DropsReply, End, Explained};
use vm_tests::packet_socket::{Frames, PacketSocket};
use vm_tests::topology::Family;
use vm_tests::traffic::{self, wire};
use vm_tests::wait;

use super::ask::Question;
use super::lab::{ALIASES, Lab};
use super::packets::{self, Material};
use super::watch::{Seen, Spot, Watch};

/// Packets that are on their way at once.
const BATCH: u64 = 50;
const LIMIT: Duration = Duration::from_secs(10);
/// Reasons that also count what hosts send by themselves: discovery of their link, and answers, as large as the question,
/// to what reached them.
const OF_HOSTS_AS_WELL: [&str; 7] = [
    "not-to-lan",
    "too-big",
    "not-ip",
    "not-for-us",
    "not-routable",
    "kernel-route",
    "no-route",
];

/// What is to be seen of a packet, and which ICMP errors may be.
#[derive(Debug)]
struct Expected {
    number: u16,
    question: Question,
    here: Explained,
    /// What the far gateway says, if the packet gets there.
    there: Option<Explained>,
}

/// Sends `count` packets.
pub(crate) fn check(lab: &Lab, count: u64, seed: u64) {
    println!("{count} packets, seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let material = Material::of(lab);
    let mut watch = Watch::start(lab);
    let site = &lab.topology.sites[0];
    let socket = PacketSocket::sender(&site.host, "eth0").unwrap();
    let from = wire::mac_of(&site.host, "eth0").unwrap();
    let to = wire::mac_of(&site.gateway, "lan0").unwrap();
    let before = lab.gateways[0].drops().unwrap();
    let mut all: Vec<Expected> = Vec::new();
    while (all.len() as u64) < count {
        let first = all.len();
        let mut frames = Frames::default();
        for _ in 0..BATCH.min(count - first as u64) {
            let question = material.draw(&mut random);
            let number = 1 + all.len() as u16;
            watch.expect(number, (question.0.source, question.0.destination));
            frames.push(&wire::frame(from, to, &packets::packet(&question, number)));
            all.push(explain(lab, number, question));
        }
        assert_eq!(socket.send(&frames).unwrap(), 0, "frames were refused");
        let arrived = wait::until("the packets", LIMIT, || {
            watch.turn();
            let mut batch = all[first..].iter();
            batch
                .all(|it| it.is_seen_in(&watch.of(it.number)))
                .then_some(())
        });
        if arrived.is_err() {
            break;
        }
    }
    // What should not have come would have by now.
    let [_, b] = lab.hosts(Family::V4);
    traffic::wait_for_ping(&site.host, b, LIMIT).unwrap();
    watch.turn();
    let wrong: Vec<String> = all
        .iter()
        .filter(|it| !it.is_all_of(&watch.of(it.number)))
        .map(|it| format!("{:?}\n  was seen as {:?}\n", it, watch.of(it.number)))
        .collect();
    assert!(
        wrong.is_empty(),
        "{} of {}: {}",
        wrong.len(),
        all.len(),
        wrong.join("\n")
    );
    assert_eq!(all.len() as u64, count);
    check_counters(&all, &before, &lab.gateways[0].drops().unwrap());
    print_summary(&all);
}

fn explain(lab: &Lab, number: u16, question: Question) -> Expected {
    let ask = |question: &Question, gateway: usize| {
        let answer = question.ask(lab.gateways[gateway].name());
        answer.unwrap_or_else(|said| panic!("{question:?}: {said}"))
    };
    let here = ask(&question, 0);
    let there = (here.end == End::ToSite).then(|| {
        let mut there = question.clone().from("tunnel");
        there.0.ttl -= 1;
        if here.fragmented {
            there.0.size = Some(1396);
            if there.0.fragment.is_none() {
                there = there.first_fragment();
            }
        }
        ask(&there, 1)
    });
    Expected {
        number,
        question,
        here,
        there,
    }
}

impl Expected {
    fn delivered(&self) -> bool {
        let there = self.there.as_ref();
        there.is_some_and(|it| it.end == End::ToLan && it.neighbour.is_some())
    }

    /// What the lane denies has come through the device.
    fn reaches_tunnel(&self) -> bool {
        let last = self.here.steps.last();
        let by_lane = last.is_some_and(|step| step.at == "lane");
        let denied = self.here.reason.as_deref() == Some("policy-denied");
        self.here.end == End::ToSite || (by_lane && denied)
    }

    /// The ICMP error that was explained.
    fn answer(&self) -> Option<(u8, u8)> {
        let last = self.there.as_ref().unwrap_or(&self.here);
        let ipv4 = self.question.0.source.is_ipv4();
        last.answer.as_ref().map(|word| code_of(word, ipv4))
    }

    /// The one that host a must get.
    fn error(&self) -> Option<(u8, u8)> {
        let source = self.question.0.source;
        let is_here =
            source == first_host(source) || ALIASES.contains(&source.to_string().as_str());
        self.answer().filter(|_| is_here)
    }

    /// All that must be seen is.
    fn is_seen_in(&self, seen: &Seen) -> bool {
        let here = &self.here;
        let is_at = |spot| seen.at.contains(&spot);
        (!self.reaches_tunnel() || is_at(Spot::Tunnel))
            && (!self.delivered() || is_at(Spot::FarHost))
            && (here.end != End::Elsewhere || here.neighbour.is_none() || is_at(Spot::Elsewhere))
            && self
                .error()
                .filter(|error| !is_seldom(*error, self.question.0.source.is_ipv4()))
                .is_none_or(|error| seen.errors.contains(&error))
    }

    /// And nothing else is.
    fn is_all_of(&self, seen: &Seen) -> bool {
        let here = &self.here;
        let answer = self.answer();
        let strange = |(kind, code): &(u8, u8)| {
            Some((*kind, *code)) != answer && !self.may_come(*kind, *code)
        };
        let is_at = |spot| seen.at.contains(&spot);
        self.is_seen_in(seen)
            && is_at(Spot::Tunnel) == self.reaches_tunnel()
            && is_at(Spot::FarHost) == self.delivered()
            && (!is_at(Spot::Elsewhere) || here.end == End::Elsewhere)
            && (!is_at(Spot::Back) || here.end == End::ToLan)
            && !seen.errors.iter().any(strange)
    }

    /// Whether an ICMP error may come that is none of the forwarding's: a host says that it does not know port or
    /// protocol, or lacks fragments; a neighbour does not answer; a redirect.
    fn may_come(&self, kind: u8, code: u8) -> bool {
        let ipv4 = self.question.0.source.is_ipv4();
        let last = self.there.as_ref().unwrap_or(&self.here);
        let at_host = last.end == End::ToHost || self.delivered();
        let towards = matches!(last.end, End::ToLan | End::Elsewhere);
        match (ipv4, kind, code) {
            (true, 3, 2 | 3)
            | (true, 11, 1)
            | (false, 1, 4)
            | (false, 4, 0..=2)
            | (false, 3, 1) => at_host || last.end == End::ToLan,
            (true, 3, 1) | (false, 1, 3) | (true, 5, _) => towards,
            // Options that a host does not take.
            (true, 12, _) => at_host,
            _ => false,
        }
    }
}

/// Of one source the kernel tells of routes that are not there once in a second or so
/// (`net.ipv4.route.error_cost`), which is of the whole machine.
fn is_seldom(error: (u8, u8), ipv4: bool) -> bool {
    ipv4 && matches!(error, (3, 0 | 1 | 13))
}

fn first_host(like: IpAddr) -> IpAddr {
    let text = if like.is_ipv4() {
        "10.1.0.10"
    } else {
        "2001:db8:1::10"
    };
    text.parse().expect("an address")
}

/// Type and code of an ICMP error (RFC 792, RFC 1812 5.2.7, RFC 4443).
fn code_of(word: &str, ipv4: bool) -> (u8, u8) {
    match (word, ipv4) {
        ("time-exceeded", true) => (11, 0),
        ("time-exceeded", false) | ("net-unreachable", true) => (3, 0),
        ("host-unreachable", true) => (3, 1),
        ("fragmentation-needed", true) => (3, 4),
        ("administratively-prohibited", true) => (3, 13),
        ("no-route", false) => (1, 0),
        ("administratively-prohibited", false) => (1, 1),
        ("beyond-scope", false) => (1, 2),
        ("host-unreachable", false) => (1, 3),
        ("packet-too-big", false) => (2, 0),
        other => panic!("{other:?} is no ICMP error"),
    }
}

/// What was left to the stack, by reason, is as it was explained.
fn check_counters(all: &[Expected], before: &DropsReply, after: &DropsReply) {
    let mut explained: BTreeMap<&str, u64> = BTreeMap::new();
    // Of a packet that is denied behind that, the reason is another.
    let steps = all.iter().flat_map(|it| &it.here.steps);
    let declined = steps.filter_map(|step| {
        let told = step.what.strip_prefix("left to the kernel (")?;
        Some(told.split_once(')')?.0)
    });
    for reason in declined {
        *explained.entry(reason).or_default() += 1;
    }
    for (before, after) in before.to_stack.iter().zip(&after.to_stack) {
        let counted = after.packets - before.packets;
        let explained = explained.get(before.reason.as_str()).copied().unwrap_or(0);
        println!(
            "{:<18} {explained:>6} explained {counted:>6} counted",
            before.reason
        );
        let more = OF_HOSTS_AS_WELL.contains(&before.reason.as_str());
        assert!(
            counted == explained || more && counted > explained,
            "{}: {explained} explained, {counted} counted",
            before.reason
        );
    }
}

fn print_summary(all: &[Expected]) {
    let mut ends: BTreeMap<String, u64> = BTreeMap::new();
    for it in all {
        let there = it.there.as_ref();
        let there = there.map_or(String::new(), |there| {
            format!(
                ", there {} {}",
                there.end.as_str(),
                there.answer.as_deref().unwrap_or("")
            )
        });
        let answer = it.here.answer.as_deref().unwrap_or("");
        let end = format!(
            "{:?} {} {answer}{there}",
            it.here.fast_path,
            it.here.end.as_str()
        );
        *ends.entry(end).or_default() += 1;
    }
    for (end, count) in ends {
        println!("{count:>6} {end}");
    }
}
