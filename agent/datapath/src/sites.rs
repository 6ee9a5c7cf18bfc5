//! The sites as the programs see them, and what they counted for each.

use anyhow::{Context, Result};
use aya::Ebpf;
use aya::maps::{Array, MapData, PerCpuArray, PerCpuValues};
use aya::util::nr_cpus;
use datapath_abi::maps;
use datapath_abi::site::{Site, SiteCounters};

use super::take;
use crossway_types::ids::SiteId;

/// The maps SITES and SITE_COUNTERS. Ids are below [`maps::MAX_SITES`].
pub struct Sites {
    sites: Array<MapData, Site>,
    counters: PerCpuArray<MapData, SiteCounters>,
}

impl Sites {
    pub(super) fn new(programs: &mut Ebpf) -> Result<Self> {
        Ok(Self {
            sites: take(programs, maps::SITES)?,
            counters: take(programs, maps::SITE_COUNTERS)?,
        })
    }

    /// What the programs know of the site; all zero (absent) if nothing.
    pub fn get(&self, id: SiteId) -> Result<Site> {
        self.sites
            .get(&id.0, 0)
            .with_context(|| format!("{}: site {id}", maps::SITES))
    }

    /// Tells the programs about the site, in one write.
    pub fn set(&mut self, id: SiteId, site: Site) -> Result<()> {
        self.sites
            .set(id.0, site, 0)
            .with_context(|| format!("{}: site {id}", maps::SITES))
    }

    /// Makes the site absent and its counters zero, so that the id may be given to another. Its
    /// routes should be gone before.
    pub fn remove(&mut self, id: SiteId) -> Result<()> {
        self.set(id, Site::default())?;
        let cpus = nr_cpus().map_err(|(path, error)| {
            anyhow::Error::from(error).context(format!("number of CPUs from {path}"))
        })?;
        let zero = PerCpuValues::try_from(vec![SiteCounters::default(); cpus])?;
        self.counters
            .set(id.0, zero, 0)
            .with_context(|| format!("{}: site {id}", maps::SITE_COUNTERS))
    }

    /// What was counted for the site on all CPUs, since the map exists or the site was removed last.
    pub fn counters(&self, id: SiteId) -> Result<SiteCounters> {
        let each = self
            .counters
            .get(&id.0, 0)
            .with_context(|| format!("{}: site {id}", maps::SITE_COUNTERS))?;
        Ok(sum(&each))
    }
}

fn sum(each: &[SiteCounters]) -> SiteCounters {
    each.iter()
        .fold(SiteCounters::default(), |sum, cpu| SiteCounters {
            to_site_packets: sum.to_site_packets.wrapping_add(cpu.to_site_packets),
            to_site_bytes: sum.to_site_bytes.wrapping_add(cpu.to_site_bytes),
            from_site_packets: sum.from_site_packets.wrapping_add(cpu.from_site_packets),
            from_site_bytes: sum.from_site_bytes.wrapping_add(cpu.from_site_bytes),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_all_cpus_are_added_field_by_field() {
        let cpu = SiteCounters {
            to_site_packets: 1,
            to_site_bytes: 20,
            from_site_packets: 300,
            from_site_bytes: 4000,
        };
        let total = sum(&[cpu, cpu]);
        assert_eq!((total.to_site_packets, total.to_site_bytes), (2, 40));
        assert_eq!(
            (total.from_site_packets, total.from_site_bytes),
            (600, 8000)
        );
    }
}
