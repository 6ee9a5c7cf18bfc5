//! What comes out of the tunnel and would go back into it, where only one site is behind it: both ends have a route to
//! the other for an address that neither knows better, and a packet for it would go to and fro until its TTL ends.
//!
//! Two policy rules behind all others but the main table's answer it with "unreachable" at the first turn, whatever
//! the number of routes: what comes in by the TUN looks into the main table, less the routes whose device is of the
//! TUN's group, and what finds nothing there is unreachable. With several sites a packet may have to go from one to
//! another; there it is not known which turns are needless. Where eBPF forwards, it answers such packets itself, also
//! those of several sites, and the rules would only cost time.

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

/// The families for which there are to be rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Families {
    pub(super) ipv4: bool,
    pub(super) ipv6: bool,
}

/// Has the rules of these families there, and no others of ours.
pub(super) async fn reconcile(
    handle: &Handle,
    routes: &Routes,
    tun: &Interface,
    wanted: Families,
    report: &mut Report,
) {
    if wanted != Families::default() && tun.group != GROUP {
        let set = links::set_group(handle, tun, GROUP).await;
        report.note(set);
    }
    for (version, wanted) in [(IpVersion::V4, wanted.ipv4), (IpVersion::V6, wanted.ipv6)] {
        let set = reconcile_family(handle, routes, &tun.name, version, wanted).await;
        match set {
            Ok(true) => {
                let word = if wanted { "unreachable" } else { "routed" };
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
    wanted: bool,
) -> Result<bool, HostError> {
    let family = match version {
        IpVersion::V4 => AddressFamily::Inet,
        IpVersion::V6 => AddressFamily::Inet6,
    };
    let there = list(handle, version, tun).await?;
    let wanted = if wanted {
        rules(family, tun).to_vec()
    } else {
        Vec::new()
    };
    let actions = |rules: &[RuleMessage]| -> Vec<RuleAction> {
        rules.iter().map(|rule| rule.header.action).collect()
    };
    if actions(&there) == actions(&wanted) {
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

fn rules(family: AddressFamily, tun: &str) -> [RuleMessage; 2] {
    let rule = |action, more: &[RuleAttribute]| {
        let mut rule = RuleMessage::default();
        rule.header.family = family;
        rule.header.action = action;
        rule.attributes = vec![
            RuleAttribute::Iifname(tun.to_owned()),
            RuleAttribute::Priority(PRIORITY),
            RuleAttribute::Protocol(RouteProtocol::Other(PROTOCOL)),
        ];
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
