//! What the gateway is to be: the configuration, and the numbers that its names have.

use super::plan::{Numbers, Plan};
use crate::config::{Config, Lan, XdpChoice};
use crate::host::virtual_mac::{VirtualMac, WantedVirtualMac};

/// A configuration with its plan. A reload makes another and puts it in this one's place.
#[derive(Clone, Debug)]
pub(super) struct Desired {
    pub(super) config: Config,
    pub(super) numbers: Numbers,
    pub(super) plan: Plan,
}

impl Desired {
    /// Numbers a configuration for a gateway that runs `lanes`; names that are in `numbers` keep theirs.
    pub(super) fn new(config: Config, mut numbers: Numbers, lanes: u16) -> Self {
        let plan = numbers.plan(&config, lanes);
        Self {
            config,
            numbers,
            plan,
        }
    }

    /// Names of the LAN interfaces, then those of the WAN.
    pub(super) fn interfaces(&self) -> Vec<String> {
        let gateway = &self.config.gateway;
        let lan = gateway.lan.iter().map(|lan| &lan.interface);
        let wan = gateway.wan.iter().map(|wan| &wan.interface);
        lan.chain(wan).cloned().collect()
    }

    /// The devices that the virtual routers need.
    pub(super) fn virtual_macs(&self) -> Vec<WantedVirtualMac> {
        let routers = self.config.gateway.vrrp.iter();
        routers
            .map(|router| WantedVirtualMac {
                lan: router.interface.clone(),
                family: router.family,
                id: router.id,
            })
            .collect()
    }

    /// The LANs, and beside each those of `devices` on it that take the packets for a virtual router: what
    /// comes in there is the LAN's.
    pub(super) fn lans_with(&self, devices: &[VirtualMac]) -> Vec<Lan> {
        let lans = &self.config.gateway.lan;
        let devices = devices.iter().filter_map(|device| {
            let lan = lans.iter().find(|lan| lan.interface == device.wanted.lan)?;
            Some(Lan {
                interface: device.name.clone(),
                vnet: lan.vnet.clone(),
                xdp: XdpChoice::Off,
                maps: Vec::new(),
            })
        });
        lans.iter().cloned().chain(devices).collect()
    }
}
