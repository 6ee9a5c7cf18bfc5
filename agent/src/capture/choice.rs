//! Which packets are wanted.

use std::net::IpAddr;

use anyhow::Result;
use datapath_abi::address::{self, Address};
use datapath_abi::capture::{ANY, CaptureFilter, Masked, Way};

use super::ground::Ground;
use crate::config::nearest::did_you_mean;
use crate::control::message::Link;
use crate::prefix::Prefix;

/// What is chosen on the command line; what is not set is any.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// One end, and the other, whichever sends.
    pub ends: [Option<Prefix>; 2],
    /// The sender.
    pub source: Option<Prefix>,
    /// The receiver.
    pub destination: Option<Prefix>,
    /// Port of either end, or echo identifier.
    pub port: Option<u16>,
    /// IP protocol.
    pub protocol: Option<u8>,
    /// Name of the site.
    pub site: Option<String>,
    /// Which way.
    pub way: Option<Way>,
    /// Bytes that are kept of a packet.
    pub snap: u32,
    /// Which skin.
    pub skin: Skin,
}

/// Packets inside of the tunnel, the tunnel's datagrams, or both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Skin {
    /// Inside.
    Inner,
    /// Outside.
    Outer,
    /// Both.
    #[default]
    Both,
}

/// A site was named that the gateway does not have.
#[derive(Debug, thiserror::Error)]
#[error("there is no site {name}{meant} (sites of this gateway: {known})")]
pub struct UnknownSite {
    name: String,
    meant: String,
    known: String,
}

impl Choice {
    /// As the programs are told it.
    ///
    /// # Errors
    /// There is no such site.
    pub(super) fn filter(&self, ground: &Ground) -> Result<CaptureFilter> {
        let [one, other] = self.ends;
        Ok(CaptureFilter {
            ends: [masked(one), masked(other)],
            source: masked(self.source),
            destination: masked(self.destination),
            port: self.port.map_or(ANY, u32::from),
            protocol: self.protocol.map_or(ANY, u32::from),
            site: self.site_id(ground)?.unwrap_or(ANY),
            way: self.way.map_or(ANY, |way| way as u32),
            // Who names an address wants to see where it goes.
            only_sites: u32::from(self.prefixes().next().is_none()),
            snap: self.snap,
        })
    }

    /// Whether packets inside the tunnel are wanted.
    pub(super) fn wants_inner(&self) -> bool {
        self.skin != Skin::Outer
    }

    /// The links whose datagrams are wanted: those of the sites that the chosen packets may go to or come from.
    pub(super) fn links<'a>(&self, ground: &'a Ground) -> Result<Vec<&'a Link>> {
        if self.skin == Skin::Inner {
            return Ok(Vec::new());
        }
        let site = self.site_id(ground)?;
        let links = ground.sites.iter().filter(|(id, of_site)| {
            site.is_none_or(|site| site == **id) && self.may_meet(&of_site.routes)
        });
        Ok(links.flat_map(|(_, site)| &site.links).collect())
    }

    /// Whether a packet between this gateway's side and these routes may be wanted: one of the prefixes lies there, or
    /// none is named.
    fn may_meet(&self, routes: &[Prefix]) -> bool {
        let mut prefixes = self.prefixes().peekable();
        let any = prefixes.peek().is_none();
        any || prefixes.any(|prefix| {
            let mut routes = routes.iter();
            routes.any(|route| route.covers(&prefix) || prefix.covers(route))
        })
    }

    fn prefixes(&self) -> impl Iterator<Item = Prefix> {
        let [one, other] = self.ends;
        [one, other, self.source, self.destination]
            .into_iter()
            .flatten()
    }

    fn site_id(&self, ground: &Ground) -> Result<Option<u32>> {
        let Some(name) = &self.site else {
            return Ok(None);
        };
        let found = ground.sites.iter().find(|(_, site)| site.name == *name);
        let Some((id, _)) = found else {
            let names: Vec<&str> = ground.sites.values().map(|site| &*site.name).collect();
            let meant = did_you_mean(name, names.iter().copied());
            let known = names.join(", ");
            return Err(UnknownSite {
                name: name.clone(),
                meant,
                known,
            }
            .into());
        };
        Ok(Some(*id))
    }
}

/// As the programs carry it: IPv4 in IPv6.
pub(super) fn words(address: IpAddr) -> Address {
    match address {
        IpAddr::V4(v4) => address::mapped(v4.octets()),
        IpAddr::V6(v6) => address::from_bytes(v6.octets()),
    }
}

fn masked(prefix: Option<Prefix>) -> Masked {
    prefix.map_or_else(Masked::default, |prefix| {
        let in_front = if prefix.is_ipv4() { 96 } else { 0 };
        Masked::new(
            words(prefix.address()),
            in_front + u32::from(prefix.length()),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::ground::tests::ground;
    use super::*;

    fn prefix(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    fn named(choice: &Choice) -> Vec<String> {
        let ground = ground();
        let links = choice.links(&ground).unwrap();
        links.iter().map(|link| link.gateway.clone()).collect()
    }

    #[test]
    fn the_links_are_those_of_the_sites_that_can_be_meant() {
        let all = Choice::default();
        assert_eq!(named(&all), ["paris-1", "rome-1", "rome-2"]);
        let site = Choice {
            site: Some("rome".to_owned()),
            ..Choice::default()
        };
        assert_eq!(named(&site), ["rome-1", "rome-2"]);
        for (address, links) in [
            ("10.2.0.9", &["paris-1"][..]),
            ("10.0.0.0/8", &["paris-1", "rome-1", "rome-2"]),
            ("192.0.2.1", &[]),
            ("2001:db8:2::7", &["paris-1"]),
        ] {
            let either = Choice {
                ends: [Some(prefix(address)), None],
                ..Choice::default()
            };
            assert_eq!(named(&either), links, "{address}");
        }
        let between = Choice {
            ends: ["10.1.0.5", "10.3.0.5"].map(|end| Some(prefix(end))),
            ..Choice::default()
        };
        assert_eq!(named(&between), ["rome-1", "rome-2"]);
        let inner = Choice {
            skin: Skin::Inner,
            ..Choice::default()
        };
        assert!(named(&inner).is_empty() && inner.wants_inner());
    }

    #[test]
    fn what_is_not_chosen_is_any_and_an_unknown_site_is_refused_with_the_names() {
        let ground = ground();
        let all = Choice {
            snap: 96,
            ..Choice::default()
        };
        let filter = all.filter(&ground).unwrap();
        let expected = CaptureFilter {
            only_sites: 1,
            snap: 96,
            ..CaptureFilter::default()
        };
        assert_eq!(filter, expected);
        let some = Choice {
            source: Some(prefix("10.1.0.0/24")),
            port: Some(443),
            protocol: Some(6),
            site: Some("rome".to_owned()),
            way: Some(Way::ToSite),
            ..all
        };
        let filter = some.filter(&ground).unwrap();
        assert!(filter.source.contains(&words("10.1.0.77".parse().unwrap())));
        assert!(!filter.source.contains(&words("10.1.1.77".parse().unwrap())));
        let rest = [filter.port, filter.protocol, filter.site, filter.way];
        assert_eq!((rest, filter.only_sites), ([443, 6, 4, 1], 0));
        let wrong = Choice {
            site: Some("romee".to_owned()),
            ..some
        };
        let refused = wrong.filter(&ground).unwrap_err().to_string();
        assert!(refused.contains("did you mean rome?"), "{refused}");
        assert!(refused.contains("paris, rome"), "{refused}");
    }
}
