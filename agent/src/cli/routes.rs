//! `crossway routes list|get|overlaps`.

use std::net::IpAddr;

use clap::Subcommand;

use super::failure::Failure;
use super::output::{Colour, Look};
use super::table::Table;
use super::{Options, Watch, reading};
use crate::control::message::{OverlapsReply, RouteAnswer, RouteKind, RoutesReply};
use crate::control::{Request, Response};

/// What of the routes is asked.
#[derive(Debug, Subcommand)]
pub(super) enum Routes {
    /// Every prefix and where it leads
    List(Watch),
    /// Where packets to an address go, as the data path decides it
    Get {
        /// IPv4 or IPv6 address
        #[arg(value_name = "IP")]
        address: IpAddr,
    },
    /// Prefixes that cover each other
    Overlaps,
}

/// Shows routes.
pub(super) fn routes(options: &Options, routes: &Routes) -> Result<(), Failure> {
    match routes {
        Routes::List(watch) => {
            let pick = |response| match response {
                Response::Routes(reply) => Some(reply),
                _ => None,
            };
            reading::watch(options, *watch, &Request::Routes, pick, list)
        }
        Routes::Get { address } => {
            let pick = |response| match response {
                Response::Route(answer) => Some(answer),
                _ => None,
            };
            let request = Request::RouteGet { address: *address };
            reading::show(options, &request, pick, get)
        }
        Routes::Overlaps => {
            let pick = |response| match response {
                Response::Overlaps(reply) => Some(reply),
                _ => None,
            };
            reading::show(options, &Request::RoutesOverlaps, pick, overlaps)
        }
    }
}

fn list(reply: &RoutesReply, look: Look) -> String {
    let mut table = Table::new(["PREFIX", "VNET", "KIND", "SITE", ">ID"]).spare(&["ID", "VNET"]);
    for route in &reply.routes {
        let id = match route.kind {
            RouteKind::Site => route.route_id.to_string(),
            RouteKind::Kernel => "-".to_owned(),
        };
        table.row([
            with_real(&route.prefix, route.real.as_deref()).into(),
            route.vnet.as_str().into(),
            route.kind.as_str().into(),
            route.site.as_deref().unwrap_or("-").into(),
            id.into(),
        ]);
    }
    table.text(look, "There is no route.")
}

/// A prefix, and the one that it stands for.
fn with_real(prefix: &str, real: Option<&str>) -> String {
    match real {
        Some(real) => format!("{prefix} ({real})"),
        None => prefix.to_owned(),
    }
}

fn get(answer: &RouteAnswer, look: Look) -> String {
    let goal = match (&answer.site, answer.kind) {
        (Some(site), _) => format!("site {site}"),
        (None, Some(_)) => "the kernel".to_owned(),
        (None, None) => "no site".to_owned(),
    };
    let head = look.paint(
        &format!("{} goes to {goal}", answer.address),
        Some(Colour::Bold),
    );
    let real = answer.real.map(|real| format!("  real    {real}\n"));
    let real = real.unwrap_or_default();
    format!(
        "{head}\n{real}  prefix  {}\n  vnet    {}\n  link    {}\n  kernel  {}\n  why     {}\n",
        answer.prefix.as_deref().unwrap_or("-"),
        answer.vnet,
        answer.link.as_deref().unwrap_or("-"),
        answer.kernel,
        answer.why,
    )
}

fn overlaps(reply: &OverlapsReply, look: Look) -> String {
    let mut table = Table::new(["OUTER", "SITE", "INNER", "SITE", "EFFECT"]);
    for overlap in &reply.overlaps {
        table.row([
            with_real(&overlap.outer, overlap.outer_real.as_deref()).into(),
            overlap.outer_site.as_str().into(),
            with_real(&overlap.inner, overlap.inner_real.as_deref()).into(),
            overlap.inner_site.as_str().into(),
            overlap.effect.as_str().into(),
        ]);
    }
    table.text(look, "No prefixes cover each other.")
}
