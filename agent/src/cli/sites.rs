//! `crossway sites`.

use super::failure::Failure;
use super::output::{Colour, Look};
use super::table::{Cell, Table};
use super::units::{bytes, count, duration, rate};
use super::{Options, Watch, reading};
use crate::control::message::{Site, SiteState, SitesReply};
use crate::control::{Request, Response};

/// Shows the sites.
pub(super) fn sites(options: &Options, watch: Watch) -> Result<(), Failure> {
    let pick = |response| match response {
        Response::Sites(reply) => Some(reply),
        _ => None,
    };
    let text = |reply: &SitesReply, look| table(&reply.sites, look);
    reading::watch(options, watch, &Request::Sites, pick, text)
}

/// One line for each site.
pub(super) fn table(sites: &[Site], look: Look) -> String {
    let mut table = Table::new([
        "SITE",
        "STATE",
        ">FOR",
        ">TO SITE",
        ">RATE",
        ">FROM SITE",
        ">RATE",
        ">ROUTES",
        ">LINKS",
        "WHY",
    ])
    .spare(&["ROUTES", "LINKS", "RATE", "FOR"]);
    for site in sites {
        let colour = match site.state {
            SiteState::Active => Colour::Green,
            SiteState::Degraded => Colour::Yellow,
            SiteState::Down => Colour::Red,
        };
        table.row([
            site.name.as_str().into(),
            Cell::coloured(site.state.as_str(), colour),
            duration(site.since_seconds).into(),
            bytes(site.traffic.to_site_bytes).into(),
            rate(site.traffic.to_site_bytes_per_second).into(),
            bytes(site.traffic.from_site_bytes).into(),
            rate(site.traffic.from_site_bytes_per_second).into(),
            count(site.routes.len() as u64).into(),
            count(site.links.len() as u64).into(),
            site.why.as_str().into(),
        ]);
    }
    let mapped = sites.iter().flat_map(|site| {
        let maps = site.maps.iter();
        maps.map(|map| format!("{}: {} stands for its {}\n", site.name, map.shown, map.real))
    });
    table.text(look, "No site is configured.") + &mapped.collect::<String>()
}
