//! Services as rules of the configuration file: who reaches what, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::IpAddr;

use super::super::services::{clients, time};
use super::super::units::counted;
use crate::control::message::{RuleSet, Service, ServicesReply};

const HEAD: &str = "\
# Who reaches which services, as the catalogue of services has it. Rules for the configuration file of the gateway.
#
# Each rule lets hosts of `from` open flows to `ports` at the addresses of `to`, and answers pass back. What stands in
# none is denied as soon as the file has an [[allow]]. The order does not matter; no rule takes anything back.
#   from   names of sites; \"lan\" is this gateway's own side, \"any\" stands for more sites than were noted
#   ports  protocol/port, or a protocol alone that has no ports
#
";

/// Group, from where, and which ports: services that have these in common are one rule.
type Rule = (Option<String>, Vec<String>, Vec<String>);

/// Group, from where, and address: services that have these in common differ by their ports.
type Place = (Option<String>, Vec<String>, IpAddr);

/// The text, which is TOML. A rule names none but the `sites` that are there now.
pub(super) fn text(reply: &ServicesReply, sites: &[&str], set: RuleSet) -> String {
    let section = match set {
        RuleSet::Active => "allow",
        RuleSet::Shadow => "shadow",
    };
    let mut text = HEAD.to_owned();
    let filter = reply.filter.to_string();
    let services = counted(reply.services.len() as u64, "service", "services");
    let _ = match filter.as_str() {
        "" => writeln!(text, "# {services}"),
        filter => writeln!(text, "# {services}: {filter}"),
    };
    for ((group, from, ports), to) in rules(&reply.services, sites) {
        if from.is_empty() {
            text.push_str("\n# No rule: the sites that their clients were in are gone.\n");
            tell_services(&mut text, to.values().flatten());
            continue;
        }
        let _ = writeln!(text, "\n[[{section}]]");
        if let Some(name) = &group {
            let notes = reply.groups.iter().filter(|it| it.name == *name);
            let note = notes
                .map(|it| it.note.as_str())
                .find(|note| !note.is_empty());
            let note = note.map_or_else(String::new, |note| format!(": {note}"));
            let _ = writeln!(text, "# group {name}{note}");
        }
        tell_services(&mut text, to.values().flatten());
        let to: Vec<String> = to.keys().map(ToString::to_string).collect();
        for (key, values) in [("from", from), ("to", to), ("ports", ports)] {
            let values: Vec<String> = values.iter().map(|value| format!("{value:?}")).collect();
            let _ = writeln!(text, "{key} = [{}]", values.join(", "));
        }
    }
    text
}

fn tell_services<'a>(text: &mut String, services: impl Iterator<Item = &'a &'a Service>) {
    for service in services {
        let _ = writeln!(text, "# {}", comment(service));
    }
}

/// The rules, each with its addresses and the services at them. A rule lets in what its services are, and no other
/// pair of address and port.
fn rules<'a>(
    services: &'a [Service],
    sites: &[&str],
) -> BTreeMap<Rule, BTreeMap<IpAddr, Vec<&'a Service>>> {
    let mut at: BTreeMap<Place, Vec<&Service>> = BTreeMap::new();
    for service in services {
        let key = (service.group.clone(), from(service, sites), service.address);
        at.entry(key).or_default().push(service);
    }
    let mut rules: BTreeMap<Rule, BTreeMap<IpAddr, Vec<&Service>>> = BTreeMap::new();
    for ((group, from, address), services) in at {
        let ports: BTreeSet<(u8, u16)> = services
            .iter()
            .map(|service| (service.protocol_number, service.port))
            .collect();
        let ports = ports.into_iter().map(|(number, port)| {
            let name = crate::control::protocol::name(number);
            if port == 0 {
                name
            } else {
                format!("{name}/{port}")
            }
        });
        let rule = (group, from, ports.collect());
        rules.entry(rule).or_default().insert(address, services);
    }
    rules
}

fn from(service: &Service, sites: &[&str]) -> Vec<String> {
    if !service.client_sites_complete {
        return vec!["any".to_owned()];
    }
    let there = service.client_sites.iter();
    let there = there.filter(|site| sites.contains(&site.as_str()));
    let here = service.clients_here.then(|| "lan".to_owned());
    here.into_iter().chain(there.cloned()).collect()
}

fn comment(service: &Service) -> String {
    let mut comment = format!(
        "{} in {}: clients {}, {}, last seen {}",
        service.name(),
        service.site.as_deref().unwrap_or("lan"),
        clients(service),
        counted(service.flows, "flow", "flows"),
        time(service.last_seen_unix_milliseconds)
    );
    if service.guessed {
        comment.push_str("; a guess by its port");
    }
    if !service.note.is_empty() {
        let _ = write!(comment, "; {}", service.note);
    }
    comment
}

#[cfg(test)]
mod tests;
