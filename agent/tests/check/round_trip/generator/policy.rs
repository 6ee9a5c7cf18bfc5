//! Rules over the sites that a configuration has.

use crossway::config::{Gateway, Policy, Site};
use crossway::policy::source::{Entry, List};
use crossway::policy::{Denied, Network, SiteNetwork, Source, Stance};

use super::Generator;

/// Words for ports.
const PORTS: [&str; 5] = ["tcp/443", "udp/5060-5061", "icmp", "ad-core", "254"];

impl Generator {
    pub(super) fn policy(&mut self, gateway: &Gateway, sites: &[Site]) -> Policy {
        let mut words = vec!["any".to_owned(), "lan".to_owned()];
        words.extend(sites.iter().map(|site| site.name.clone()));
        let tags = sites.iter().flat_map(|site| &site.tags);
        words.extend(tags.map(|tag| format!("tag:{tag}")));
        let list = |it: &mut Self| List {
            name: it.name(),
            words: it.several(1, 4, |it| it.one_of(&words)),
        };
        let objects = self.several(0, 3, list);
        words.extend(objects.iter().map(|object| object.name.clone()));
        words.push(self.prefix().to_string());
        let ports = self.several(0, 3, |it| List {
            name: it.name(),
            words: it.several(1, 4, |it| it.one_of(&PORTS).to_owned()),
        });
        let allow = self.several(0, 4, |it| it.rule(&words));
        let source = Source {
            stance: self.maybe(|_| Stance::Closed),
            denied: self.one_of(&Denied::ALL),
            shadow: self.several(0, 4, |it| it.rule(&words)),
            expect: allow.iter().take(1).cloned().collect(),
            objects,
            ports,
            allow,
            ..Source::default()
        };
        let own = gateway.tunnel_addresses.iter();
        let site = |site: &Site| SiteNetwork {
            name: site.name.clone(),
            tags: site.tags.clone(),
            routes: site.routes.clone(),
        };
        let network = Network {
            sites: sites.iter().map(site).collect(),
            own: own.map(|own| own.address).collect(),
        };
        Policy::new(source, &network).unwrap().0
    }

    fn rule(&mut self, words: &[String]) -> Entry {
        let side = |it: &mut Self| it.several(1, 4, |it| it.one_of(words));
        Entry {
            name: self.maybe(Self::name),
            from: side(self),
            to: side(self),
            ports: self.maybe(|it| it.several(1, 4, |it| it.one_of(&PORTS).to_owned())),
        }
    }
}
