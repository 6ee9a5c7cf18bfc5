//! Values in which only what a file must say is chosen, for programs that make configurations; the rest is as the
//! file has it by default.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::PathMtuMode;
use super::gateway::DEFAULT_HISTORY_MIB;
use super::{
    Endpoint, Gateway, HealthKind, HealthTarget, KeyFile, Lanes, Link, Liveness, LivenessMode,
    OnDown, RemoteGateway, Site, VirtualRouter, health, remote, site, vrrp,
};
use crossway_liveness::vrrp::Interval;
use crossway_types::address::Family;
use crossway_types::engine::Engine;
use crossway_types::marks::DscpModel;
use crossway_types::prefix::Prefix;
use datapath_abi::maps::DEFAULT_FLOWS;

impl Gateway {
    /// Without interfaces, of which it needs a LAN and a WAN.
    pub fn new(
        name: impl Into<String>,
        private_key_file: impl Into<KeyFile>,
        listen: SocketAddr,
    ) -> Self {
        Self {
            name: name.into(),
            private_key_file: private_key_file.into(),
            listen,
            tunnel_addresses: Vec::new(),
            engine: Engine::default(),
            dscp: DscpModel::default(),
            lanes: Lanes::Auto,
            mtu: None,
            path_mtu: PathMtuMode::default(),
            flows: DEFAULT_FLOWS,
            fast_path: true,
            history_mib: DEFAULT_HISTORY_MIB,
            seccomp: true,
            control_group: None,
            lan: Vec::new(),
            wan: Vec::new(),
            health: Vec::new(),
            vrrp: Vec::new(),
            replicas: Vec::new(),
        }
    }
}

impl VirtualRouter {
    /// Its family is that of `addresses`, of which there is at least one.
    pub fn new(interface: impl Into<String>, id: u8, priority: u8, addresses: Vec<IpAddr>) -> Self {
        Self {
            interface: interface.into(),
            id,
            family: Family::of(addresses[0]),
            addresses,
            priority,
            track_weight: vrrp::default_weight(priority),
            advertisement_interval: Interval::from_centiseconds(
                (vrrp::DEFAULT_INTERVAL / 10) as u16,
            )
            .expect("the default can be said in an advertisement"),
            preempt: true,
        }
    }
}

impl HealthTarget {
    /// A host of the LAN on `interface`.
    pub fn new(address: IpAddr, kind: HealthKind, interface: impl Into<String>) -> Self {
        let interval = health::DEFAULT_INTERVAL;
        Self {
            address,
            kind,
            interface: interface.into(),
            interval: Duration::from_millis(interval as u64),
            timeout: Duration::from_millis(health::default_timeout(interval) as u64),
            failures: health::DEFAULT_FAILURES,
            successes: health::DEFAULT_SUCCESSES,
        }
    }
}

impl Site {
    /// Without gateways, of which it needs one.
    pub fn new(name: impl Into<String>, routes: Vec<Prefix>) -> Self {
        Self {
            name: name.into(),
            vnet: "default".to_owned(),
            routes,
            maps: Vec::new(),
            tags: Vec::new(),
            on_down: OnDown::default(),
            gateways: Vec::new(),
            hold_down: site::DEFAULT_HOLD_DOWN,
        }
    }
}

impl RemoteGateway {
    /// Of a site, with the one link of a gateway that lists none.
    pub fn new(name: impl Into<String>, public_key: [u8; 32]) -> Self {
        Self {
            name: name.into(),
            public_key,
            preshared_key_file: None,
            engine: Engine::default(),
            lanes: 1,
            persistent_keepalive: None,
            links: vec![Link::new(None)],
        }
    }

    /// As [`Self::new`], of this gateway's own site.
    pub fn replica(name: impl Into<String>, public_key: [u8; 32], endpoint: Endpoint) -> Self {
        let mut replica = Self::new(name, public_key);
        replica.links[0].endpoints.push(endpoint);
        replica.links[0].liveness.mode = LivenessMode::Bfd;
        replica
    }
}

impl Link {
    /// Without an endpoint: only the far gateway dials.
    pub fn new(name: Option<String>) -> Self {
        Self {
            name,
            endpoints: Vec::new(),
            wan: None,
            priority: remote::DEFAULT_PRIORITY,
            liveness: Liveness::default(),
        }
    }
}
