//! Rules between the links of a gateway, and between them and this gateway's interfaces.

use std::collections::HashMap;

use super::Unique;
use crate::diagnostic::Report;
use crate::gateway::GatewayDraft;
use crate::remote::{LinkDraft, RemoteDraft};
use crate::site::SiteDraft;

/// Checks the links of every site.
pub(super) fn check(report: &Report<'_>, gateway: Option<&GatewayDraft>, sites: &[SiteDraft]) {
    for site in sites {
        for remote in &site.gateways {
            warn_of_probes_elsewhere(report, site, remote);
            names_are_unique(report, remote);
            paths_differ(report, remote);
            if let Some(gateway) = gateway {
                for link in &remote.links {
                    wan_is_ours(report, gateway, link);
                    probe_has_a_source(report, gateway, link);
                }
            }
        }
        warn_of_replicas_without_reach(report, site);
    }
}

fn names_are_unique(report: &Report<'_>, remote: &RemoteDraft) {
    let mut names = Unique::default();
    for link in &remote.links {
        if let Some(name) = &link.name {
            let place = format!("{}, name", link.place);
            let mend = "rename one of them";
            names.take(
                report,
                &name.value,
                name,
                &place,
                "a link of this gateway",
                mend,
            );
        }
    }
}

/// Two links over the same path fail together.
fn paths_differ(report: &Report<'_>, remote: &RemoteDraft) {
    let mut seen = HashMap::new();
    for link in &remote.links {
        for endpoint in &link.endpoints {
            let wan = link.wan.as_ref().map(|wan| wan.value.as_str());
            let Some(first) = seen.insert((wan, endpoint.value.to_string()), endpoint.offset)
            else {
                continue;
            };
            report.error(
                endpoint.offset,
                link.place_of_endpoint(),
                format!(
                    "{} is the path of another link (line {})",
                    endpoint.value,
                    report.line(first)
                ),
                "give the link another endpoint or another wan, or remove it",
            );
        }
    }
}

fn wan_is_ours(report: &Report<'_>, gateway: &GatewayDraft, link: &LinkDraft) {
    let Some(wan) = &link.wan else { return };
    let ours: Vec<&str> = gateway.wan_interfaces().collect();
    if !ours.contains(&wan.value.as_str()) {
        report.error(
            wan.offset,
            format!("{}, wan", link.place),
            format!("{} is not a WAN of this gateway", wan.value),
            format!("write one of {}, or add a [[gateway.wan]]", ours.join(", ")),
        );
    }
}

/// Replies must find their way back into the link.
fn probe_has_a_source(report: &Report<'_>, gateway: &GatewayDraft, link: &LinkDraft) {
    let Some(probe) = link.liveness.value.probe else {
        return;
    };
    let mut own = gateway.tunnel_addresses.iter();
    if !own.any(|own| own.value.address.is_ipv4() == probe.is_ipv4()) {
        report.error(
            link.liveness.offset,
            format!("{}, probe", link.place),
            format!(
                "{probe} cannot be probed: gateway, tunnel_addresses has no address of its family"
            ),
            "add one that the far end routes back to this gateway",
        );
    }
}

/// A probe that the site's routes do not hold is no host behind the link.
fn warn_of_probes_elsewhere(report: &Report<'_>, site: &SiteDraft, remote: &RemoteDraft) {
    for link in &remote.links {
        let Some(probe) = link.liveness.value.probe else {
            continue;
        };
        if !site.routes.iter().any(|route| route.value.contains(probe)) {
            report.warning(
                link.liveness.offset,
                format!("{}, probe", link.place),
                format!("{probe} is in no route of this site: its answers would be dropped"),
                "name a host of the far LAN",
            );
        }
    }
}

/// Whoever adds a second gateway wants to reach it when the first is gone.
fn warn_of_replicas_without_reach(report: &Report<'_>, site: &SiteDraft) {
    if site.gateways.len() < 2 {
        return;
    }
    for remote in &site.gateways {
        if remote.endpoints().next().is_none() {
            let offset = remote.name.as_ref().map_or(0, |name| name.offset);
            report.warning(
                offset,
                remote.place.clone(),
                "this replica has no endpoint: it is used only while it connects to this gateway",
                "write where it is reached, if it can be",
            );
        }
    }
}
