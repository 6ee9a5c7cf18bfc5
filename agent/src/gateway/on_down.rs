//! Sites that are down: what becomes of their packets, in the kernel's routes, the lanes' and the
//! programs'.
//!
//! The programs learn first that a site is down and leave its packets to the kernel, whose route is
//! then swapped for one that says so. With `next-shorter` the site's prefixes leave every table
//! instead; packets that still come from the site are taken as before. Its links are dialled on.

use std::collections::BTreeMap;

use super::plan::Plan;
use super::states::States;
use crate::config::OnDown;
use crate::ids::{SiteId, VnetId};
use crate::prefix::Prefix;
use crate::routes::RouteTable;

/// The sites that count as down, and what is done about each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DownSites(BTreeMap<SiteId, OnDown>);

impl DownSites {
    /// Those of a plan.
    pub fn of(plan: &Plan, states: &States) -> Self {
        let sites = plan.sites.iter();
        let down = sites.filter(|site| states.is_down(site));
        Self(down.map(|site| (site.id, site.config.on_down)).collect())
    }

    /// Whether the site is down.
    pub fn contains(&self, site: SiteId) -> bool {
        self.0.contains_key(&site)
    }

    /// Whether the site's prefixes are in no table.
    fn is_withdrawn(&self, site: SiteId) -> bool {
        self.0.get(&site) == Some(&OnDown::NextShorter)
    }

    /// The routes that packets go by: all but the withdrawn.
    pub fn active<'a>(
        &'a self,
        plan: &'a Plan,
    ) -> impl Iterator<Item = (VnetId, Prefix, SiteId)> + 'a {
        plan.routes()
            .filter(|(_, _, site)| !self.is_withdrawn(*site))
    }

    /// The prefixes that the kernel routes into the tunnel.
    pub fn reached<'a>(&'a self, plan: &'a Plan) -> impl Iterator<Item = Prefix> + 'a {
        plan.routes()
            .filter(|(_, _, site)| !self.contains(*site))
            .map(|(_, prefix, _)| prefix)
    }

    /// All other prefixes, each with what is done about it.
    pub fn unreached<'a>(&'a self, plan: &'a Plan) -> impl Iterator<Item = (Prefix, OnDown)> + 'a {
        plan.routes()
            .filter_map(|(_, prefix, site)| Some((prefix, *self.0.get(&site)?)))
    }

    /// The lanes' table. A withdrawn site may still send: its packets come before its state is known.
    pub fn lane_routes(&self, plan: &Plan) -> RouteTable {
        let withdrawn = plan
            .routes()
            .filter(|(_, _, site)| self.is_withdrawn(*site))
            .map(|(_, prefix, site)| (prefix, site));
        let active = self.active(plan).map(|(_, prefix, site)| (prefix, site));
        RouteTable::new(active)
            .with_withdrawn(withdrawn)
            .with_maps(plan.maps())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::config::Config;
    use crate::gateway::links::Links;
    use crate::gateway::plan::Numbers;
    use crossway_sys::clock;

    const FILE: &str = r#"
[gateway]
name = "berlin-1"
private_key_file = "berlin-1.key"
listen = "0.0.0.0:51820"
lan = [{ interface = "eth1" }]
wan = [{ interface = "eth0" }]
[[site]]
name = "paris"
routes = ["10.2.0.0/16"]
on_down = "drop"
gateway = [{ name = "paris-1", public_key = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=" }]
[[site]]
name = "rome"
routes = ["10.2.3.0/24"]
on_down = "next-shorter"
gateway = [{ name = "rome-1", public_key = "dw9XL3P5LVBwUdFzAoSVNGJhYnQhpZXsQBhPhaRgtFs=" }]
"#;

    /// The plan of the file, and the states after no site has answered for `seconds`.
    fn after(seconds: u64) -> (Plan, States) {
        let config = Config::parse(FILE, Path::new("berlin-1.toml")).unwrap();
        let plan = Numbers::default().plan(&config.config, 1);
        let mut links = Links::new(true);
        let mut states = States::default();
        let start = clock::now();
        for link in &plan.links {
            links.insert(link.clone(), Duration::ZERO, start);
        }
        states.follow(&plan, &mut links, start);
        states.follow(&plan, &mut links, start + Duration::from_secs(seconds));
        (plan, states)
    }

    fn texts<T: ToString>(items: impl Iterator<Item = T>) -> Vec<String> {
        items.map(|item| item.to_string()).collect()
    }

    #[test]
    fn while_all_may_still_come_up_all_is_routed() {
        let (plan, states) = after(14);
        let down = DownSites::of(&plan, &states);
        assert_eq!(down, DownSites::default());
        assert_eq!(texts(down.reached(&plan)), ["10.2.0.0/16", "10.2.3.0/24"]);
        assert_eq!(down.unreached(&plan).count(), 0);
    }

    #[test]
    fn a_withdrawn_site_leaves_its_packets_to_the_shorter_prefix_and_may_still_send() {
        let (plan, states) = after(15);
        let down = DownSites::of(&plan, &states);
        let (paris, rome) = (plan.sites[0].id, plan.sites[1].id);
        assert!(down.contains(paris) && down.contains(rome));
        assert_eq!(down.reached(&plan).count(), 0);
        let unreached: Vec<_> = down
            .unreached(&plan)
            .map(|(prefix, on_down)| (prefix.to_string(), on_down))
            .collect();
        assert_eq!(
            unreached,
            [
                ("10.2.0.0/16".to_owned(), OnDown::Drop),
                ("10.2.3.0/24".to_owned(), OnDown::NextShorter),
            ]
        );
        let active = down.active(&plan).map(|(_, prefix, _)| prefix);
        assert_eq!(texts(active), ["10.2.0.0/16"]);
        let table = down.lane_routes(&plan);
        let host = "10.2.3.9".parse().unwrap();
        assert_eq!(table.site_of(host), Some(paris));
        assert!(table.may_come_from(host, paris) && table.may_come_from(host, rome));
        let other = "10.2.4.9".parse().unwrap();
        assert!(table.may_come_from(other, paris) && !table.may_come_from(other, rome));
    }
}
