//! Watches that the tunnel's own packets do not enter the tunnel while it runs. The check at the start
//! ([`super::preflight`]) refuses what the file and the host say then; routes go, far gateways move, and names lead
//! elsewhere later. What would be swallowed from then on is a warning with the mend, and the link is down until it
//! would not: all other sites go on.

use std::collections::HashMap;
use std::fs;
use std::net::IpAddr;
use std::time::Instant;

use super::Gateway;
use super::links::{OwnAddress, Wan};
use super::plan::Plan;
use super::warnings::Source;
use crate::host::guard::{self, NamedEndpoint, NamedInterface, NamedRoute};
use crate::host::kernel_routes::KernelRoute;
use crate::ids::IfIndex;
use crate::prefix::PrefixIndex;

/// Where the resolver finds its name servers; behind the second is what a resolver on this host asks.
const RESOLVER_FILES: [&str; 2] = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];

impl Gateway {
    /// Looks at the kernel's routes as they were just read.
    pub(super) async fn guard_own_packets(&mut self, now: Instant) {
        let Some(kernel) = self.host.other_routes.take() else {
            return;
        };
        self.judge_own_packets(&kernel, now).await;
        self.host.other_routes = Some(kernel);
    }

    /// Looks again if a link leads to another address than before. The kernel's routes are read only where they
    /// can matter: there may be a million.
    pub(super) async fn guard_moved(&mut self, now: Instant) {
        if !self.forwarding.links.poll_moved() {
            return;
        }
        let plan = &self.desired.plan;
        let sites = PrefixIndex::new(plan.routes().map(|(_, prefix, _)| (prefix, ())));
        let own = self.forwarding.links.own_addresses();
        let mut addresses = own.iter().map(|own| own.address);
        let kernel = if addresses.any(|address| sites.longest_match(address).is_some()) {
            match self.host.kernel.other_routes(self.host.tun.index).await {
                Ok(routes) => routes,
                Err(error) => {
                    tracing::warn!("{error}");
                    return;
                }
            }
        } else {
            Vec::new()
        };
        self.judge_own_packets(&kernel, now).await;
    }

    async fn judge_own_packets(&mut self, kernel: &[KernelRoute], now: Instant) {
        let wans = self.host.wans(&self.desired.config).await;
        let links = &mut self.forwarding.links;
        let judged = judge(kernel, &self.desired.plan, &links.own_addresses(), &wans);
        let mut warnings = judged.warnings;
        if links.have_names() {
            warnings.extend(swallowed_servers(kernel, &self.desired.plan));
        }
        self.warnings.replace(Source::OwnPackets, warnings);
        if let Err(error) = self.forwarding.set_swallowed(judged.swallowed, now) {
            // A lane that has ended is noticed at the end of the turn.
            tracing::debug!("{error:#}");
        }
        self.warn_of_dropped();
    }
}

/// What [`judge`] finds.
struct Judged {
    /// Each address that would be swallowed, with the reason.
    swallowed: HashMap<IpAddr, String>,
    warnings: Vec<String>,
}

fn judge(kernel: &[KernelRoute], plan: &Plan, own: &[OwnAddress<'_>], wans: &[Wan]) -> Judged {
    let endpoints: Vec<_> = own
        .iter()
        .map(|own| NamedEndpoint {
            site: own.site,
            gateway: own.gateway,
            address: own.address,
        })
        .collect();
    let present = wans.iter();
    let wans: Vec<_> = present
        .filter_map(|wan| {
            Some(NamedInterface {
                name: &wan.name,
                index: IfIndex(wan.index?.get()),
            })
        })
        .collect();
    let refusals = guard::refusals(kernel, &named_routes(plan), &endpoints, &wans);
    let why = refusals.iter().map(|refusal| {
        let guard::Refusal {
            site,
            prefix,
            swallowed,
            ..
        } = refusal;
        let why = format!(
            "packets to {swallowed} would go into the tunnel, by route {prefix} of site {site}"
        );
        (*swallowed, why)
    });
    Judged {
        swallowed: why.collect(),
        warnings: refusals.iter().map(ToString::to_string).collect(),
    }
}

/// A warning for each name server that cannot be asked while the site is down to which its route leads.
fn swallowed_servers(kernel: &[KernelRoute], plan: &Plan) -> Vec<String> {
    let mut servers = Vec::new();
    for file in RESOLVER_FILES {
        let text = fs::read_to_string(file).unwrap_or_default();
        for server in name_servers(&text) {
            if !servers.contains(&server) {
                servers.push(server);
            }
        }
    }
    guard::swallowed_servers(kernel, &named_routes(plan), &servers)
}

fn named_routes(plan: &Plan) -> Vec<NamedRoute<'_>> {
    let sites = plan.sites.iter();
    let routes = sites.flat_map(|site| {
        let prefixes = site.config.routes.iter();
        prefixes.map(|prefix| NamedRoute {
            site: &site.config.name,
            prefix: *prefix,
        })
    });
    routes.collect()
}

/// The `nameserver` lines of a resolv.conf(5).
fn name_servers(text: &str) -> impl Iterator<Item = IpAddr> {
    text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let is_server = words.next() == Some("nameserver");
        let address = words.next().filter(|_| is_server)?;
        // A zone behind it is an interface of this host.
        address.split('%').next()?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_are_read_as_the_resolver_reads_them() {
        let text = "# nameserver 192.0.2.1\nsearch example\nnameserver 192.0.2.53\n nameserver\t2001:db8::53 # ours\n\
                    nameserver fe80::1%eth0\nnameserver none\nnameservers 192.0.2.2\n";
        let found: Vec<String> = name_servers(text)
            .map(|server| server.to_string())
            .collect();
        assert_eq!(found, ["192.0.2.53", "2001:db8::53", "fe80::1"]);
    }
}
