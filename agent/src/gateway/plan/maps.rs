//! What the addresses of a plan stand for.

use std::net::IpAddr;

use super::Plan;
use crate::config::{Link, Site};
use crate::ids::SiteId;
use crossway_types::mapping::{self, Maps};

impl Plan {
    /// What the lanes map, if anything.
    pub fn maps(&self) -> Option<Maps> {
        let sites = self.sites.iter();
        Maps::new(
            &self.own_maps,
            sites.map(|site| (site.id, &site.config.maps[..])),
        )
    }

    /// The address that a shown one of a site stands for.
    pub fn real_address(&self, site: SiteId, shown: IpAddr) -> Option<IpAddr> {
        mapping::real_of(&self.site(site)?.config.maps, shown)
    }
}

/// The host that is probed, as its own site knows it.
pub(super) fn probe_of(site: &Site, path: &Link) -> Option<IpAddr> {
    let probe = path.liveness.probe?;
    Some(mapping::real_of(&site.maps, probe).unwrap_or(probe))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;
    use crate::gateway::plan::Numbers;

    const FILE: &str = r#"
[gateway]
name = "berlin-1"
private_key_file = "berlin-1.key"
listen = "0.0.0.0:51820"
tunnel_addresses = ["10.255.0.1/32"]
lan = [{ interface = "eth1" }]
wan = [{ interface = "eth0" }]
[[site]]
name = "paris"
routes = ["10.0.0.0/24"]
map = "10.101.0.0/24"
gateway = [{ name = "paris-1", public_key = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=", probe = "10.101.0.7" }]
"#;

    fn plan(file: &str, numbers: &mut Numbers) -> Plan {
        let accepted = Config::parse(file, Path::new("berlin-1.toml")).unwrap();
        numbers.plan(&accepted.config, 1)
    }

    #[test]
    fn another_real_prefix_changes_the_lanes_routes_and_whom_a_probe_asks() {
        let mut numbers = Numbers::default();
        let old = plan(FILE, &mut numbers);
        let site = old.sites[0].id;
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(
            old.real_address(site, address("10.101.0.9")),
            Some(address("10.0.0.9"))
        );
        assert_eq!(old.real_address(site, address("10.0.0.9")), None);
        assert_eq!(old.links[0].probe, Some(address("10.0.0.7")));

        let new = plan(&FILE.replace("10.0.0.0/24", "10.6.0.0/24"), &mut numbers);
        let difference = old.difference(&new);
        assert!(difference.routes, "though all that is shown is the same");
        assert_eq!(difference.links.tuned, [new.links[0].clone()]);
        assert_eq!(new.links[0].probe, Some(address("10.6.0.7")));
        assert!(old.difference(&plan(FILE, &mut numbers)).is_empty());
    }
}
