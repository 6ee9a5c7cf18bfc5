//! Malformed datagrams, frames and inner packets, as many as one likes, against a live pair with traffic: nobody dies,
//! nothing comes out that nobody sent so, and every single one is found again in a counter.
//!
//! ```text
//!   host a ── gateway a ═══ WAN router ═══ gateway b ── host b
//!      └ frames ─►│             └ frames ─►│ ▲
//!                                            └ sealed: gateway c, which has a key
//! ```

mod attacks;
mod counters;
mod hostile_peer;
mod lab;
mod mutate;
mod sinks;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rand::SeedableRng;
use rand::rngs::StdRng;
use vm_tests::packet_socket::Frames;
use vm_tests::traffic::wire::ETHERNET;
use vm_tests::wait;

use self::attacks::{ATTACKS, Account, Attack, Door};
use self::counters::{Counts, Gauges, growth, is_end};
use self::lab::{Held, Lab};

/// Packets of each kind before memory is looked at: buffers have grown by then.
const WARM_UP: u64 = 300;
/// Packets between two looks at what waits.
const WINDOW: u64 = 128;
/// Packets between two looks at all counters, and what fits a TUN in this lab.
const CHUNK: u64 = 16_384;
pub(crate) const TUN_ROOM: u64 = 2 * CHUNK;
/// Bytes that may wait in a gateway's sockets, of the 16 MB that fit.
const BACKLOG: u64 = 2 << 20;
const LIMIT: Duration = Duration::from_secs(10);
/// What an agent's memory may grow by: a batch or a table that it had not needed before, not packets.
const GROWTH: u64 = 4 << 20;
/// A host's own discovery of its link, among what is left to the stack.
const STRAYS: u64 = 16;

/// Sends `count` packets, those that `seed` stands for.
pub(crate) fn blast(count: u64, seed: u64) -> Result<()> {
    println!("{count} packets, seed {seed}");
    let mut blaster = Blaster::new(Lab::build()?)?;
    for (number, attack) in ATTACKS.iter().enumerate() {
        blaster.run(attack, WARM_UP, seed ^ (number as u64) << 32)?;
    }
    blaster.blame()?;
    let before = blaster.held()?;
    let start = wait::now();
    let counted = blaster.counts()?;
    let mut sent = 0;
    let each = count.div_ceil(ATTACKS.len() as u64);
    for (number, attack) in ATTACKS.iter().enumerate() {
        let begun = wait::now();
        let of_this = blaster.run(attack, each, seed.wrapping_mul(31) + number as u64)?;
        sent += of_this;
        let rate = of_this as f64 / begun.elapsed().as_secs_f64() / 1e3;
        println!(
            "{:<7} {:<38} {of_this:>9}  {rate:>5.0} k/s",
            format!("{:?}", attack.door),
            attack.name
        );
    }
    let grown = growth(&counted, &blaster.counts()?);
    println!("{sent} packets in {:.0?}", start.elapsed());
    print_table(&grown);
    blaster.blame()?;
    blaster.finish(&before)
}

fn dropped_by_cables(grown: &Counts) -> u64 {
    let cables = grown.iter().filter(|(name, _)| name.starts_with("wire/"));
    cables.map(|(_, packets)| packets).sum()
}

struct Blaster {
    lab: Lab,
    faults: Vec<String>,
    gauges: [Gauges; 2],
}

impl Blaster {
    fn new(lab: Lab) -> Result<Self> {
        let gauges = |label, number: usize| {
            Gauges::open(
                label,
                &lab.gateways[number],
                &lab.topology.sites[number].gateway,
            )
        };
        let gauges = [gauges("a", 0)?, gauges("b", 1)?];
        Ok(Self {
            lab,
            faults: Vec::new(),
            gauges,
        })
    }

    fn counts(&mut self) -> Result<Counts> {
        let mut counts = Counts::new();
        for gauges in &mut self.gauges {
            gauges.read(&mut counts)?;
        }
        // What the cable to a gateway could not hold.
        let router = self.lab.topology.router.as_ref().context("no router")?;
        for (netns, device, place) in [
            (router, "wan2", "wan0"),
            (&self.lab.topology.sites[0].host, "eth0", "lan0"),
        ] {
            let dropped = counters::dropped_on_the_way_out(netns, device)?;
            counts.insert(format!("wire/{place}/tx_dropped"), dropped);
        }
        Ok(counts)
    }

    fn held(&mut self) -> Result<Vec<Held>> {
        self.lab.gateways.iter_mut().map(Held::by).collect()
    }

    /// Sends `count` of a kind, and finds each of them again; how many it was.
    fn run(&mut self, attack: &Attack, count: u64, seed: u64) -> Result<u64> {
        let mut random = StdRng::seed_from_u64(seed);
        self.lab
            .join_arrivals(attack.account == Account::Datagrams)?;
        let before = self.counts()?;
        self.lab.sinks.seen().forget();
        let mut sent = 0;
        let mut found = Ok(());
        while sent < count && found.is_ok() {
            // No more than the TUN has room for, so that real traffic is not lost among them.
            let end = count.min(sent + CHUNK);
            while sent < end {
                let window = WINDOW.min(end - sent);
                sent += self.send(attack, window, &mut random)?;
                self.catch_up()?;
            }
            found = wait::try_until("the counters", LIMIT, || {
                self.turn()?;
                let grown = growth(&before, &self.counts()?);
                Ok(self.is_accounted(attack, sent, &grown).then_some(()))
            });
        }
        let mut seen = self.lab.sinks.seen();
        let name = format!("{:?}, {}", attack.door, attack.name);
        for wrong in seen.wrong.drain(..) {
            self.faults.push(format!("{name}: {wrong}"));
        }
        let delivered = seen.delivered;
        drop(seen);
        if found.is_err() {
            let mut grown = growth(&before, &self.counts()?);
            let found = self.accounted(attack, &grown);
            grown.retain(|name, _| {
                is_end(name) || name.contains("left to stack") || name.contains("/Icmp6In")
            });
            self.faults.push(format!(
                "{name}: {sent} were sent, {found} found, {delivered} of them delivered: {grown:#?}"
            ));
        }
        Ok(sent)
    }

    fn send(&mut self, attack: &Attack, count: u64, random: &mut StdRng) -> Result<u64> {
        let mut frames = Frames::default();
        for _ in 0..count {
            frames.push(&(attack.make)(random, &self.lab.material));
        }
        let mut seen = self.lab.sinks.seen();
        let start = if attack.door == Door::Tunnel {
            0
        } else {
            ETHERNET
        };
        for frame in frames.iter() {
            seen.expect(&frame[start..]);
        }
        drop(seen);
        let refused = match attack.door {
            Door::Wan => self.lab.wan.send(&frames)?,
            Door::Lan => self.lab.lan.send(&frames)?,
            Door::Tunnel => {
                for packet in frames.iter() {
                    self.lab.hostile.seal(packet)?;
                }
                self.lab.hostile.flush();
                0
            }
        };
        Ok(count - refused)
    }

    /// Waits until the gateways have taken most of what came.
    fn catch_up(&mut self) -> Result<()> {
        self.turn()?;
        for gauges in &mut self.gauges {
            while gauges.backlog()? > BACKLOG {
                std::thread::sleep(Duration::from_micros(200));
            }
        }
        Ok(())
    }

    fn turn(&mut self) -> Result<()> {
        let mut seen = self.lab.sinks.seen();
        self.lab.hostile.turn(&mut seen, &self.lab.known)
    }

    fn is_accounted(&self, attack: &Attack, sent: u64, grown: &Counts) -> bool {
        let found = self.accounted(attack, grown);
        match attack.account {
            // Of what a cable dropped, some may have been real traffic.
            Account::Datagrams | Account::Ends => {
                (sent..=sent + dropped_by_cables(grown)).contains(&found)
            }
            Account::LeftToStack(..) => (sent..=sent + STRAYS).contains(&found),
            // Real traffic arrives too.
            Account::Arrived => found >= sent,
        }
    }

    fn accounted(&self, attack: &Attack, grown: &Counts) -> u64 {
        let count = |name: &str| grown.get(name).copied().unwrap_or(0);
        match attack.account {
            Account::Datagrams | Account::Ends => {
                // What gateway b answers goes to a where a's address was taken for a source.
                let only_b = attack.door == Door::Wan;
                let ends = grown
                    .iter()
                    .filter(|(name, _)| is_end(name) && !(only_b && name.starts_with("a/")));
                let ended: u64 = ends.map(|(_, packets)| packets).sum();
                ended + self.lab.sinks.seen().delivered
            }
            Account::LeftToStack(gateway, reasons) => reasons
                .iter()
                .map(|reason| count(&format!("{gateway}/left to stack/{reason}")))
                .sum(),
            Account::Arrived => count("b/wan0/rx_packets"),
        }
    }

    /// Fails if anything was found that should not be.
    fn blame(&self) -> Result<()> {
        ensure!(self.faults.is_empty(), "{}", self.faults.join("\n"));
        Ok(())
    }

    /// The traffic has gone on, and the agents are as they were.
    fn finish(mut self, before: &[Held]) -> Result<()> {
        let after = self.held()?;
        for (before, after) in before.iter().zip(&after) {
            println!("before: {before:?}\nafter:  {after:?}");
            ensure!(before.pid == after.pid, "an agent was started anew");
            ensure!(
                before.descriptors == after.descriptors,
                "descriptors were left open"
            );
            let growth = after.memory.saturating_sub(before.memory);
            ensure!(growth <= GROWTH, "memory grew by {growth} bytes");
        }
        self.lab.sinks.finish().context("the watch")?;
        let replies = self.lab.ping.finish(LIMIT)?;
        let bytes = self
            .lab
            .tcp
            .finish()
            .context("the TCP connection beside it")?;
        println!(
            "beside it: {bytes} bytes of TCP, unchanged; {} of {} pings answered",
            replies.replies.len(),
            replies.replies.len() + replies.lost()
        );
        Ok(())
    }
}

fn print_table(grown: &Counts) {
    let mut names: BTreeMap<&str, [u64; 2]> = BTreeMap::new();
    for (name, packets) in grown {
        let (gateway, counter) = name.split_once('/').unwrap_or_default();
        if is_end(name) || counter.starts_with("left to stack") {
            names.entry(counter).or_default()[usize::from(gateway == "b")] = *packets;
        }
    }
    println!("{:<40} {:>12} {:>12}", "counter", "gateway a", "gateway b");
    for (name, [a, b]) in names {
        println!("{name:<40} {a:>12} {b:>12}");
    }
}
