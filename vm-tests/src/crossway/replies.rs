//! What a running agent answers, as the types of its own messages.

use std::fmt::Display;
use std::process::Command;

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;

use super::{Counters, Crossway, binary};
use crate::api::{
    DropCount, DropsReply, Flow, FlowsReply, Link, LinksReply, RouteAnswer, Site, SitesReply,
    Status,
};
use crate::process;

/// Asks a running gateway by name, with a reading command such as `&["flows", "--top", "5"]`.
pub fn ask<T: DeserializeOwned>(gateway: &str, command: &[&str]) -> Result<T> {
    let text = process::run(
        Command::new(binary())
            .args(["--gateway", gateway])
            .args(command)
            .arg("--json"),
    )?;
    serde_json::from_str(&text)
        .with_context(|| format!("the answer to `crossway {}`: {text}", command.join(" ")))
}

impl Crossway {
    /// What a reading command answers.
    pub fn ask<T: DeserializeOwned>(&self, command: &[&str]) -> Result<T> {
        ask(self.name(), command)
    }

    /// The whole gateway.
    pub fn status(&self) -> Result<Status> {
        self.ask(&["status"])
    }

    /// Its sites, in the order of the configuration.
    pub fn sites(&self) -> Result<Vec<Site>> {
        self.ask(&["sites"]).map(|reply: SitesReply| reply.sites)
    }

    /// Its links, those to replicas last.
    pub fn links(&self) -> Result<Vec<Link>> {
        self.ask(&["links"]).map(|reply: LinksReply| reply.links)
    }

    /// What it dropped, and what its programs left to the stack.
    pub fn drops(&self) -> Result<DropsReply> {
        self.ask(&["drops"])
    }

    /// Where packets to an address go.
    pub fn route(&self, address: impl Display) -> Result<RouteAnswer> {
        self.ask(&["routes", "get", &address.to_string()])
    }

    /// The counters of a site.
    pub fn site(&self, name: &str) -> Result<Counters> {
        site(&self.sites()?, name)
    }

    /// The flows that a filter of the command line lets through (none for all), each with its counters.
    pub fn flows(&self, filter: &[&str]) -> Result<Vec<(Flow, Counters)>> {
        Ok(flows(self.ask(&[&["flows"], filter].concat())?))
    }

    /// The reasons for which it dropped anything, with the packets. Without those that no site has a
    /// route for: the kernel sends multicast listener reports into every interface, which end there; a
    /// packet of a host to a site that is lost shows at the far end.
    pub fn dropped(&self) -> Result<Vec<(String, u64)>> {
        Ok(dropped(self.drops()?.drops))
    }

    /// Packets that its programs left to the kernel stack for one reason.
    pub fn left_to_stack(&self, reason: &str) -> Result<u64> {
        let counts = self.drops()?.to_stack;
        let count = counts.into_iter().find(|count| count.reason == reason);
        let count = count.with_context(|| format!("there is no reason {reason}"))?;
        Ok(count.packets)
    }
}

/// See [`Crossway::dropped`].
pub(crate) fn dropped(drops: Vec<DropCount>) -> Vec<(String, u64)> {
    let counts = drops.into_iter();
    counts
        .map(|count| (count.reason, count.packets))
        .filter(|(reason, packets)| *packets > 0 && reason != "no-route")
        .collect()
}

/// See [`Crossway::flows`].
pub(crate) fn flows(reply: FlowsReply) -> Vec<(Flow, Counters)> {
    let flows = reply.flows.into_iter();
    flows
        .map(|flow| {
            let counters = Counters::from(&flow);
            (flow, counters)
        })
        .collect()
}

/// See [`Crossway::site`].
pub(crate) fn site(sites: &[Site], name: &str) -> Result<Counters> {
    let site = sites.iter().find(|site| site.name == name);
    let site = site.with_context(|| format!("there is no site {name}"))?;
    Ok(Counters::from(&site.traffic))
}

/// A link as orders name it: `site/gateway/link`.
pub fn link_name(link: &Link) -> String {
    let words = [
        link.site.as_str(),
        link.gateway.as_str(),
        link.link.as_deref().unwrap_or_default(),
    ];
    words.join("/")
}
