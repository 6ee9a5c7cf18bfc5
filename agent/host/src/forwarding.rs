//! Which sysctls Crossway needs, and why. Pure: facts in, changes out.
//!
//! IPv4 asks the interface a packet came in by, so the LANs and the TUN suffice.
//!
//! IPv6 asks `conf.all.forwarding`, and writing that rewrites every interface and makes them stop
//! taking router advertisements (an uplink that learned its default route so would lose it) unless
//! their `accept_ra` is 2. Kernels from 6.17 on have `force_forwarding` for one interface; there
//! `all` is left alone. `bpf_fib_lookup` asks the interface's own `forwarding` on every kernel, and
//! setting that purges advertised default routes of the whole host, so `accept_ra` is raised on all
//! interfaces while it happens ([`Plan::meanwhile`]). IPv6 is touched only if it is used.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use super::error::HostError;
use super::state::SysctlChange;
use super::sysctl::{Family, Key, Name};
use super::virtual_mac::VirtualMac;
use crossway_types::address;

/// What the plan depends on, besides [`Facts`].
#[derive(Clone, Copy, Debug)]
pub struct Need<'a> {
    /// The TUN's name.
    pub tun: &'a str,
    /// The LAN interfaces' names.
    pub lan: &'a [String],
    /// The WAN interfaces' names.
    pub wan: &'a [String],
    /// Those of them that links are bound to.
    pub bound: &'a [String],
    /// Whether packets of IPv6 go through the tunnel.
    pub ipv6: bool,
    /// Devices of virtual routers, each on one of the LANs.
    pub virtual_macs: &'a [VirtualMac],
}

/// Values before Crossway.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Every relevant sysctl there is.
    pub values: HashMap<Key, String>,
}

/// Changes to make.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Those that stay while the connector runs.
    pub lasting: Vec<SysctlChange>,
    /// Those that are needed only while the lasting ones are made.
    pub meanwhile: Vec<SysctlChange>,
    /// All whose values decided on that.
    pub looked_at: Vec<Key>,
}

/// What has to be changed for `need`.
pub fn plan(need: Need<'_>, facts: &Facts) -> Plan {
    let mut planner = Planner {
        facts,
        plan: Plan::default(),
        looked_at: RefCell::default(),
    };
    planner.ipv4(need);
    planner.no_redirects_sent(need.tun);
    planner.no_redirects_taken(need);
    planner.quiet_tun(need.tun, need.ipv6);
    planner.virtual_macs(need.virtual_macs);
    if need.ipv6 {
        planner.ipv6(need);
    }
    let looked_at = planner.looked_at.into_inner();
    planner.plan.looked_at = looked_at.into_iter().cloned().collect();
    planner.plan
}

/// What is not as `need` has it now, whoever has changed it.
pub fn unmet(need: Need<'_>) -> Result<Vec<SysctlChange>, HostError> {
    let mut facts = Facts::default();
    for key in relevant(&Family::Ipv4.interfaces()?, &Family::Ipv6.interfaces()?) {
        if let Some(value) = key.read()? {
            facts.values.insert(key, value);
        }
    }
    let mut unmet = plan(need, &facts).lasting;
    unmet.retain(|change| change.before != change.set);
    Ok(unmet)
}

/// The sysctls whose values [`plan`] wants to know for these interfaces (`all` and `default` among them).
pub fn relevant(ipv4: &[String], ipv6: &[String]) -> impl Iterator<Item = Key> {
    const IPV4: [Name; 6] = [
        Name::Forwarding,
        Name::AcceptRedirects,
        Name::RpFilter,
        Name::SendRedirects,
        Name::ArpIgnore,
        Name::ArpAnnounce,
    ];
    const IPV6: [Name; 6] = [
        Name::Forwarding,
        Name::AcceptRedirects,
        Name::ForceForwarding,
        Name::AcceptRa,
        Name::AddrGenMode,
        Name::DisableIpv6,
    ];
    let of_ipv4 = ipv4
        .iter()
        .flat_map(|interface| IPV4.map(|name| Key::ipv4(interface, name)));
    let of_ipv6 = ipv6
        .iter()
        .flat_map(|interface| IPV6.map(|name| Key::ipv6(interface, name)));
    of_ipv4.chain(of_ipv6)
}

struct Planner<'a> {
    facts: &'a Facts,
    plan: Plan,
    looked_at: RefCell<HashSet<&'a Key>>,
}

impl Planner<'_> {
    fn ipv4(&mut self, need: Need<'_>) {
        for lan in need.lan {
            let why = "packets of this LAN are forwarded into the tunnel";
            self.set(Key::ipv4(lan, Name::Forwarding), "1", why);
        }
        let why = "packets out of the tunnel are forwarded";
        self.set(Key::ipv4(need.tun, Name::Forwarding), "1", why);

        let strict: Vec<_> = need
            .bound
            .iter()
            .filter(|wan| self.is_strict(wan))
            .collect();
        for wan in strict {
            let why =
                "far gateways can use it even if the best route to them leaves by another WAN";
            self.set(Key::ipv4(wan, Name::RpFilter), "2", why);
        }
        if self.is_strict(need.tun) {
            let why = "each packet's source is already checked against its site's routes; the strict check would drop packets that return by another path";
            self.set(Key::ipv4(need.tun, Name::RpFilter), "2", why);
        }
    }

    /// Whether a packet is dropped where the route to its source leaves by another interface.
    fn is_strict(&self, interface: &str) -> bool {
        let values = [interface, "all"].map(|name| self.value(&Key::ipv4(name, Name::RpFilter)));
        values.into_iter().flatten().max() == Some("1")
    }

    /// A packet from site to site, or one that would go back where it came from, leaves by the interface it came in
    /// by, which makes the kernel send ICMP redirects to its sender, in another site.
    fn no_redirects_sent(&mut self, tun: &str) {
        self.off_for_all_but_others(Name::SendRedirects, &[tun]);
        let why = "no redirects that tell sites to bypass this gateway";
        self.set(Key::ipv4(tun, Name::SendRedirects), "0", why);
    }

    /// An ICMP redirect of anybody on a LAN or WAN would send the tunnel's packets elsewhere. IPv4 takes them where
    /// `all` and the interface have it on if that forwards, as LAN and TUN do, and else where either has, as on the
    /// WAN (`IN_DEV_RX_REDIRECTS` in the kernel's linux/inetdevice.h); IPv6 asks the interface alone.
    fn no_redirects_taken(&mut self, need: Need<'_>) {
        let (lan, wan) = (need.lan.iter(), need.wan.iter());
        let interfaces: Vec<&str> = lan
            .chain(wan)
            .map(String::as_str)
            .chain([need.tun])
            .collect();
        self.off_for_all_but_others(Name::AcceptRedirects, &interfaces);
        let why = "nobody there tells this gateway to send its packets elsewhere";
        for interface in interfaces {
            self.set(Key::ipv4(interface, Name::AcceptRedirects), "0", why);
            self.set(Key::ipv6(interface, Name::AcceptRedirects), "0", why);
        }
    }

    /// Of a setting of IPv4 that `all` or the interface switches on: `all` goes off, and every interface but these on
    /// that was on through `all`.
    fn off_for_all_but_others(&mut self, name: Name, these: &[&str]) {
        let all = Key::ipv4("all", name);
        if self.value(&all) != Some("1") {
            return;
        }
        let is_other = |key: &Key| *key != all && !these.contains(&key.interface.as_str());
        let others = self.keys(Family::Ipv4, name).into_iter();
        for key in others.filter(is_other).collect::<Vec<_>>() {
            self.set(key, "1", "it was on because of net.ipv4.conf.all");
        }
        let why = "off for LAN, WAN and TUN alone; every other interface keeps its own";
        self.set(all, "0", why);
    }

    /// A link-local address on the TUN would make the kernel send router solicitations and ICMPv6
    /// redirects into the tunnel. (Multicast listener reports come from `::` even so, a few.)
    fn quiet_tun(&mut self, tun: &str, ipv6: bool) {
        if ipv6 {
            let why = "IPv6 goes through the tunnel";
            self.set(Key::ipv6(tun, Name::DisableIpv6), "0", why);
        }
        let why = "no router solicitations or redirects into the tunnel";
        self.set(Key::ipv6(tun, Name::AddrGenMode), "1", why);
    }

    /// The hosts' packets come in by the device with the virtual MAC, their answers leave by the LAN
    /// itself. Only the device answers for the virtual addresses, and for nothing else: any other
    /// answer would put another MAC into the hosts' tables.
    fn virtual_macs(&mut self, devices: &[VirtualMac]) {
        let of_ipv4 = |device: &&VirtualMac| device.wanted.family == address::Family::Ipv4;
        for device in devices.iter().filter(of_ipv4) {
            let name = &device.name;
            let why = "packets to the virtual router are forwarded";
            self.set(Key::ipv4(name, Name::Forwarding), "1", why);
            let why = "it answers ARP for the virtual addresses only";
            self.set(Key::ipv4(name, Name::ArpIgnore), "1", why);
            let strict = [name, "all"].map(|name| self.value(&Key::ipv4(name, Name::RpFilter)));
            if strict.into_iter().flatten().max() == Some("1") {
                let why = "the way back to the hosts is the LAN interface";
                self.set(Key::ipv4(name, Name::RpFilter), "2", why);
            }
            self.answer_for_itself_only(&device.wanted.lan);
        }
        for device in devices.iter().filter(|device| !of_ipv4(device)) {
            let why = "it has no IPv4 address and answers no ARP";
            self.set(Key::ipv4(&device.name, Name::ArpIgnore), "8", why);
        }
    }

    fn answer_for_itself_only(&mut self, lan: &str) {
        let ignore = Key::ipv4(lan, Name::ArpIgnore);
        if self.value(&ignore) == Some("0") {
            let why = "it does not answer ARP for the virtual addresses with its own MAC";
            self.set(ignore, "1", why);
        }
        let why = "it sends no ARP requests from the virtual addresses";
        self.set(Key::ipv4(lan, Name::ArpAnnounce), "2", why);
    }

    fn ipv6(&mut self, need: Need<'_>) {
        let of_one = Key::ipv6(need.tun, Name::ForceForwarding);
        if self.value(&of_one).is_some() {
            self.ipv6_of_some_interfaces(need);
        } else {
            self.ipv6_of_the_host(need);
        }
    }

    fn ipv6_of_some_interfaces(&mut self, need: Need<'_>) {
        let host_forwards = self.value(&Key::ipv6("all", Name::Forwarding)) == Some("1");
        let lan = need.lan.iter().map(String::as_str);
        let virtual_macs = need.virtual_macs.iter();
        let virtual_macs = virtual_macs.filter(|mac| mac.wanted.family == address::Family::Ipv6);
        let virtual_macs = virtual_macs.map(|mac| mac.name.as_str());
        let interfaces: Vec<_> = lan.chain(virtual_macs).chain([need.tun]).collect();
        for interface in &interfaces {
            let key = Key::ipv6(interface, Name::Forwarding);
            self.set(key, "1", "IPv6 packets of this interface are forwarded");
            if !host_forwards {
                let key = Key::ipv6(interface, Name::ForceForwarding);
                let why = "without making the whole host a router";
                self.set(key, "1", why);
            }
        }
        for key in self.advertised() {
            if interfaces.contains(&key.interface.as_str()) {
                self.set(key, "2", "it still accepts router advertisements");
            } else {
                let change = self.change(key, "2", "advertised default routes are kept");
                self.plan.meanwhile.extend(change);
            }
        }
    }

    fn ipv6_of_the_host(&mut self, need: Need<'_>) {
        let all = Key::ipv6("all", Name::Forwarding);
        let lan = need.lan.iter().map(String::as_str);
        let on = |name: &str| self.value(&Key::ipv6(name, Name::Forwarding)) == Some("1");
        if on("all") && lan.chain([need.tun]).all(on) {
            return;
        }
        for key in self.advertised() {
            self.set(key, "2", "it still accepts router advertisements");
        }
        let why = "before 6.17 the kernel forwards IPv6 on all interfaces or none";
        // Remembered also where it is 1 already: restoring `all` rewrites each.
        for key in self.keys(Family::Ipv6, Name::Forwarding) {
            let why = if key == all { why } else { "follows all" };
            let change = self.change_or_note(key, "1", why);
            self.plan.lasting.extend(change);
        }
    }

    /// `accept_ra` of the interfaces that take router advertisements until they forward.
    fn advertised(&self) -> Vec<Key> {
        let mut keys = self.keys(Family::Ipv6, Name::AcceptRa);
        keys.retain(|key| {
            let forwarding = Key::ipv6(&key.interface, Name::Forwarding);
            !matches!(key.interface.as_str(), "all" | "default")
                && self.value(key) == Some("1")
                && self.value(&forwarding) == Some("0")
        });
        keys
    }

    fn set(&mut self, key: Key, value: &str, why: &str) {
        let change = self.change(key, value, why);
        self.plan.lasting.extend(change);
    }

    fn change(&self, key: Key, value: &str, why: &str) -> Option<SysctlChange> {
        self.change_or_note(key, value, why)
            .filter(|change| change.before != change.set)
    }

    fn change_or_note(&self, key: Key, value: &str, why: &str) -> Option<SysctlChange> {
        Some(SysctlChange {
            before: self.value(&key)?.to_owned(),
            key,
            set: value.to_owned(),
            why: why.to_owned(),
        })
    }

    fn value(&self, key: &Key) -> Option<&str> {
        let (key, value) = self.facts.values.get_key_value(key)?;
        self.looked_at.borrow_mut().insert(key);
        Some(value)
    }

    fn keys(&self, family: Family, name: Name) -> Vec<Key> {
        let keys = self.facts.values.keys();
        let mut keys: Vec<_> = keys
            .filter(|key| key.family == family && key.name == name)
            .cloned()
            .collect();
        keys.sort_by(|a, b| a.interface.cmp(&b.interface));
        keys
    }
}

#[cfg(test)]
mod tests;
