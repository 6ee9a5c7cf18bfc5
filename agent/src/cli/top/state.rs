//! What is known of the gateway, and what the person at the keys has chosen.

use std::collections::{HashMap, VecDeque};

use super::poll::Sample;
use crate::control::message::{DropCount, FlowsRequest, Link};
use crate::control::{FlowDirection, FlowFilter, FlowSort, protocol};

/// Flows that are asked for: more than any screen has lines.
const FLOWS: usize = 200;
/// Looks that a sparkline shows.
pub(super) const HISTORY: usize = 12;

/// Orders, as `s` goes through them.
const SORTS: [FlowSort; 5] = [
    FlowSort::Rate,
    FlowSort::Bytes,
    FlowSort::Packets,
    FlowSort::Age,
    FlowSort::Idle,
];

/// What the upper table shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Upper {
    /// Sites.
    #[default]
    Sites,
    /// Links, with their lanes.
    Links,
}

/// Bytes per second both ways at the last looks, the newest last.
pub(super) type History = VecDeque<u64>;

#[derive(Debug)]
pub(super) struct State {
    pub(super) sample: Option<Sample>,
    /// Why there is none newer.
    pub(super) problem: Option<String>,
    pub(super) sort: FlowSort,
    pub(super) filter: FlowFilter,
    pub(super) upper: Upper,
    pub(super) paused: bool,
    pub(super) help: bool,
    /// The first flow that is shown.
    pub(super) scroll: usize,
    /// The filter that is being typed, and what is wrong with it.
    pub(super) typed: Option<(String, Option<String>)>,
    sites: HashMap<String, History>,
    links: HashMap<(u32, u16), History>,
    link_rates: HashMap<(u32, u16), (u64, u64)>,
    drop_rates: HashMap<String, u64>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            sample: None,
            problem: None,
            sort: FlowSort::Rate,
            filter: FlowFilter::default(),
            upper: Upper::default(),
            paused: false,
            help: false,
            scroll: 0,
            typed: None,
            sites: HashMap::new(),
            links: HashMap::new(),
            link_rates: HashMap::new(),
            drop_rates: HashMap::new(),
        }
    }
}

impl State {
    /// What the gateway is asked for.
    pub(super) fn request(&self) -> FlowsRequest {
        FlowsRequest {
            filter: self.filter.clone(),
            sort: self.sort,
            top: Some(FLOWS),
            ..FlowsRequest::default()
        }
    }

    /// Takes a new look, unless the view is paused.
    pub(super) fn take(&mut self, sample: Sample) {
        if self.paused {
            return;
        }
        self.problem = None;
        if let Some(before) = &self.sample {
            let seconds = sample.at.saturating_duration_since(before.at).as_secs_f64();
            let per_second =
                |now: u64, then: u64| (now.saturating_sub(then) as f64 / seconds.max(0.001)) as u64;
            let earlier: HashMap<_, _> = links_of(before).map(|link| (key(link), link)).collect();
            for link in links_of(&sample) {
                if let Some(then) = earlier.get(&key(link)) {
                    let rates = (
                        per_second(link.tx_bytes, then.tx_bytes),
                        per_second(link.rx_bytes, then.rx_bytes),
                    );
                    self.link_rates.insert(key(link), rates);
                    push(self.links.entry(key(link)).or_default(), rates.0 + rates.1);
                }
            }
            for (now, then) in sample.drops.drops.iter().zip(&before.drops.drops) {
                let rate = per_second(now.packets, then.packets);
                self.drop_rates.insert(now.reason.clone(), rate);
            }
        }
        for site in &sample.status.sites {
            let traffic = &site.traffic;
            let rate = traffic.to_site_bytes_per_second + traffic.from_site_bytes_per_second;
            push(self.sites.entry(site.name.clone()).or_default(), rate);
        }
        self.sample = Some(sample);
    }

    pub(super) fn site_history(&self, name: &str) -> Option<&History> {
        self.sites.get(name)
    }

    pub(super) fn link_history(&self, link: &Link) -> Option<&History> {
        self.links.get(&key(link))
    }

    /// Bytes per second to and from the far gateway.
    pub(super) fn link_rates(&self, link: &Link) -> (u64, u64) {
        self.link_rates.get(&key(link)).copied().unwrap_or_default()
    }

    /// What is dropped, what comes fastest first, with packets per second.
    pub(super) fn drops(&self) -> Vec<(&DropCount, u64)> {
        let sample = self.sample.iter();
        let drops = sample.flat_map(|sample| &sample.drops.drops);
        let mut drops: Vec<_> = drops
            .filter(|drop| drop.packets > 0)
            .map(|drop| {
                (
                    drop,
                    self.drop_rates.get(&drop.reason).copied().unwrap_or(0),
                )
            })
            .collect();
        drops.sort_by_key(|(drop, rate)| std::cmp::Reverse((*rate, drop.packets)));
        drops
    }

    pub(super) fn next_sort(&mut self) {
        let place = SORTS.iter().position(|sort| *sort == self.sort);
        let next = place.map_or(0, |place| (place + 1) % SORTS.len());
        self.sort = SORTS[next];
    }

    pub(super) fn toggle_one_way(&mut self) {
        self.filter.direction = match self.filter.direction {
            Some(FlowDirection::OneWay) => None,
            _ => Some(FlowDirection::OneWay),
        };
        self.scroll = 0;
    }
}

pub(super) fn links_of(sample: &Sample) -> impl Iterator<Item = &Link> {
    sample.status.sites.iter().flat_map(|site| &site.links)
}

fn key(link: &Link) -> (u32, u16) {
    (link.id, link.lane)
}

fn push(history: &mut History, value: u64) {
    if history.len() == HISTORY {
        history.pop_front();
    }
    history.push_back(value);
}

/// Reads a filter as it is typed: `site paris port 443 tcp 10.2.0.0/24 one-way`.
pub(super) fn parse_filter(text: &str) -> Result<FlowFilter, String> {
    let mut filter = FlowFilter::default();
    let mut words = text.split_whitespace();
    while let Some(word) = words.next() {
        let mut value = |what: &str| {
            let value = words.next();
            value.ok_or_else(|| format!("write {what} behind {word}"))
        };
        match word {
            "site" => filter.site = Some(value("a name")?.to_owned()),
            "port" => {
                let port = value("a number")?;
                let parsed = port.parse().map_err(|_| format!("{port} is no port"));
                filter.port = Some(parsed?);
            }
            "from" => filter.source = Some(prefix(value("a prefix")?)?),
            "to" => filter.destination = Some(prefix(value("a prefix")?)?),
            "one-way" => filter.direction = Some(FlowDirection::OneWay),
            "both" => filter.direction = Some(FlowDirection::Both),
            "to-site" => filter.direction = Some(FlowDirection::ToSite),
            "from-site" => filter.direction = Some(FlowDirection::FromSite),
            _ => match protocol::number(word) {
                Some(number) => filter.protocol = Some(number),
                None => filter.address = Some(prefix(word)?),
            },
        }
    }
    Ok(filter)
}

fn prefix(word: &str) -> Result<crate::prefix::Prefix, String> {
    word.parse().map_err(|_| {
        format!(
            "{word}: write site NAME, port N, tcp, a prefix, from or to a prefix, one-way, both"
        )
    })
}
