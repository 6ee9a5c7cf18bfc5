//! Flows that something is claimed of.

use crossway_types::address::Family;

use crate::area::{Area, address};
use crate::ports::example;
use crate::spans::Spans;

/// Where hosts are (RFC 1918, RFC 4291 2.4, RFC 4193), for examples.
const USUAL: [&str; 5] = [
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "2000::/3",
    "fc00::/7",
];

/// Flows of one family, from each address of one set to each of another.
pub(super) struct Claim {
    pub(super) family: Family,
    pub(super) from: Spans,
    pub(super) to: Spans,
    pub(super) ports: Spans,
}

impl Claim {
    pub(super) fn is_empty(&self) -> bool {
        self.from.is_empty() || self.to.is_empty() || self.ports.is_empty()
    }

    /// `10.1.0.1 → 10.2.0.1 tcp/443`: one of these flows.
    pub(super) fn flow(&self, from: u128, to: u128, ports: &Spans) -> String {
        let [from, to] = [from, to].map(|number| address(self.family, number));
        let port = example(ports).unwrap_or_default();
        format!("{from} → {to} {port}")
    }

    /// The same of addresses that a reader knows, as far as there are such on either side.
    pub(super) fn usual(&self) -> Self {
        let usual = USUAL.iter().filter_map(|prefix| prefix.parse().ok());
        let usual = Area::of_prefixes(usual);
        let narrowed = |spans: &Spans| {
            let narrow = spans.and(usual.family(self.family));
            if narrow.is_empty() {
                spans.clone()
            } else {
                narrow
            }
        };
        Self {
            family: self.family,
            from: narrowed(&self.from),
            to: narrowed(&self.to),
            ports: self.ports.clone(),
        }
    }

    pub(super) fn any_flow(&self) -> String {
        let first = |spans| inner(spans).unwrap_or_default();
        self.flow(first(&self.from), first(&self.to), &self.ports)
    }
}

/// An address of a set: not that of a network where there is another.
pub(super) fn inner(spans: &Spans) -> Option<u128> {
    let (first, last) = spans.iter().next()?;
    Some(if last - first > 1 { first + 1 } else { first })
}
