//! Mapping of prefixes: a packet each way, and one that no mapping meets.

use std::hint::black_box;

use anyhow::{Context, Result};
use crossway::clock;
use crossway::ids::SiteId;
use crossway_types::mapping::{Mapping, Maps};

use super::{SAMPLES, add, check_stop, without_allocation};
use crate::packets::{self, Flow};
use crate::results::Results;

/// Packets of one sample, there and back.
const ROUNDS: usize = 20_000;
const MTU: usize = 1420;
const SITE: SiteId = SiteId(1);

pub(crate) fn measure(results: &mut Results) -> Result<()> {
    let (few, many) = (maps(1)?, maps(256)?);
    let tcp = packets::tcp(Flow::A_TO_B, MTU, 0);
    let udp = packets::udp(Flow::A_TO_B, 64);
    for _ in 0..SAMPLES {
        check_stop()?;
        add(
            results,
            "map TCP of IPv4, 1 mapping",
            map(&few, SITE, &tcp)?,
        );
        add(
            results,
            "map UDP of IPv4, 256 mappings",
            map(&many, SITE, &udp)?,
        );
        add(
            results,
            "map a packet that no mapping meets",
            map(&few, SiteId(7), &tcp)?,
        );
    }
    Ok(())
}

/// So many mappings of a site, the first of which is met.
fn maps(count: u16) -> Result<Maps> {
    let maps = (0..count).map(|number| {
        let [high, low] = number.to_be_bytes();
        let prefix = |text: String| text.parse().context("a prefix");
        let shown = match number {
            0 => "10.2.0.0/24".to_owned(),
            _ => format!("10.{}.{low}.0/24", 100 + u16::from(high)),
        };
        let real = format!("172.{}.{low}.0/24", 16 + u16::from(high));
        let alike = Mapping::new(prefix(real)?, prefix(shown)?);
        alike.context("they are of one length")
    });
    let maps = maps.collect::<Result<Vec<_>>>()?;
    Maps::new(&[], [(SITE, &maps[..])]).context("there are some")
}

/// Nanoseconds for one packet mapped.
fn map(maps: &Maps, site: SiteId, packet: &[u8]) -> Result<f64> {
    let mut there = packet.to_vec();
    let mut back = packet.to_vec();
    // Of the first mapping, as its site sends it.
    back[12..16].copy_from_slice(&[172, 16, 0, 10]);
    let came = back.clone();
    let took = without_allocation("mapping", || {
        let start = clock::monotonic_ns();
        for _ in 0..ROUNDS {
            maps.outbound(site).apply(black_box(&mut there), None);
            // What is met each time is the packet that came.
            there[12..20].copy_from_slice(&packet[12..20]);
            maps.inbound(site).apply(black_box(&mut back), None);
            back[12..20].copy_from_slice(&came[12..20]);
        }
        clock::monotonic_ns() - start
    })?;
    Ok(took as f64 / (2 * ROUNDS) as f64)
}
