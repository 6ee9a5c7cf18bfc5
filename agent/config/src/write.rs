//! Writes a [`Config`] out again, in the words of the file.
//!
//! Reading the text gives the same [`Config`], as long as that keeps the rules of the file. What has its
//! default value is left out. Paths are written as the agent opens them: a relative one starts at the
//! process's folder, so the text belongs there, or the paths are absolute.

mod policy;
mod table;

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use toml_edit::InlineTable;

use self::table::Table;
use super::PathMtuMode;
use super::gateway::DEFAULT_HISTORY_MIB;
use super::{
    Config, Discovery, FlowExport, Gateway, HealthTarget, Lan, Lanes, Link, Liveness, LivenessMode,
    Metrics, MetricsDoor, OnDown, RemoteGateway, Site, VirtualRouter, Wan, XdpChoice, discovery,
    flows, health, remote, site, vrrp,
};
use crossway_liveness::bfd::Pace;
use crossway_types::address::Family;
use crossway_types::engine::Engine;
use crossway_types::keys::public_key_text;
use crossway_types::mapping::Mapping;
use crossway_types::marks::DscpModel;
use crossway_types::prefix::Prefix;
use datapath_abi::maps::DEFAULT_FLOWS;

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        policy::write_head(f, &self.policy.source)?;
        write_gateway(f, &self.gateway)?;
        if let Some(metrics) = &self.metrics {
            write_metrics(f, metrics)?;
        }
        for site in &self.sites {
            f.write_str("\n")?;
            write_site(f, site, self.gateway.engine)?;
        }
        write_flows(f, &self.flows)?;
        if let Some(discovery) = &self.discovery {
            write_discovery(f, discovery)?;
        }
        policy::write_rules(f, &self.policy.source)
    }
}

fn write_discovery(f: &mut fmt::Formatter<'_>, discovery: &Discovery) -> fmt::Result {
    let mut table = Table::begin(f, "\n[discovery]")?;
    if let Some(database) = &discovery.database {
        table.set("database", path_text(database))?;
    }
    let services = discovery.services.into();
    table.set_unless("services", services, i64::from(discovery::DEFAULT_BOUND))?;
    if discovery.networks.is_empty() {
        return Ok(());
    }
    table.list("networks", &discovery.networks)
}

fn write_flows(f: &mut fmt::Formatter<'_>, export: &FlowExport) -> fmt::Result {
    if *export == FlowExport::default() {
        return Ok(());
    }
    let mut table = Table::begin(f, "\n[flows]")?;
    if let Some(file) = &export.file {
        table.set("file", path_text(&file.path))?;
        let (size, count) = (file.size_mib.into(), file.count.into());
        table.set_unless("file_mib", size, i64::from(flows::DEFAULT_SIZE))?;
        table.set_unless("files", count, i64::from(flows::DEFAULT_COUNT))?;
    }
    if let Some(collector) = &export.collector {
        table.set("collector", collector.address.to_string())?;
        table.set_unless("domain", i64::from(collector.domain), 0)?;
        let enterprise = i64::from(collector.enterprise);
        table.set_unless("enterprise", enterprise, flows::DEFAULT_ENTERPRISE.into())?;
        let pace = collector.template_pace.as_secs() as i64;
        table.set_unless(
            "template_seconds",
            pace,
            flows::DEFAULT_TEMPLATE_PACE.into(),
        )?;
    }
    Ok(())
}

fn write_gateway(f: &mut fmt::Formatter<'_>, gateway: &Gateway) -> fmt::Result {
    let mut table = Table::begin(f, "[gateway]")?;
    table.set("name", &gateway.name)?;
    table.set(
        "private_key_file",
        path_text(&gateway.private_key_file.path),
    )?;
    table.set("listen", gateway.listen.to_string())?;
    if !gateway.tunnel_addresses.is_empty() {
        table.list("tunnel_addresses", &gateway.tunnel_addresses)?;
    }
    if let Some(mtu) = gateway.mtu {
        table.set("mtu", i64::from(mtu))?;
    }
    let default = PathMtuMode::default().as_str();
    table.set_unless("path_mtu", gateway.path_mtu.as_str(), default)?;
    let default = Engine::default().as_str();
    table.set_unless("engine", gateway.engine.as_str(), default)?;
    let default = DscpModel::default().as_str();
    table.set_unless("dscp", gateway.dscp.as_str(), default)?;
    table.set_unless("fast_path", gateway.fast_path, true)?;
    table.set_unless("flows", gateway.flows as i64, DEFAULT_FLOWS as i64)?;
    let default = DEFAULT_HISTORY_MIB;
    table.set_unless(
        "history_mib",
        i64::from(gateway.history_mib),
        i64::from(default),
    )?;
    if let Lanes::Count(lanes) = gateway.lanes {
        table.set("lanes", i64::from(lanes))?;
    }
    if let Some(group) = &gateway.control_group {
        table.set("control_group", group)?;
    }
    table.set_unless("seccomp", gateway.seccomp, true)?;
    for lan in &gateway.lan {
        write_lan(f, lan)?;
    }
    for wan in &gateway.wan {
        write_wan(f, wan)?;
    }
    let mut routers = gateway.vrrp.as_slice();
    while let Some((first, rest)) = routers.split_first() {
        let (second, rest) = match rest.split_first() {
            Some((second, rest)) if share_a_table(first, second) => (Some(second), rest),
            _ => (None, rest),
        };
        write_virtual_router(f, first, second)?;
        routers = rest;
    }
    for target in &gateway.health {
        write_health(f, target, gateway.lan.len())?;
    }
    for replica in &gateway.replicas {
        write_replica(f, replica, gateway.engine)?;
    }
    Ok(())
}

fn write_lan(f: &mut fmt::Formatter<'_>, lan: &Lan) -> fmt::Result {
    let mut table = Table::begin(f, "\n[[gateway.lan]]")?;
    table.set("interface", &lan.interface)?;
    table.set_unless("vnet", lan.vnet.as_str(), "default")?;
    write_xdp(&mut table, lan.xdp)?;
    write_maps(&mut table, &lan.maps)
}

fn write_wan(f: &mut fmt::Formatter<'_>, wan: &Wan) -> fmt::Result {
    let mut table = Table::begin(f, "\n[[gateway.wan]]")?;
    table.set("interface", &wan.interface)?;
    write_xdp(&mut table, wan.xdp)
}

fn write_maps(table: &mut Table<'_, '_>, maps: &[Mapping]) -> fmt::Result {
    if maps.is_empty() {
        return Ok(());
    }
    let pairs = maps
        .iter()
        .map(|map| (map.real().to_string(), map.shown().to_string()));
    table.set("map", pairs.collect::<InlineTable>())
}

fn write_xdp(table: &mut Table<'_, '_>, choice: XdpChoice) -> fmt::Result {
    table.set_unless("xdp", choice.as_str(), XdpChoice::Auto.as_str())
}

/// Whether one `[[gateway.vrrp]]` can stand for both: its IPv4 router comes first.
fn share_a_table(first: &VirtualRouter, second: &VirtualRouter) -> bool {
    let as_first = VirtualRouter {
        family: first.family,
        addresses: first.addresses.clone(),
        ..second.clone()
    };
    first.family == Family::Ipv4 && second.family == Family::Ipv6 && as_first == *first
}

/// `second` is the same router for IPv6.
fn write_virtual_router(
    f: &mut fmt::Formatter<'_>,
    router: &VirtualRouter,
    second: Option<&VirtualRouter>,
) -> fmt::Result {
    let mut table = Table::begin(f, "\n[[gateway.vrrp]]")?;
    table.set("interface", &router.interface)?;
    table.set("id", i64::from(router.id))?;
    let more = second.into_iter().flat_map(|second| &second.addresses);
    table.list("addresses", router.addresses.iter().chain(more))?;
    let priority = i64::from(router.priority);
    table.set_unless("priority", priority, i64::from(vrrp::DEFAULT_PRIORITY))?;
    table.set_unless(
        "advertisement_interval",
        milliseconds(router.advertisement_interval.duration()),
        vrrp::DEFAULT_INTERVAL,
    )?;
    table.set_unless("preempt", router.preempt, true)?;
    match router.track_weight {
        weight if weight == vrrp::default_weight(router.priority) => Ok(()),
        None => table.set("track", false),
        Some(weight) => table.set("track_weight", i64::from(weight)),
    }
}

/// `lans` is how many there are to choose from.
fn write_health(f: &mut fmt::Formatter<'_>, target: &HealthTarget, lans: usize) -> fmt::Result {
    let mut table = Table::begin(f, "\n[[gateway.health]]")?;
    table.set("target", target.target_text())?;
    if lans > 1 {
        table.set("interface", &target.interface)?;
    }
    let interval = milliseconds(target.interval);
    table.set_unless("interval_ms", interval, health::DEFAULT_INTERVAL)?;
    let timeout = health::default_timeout(interval);
    table.set_unless("timeout_ms", milliseconds(target.timeout), timeout)?;
    let failures = i64::from(target.failures);
    table.set_unless("failures", failures, health::DEFAULT_FAILURES.into())?;
    let successes = i64::from(target.successes);
    table.set_unless("successes", successes, health::DEFAULT_SUCCESSES.into())
}

fn write_replica(
    f: &mut fmt::Formatter<'_>,
    replica: &RemoteGateway,
    engine: Engine,
) -> fmt::Result {
    let mut table = Table::begin(f, "\n[[gateway.replica]]")?;
    write_identity(&mut table, replica, engine)?;
    for link in &replica.links {
        if let Some(endpoint) = link.endpoints.first() {
            table.set("endpoint", endpoint.to_string())?;
        }
        write_liveness(&mut table, &link.liveness, LivenessMode::Bfd)?;
    }
    Ok(())
}

fn write_metrics(f: &mut fmt::Formatter<'_>, metrics: &Metrics) -> fmt::Result {
    let mut table = Table::begin(f, "\n[metrics]")?;
    match &metrics.door {
        MetricsDoor::Address { listen, tls } => {
            table.set("listen", listen.to_string())?;
            let Some(tls) = tls else { return Ok(()) };
            table.set("certificate_file", path_text(&tls.certificate_file))?;
            table.set("key_file", path_text(&tls.key_file))?;
            match &tls.client_ca_file {
                Some(file) => table.set("client_ca_file", path_text(file)),
                None => Ok(()),
            }
        }
        MetricsDoor::Socket { path, group } => {
            table.set("socket", path_text(path))?;
            match group {
                Some(group) => table.set("group", group),
                None => Ok(()),
            }
        }
    }
}

fn write_site(f: &mut fmt::Formatter<'_>, site: &Site, engine: Engine) -> fmt::Result {
    let mut table = Table::begin(f, "[[site]]")?;
    table.set("name", &site.name)?;
    let real: HashMap<Prefix, Prefix> = site
        .maps
        .iter()
        .map(|map| (map.shown(), map.real()))
        .collect();
    let routes = site.routes.iter();
    let routes = routes.map(|route| real.get(route).unwrap_or(route));
    table.list("routes", routes)?;
    write_maps(&mut table, &site.maps)?;
    if !site.tags.is_empty() {
        table.list("tags", &site.tags)?;
    }
    table.set_unless("vnet", site.vnet.as_str(), "default")?;
    table.set_unless(
        "hold_down_ms",
        milliseconds(site.hold_down),
        milliseconds(site::DEFAULT_HOLD_DOWN),
    )?;
    let default = OnDown::default().as_str();
    table.set_unless("on_down", site.on_down.as_str(), default)?;
    for gateway in &site.gateways {
        write_site_gateway(f, gateway, engine)?;
    }
    Ok(())
}

fn write_site_gateway(
    f: &mut fmt::Formatter<'_>,
    gateway: &RemoteGateway,
    engine: Engine,
) -> fmt::Result {
    let mut table = Table::begin(f, "\n  [[site.gateway]]")?;
    write_identity(&mut table, gateway, engine)?;
    table.set_unless("lanes", i64::from(gateway.lanes), 1)?;
    if let Some(seconds) = gateway.persistent_keepalive {
        table.set("persistent_keepalive", i64::from(seconds))?;
    }
    if let [own] = &gateway.links[..]
        && own.name.is_none()
    {
        if !own.endpoints.is_empty() {
            table.list("endpoints", &own.endpoints)?;
        }
        return write_path(&mut table, own);
    }
    for link in &gateway.links {
        let mut table = Table::begin(f, "\n    [[site.gateway.link]]")?;
        if let Some(name) = &link.name {
            table.set("name", name)?;
        }
        if let Some(endpoint) = link.endpoints.first() {
            table.set("endpoint", endpoint.to_string())?;
        }
        if let Some(wan) = &link.wan {
            table.set("wan", wan)?;
        }
        write_path(&mut table, link)?;
    }
    Ok(())
}

/// `engine` is that of `[gateway]`.
fn write_identity(
    table: &mut Table<'_, '_>,
    gateway: &RemoteGateway,
    engine: Engine,
) -> fmt::Result {
    table.set("name", &gateway.name)?;
    table.set("public_key", public_key_text(&gateway.public_key))?;
    if let Some(file) = &gateway.preshared_key_file {
        table.set("preshared_key_file", path_text(&file.path))?;
    }
    table.set_unless("engine", gateway.engine.as_str(), engine.as_str())
}

/// What a gateway without links says of its own.
fn write_path(table: &mut Table<'_, '_>, link: &Link) -> fmt::Result {
    let default = i64::from(remote::DEFAULT_PRIORITY);
    table.set_unless("priority", i64::from(link.priority), default)?;
    write_liveness(table, &link.liveness, LivenessMode::default())
}

fn write_liveness(
    table: &mut Table<'_, '_>,
    liveness: &Liveness,
    default: LivenessMode,
) -> fmt::Result {
    table.set_unless("liveness", liveness.mode.as_str(), default.as_str())?;
    let Pace {
        interval,
        multiplier,
    } = Pace::default();
    let mut bfd = InlineTable::new();
    if liveness.pace.interval != interval {
        let interval = milliseconds(liveness.pace.interval);
        bfd.insert("interval_ms", interval.into());
    }
    if liveness.pace.multiplier != multiplier {
        bfd.insert("multiplier", i64::from(liveness.pace.multiplier).into());
    }
    if let Some(addresses) = liveness.addresses {
        bfd.insert("local", addresses.local.to_string().into());
        bfd.insert("remote", addresses.remote.to_string().into());
    }
    if !bfd.is_empty() {
        table.set("bfd", bfd)?;
    }
    match liveness.probe {
        Some(probe) => table.set("probe", probe.to_string()),
        None => Ok(()),
    }
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// A file name that is not UTF-8 cannot stand in TOML.
fn path_text(path: &std::path::Path) -> String {
    path.to_string_lossy().into_owned()
}
