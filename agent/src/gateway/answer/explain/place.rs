//! Where a packet comes from.

use std::net::IpAddr;

use anyhow::{Result, bail};

use crate::control::Wrong;
use crate::control::message::ExplainRequest;
use crate::gateway::Gateway;
use crate::host::decision::{RouteDecision, RoutedPacket};
use crate::host::links;
use crate::ids::IfIndex;

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) name: String,
    pub(super) index: IfIndex,
    pub(super) mtu: u32,
    pub(super) address: Option<[u8; 6]>,
    /// Of a VLAN interface the one below and the VLAN's id.
    pub(super) vlan: Option<(IfIndex, u16)>,
}

/// Where a packet comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Lan(Named),
    Tunnel,
    Host,
    Other(Named),
}

impl Place {
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::Lan(_) => "lan",
            Self::Tunnel => "tunnel",
            Self::Host => "host",
            Self::Other(_) => "interface",
        }
    }

    pub(super) fn interface(&self) -> Option<&Named> {
        match self {
            Self::Lan(interface) | Self::Other(interface) => Some(interface),
            Self::Tunnel | Self::Host => None,
        }
    }
}

impl From<links::Interface> for Named {
    fn from(interface: links::Interface) -> Self {
        Self {
            name: interface.name,
            index: interface.index,
            mtu: interface.mtu,
            address: interface.address,
            vlan: interface.vlan,
        }
    }
}

impl Gateway {
    /// Where the packet comes from, as it is asked for, or by its source.
    pub(super) async fn place_of(&self, request: &ExplainRequest) -> Result<Place> {
        match request.from.as_deref() {
            Some("lan") => Ok(Place::Lan(self.lan_of(request.source).await?)),
            Some("tunnel") => Ok(Place::Tunnel),
            Some("host") => Ok(Place::Host),
            Some(name) if name == self.host.tun.name => Ok(Place::Tunnel),
            Some(name) => self.interface_called(name).await,
            None => {
                let own = self.host.kernel.addresses().await?;
                if own.iter().any(|own| own.address.address == request.source) {
                    return Ok(Place::Host);
                }
                if self.site_that_sends(request.source).is_some() {
                    return Ok(Place::Tunnel);
                }
                Ok(Place::Lan(self.lan_of(request.source).await?))
            }
        }
    }

    async fn interface_called(&self, name: &str) -> Result<Place> {
        let lans = self.desired.lans_with(self.host.kernel.virtual_macs());
        let is_lan = lans.iter().any(|lan| lan.interface == name);
        match self.host.kernel.find(name).await? {
            Some(found) if is_lan => Ok(Place::Lan(found.into())),
            Some(found) => Ok(Place::Other(found.into())),
            None if is_lan => {
                bail!("LAN interface {name} does not exist now: no packet comes by it")
            }
            None => {
                let lans: Vec<&str> = lans.iter().map(|lan| lan.interface.as_str()).collect();
                bail!(Wrong(format!(
                    "there is no interface {name}: say lan, tunnel, host, or an interface such as {}",
                    lans.join(", ")
                )))
            }
        }
    }

    /// The LAN by which a source is reached, else the first that is there.
    async fn lan_of(&self, source: IpAddr) -> Result<Named> {
        let mut present = Vec::new();
        let mut away = Vec::new();
        for lan in &self.desired.config.gateway.lan {
            match self.host.kernel.find(&lan.interface).await? {
                Some(found) => present.push(Named::from(found)),
                None => away.push(lan.interface.as_str()),
            }
        }
        let way = self.way_to(source).await?;
        let by_route = present.iter().find(|lan| Some(lan.index) == way);
        match by_route.or(present.first()) {
            Some(lan) => Ok(lan.clone()),
            None => bail!(
                "no LAN interface exists now ({}): no packet comes by one",
                away.join(", ")
            ),
        }
    }

    /// The LAN that a VLAN interface lies on, and the VLAN's id.
    pub(super) async fn lan_below(&self, interface: &Named) -> Result<Option<(String, u16)>> {
        let Some((below, id)) = interface.vlan else {
            return Ok(None);
        };
        for lan in &self.desired.config.gateway.lan {
            let found = self.host.kernel.find(&lan.interface).await?;
            if found.is_some_and(|found| found.index == below) {
                return Ok(Some((lan.interface.clone(), id)));
            }
        }
        Ok(None)
    }

    async fn way_to(&self, destination: IpAddr) -> Result<Option<IfIndex>> {
        let any = if destination.is_ipv4() {
            IpAddr::from([0; 4])
        } else {
            IpAddr::from([0; 16])
        };
        let decision = self.host.kernel.route_decision(RoutedPacket {
            source: any,
            destination,
            protocol: 0,
            ports: (0, 0),
            input: None,
        });
        Ok(match decision.await? {
            RouteDecision::Found(found) => found.way.hops.first().and_then(|hop| hop.interface),
            RouteDecision::Refused(_) => None,
        })
    }

    /// The tunnel device.
    pub(super) fn tun(&self) -> Named {
        Named {
            name: self.host.tun.name.clone(),
            index: self.host.tun.index,
            mtu: self.host.tun.mtu.mtu.into(),
            address: None,
            vlan: None,
        }
    }
}
