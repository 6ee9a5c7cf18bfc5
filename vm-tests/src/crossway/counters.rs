//! What a gateway counted.

use anyhow::{Context, Result};
use serde_json::Value;

use super::Crossway;

/// Packets and bytes each way, of a flow or a site.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets towards the site.
    pub to_site_packets: u64,
    /// Their bytes.
    pub to_site_bytes: u64,
    /// Packets from the site.
    pub from_site_packets: u64,
    /// Their bytes.
    pub from_site_bytes: u64,
}

impl Crossway {
    /// The reasons for which it dropped anything, with the packets. Without those that no site has a
    /// route for: the kernel sends multicast listener reports into every interface, which end there; a
    /// packet of a host to a site that is lost shows at the far end.
    pub fn dropped(&self) -> Result<Vec<(String, u64)>> {
        dropped(&self.query(&["drops"])?)
    }

    /// Packets that its programs left to the kernel stack for one reason.
    pub fn left_to_stack(&self, reason: &str) -> Result<u64> {
        let counts = reasons(&self.query(&["drops"])?["to_stack"])?;
        let mut counts = counts.into_iter();
        let count = counts.find(|(word, _)| word == reason);
        let (_, packets) = count.with_context(|| format!("there is no reason {reason}"))?;
        Ok(packets)
    }

    /// The flows that a filter of the command line lets through (none for all), each as it is in
    /// `flows --json`, with its counters.
    pub fn flows(&self, filter: &[&str]) -> Result<Vec<(Value, Counters)>> {
        flows(self.query(&[&["flows"], filter].concat())?)
    }

    /// The counters of a site.
    pub fn site(&self, name: &str) -> Result<Counters> {
        site(&self.query(&["sites"])?, name)
    }
}

/// Reads the answer of `drops`, see [`Crossway::dropped`].
pub(crate) fn dropped(reply: &Value) -> Result<Vec<(String, u64)>> {
    let counts = reasons(&reply["drops"])?.into_iter();
    Ok(counts
        .filter(|(reason, packets)| *packets > 0 && reason != "no-route")
        .collect())
}

/// Reads the answer of `flows`, see [`Crossway::flows`].
pub(crate) fn flows(mut reply: Value) -> Result<Vec<(Value, Counters)>> {
    let flows = reply["flows"].as_array_mut().context("no flows")?;
    flows
        .drain(..)
        .map(|flow| {
            let counters = Counters::read(&flow)?;
            Ok((flow, counters))
        })
        .collect()
}

/// Reads one site in the answer of `sites`.
pub(crate) fn site(reply: &Value, name: &str) -> Result<Counters> {
    let mut sites = reply["sites"].as_array().context("no sites")?.iter();
    let site = sites.find(|site| site["name"] == name);
    Counters::read(site.with_context(|| format!("there is no site {name}"))?)
}

impl Counters {
    /// The same traffic as the gateway at its other end counts it.
    #[must_use]
    pub fn seen_from_afar(self) -> Self {
        Self {
            to_site_packets: self.from_site_packets,
            to_site_bytes: self.from_site_bytes,
            from_site_packets: self.to_site_packets,
            from_site_bytes: self.to_site_bytes,
        }
    }

    fn read(json: &Value) -> Result<Self> {
        let number = |name: &str| {
            let number = json[name].as_u64();
            number.with_context(|| format!("no {name} in {json}"))
        };
        Ok(Self {
            to_site_packets: number("to_site_packets")?,
            to_site_bytes: number("to_site_bytes")?,
            from_site_packets: number("from_site_packets")?,
            from_site_bytes: number("from_site_bytes")?,
        })
    }
}

fn reasons(json: &Value) -> Result<Vec<(String, u64)>> {
    let counts = json.as_array().context("no counts")?.iter();
    counts
        .map(|count| {
            let word = count["reason"].as_str();
            let packets = count["packets"].as_u64();
            word.map(str::to_owned)
                .zip(packets)
                .with_context(|| format!("no count: {count}"))
        })
        .collect()
}
