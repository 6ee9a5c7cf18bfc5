//! The virtual routers, as a part of `crossway status`.

use super::output::{Colour, Look};
use super::table::{Cell, Table};
use super::units::duration;
use crate::control::message::VirtualRouter;

/// A row for each.
pub(super) fn table(routers: &[VirtualRouter], look: Look) -> String {
    let mut table = Table::new([
        "VIRTUAL ROUTER",
        "ADDRESSES",
        "STATE",
        ">FOR",
        ">PRIORITY",
        "MASTER",
        "WHY",
    ])
    .spare(&["PRIORITY", "FOR", "MASTER"]);
    for router in routers {
        let addresses: Vec<String> = router.addresses.iter().map(ToString::to_string).collect();
        let priority = match router.configured_priority {
            configured if configured == router.priority => configured.to_string(),
            configured => format!("{} of {configured}", router.priority),
        };
        let colour = match (router.state.as_str(), router.warnings.is_empty()) {
            ("master" | "backup", true) => Colour::Green,
            _ => Colour::Yellow,
        };
        let master = match (router.master_address, router.master_priority) {
            (Some(address), Some(priority)) => format!("{address} ({priority})"),
            _ => "none".to_owned(),
        };
        table.row([
            format!("{} {} {}", router.interface, router.id, router.family).into(),
            addresses.join(" ").into(),
            Cell::coloured(&router.state, colour),
            duration(router.since_seconds).into(),
            priority.into(),
            master.into(),
            router.why.as_str().into(),
        ]);
    }
    table.text(look, "")
}
