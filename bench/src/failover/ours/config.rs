//! The configuration files of a row's gateways.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use vm_tests::plan::GatewayPlan;
use vm_tests::topology::{LISTEN_PORT, Near, Redundant, Replica};

use super::Settings;

/// The file of the gateway `own` of `plans`, the last of which is that of site b.
pub(super) fn of(
    net: &Redundant,
    plans: &[(&Replica, GatewayPlan)],
    own: usize,
    settings: Settings,
    key: &Path,
) -> String {
    let far = plans.len() - 1;
    let (gateway, plan) = &plans[own];
    let mut lines = vec![
        "[gateway]".to_owned(),
        format!("name = {:?}", plan.name),
        format!("private_key_file = {:?}", key.display().to_string()),
        format!("listen = \"[::]:{LISTEN_PORT}\""),
        "[[gateway.lan]]\ninterface = \"lan0\"".to_owned(),
    ];
    for wan in 0..gateway.wan.len() {
        lines.push(format!("[[gateway.wan]]\ninterface = \"wan{wan}\""));
    }
    if far > 1 && own != far {
        lines.push(virtual_router(net, own));
    }
    let (site, side, peers) = if own == far {
        ("a", Near::A, 0..far)
    } else {
        ("b", Near::B, far..far + 1)
    };
    lines.push(format!("[[site]]\nname = {site:?}"));
    lines.push(format!("routes = [{:?}]", net.route(side)));
    let hold_down = settings.hold_down.iter();
    lines.extend(hold_down.map(|milliseconds| format!("hold_down_ms = {milliseconds}")));
    for index in peers {
        lines.push(peer(&plans[index], index, side, settings));
    }
    lines.push(String::new());
    lines.join("\n")
}

fn peer(
    (replica, plan): &(&Replica, GatewayPlan),
    index: usize,
    side: Near,
    settings: Settings,
) -> String {
    let Settings { bfd, links, .. } = settings;
    let mut lines = vec![
        "[[site.gateway]]".to_owned(),
        format!("name = {:?}", plan.name),
        format!("public_key = {:?}", plan.keys.public),
        format!("priority = {}", 100 - index),
        format!(
            "bfd = {{ interval_ms = {}, multiplier = {} }}",
            bfd.interval_ms, bfd.multiplier
        ),
    ];
    match links {
        Some(links) => {
            for number in 1..=links {
                let endpoint = SocketAddr::new(link_address(side, number).into(), LISTEN_PORT);
                lines.push(format!(
                    "[[site.gateway.link]]\nname = \"link-{number}\"\nendpoint = \"{endpoint}\""
                ));
            }
        }
        None => {
            for wan in 0..replica.wan.len() {
                lines.push(format!(
                    "[[site.gateway.link]]\nname = \"path-{}\"\nendpoint = \"{}\"\nwan = \"wan{wan}\"\npriority = {}",
                    wan + 1,
                    replica.endpoint(wan),
                    100 - index - wan
                ));
            }
        }
    }
    lines.join("\n")
}

/// The first gateway is master while it can reach site b.
fn virtual_router(net: &Redundant, own: usize) -> String {
    format!(
        "[[gateway.vrrp]]\ninterface = \"lan0\"\nid = 1\naddresses = [\"{}\"]\npriority = {}\nadvertisement_interval = 100",
        net.virtual_router(),
        150 - 50 * own
    )
}

/// Where the gateway of a site is for one of many links, counted from 1.
pub(in crate::failover) fn link_address(side: Near, number: u8) -> Ipv4Addr {
    let site = match side {
        Near::A => 1,
        Near::B => 2,
    };
    Ipv4Addr::new(198, 18, site, number)
}
