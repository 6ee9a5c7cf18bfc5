//! Which of our addresses a link speaks from, and by which interface that leaves. Pure.
//!
//! A far gateway is answered from the address that it spoke to. When the route to it moves to another uplink, that
//! address is a stranger's there, and the provider drops what comes from it (BCP 38): then the kernel is to choose
//! again. A far end that does not speak to us first would else never learn where we are now.

use std::net::IpAddr;

use super::{Links, Wan};
use crate::ids::{IfIndex, LinkId};

/// An address that a link speaks from, to be asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// The link.
    pub link: LinkId,
    /// Its lane.
    pub lane: u16,
    /// The far gateway.
    pub remote: IpAddr,
    /// Our address.
    pub local: IpAddr,
}

/// By which interface what comes from a source leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By the one that has the address.
    Home,
    /// By an uplink, and the address is another uplink's.
    OtherUplink,
    /// By one that may well be meant, as where the address is the loopback interface's.
    Other(IfIndex),
    /// The kernel has no way, or no such address.
    None,
}

/// What was found of a link's source.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known {
    /// The far gateway and our address, as they were when the kernel was asked last.
    asked: Option<(IpAddr, IpAddr)>,
    /// Our address, and the interface by which what comes from there left when it was first used.
    usual: Option<(IpAddr, IfIndex)>,
}

impl Links {
    /// Routes or addresses have changed: the kernel is to be asked about each source again.
    pub fn ask_about_sources(&mut self) {
        for link in self.by_id.values_mut() {
            link.known_source.asked = None;
        }
    }

    /// The sources that the kernel has yet to be asked about, of links that we dial and that are bound to no interface.
    pub fn poll_sources(&mut self) -> Vec<Source> {
        let mut sources = Vec::new();
        for link in self.by_id.values_mut() {
            let path = &link.planned.path;
            let endpoint = link.peer.as_ref().and_then(|peer| peer.endpoint);
            let (None, false, Some(endpoint)) = (&path.wan, path.endpoints.is_empty(), endpoint)
            else {
                continue;
            };
            let Some(local) = endpoint.local else {
                continue;
            };
            let (remote, local) = (endpoint.remote.ip().to_canonical(), local.to_canonical());
            if link.known_source.asked.replace((remote, local)) != Some((remote, local)) {
                sources.push(Source {
                    link: link.planned.id,
                    lane: link.planned.lane,
                    remote,
                    local,
                });
            }
        }
        sources
    }

    /// Takes by which interface the kernel sends what comes from a source. Returns whether the link is to forget it.
    pub fn on_way(&mut self, source: Source, way: Way) -> bool {
        let Some(link) = self.by_id.get_mut(&source.link) else {
            return false;
        };
        let usual = &mut link.known_source.usual;
        match (way, *usual) {
            (Way::Home, _) => false,
            // Another provider's, or the address or the route has gone: the kernel finds out whether there is another.
            (Way::OtherUplink | Way::None, _) => true,
            (Way::Other(way), Some((local, usual))) if local == source.local => way != usual,
            (Way::Other(way), _) => {
                *usual = Some((source.local, way));
                false
            }
        }
    }
}

impl Way {
    /// The way `out` of what comes from an address that these interfaces have.
    pub fn of(out: Option<IfIndex>, homes: &[IfIndex], wans: &[Wan]) -> Self {
        let Some(out) = out else {
            return Self::None;
        };
        let is_wan = |index: &IfIndex| {
            let mut indices = wans.iter().filter_map(|wan| wan.index);
            indices.any(|wan| wan.get() == index.0)
        };
        if homes.contains(&out) {
            Self::Home
        } else if is_wan(&out) && homes.iter().any(is_wan) {
            Self::OtherUplink
        } else {
            Self::Other(out)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    #[test]
    fn an_address_of_an_uplink_is_a_stranger_at_another_uplink_alone() {
        let wan = |index: u32| Wan {
            name: format!("wan{index}"),
            carrier: true,
            index: NonZeroU32::new(index),
            mtu: Some(1500),
        };
        let wans = [wan(2), wan(3)];
        let of = |out, home| Way::of(Some(IfIndex(out)), &[IfIndex(home)], &wans);
        assert_eq!(of(2, 2), Way::Home);
        assert_eq!(of(3, 2), Way::OtherUplink);
        // An address of the loopback interface, or of a LAN, that is routed to this host.
        assert_eq!(of(3, 1), Way::Other(IfIndex(3)));
        // Rules of the administrator's lead out by something else.
        assert_eq!(of(9, 2), Way::Other(IfIndex(9)));
        assert_eq!(Way::of(None, &[], &wans), Way::None);
    }
}
