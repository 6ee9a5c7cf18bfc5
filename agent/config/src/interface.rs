//! Reads `[[gateway.lan]]` and `[[gateway.wan]]`.

use std::collections::HashMap;

use datapath_abi::maps::MAX_INTERFACES;
use toml_edit::{Item, TableLike};

use super::diagnostic::shown;
use super::gateway::read_vnet;
use super::section::{At, Choice, Section};
use super::{Lan, Wan, XdpChoice, mapping};
use crossway_types::mapping::Mapping;

/// Bytes of an interface name without the end mark: IFNAMSIZ - 1 (linux/if.h).
const INTERFACE_NAME_BYTES: usize = 15;

/// The LANs, the mappings of all of them, and the WANs.
type Interfaces = (Vec<Option<Lan>>, Vec<At<Mapping>>, Vec<Option<Wan>>);

/// Reads both lists; an entry with a fault is `None`. `tun` is the gateway's own device.
pub(super) fn read(gateway: &Section<'_>, tun: &str) -> Interfaces {
    require(
        gateway,
        "lan",
        "the interface that this site's hosts are on",
    );
    require(gateway, "wan", "the uplink");
    let [lan, wan] = ["lan", "wan"].map(|key| interfaces(gateway, key));
    // One place is the tunnel's.
    if let Some(last) = lan.iter().chain(&wan).nth(MAX_INTERFACES - 1) {
        let problem = format!("{} interfaces are too many", lan.len() + wan.len());
        let mend = format!("one gateway takes {}", MAX_INTERFACES - 1);
        gateway.error("lan and wan", last.offset, problem, mend);
    }
    refuse_an_interface_used_twice(tun, [("LAN", &lan), ("WAN", &wan)]);
    let mut maps = Vec::new();
    let lan = lan.iter().map(|section| {
        let of_lan = mapping::of_lan(section);
        maps.extend_from_slice(&of_lan);
        read_lan(section, &of_lan)
    });
    let lan: Vec<Option<Lan>> = lan.collect();
    (lan, maps, wan.iter().map(read_wan).collect())
}

/// One interface may be LAN and WAN: a gateway with one card has its hosts and its uplink there.
fn refuse_an_interface_used_twice(tun: &str, roles: [(&'static str, &[Section<'_>]); 2]) {
    let mut seen: HashMap<(&str, &str), usize> = HashMap::new();
    for (role, interfaces) in roles {
        for interface in interfaces {
            let Some(found) = interface.item("interface") else {
                continue;
            };
            let Some(interface_name) = found.value.as_str() else {
                continue;
            };
            if interface_name == tun {
                interface.error(
                    "interface",
                    found.offset,
                    format!("{tun} is the name of this gateway's own tunnel device"),
                    "name the interface that the hosts or the uplink are on",
                );
            }
            let line = interface.report.line(found.offset);
            let Some(other_line) = seen.insert((role, interface_name), line) else {
                continue;
            };
            interface.error(
                "interface",
                found.offset,
                format!("{interface_name} is listed twice (line {other_line})"),
                "keep one of them",
            );
        }
    }
}

/// `[[gateway.lan]]` and `[[gateway.wan]]` are both needed at least once.
fn require(section: &Section<'_>, key: &'static str, what: &str) {
    let mend = format!("add [[gateway.{key}]] with {what}");
    match section.item(key) {
        None => section.missing(key, mend),
        Some(found)
            if found
                .value
                .as_array()
                .is_some_and(toml_edit::Array::is_empty) =>
        {
            section.error(key, found.offset, "the list is empty", mend);
        }
        Some(_) => {}
    }
}

/// The tables of `[[gateway.lan]]` or `[[gateway.wan]]`.
fn interfaces<'d>(section: &Section<'d>, key: &'static str) -> Vec<Section<'d>> {
    section.tables(key, &format!("gateway.{key}"), |table, index| {
        interface_place(key, table, index)
    })
}

fn interface_place(key: &str, table: &dyn TableLike, index: usize) -> String {
    match table.get("interface").and_then(Item::as_str) {
        Some(interface) => format!("gateway.{key} {interface:?}"),
        None => format!("gateway.{key} #{}", index + 1),
    }
}

fn read_lan(section: &Section<'_>, maps: &[At<Mapping>]) -> Option<Lan> {
    let vnet = read_vnet(section);
    let xdp = read_xdp(section);
    if let Some(At { value, offset }) = xdp
        && matches!(value, XdpChoice::Native | XdpChoice::Generic)
    {
        section.error(
            "xdp",
            offset,
            format!(
                "{} is not possible: this version has no XDP program for a LAN",
                value.as_str()
            ),
            "write xdp = \"auto\" or \"off\" here; [[gateway.wan]] takes all four",
        );
    }
    Some(Lan {
        interface: read_interface(section)?,
        vnet,
        xdp: xdp.map_or(XdpChoice::Auto, |xdp| xdp.value),
        maps: maps.iter().map(|map| map.value).collect(),
    })
}

fn read_wan(section: &Section<'_>) -> Option<Wan> {
    let xdp = read_xdp(section);
    Some(Wan {
        interface: read_interface(section)?,
        xdp: xdp.map_or(XdpChoice::Auto, |xdp| xdp.value),
    })
}

fn read_interface(section: &Section<'_>) -> Option<String> {
    let found = section.required_string("interface", "\"eth1\"")?;
    let name = found.value;
    let problem = if name.is_empty() {
        "is empty".to_owned()
    } else if name.len() > INTERFACE_NAME_BYTES {
        format!(
            "has {} bytes, Linux allows {INTERFACE_NAME_BYTES}",
            name.len()
        )
    } else if name == "." || name == ".." || name.contains(is_no_interface_character) {
        "is not an interface name: Linux allows no space, slash or colon".to_owned()
    } else if name == "lo" {
        "is the loopback interface: no host is behind it".to_owned()
    } else {
        return Some(name.to_owned());
    };
    section.error(
        "interface",
        found.offset,
        format!("{} {problem}", shown(name)),
        "`ip -brief link` lists the names",
    );
    None
}

/// As the kernel's `dev_valid_name`, and no control characters.
fn is_no_interface_character(c: char) -> bool {
    c.is_whitespace() || c.is_control() || c == '/' || c == ':'
}

fn read_xdp(section: &Section<'_>) -> Option<At<XdpChoice>> {
    let choice = Choice {
        example: "\"auto\"",
        all: &XdpChoice::ALL,
        word: XdpChoice::as_str,
        is: "not an XDP mode",
        mend: "write \"auto\", \"native\", \"generic\" or \"off\"",
    };
    section.choice("xdp", &choice)
}
