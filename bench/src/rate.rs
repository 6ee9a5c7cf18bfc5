//! The load of [`Load::Udp`] and [`Load::UdpImix`]: highest rate, loss, reordering, processor time.

use std::time::Duration;

use anyhow::{Context, Result};
use vm_tests::topology::Topology;

use crate::contender::Contender;
use crate::cpu;
use crate::hops::{self, Hops};
use crate::load::Load;
use crate::results::{Better, Results};
use crate::udp::Udp;
use crate::udp::pattern::Pattern;
use crate::udp::search;

/// What a load of datagrams consists of; `None` for the other loads.
pub(crate) fn pattern(load: Load) -> Option<Pattern> {
    match load {
        Load::Udp(payload) => Some(Pattern::of(payload)),
        Load::UdpImix => Some(Pattern::IMIX),
        _ => None,
    }
}

/// Adds the figures of one search.
pub(crate) fn measure(
    results: &mut Results,
    topology: &Topology,
    udp: &mut Udp,
    contender: Contender,
    load: Load,
    span: Duration,
) -> Result<()> {
    let pattern = pattern(load).context("a load of datagrams")?;
    let mut busy = 0.0;
    let mut best = 0.0;
    let mut events = Vec::new();
    let found = search::highest(|rate| {
        let hops = Hops::look(topology)?;
        let before = cpu::busy_seconds()?;
        let trial = udp.trial(pattern, rate, span)?;
        let took = cpu::busy_seconds()? - before;
        if trial.loss() < search::MOST_LOSS && trial.offered() > best {
            (best, busy) = (trial.offered(), took);
            events = Hops::look(topology)?.since(&hops);
        }
        Ok(trial)
    })?;
    let mut add = |figure, better, sample| {
        results.add(load.name(), contender.name(), figure, better, sample);
    };
    let Some(found) = found else {
        eprintln!("  {}: nothing arrived with little enough loss", load.name());
        add("kpps", Better::Higher, 0.0);
        return Ok(());
    };
    let trial = found.trial;
    let rate = trial.received as f64 / trial.seconds;
    let received = trial.received as f64;
    add("kpps", Better::Higher, rate / 1e3);
    add(
        "Gbit/s of payload",
        Better::Neither,
        rate * pattern.mean_payload() * 8.0 / 1e9,
    );
    add("CPU s/Mpacket", Better::Lower, busy / (received / 1e6));
    add("loss %", Better::Neither, trial.loss() * 100.0);
    add(
        "reordered/million",
        Better::Lower,
        trial.reordered as f64 / (received / 1e6),
    );
    add(
        "lost at receiver",
        Better::Neither,
        trial.receiver_drops as f64,
    );
    add(
        "sender was the limit",
        Better::Neither,
        f64::from(u8::from(found.sender_was_the_limit)),
    );
    hops::add(results, load.name(), contender.name(), &events);
    Ok(())
}
