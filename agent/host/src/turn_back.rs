//! What comes out of the tunnel and would go back to the site that it came from: both ends have a route to the other
//! for an address that neither knows better, and a packet for it would go to and fro until its TTL ends.
//!
//! Two policy rules behind all others but the main table's answer it with "unreachable" at the first turn, whatever
//! the number of routes: what comes in by the TUN looks into the main table, less the routes whose device is of the
//! TUN's group, and what finds nothing there is unreachable. With several sites a packet may have to go from one to
//! another: there each two prefixes of one site have such a pair of rules, for what comes from the one and is for the
//! other. Where eBPF forwards, it answers such packets itself, and the rules would only cost time.

use crossway_types::prefix::Prefix;
use futures::TryStreamExt;
use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use rtnetlink::packet_route::route::RouteProtocol;
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::{Handle, IpVersion};

use super::error::HostError;
use super::kernel_routes::MAIN_TABLE;
use super::links::{self, Interface};
use super::route_socket::RouteRequest;
use super::site_routes::PROTOCOL;
use super::{Report, Routes};

/// The TUN's group (`ip link show group 199`).
pub(super) const GROUP: u32 = 199;
/// Right before the main table's, and where `ip rule add` begins to count down from.
const PRIORITY: u32 = 32_765;

/// Pairs of prefixes in a family. The kernel asks the rules one by one, for each packet out of the tunnel.
const MOST_TURNS: usize = 64;

/// What must not go back into the tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// Nothing may: there is one site.
    Any,
    /// What comes from the first and is for the second.
    Between(Prefix, Prefix),
}

/// What must not go back into the tunnel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Turns {
    ipv4: Vec<Turn>,
    ipv6: Vec<Turn>,
}

impl Turns {
    /// Of sites with these prefixes. A prefix with one of another site in it is left out, and where there are too many
    /// pairs for the kernel to go through, all are.
    pub(super) fn of(sites: &[Vec<Prefix>]) -> Self {
        Self {
            ipv4: turns(sites, true),
            ipv6: turns(sites, false),
        }
    }
}

fn turns(sites: &[Vec<Prefix>], ipv4: bool) -> Vec<Turn> {
    if let [site] = sites {
        let uses = site.iter().any(|prefix| prefix.is_ipv4() == ipv4);
        return if uses || ipv4 {
            vec![Turn::Any]
        } else {
            Vec::new()
        };
    }
    let mut turns = Vec::new();
    for (at, site) in sites.iter().enumerate() {
        let others = || {
            sites
                .iter()
                .enumerate()
                .filter(move |(other, _)| *other != at)
        };
        let is_whole = |prefix: &&Prefix| {
            let mut others = others().flat_map(|(_, site)| site);
            prefix.is_ipv4() == ipv4 && !others.any(|other| prefix.covers(other))
        };
        let prefixes: Vec<Prefix> = site.iter().filter(is_whole).copied().collect();
        if turns.len() + prefixes.len() * prefixes.len() > MOST_TURNS {
            return Vec::new();
        }
        for from in &prefixes {
            turns.extend(prefixes.iter().map(|to| Turn::Between(*from, *to)));
        }
    }
    turns
}

/// Has the rules for these there, and no others of ours.
pub(super) async fn reconcile(
    handle: &Handle,
    routes: &Routes,
    tun: &Interface,
    wanted: Turns,
    report: &mut Report,
) {
    if wanted != Turns::default() && tun.group != GROUP {
        let set = links::set_group(handle, tun, GROUP).await;
        report.note(set);
    }
    for (version, wanted) in [(IpVersion::V4, wanted.ipv4), (IpVersion::V6, wanted.ipv6)] {
        let word = if wanted.is_empty() {
            "routed"
        } else {
            "unreachable"
        };
        let set = reconcile_family(handle, routes, &tun.name, version, wanted).await;
        match set {
            Ok(true) => {
                report.changed(format!("{}: what would go back is {word}", tun.name));
            }
            Ok(false) => {}
            // Without, all but such packets is as it should be.
            Err(error) => report.warnings.push(error.to_string()),
        }
    }
}

/// Whether anything had to be done.
async fn reconcile_family(
    handle: &Handle,
    routes: &Routes,
    tun: &str,
    version: IpVersion,
    wanted: Vec<Turn>,
) -> Result<bool, HostError> {
    let family = match version {
        IpVersion::V4 => AddressFamily::Inet,
        IpVersion::V6 => AddressFamily::Inet6,
    };
    let there = list(handle, version, tun).await?;
    let rules_of = |turn: &Turn| rules(family, tun, *turn);
    let wanted: Vec<RuleMessage> = wanted.iter().flat_map(rules_of).collect();
    if there.iter().map(gist).eq(wanted.iter().map(gist)) {
        return Ok(false);
    }
    let remove = there.into_iter().map(|message| RouteRequest {
        message: RouteNetlinkMessage::DelRule(message),
        flags: 0,
    });
    let add = wanted.into_iter().map(|message| RouteRequest {
        message: RouteNetlinkMessage::NewRule(message),
        flags: NLM_F_CREATE | NLM_F_EXCL,
    });
    let requests: Vec<RouteRequest> = remove.chain(add).collect();
    let what = || format!("to set the rules of what comes out of {tun}");
    let refused = routes
        .blocking(move |socket| {
            let mut first = None;
            let sent = socket.change(requests, |_, error| {
                first.get_or_insert_with(|| error.clone());
            });
            sent.map(|()| first)
        })
        .await;
    match refused {
        Ok(None) => Ok(true),
        Ok(Some(error)) => Err(HostError::of_errno(what(), &error)),
        Err(error) => Err(HostError::Netlink {
            what: what(),
            error,
        }),
    }
}

/// Ours, in the kernel's order.
async fn list(
    handle: &Handle,
    version: IpVersion,
    tun: &str,
) -> Result<Vec<RuleMessage>, HostError> {
    let all = handle.rule().get(version).execute();
    let ours = all.try_filter(|rule| {
        let ours = is_ours(rule, tun);
        std::future::ready(ours)
    });
    let listed: Result<Vec<RuleMessage>, _> = ours.try_collect().await;
    listed.map_err(|error| HostError::netlink("to list policy rules", error))
}

fn is_ours(rule: &RuleMessage, tun: &str) -> bool {
    let has = |wanted: &RuleAttribute| rule.attributes.contains(wanted);
    has(&RuleAttribute::Iifname(tun.to_owned()))
        && has(&RuleAttribute::Protocol(RouteProtocol::Other(PROTOCOL)))
}

/// What tells our rules apart.
fn gist(rule: &RuleMessage) -> (RuleAction, Option<Prefix>, Option<Prefix>) {
    let (mut from, mut to) = (None, None);
    for attribute in &rule.attributes {
        match attribute {
            RuleAttribute::Source(address) => {
                from = Some(Prefix::containing(*address, rule.header.src_len));
            }
            RuleAttribute::Destination(address) => {
                to = Some(Prefix::containing(*address, rule.header.dst_len));
            }
            _ => {}
        }
    }
    (rule.header.action, from, to)
}

fn rules(family: AddressFamily, tun: &str, turn: Turn) -> [RuleMessage; 2] {
    let rule = |action, more: &[RuleAttribute]| {
        let mut rule = RuleMessage::default();
        rule.header.family = family;
        rule.header.action = action;
        rule.attributes = vec![
            RuleAttribute::Iifname(tun.to_owned()),
            RuleAttribute::Priority(PRIORITY),
            RuleAttribute::Protocol(RouteProtocol::Other(PROTOCOL)),
        ];
        if let Turn::Between(from, to) = turn {
            rule.header.src_len = from.length();
            rule.header.dst_len = to.length();
            let source = RuleAttribute::Source(from.address());
            rule.attributes.push(source);
            let destination = RuleAttribute::Destination(to.address());
            rule.attributes.push(destination);
        }
        rule.attributes.extend_from_slice(more);
        rule
    };
    [
        rule(
            RuleAction::ToTable,
            &[
                RuleAttribute::Table(MAIN_TABLE),
                RuleAttribute::SuppressIfGroup(GROUP),
            ],
        ),
        rule(RuleAction::Unreachable, &[]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sites(sites: &[&[&str]]) -> Vec<Vec<Prefix>> {
        let parse = |site: &&[&str]| site.iter().map(|text| text.parse().unwrap()).collect();
        sites.iter().map(parse).collect()
    }

    #[test]
    fn with_one_site_nothing_goes_back_and_with_several_nothing_to_where_it_came_from() {
        let one = Turns::of(&sites(&[&["10.0.0.0/8"]]));
        assert_eq!((one.ipv4, one.ipv6), (vec![Turn::Any], vec![]));
        let one = Turns::of(&sites(&[&["2001:db8::/32"]]));
        assert_eq!(one.ipv6, [Turn::Any]);
        let two = Turns::of(&sites(&[
            &["10.2.0.0/16", "10.4.0.0/16"],
            &["10.3.0.0/16", "2001:db8:3::/48"],
        ]));
        let between =
            |from: &str, to: &str| Turn::Between(from.parse().unwrap(), to.parse().unwrap());
        let expected = [
            between("10.2.0.0/16", "10.2.0.0/16"),
            between("10.2.0.0/16", "10.4.0.0/16"),
            between("10.4.0.0/16", "10.2.0.0/16"),
            between("10.4.0.0/16", "10.4.0.0/16"),
            between("10.3.0.0/16", "10.3.0.0/16"),
        ];
        assert_eq!(two.ipv4, expected);
        assert_eq!(two.ipv6, [between("2001:db8:3::/48", "2001:db8:3::/48")]);
    }

    #[test]
    fn a_prefix_with_another_sites_in_it_has_no_rules_nor_have_too_many() {
        let nested = Turns::of(&sites(&[&["10.0.0.0/8"], &["10.3.0.0/16"]]));
        let inner = "10.3.0.0/16".parse().unwrap();
        assert_eq!(nested.ipv4, [Turn::Between(inner, inner)]);
        let many: Vec<String> = (0..9).map(|at| format!("10.{at}.0.0/16")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(Turns::of(&sites(&[&many, &["192.0.2.0/24"]])).ipv4, []);
        assert_eq!(Turns::of(&[]), Turns::default());
    }
}
