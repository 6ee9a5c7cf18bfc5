//! A guest in the place of a namespace: the wires that ended in the namespace end in the guest, which has the
//! namespace's addresses and routes, so that a [`crate::topology`] can be of namespaces, of guests, or of both.
//!
//! ```text
//!            namespace                                                   guest
//!  ── veth ── wan0 ── bridge br-wan0 ── tap-wan0 ── QEMU (virtio-net) ── wan0, with the addresses
//! ```

use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use super::{Card, Guest, Machine};
use crate::netns::Netns;

/// What each namespace of a test has as well, see [`Netns::create`].
const SYSCTLS: [&str; 5] = [
    "net.ipv4.icmp_ratelimit=0",
    "net.ipv6.icmp.ratelimit=0",
    "net.ipv6.conf.all.accept_dad=0",
    "net.ipv6.conf.default.accept_dad=0",
    "net.ipv6.conf.default.router_solicitations=0",
];

/// A machine that will stand in a namespace's place.
#[derive(Debug)]
pub struct Place<'a> {
    netns: &'a Netns,
    machine: Machine,
    /// Lines for `ip -batch` in the guest.
    settings: String,
}

impl<'a> Place<'a> {
    /// Takes the addresses and routes from the namespace and ties its interfaces to the taps of the machine's
    /// cards of the same names. A card more than that has no wire.
    pub fn prepare(netns: &'a Netns, machine: Machine) -> Result<Self> {
        let mut settings = String::new();
        for card in &machine.cards {
            let _ = writeln!(settings, "link set {} up", card.interface);
            if !has_interface(netns, &card.interface) {
                continue;
            }
            for address in addresses(netns, &card.interface)? {
                let _ = writeln!(settings, "address add {address} dev {}", card.interface);
            }
        }
        for family in ["-4", "-6"] {
            for gateway in default_routes(netns, family)? {
                let _ = writeln!(settings, "route add default via {gateway}");
            }
        }
        for card in &machine.cards {
            tie(netns, card)?;
        }
        // Nobody but the guest shall speak on these wires.
        netns.set_sysctl("net/ipv6/conf/all/disable_ipv6", "1")?;
        Ok(Self {
            netns,
            machine,
            settings,
        })
    }

    /// Switches the machine on and gives it the namespace's names, addresses and routes. Can be done again
    /// after it was switched off.
    pub fn boot(&self, name: &str, directory: &Path) -> Result<Guest> {
        let machine = &self.machine;
        let mut guest = self.netns.enter(|| machine.boot(name, directory))??;
        guest.run(&format!("hostname {name}"))?;
        for setting in SYSCTLS {
            guest.run_words(&["sysctl", "-q", "-w", setting])?;
        }
        for card in &machine.cards {
            let found = guest.interface_of(card)?;
            if found != card.interface {
                guest.run(&format!("ip link set {found} name {}", card.interface))?;
            }
        }
        guest.write("/run/settings", &self.settings, 0o644)?;
        guest.run("ip -batch /run/settings")?;
        Ok(guest)
    }
}

impl Guest {
    /// The interface that the kernel gave a card.
    fn interface_of(&mut self, card: &Card) -> Result<String> {
        let links: Value = serde_json::from_str(&self.run("ip -json link show")?)?;
        let mac = card.mac.to_string();
        let mut links = links.as_array().context("no list of links")?.iter();
        let link = links.find(|link| link["address"] == mac.as_str());
        let name = link.and_then(|link| link["ifname"].as_str());
        let missing = || format!("{} has no card {mac} for {}", self.name(), card.interface);
        Ok(name.with_context(missing)?.to_owned())
    }
}

fn has_interface(netns: &Netns, interface: &str) -> bool {
    netns.ip(&format!("link show {interface}")).is_ok()
}

fn tie(netns: &Netns, card: &Card) -> Result<()> {
    let (interface, tap) = (&card.interface, &card.tap);
    let bridge = format!("br-{interface}");
    netns.ip(&card.tap_words())?;
    if !has_interface(netns, interface) {
        netns.ip(&format!("link set {tap} up"))?;
        return Ok(());
    }
    netns.ip(&format!(
        "link add {bridge} type bridge forward_delay 0 mcast_snooping 0"
    ))?;
    netns.ip(&format!("address flush dev {interface}"))?;
    for port in [interface, tap] {
        netns.ip(&format!("link set {port} master {bridge} up"))?;
    }
    netns.ip(&format!("link set {bridge} up"))?;
    Ok(())
}

/// Its addresses but those of the link, with their lengths.
fn addresses(netns: &Netns, interface: &str) -> Result<Vec<String>> {
    let text = netns.ip(&format!("-json address show dev {interface} scope global"))?;
    let links: Value = serde_json::from_str(&text)?;
    let mut found = Vec::new();
    for address in links[0]["addr_info"].as_array().into_iter().flatten() {
        // Addresses of another scope leave empty entries.
        let (local, length) = (address["local"].as_str(), address["prefixlen"].as_u64());
        let Some((local, length)) = local.zip(length) else {
            continue;
        };
        let nodad = if local.contains(':') { " nodad" } else { "" };
        found.push(format!("{local}/{length}{nodad}"));
    }
    Ok(found)
}

/// The next hops of its default routes.
fn default_routes(netns: &Netns, family: &str) -> Result<Vec<String>> {
    let text = netns.ip(&format!("{family} -json route show default"))?;
    let routes: Value = serde_json::from_str(if text.trim().is_empty() { "[]" } else { &text })?;
    let routes = routes.as_array().into_iter().flatten();
    Ok(routes
        .filter_map(|route| Some(route["gateway"].as_str()?.to_owned()))
        .collect())
}
