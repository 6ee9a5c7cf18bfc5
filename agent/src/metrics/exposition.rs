//! A reading of the gateway, and its OpenMetrics text. Names are those of Prometheus' conventions: what is counted ends
//! in `_total`, units are seconds and bytes, and directions are those of this gateway.

mod links;

use std::collections::HashSet;
use std::fmt;

use crossway_api::message::{DropsReply, Health, Link, Site, SiteState, VirtualRouter};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

/// How the gateway stands at one moment.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// Name of the gateway.
    pub gateway: String,
    /// Version of the agent, and of the maps' layout.
    pub version: (&'static str, u32),
    /// Seconds since the Unix epoch at which the first of the agents that handed the gateway on was started.
    pub started_unix_seconds: u64,
    /// Whether the eBPF programs forward.
    pub fast_path: bool,
    /// What `status` warns of, in lines.
    pub warnings: usize,
    /// Whether the LAN is alive, and the targets that say so.
    pub health: Health,
    /// Every site with its links.
    pub sites: Vec<Site>,
    /// Links to replicas.
    pub replicas: Vec<Link>,
    /// Every virtual router.
    pub virtual_routers: Vec<VirtualRouter>,
    /// What was dropped, and what was left to the stack.
    pub drops: DropsReply,
    /// Seconds that each lane has worked.
    pub lanes_busy: Vec<f64>,
    /// Lane and name of each offload, and whether it is in use.
    pub offloads: Vec<(usize, &'static str, bool)>,
    /// What the maps hold; empty without the fast path.
    pub maps: Vec<MapUse>,
    /// Flows that the programs have entered, and that the agent has removed.
    pub flows: (u64, u64),
    /// Seconds of processor time of this process, and its resident bytes.
    pub process: (f64, u64),
}

/// How full a map is.
#[derive(Clone, Copy, Debug)]
pub struct MapUse {
    /// What is in it.
    pub map: &'static str,
    /// Entries.
    pub entries: u64,
    /// Entries that it takes.
    pub capacity: u64,
}

/// The whole text, with its end.
pub fn text(reading: Reading) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(reading));
    let mut text = String::new();
    // A string takes everything.
    let _ = prometheus_client::encoding::text::encode(&mut text, &registry);
    text
}

/// The same in Prometheus' own format, in which a counter's family has the name of its samples, and units and the end
/// are not told.
pub fn classic(text: &str) -> String {
    let counters: HashSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"))
        .collect();
    let mut classic = String::with_capacity(text.len());
    for line in text.lines() {
        let family = ["# HELP ", "# TYPE "].into_iter().find_map(|word| {
            let (name, rest) = line.strip_prefix(word)?.split_once(' ')?;
            counters.contains(name).then_some((word, name, rest))
        });
        match family {
            Some((word, name, rest)) => {
                classic.extend([word, name, "_total ", rest, "\n"]);
            }
            None if line.starts_with("# UNIT ") || line == "# EOF" => {}
            None => classic.extend([line, "\n"]),
        }
    }
    classic
}

impl Collector for Reading {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        gateway(&mut page, self)?;
        lan(&mut page, self)?;
        sites(&mut page, &self.sites)?;
        let of_sites = self.sites.iter().flat_map(|site| &site.links);
        let links: Vec<&Link> = of_sites.chain(&self.replicas).collect();
        links::write(&mut page, &links)?;
        drops(&mut page, &self.drops)?;
        lanes(&mut page, self)?;
        maps(&mut page, self)
    }
}

/// Labels of one sample.
type Labels<'a> = Vec<(&'static str, &'a str)>;

/// Name without unit and `_total`, what it is, and its unit.
type Family = (&'static str, &'static str, Option<Unit>);

const BYTES: Option<Unit> = Some(Unit::Bytes);
const SECONDS: Option<Unit> = Some(Unit::Seconds);

/// A unit that OpenMetrics does not name itself.
fn of(unit: &str) -> Unit {
    Unit::Other(unit.to_owned())
}

/// The text under way.
struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn counters<'l>(
        &mut self,
        (name, help, unit): Family,
        samples: impl IntoIterator<Item = (Labels<'l>, u64)>,
    ) -> fmt::Result {
        let mut family =
            self.0
                .encode_descriptor(name, help, unit.as_ref(), MetricType::Counter)?;
        samples.into_iter().try_for_each(|(labels, value)| {
            ConstCounter::new(value).encode(family.encode_family(&labels)?)
        })
    }

    fn counters_of_seconds<'l>(
        &mut self,
        (name, help): (&str, &str),
        samples: impl IntoIterator<Item = (Labels<'l>, f64)>,
    ) -> fmt::Result {
        let unit = SECONDS;
        let mut family =
            self.0
                .encode_descriptor(name, help, unit.as_ref(), MetricType::Counter)?;
        samples.into_iter().try_for_each(|(labels, value)| {
            ConstCounter::new(value).encode(family.encode_family(&labels)?)
        })
    }

    fn gauges<'l, N: EncodeGaugeValue>(
        &mut self,
        (name, help, unit): Family,
        samples: impl IntoIterator<Item = (Labels<'l>, N)>,
    ) -> fmt::Result {
        let mut family = self
            .0
            .encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?;
        samples.into_iter().try_for_each(|(labels, value)| {
            ConstGauge::new(value).encode(family.encode_family(&labels)?)
        })
    }

    /// One sample for each of `states`: 1 for the one that it is in.
    fn states<'l>(
        &mut self,
        (name, help): (&'static str, &'static str),
        states: &'l [&'static str],
        samples: impl IntoIterator<Item = (Labels<'l>, &'l str)>,
    ) -> fmt::Result {
        let each = samples.into_iter().flat_map(|(labels, is)| {
            states.iter().map(move |state| {
                let mut labels = labels.clone();
                labels.push(("state", *state));
                (labels, u64::from(is == *state))
            })
        });
        self.gauges((name, help, None), each)
    }
}

fn gateway(page: &mut Page<'_>, reading: &Reading) -> fmt::Result {
    let (version, abi) = reading.version;
    let abi = abi.to_string();
    let build = vec![
        ("gateway", reading.gateway.as_str()),
        ("version", version),
        ("abi", &abi),
    ];
    let alone = |value| [(Labels::new(), value)];
    page.gauges(
        (
            "crossway_build_info",
            "Versions of the agent that runs, and its gateway",
            None,
        ),
        [(build, 1)],
    )?;
    page.gauges(
        (
            "crossway_start_time",
            "When the gateway was started, since the Unix epoch; a hand-over is no start",
            SECONDS,
        ),
        alone(reading.started_unix_seconds),
    )?;
    page.gauges(
        (
            "crossway_fast_path",
            "1 while the eBPF programs forward, 0 while the kernel stack does",
            None,
        ),
        alone(u64::from(reading.fast_path)),
    )?;
    page.gauges(
        ("crossway_warnings", "Warnings of `crossway status`", None),
        alone(reading.warnings as u64),
    )?;
    let (cpu, resident) = reading.process;
    page.counters_of_seconds(
        (
            "process_cpu",
            "Processor time of the agent, user and system",
        ),
        [(Labels::new(), cpu)],
    )?;
    page.gauges(
        (
            "process_resident_memory",
            "Resident memory of the agent",
            BYTES,
        ),
        alone(resident),
    )
}

fn lan(page: &mut Page<'_>, reading: &Reading) -> fmt::Result {
    page.gauges(
        (
            "crossway_lan_alive",
            "1 while the LAN behind this gateway counts as alive",
            None,
        ),
        [(Labels::new(), u64::from(reading.health.lan_alive))],
    )?;
    let targets = reading.health.targets.iter().map(|target| {
        let labels = vec![
            ("target", target.target.as_str()),
            ("interface", &target.interface),
        ];
        (labels, u64::from(target.state == "up"))
    });
    page.gauges(
        (
            "crossway_health_target_up",
            "1 while a health target answers",
            None,
        ),
        targets,
    )?;
    let ids: Vec<String> = reading
        .virtual_routers
        .iter()
        .map(|router| router.id.to_string())
        .collect();
    let routers = || {
        let routers = reading.virtual_routers.iter().zip(&ids);
        routers.map(|(router, id)| {
            let labels: Labels<'_> = vec![
                ("interface", router.interface.as_str()),
                ("id", id),
                ("family", &router.family),
            ];
            (labels, router)
        })
    };
    page.states(
        (
            "crossway_vrrp_state",
            "1 for the state that a virtual router is in",
        ),
        &["initialize", "backup", "master"],
        routers().map(|(labels, router)| (labels, router.state.as_str())),
    )?;
    page.gauges(
        (
            "crossway_vrrp_priority",
            "Priority of a virtual router in force",
            None,
        ),
        routers().map(|(labels, router)| (labels, u64::from(router.priority))),
    )
}

fn sites(page: &mut Page<'_>, sites: &[Site]) -> fmt::Result {
    let each = |value: fn(&Site) -> u64| {
        let samples = sites.iter();
        samples.map(move |site| (vec![("site", site.name.as_str())], value(site)))
    };
    page.gauges(
        ("crossway_site_up", "1 while traffic passes to a site", None),
        each(|site| u64::from(site.state != SiteState::Down)),
    )?;
    page.states(
        (
            "crossway_site_state",
            "1 for the state that a site is in; Degraded: some of its links are down",
        ),
        &["Active", "Degraded", "Down"],
        sites
            .iter()
            .map(|site| (vec![("site", site.name.as_str())], site.state.as_str())),
    )?;
    page.gauges(
        ("crossway_site_routes", "Prefixes of a site", None),
        each(|site| site.routes.len() as u64),
    )?;
    page.counters(
        (
            "crossway_site_transmit",
            "Inner packets towards a site",
            Some(of("packets")),
        ),
        each(|site| site.traffic.to_site_packets),
    )?;
    page.counters(
        (
            "crossway_site_transmit",
            "Inner bytes towards a site",
            BYTES,
        ),
        each(|site| site.traffic.to_site_bytes),
    )?;
    page.counters(
        (
            "crossway_site_receive",
            "Inner packets from a site",
            Some(of("packets")),
        ),
        each(|site| site.traffic.from_site_packets),
    )?;
    page.counters(
        ("crossway_site_receive", "Inner bytes from a site", BYTES),
        each(|site| site.traffic.from_site_bytes),
    )
}

fn drops(page: &mut Page<'_>, drops: &DropsReply) -> fmt::Result {
    let dropped = || {
        drops.drops.iter().map(|drop| {
            let by = drop.dropped_by.as_str();
            (vec![("reason", drop.reason.as_str()), ("by", by)], drop)
        })
    };
    page.counters(
        (
            "crossway_dropped",
            "Packets and datagrams that were dropped, by reason",
            Some(of("packets")),
        ),
        dropped().map(|(labels, drop)| (labels, drop.packets)),
    )?;
    page.counters(
        (
            "crossway_dropped",
            "Bytes of what was dropped, by reason",
            BYTES,
        ),
        dropped().map(|(labels, drop)| (labels, drop.bytes)),
    )?;
    let left = || {
        let left = drops.to_stack.iter();
        left.map(|count| (vec![("reason", count.reason.as_str())], count))
    };
    page.counters(
        (
            "crossway_to_stack",
            "Packets that eBPF left to the kernel stack, by reason",
            Some(of("packets")),
        ),
        left().map(|(labels, count)| (labels, count.packets)),
    )?;
    page.counters(
        (
            "crossway_to_stack",
            "Bytes of what eBPF left to the kernel stack, by reason",
            BYTES,
        ),
        left().map(|(labels, count)| (labels, count.bytes)),
    )
}

fn lanes(page: &mut Page<'_>, reading: &Reading) -> fmt::Result {
    let numbers: Vec<String> = (0..reading.lanes_busy.len())
        .map(|lane| lane.to_string())
        .collect();
    page.counters_of_seconds(
        (
            "crossway_lane_busy",
            "Time that a lane has worked and not waited; its rate is the share of a core",
        ),
        reading
            .lanes_busy
            .iter()
            .zip(&numbers)
            .map(|(busy, lane)| (vec![("lane", lane.as_str())], *busy)),
    )?;
    let offloads = reading.offloads.iter().filter_map(|(lane, name, on)| {
        let lane = numbers.get(*lane)?;
        Some((
            vec![("lane", lane.as_str()), ("offload", *name)],
            u64::from(*on),
        ))
    });
    page.gauges(
        (
            "crossway_offload_active",
            "1 while an offload is in use",
            None,
        ),
        offloads,
    )
}

fn maps(page: &mut Page<'_>, reading: &Reading) -> fmt::Result {
    let each = |value: fn(&MapUse) -> u64| {
        let maps = reading.maps.iter();
        maps.map(move |map| (vec![("map", map.map)], value(map)))
    };
    page.gauges(
        (
            "crossway_map_entries",
            "Entries of a table that the eBPF programs use",
            None,
        ),
        each(|map| map.entries),
    )?;
    page.gauges(
        ("crossway_map_capacity", "Entries that it takes", None),
        each(|map| map.capacity),
    )?;
    let (entered, removed) = reading.flows;
    page.counters(
        (
            "crossway_flows_entered",
            "Flows that the programs have entered in the flow table",
            None,
        ),
        [(Labels::new(), entered)],
    )?;
    page.counters(
        (
            "crossway_flows_removed",
            "Flows that the agent has removed because they were idle",
            None,
        ),
        [(Labels::new(), removed)],
    )
}

#[cfg(test)]
mod tests;
