//! One site, or thousands of which one answers: start, memory, and throughput to the one.

use std::time::Duration;

use anyhow::Result;
use crossway::clock;
use crossway::keys::public_key_text;
use vm_tests::crossway::Crossway;
use vm_tests::plan::PeerPlan;
use vm_tests::topology::Family;
use vm_tests::traffic;

use super::Args;
use super::routes::memory_of;
use crate::results::{Better, Results};

const LOAD: &str = "sites";
const UP: Duration = Duration::from_secs(20);
const MB: f64 = 1e6;

pub(super) fn measure(results: &mut Results, args: &Args) -> Result<()> {
    let (topology, plans) = super::two_sites()?;
    // Dials to those who never answer vanish at the router.
    let router = topology.router.as_ref();
    router.map(|router| router.ip("route add blackhole 198.18.0.0/15"));
    let _far = Crossway::start(&topology, &plans[1])?;
    let mut many = plans[0].clone();
    many.peers.extend((1..args.sites).map(silent));
    for run in 1..=args.runs {
        eprintln!("sites, run {run}/{}", args.runs);
        for (plan, count) in [(&plans[0], 1), (&many, args.sites)] {
            let variant = format!("{count} sites");
            let start = clock::now();
            let near = Crossway::start(&topology, plan)?;
            let started = start.elapsed();
            let (host, target) = (
                &topology.sites[0].host,
                topology.sites[1].host_address(Family::V4),
            );
            traffic::wait_for_ping(host, target, UP)?;
            let carries = start.elapsed();
            super::tcp(results, &topology, LOAD, &variant, args.seconds)?;
            let mut add = |name, better, sample| results.add(LOAD, &variant, name, better, sample);
            add("started in s", Better::Lower, started.as_secs_f64());
            add("first ping s", Better::Neither, carries.as_secs_f64());
            let resident = memory_of(near.pid()?, "VmRSS")?;
            add("resident MB", Better::Neither, resident / MB);
        }
    }
    Ok(())
}

/// A site that never answers; every second one is dialled.
fn silent(number: u16) -> PeerPlan {
    let [high, low] = number.to_be_bytes();
    let mut key = [0x5a; 32];
    key[..2].copy_from_slice(&[high, low]);
    PeerPlan {
        site: format!("silent-{number}"),
        gateway: format!("silent-{number}-1"),
        public_key: public_key_text(&key),
        endpoint: number
            .is_multiple_of(2)
            .then(|| format!("198.18.{high}.{low}:51820").parse().ok())
            .flatten(),
        routes: vec![
            format!("100.{}.{low}.0/24", 64 + high),
            format!("2001:db8:8000:{number:x}::/64"),
        ],
        keepalive: None,
    }
}
