//! Reads `[[gateway.vrrp]]`: one table is a virtual router for each family that it has addresses of.

use std::collections::HashMap;
use std::net::IpAddr;

use datapath_abi::maps::MAX_INTERFACES;
use toml_edit::{Item, TableLike};

use super::diagnostic::shown;
use super::endpoint::Problem;
use super::section::{At, Section};
use super::{InterfaceAddress, Lan, VirtualRouter};
use crossway_liveness::vrrp::{Interval, OWNER};
use crossway_types::address::Family;

/// RFC 5798, 5.2.4.
pub(super) const DEFAULT_PRIORITY: u8 = 100;
/// Milliseconds. A mate takes over after three and a skew of less than one: with this well under a second,
/// while a machine may be busy for half of one without being taken for dead. The mate need not have
/// the same: a backup goes by what its master says.
pub(super) const DEFAULT_INTERVAL: i64 = 200;
/// Below, a moment's load makes a mate take over.
const SHORTEST_INTERVAL: i64 = 100;
/// What 12 bits of hundredths of a second hold.
const LONGEST_INTERVAL: i64 = 40_950;
/// Most addresses of a family: with these, an advertisement is far below any MTU.
const MOST_ADDRESSES: usize = 32;

/// Reads all tables; one with a fault is `None`. `wans` is how many uplinks there are.
pub(super) fn read(
    gateway: &Section<'_>,
    lan: &[Option<Lan>],
    wans: usize,
    tunnel_addresses: &[At<InterfaceAddress>],
) -> Vec<Option<VirtualRouter>> {
    let mut seen = Seen::default();
    let mut routers = Vec::new();
    for section in gateway.tables("vrrp", "gateway.vrrp", place) {
        routers.extend(read_one(&section, lan, tunnel_addresses, &mut seen));
    }
    if lan.len() + wans + routers.len() >= MAX_INTERFACES
        && let Some(found) = gateway.item("vrrp")
    {
        let problem = format!(
            "{} virtual routers are too many beside {} interfaces",
            routers.len(),
            lan.len() + wans
        );
        let mend = format!("one gateway takes {} of both", MAX_INTERFACES - 1);
        gateway.error("vrrp", found.offset, problem, mend);
    }
    routers
}

/// What may be there once: an id of a family on an interface, and an address.
#[derive(Default)]
struct Seen {
    ids: HashMap<(String, u8, Family), usize>,
    addresses: HashMap<IpAddr, usize>,
}

/// `gateway.vrrp "lan0" 51`, or its number where either is missing.
fn place(table: &dyn TableLike, index: usize) -> String {
    let interface = table.get("interface").and_then(Item::as_str);
    let id = table.get("id").and_then(Item::as_integer);
    match interface.zip(id) {
        Some((interface, id)) => format!("gateway.vrrp {interface:?} {id}"),
        None => format!("gateway.vrrp #{}", index + 1),
    }
}

fn read_one(
    section: &Section<'_>,
    lan: &[Option<Lan>],
    tunnel_addresses: &[At<InterfaceAddress>],
    seen: &mut Seen,
) -> Vec<Option<VirtualRouter>> {
    let interface = read_interface(section, lan);
    if !section.has("id") {
        section.missing(
            "id",
            "write id = 51, the same number on each gateway of the virtual router, and on no other router",
        );
    }
    let id = section.number("id", 1..=255, "51");
    let addresses = read_addresses(section, tunnel_addresses, seen);
    let priority = section
        .number("priority", 1..=255, "100")
        .map_or(DEFAULT_PRIORITY, |priority| priority.value as u8);
    let advertisement_interval = read_interval(section);
    let preempt = read_preempt(section, priority);
    let track_weight = read_tracking(section, priority);
    let (Some(interface), Some(id)) = (interface, id) else {
        return vec![None];
    };
    let families = [Family::Ipv4, Family::Ipv6]
        .into_iter()
        .filter_map(|family| {
            let of_family = addresses.iter().filter(|at| Family::of(at.value) == family);
            let of_family: Vec<At<IpAddr>> = of_family.copied().collect();
            let first = *of_family.first()?;
            check_family(section, family, first, of_family.len());
            refuse_a_second(section, &interface, &id, family, seen);
            Some(VirtualRouter {
                interface: interface.clone(),
                id: id.value as u8,
                family,
                addresses: of_family.iter().map(|at| at.value).collect(),
                priority,
                track_weight,
                advertisement_interval: advertisement_interval?,
                preempt,
            })
        });
    families.map(Some).collect()
}

fn read_interface(section: &Section<'_>, lan: &[Option<Lan>]) -> Option<String> {
    let found = section.required_string("interface", "\"eth1\"")?;
    // A LAN that could not be read may be the one.
    let lans: Option<Vec<&str>> = lan
        .iter()
        .map(|lan| lan.as_ref().map(|lan| lan.interface.as_str()))
        .collect();
    if let Some(lans) = lans
        && !lans.contains(&found.value)
    {
        let mend = match lans[..] {
            [] => "add it as [[gateway.lan]]".to_owned(),
            _ => format!(
                "write one of {}, or add it as [[gateway.lan]]",
                lans.join(", ")
            ),
        };
        let problem = format!("{} is not a LAN of this gateway", shown(found.value));
        section.error("interface", found.offset, problem, mend);
        return None;
    }
    Some(found.value.to_owned())
}

fn read_addresses(
    section: &Section<'_>,
    tunnel_addresses: &[At<InterfaceAddress>],
    seen: &mut Seen,
) -> Vec<At<IpAddr>> {
    let example = "\"10.1.0.254\"";
    let texts = section.strings("addresses", example);
    let empty = |list: At<&Item>| {
        list.value
            .as_array()
            .is_some_and(toml_edit::Array::is_empty)
    };
    if !section.has("addresses") {
        section.missing("addresses", format!("write addresses = [{example}]"));
    } else if let Some(list) = section.item("addresses")
        && empty(list)
    {
        let mend = format!("write addresses = [{example}], or remove the table");
        section.error("addresses", list.offset, "the list is empty", mend);
    }
    let mut addresses = Vec::new();
    for text in texts {
        match read_address(section, text, tunnel_addresses, seen) {
            Ok(address) => addresses.push(text.map(|_| address)),
            Err((problem, mend)) => section.error("addresses", text.offset, problem, mend),
        }
    }
    addresses
}

fn read_address(
    section: &Section<'_>,
    text: At<&str>,
    tunnel_addresses: &[At<InterfaceAddress>],
    seen: &mut Seen,
) -> Result<IpAddr, Problem> {
    let value = shown(text.value);
    let alone = text.value.split_once('/').map_or(text.value, |(it, _)| it);
    let Ok(address) = alone.parse::<IpAddr>() else {
        let mend = "write it as 10.1.0.254 or fe80::254".to_owned();
        return Err((format!("{value} is not an IP address"), mend));
    };
    if alone != text.value {
        let problem =
            format!("{value} has a prefix length, which belongs to the LAN's own address");
        return Err((problem, format!("write \"{address}\"")));
    }
    let unusable = address.is_unspecified() || address.is_multicast() || address.is_loopback();
    if unusable || address == IpAddr::from([255; 4]) {
        let mend = "write a free address of the LAN".to_owned();
        return Err((format!("{value} cannot be an address of a router"), mend));
    }
    if tunnel_addresses
        .iter()
        .any(|own| own.value.address == address)
    {
        let problem = format!("{value} is one of tunnel_addresses");
        return Err((problem, "write a free address of the LAN".to_owned()));
    }
    // The link-local address may be the same on each LAN, as fe80::1 often is.
    let everywhere = matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
    if let Some(first) = seen.addresses.insert(address, text.offset)
        && !everywhere
    {
        let line = section.report.line(first);
        let problem = format!("{address} is already a virtual address (line {line})");
        return Err((problem, "keep one of them".to_owned()));
    }
    Ok(address)
}

/// RFC 5798, 5.2.9: the hosts of IPv6 know their router by its link-local address.
fn check_family(section: &Section<'_>, family: Family, first: At<IpAddr>, count: usize) {
    if count > MOST_ADDRESSES {
        let problem = format!("{count} {family} addresses are too many");
        let mend = format!("one virtual router takes {MOST_ADDRESSES}");
        section.error("addresses", first.offset, problem, mend);
    }
    if let IpAddr::V6(address) = first.value
        && !address.is_unicast_link_local()
    {
        section.error(
            "addresses",
            first.offset,
            format!("{address} is the first IPv6 address and not link-local"),
            "write a link-local one before it, such as \"fe80::254\": hosts use it as their router",
        );
    }
}

fn refuse_a_second(
    section: &Section<'_>,
    interface: &str,
    id: &At<i64>,
    family: Family,
    seen: &mut Seen,
) {
    let key = (interface.to_owned(), id.value as u8, family);
    if let Some(first) = seen.ids.insert(key, id.offset) {
        let line = section.report.line(first);
        let problem = format!(
            "{interface} has the {family} virtual router {} already (line {line})",
            id.value
        );
        let mend = "put the addresses into one table, or write another id";
        section.error("id", id.offset, problem, mend);
    }
}

fn read_interval(section: &Section<'_>) -> Option<Interval> {
    let key = "advertisement_interval";
    let range = SHORTEST_INTERVAL..=LONGEST_INTERVAL;
    let milliseconds = match section.number(key, range, "200") {
        Some(found) if found.value % 10 != 0 => {
            let value = found.value;
            let below = value / 10 * 10;
            let problem = format!(
                "{value} ms cannot be encoded in an advertisement, which counts hundredths of a second"
            );
            section.error(
                key,
                found.offset,
                problem,
                format!("write {below} or {}", below + 10),
            );
            return None;
        }
        Some(found) => found.value,
        None if section.has(key) => return None,
        None => DEFAULT_INTERVAL,
    };
    Interval::from_centiseconds((milliseconds / 10) as u16)
}

fn read_preempt(section: &Section<'_>, priority: u8) -> bool {
    let Some(found) = section.boolean("preempt") else {
        return true;
    };
    if !found.value && priority == OWNER {
        let problem = "false is not possible with priority 255, which is always master";
        let mend = "write a priority from 1 to 254, or remove preempt";
        section.error("preempt", found.offset, problem, mend);
    }
    found.value
}

/// Without a weight of its own, a gateway that reaches no site has priority 1.
pub(super) fn default_weight(priority: u8) -> Option<u8> {
    Some(priority - 1).filter(|weight| priority != OWNER && *weight > 0)
}

fn read_tracking(section: &Section<'_>, priority: u8) -> Option<u8> {
    let track = section.boolean("track");
    let weight = section.number("track_weight", 1..=254, "50");
    let tracks = track.is_none_or(|track| track.value);
    if let Some(track) = track.filter(|track| track.value && priority == OWNER) {
        let problem = "true is not possible with priority 255, which is always master";
        let mend = "write a priority from 1 to 254, or remove track";
        section.error("track", track.offset, problem, mend);
    }
    let Some(weight) = weight else {
        return default_weight(priority).filter(|_| tracks);
    };
    if !tracks || priority == OWNER {
        let problem = "it has no effect: the priority does not follow the sites";
        section.error(
            "track_weight",
            weight.offset,
            problem,
            "remove it, or write track = true",
        );
    } else if weight.value >= i64::from(priority) {
        let problem = format!("{} is not less than the priority {priority}", weight.value);
        let mend = format!(
            "write at most {}: nothing goes below priority 1",
            priority - 1
        );
        section.error("track_weight", weight.offset, problem, mend);
    }
    Some(weight.value as u8).filter(|_| tracks && priority != OWNER)
}
