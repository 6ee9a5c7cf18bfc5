//! Two gateways on one LAN, as replicas that hand its hosts to each other.
//!
//! ```text
//!                  ┌ port1 ── lan0 [gateway a] wan0 ──┐         ┌── wan0 [gateway b] lan0 ── host b
//!  host a ── port0 ┤ switch   10.1.0.1                ├── wan ──┤        10.3.0.1           10.3.0.10
//!        10.1.0.10 └ port2 ── lan0 [gateway c] wan0 ──┘         └── wan0 [gateway d] lan0 ── host d
//!                             10.1.0.2                                    10.3.0.1           10.3.0.10
//! ```
//! In IPv6 the LANs are 2001:db8:1::/64 and 2001:db8:3::/64, with the same last numbers (hosts have `::10`).
//! Host a has 10.1.0.254 and fe80::254 as its router: addresses that neither gateway has by itself.
//! Gateway a reaches the far network at b, gateway c at d: whichever gateway a packet goes by, a host of
//! the same address answers by the same way. So a test of the LAN side needs nothing of the far side.

use anyhow::Result;

use crate::config::{self, Endpoint, RemoteGateway};
use crate::keys::KeyPair;
use crate::netns::Netns;
use crate::plan::{GatewayPlan, PeerPlan};
use crate::topology::{Builder, Family, Topology};

/// The virtual addresses: of IPv4, and of IPv6 the link-local and the global one.
pub const VIRTUAL: [&str; 3] = ["10.1.0.254", "fe80::254", "2001:db8:1::254"];
/// The host that answers at both far sites.
pub const FAR: [&str; 2] = ["10.3.0.10", "2001:db8:3::10"];

/// The near sites in the order of the ports, then the far ones: a with b, c with d.
const PAIRS: [(&str, &str); 2] = [("a", "b"), ("c", "d")];

/// The topology with its switch.
#[derive(Debug)]
pub struct SharedLan {
    /// Sites a, c, b and d; the host of c is not connected.
    pub topology: Topology,
    /// The switch: `br0` with `port0` to the host, `port1` to gateway a, `port2` to gateway c.
    pub switch: Netns,
}

impl SharedLan {
    /// Builds it.
    pub fn build() -> Result<Self> {
        let topology = Builder::new(&["a", "c", "b", "d"]).build()?;
        let switch = Netns::create(&format!("{}-switch", topology.prefix()))?;
        let lan = Self { topology, switch };
        lan.rewire()?;
        lan.give_d_the_network_of_b()?;
        Ok(lan)
    }

    fn rewire(&self) -> Result<()> {
        let site = |name| self.topology.site(name);
        for name in ["a", "c"] {
            site(name).gateway.ip("link delete lan0")?;
        }
        self.switch
            .ip("link add br0 type bridge stp_state 0 mcast_snooping 0")?;
        self.switch.ip("link set br0 up")?;
        let ends = [
            (&site("a").host, "eth0", 10),
            (&site("a").gateway, "lan0", 1),
            (&site("c").gateway, "lan0", 2),
        ];
        for ((netns, interface, last), port) in ends.into_iter().zip(0..) {
            let port = format!("port{port}");
            self.switch.ip(&format!(
                "link add {port} type veth peer name {interface} netns {}",
                netns.name()
            ))?;
            for (end, name) in [(&self.switch, port.as_str()), (netns, interface)] {
                end.run(&format!(
                    "ethtool -K {name} tso off gso off tx-udp-segmentation off gro on"
                ))?;
            }
            self.switch.ip(&format!("link set {port} master br0 up"))?;
            netns.ip(&format!("link set {interface} up"))?;
            netns.ip(&format!("address add 10.1.0.{last}/24 dev {interface}"))?;
            netns.ip(&format!(
                "address add 2001:db8:1::{last}/64 dev {interface} nodad"
            ))?;
        }
        let host = &site("a").host;
        host.ip(&format!("route add default via {}", VIRTUAL[0]))?;
        host.ip(&format!("route add default via {} dev eth0", VIRTUAL[1]))?;
        Ok(())
    }

    fn give_d_the_network_of_b(&self) -> Result<()> {
        let d = self.topology.site("d");
        for (netns, interface, last) in [(&d.gateway, "lan0", 1), (&d.host, "eth0", 10)] {
            netns.ip(&format!("address add 10.3.0.{last}/24 dev {interface}"))?;
            netns.ip(&format!(
                "address add 2001:db8:3::{last}/64 dev {interface} nodad"
            ))?;
        }
        Ok(())
    }

    /// The host behind the switch.
    pub fn host(&self) -> &Netns {
        &self.topology.site("a").host
    }

    /// Plans for gateways a, c, b and d.
    pub fn plans(&self) -> Result<Vec<GatewayPlan>> {
        let mut plans = Vec::new();
        let mut far_plans = Vec::new();
        for (near_site, far_site) in PAIRS {
            let keys = [KeyPair::generate()?, KeyPair::generate()?];
            let [near_keys, far_keys] = keys;
            let routes = ["10.3.0.0/24", "2001:db8:3::/48"];
            plans.push(self.plan(near_site, &near_keys, (far_site, &far_keys, routes)));
            let routes = ["10.1.0.0/24", "2001:db8:1::/48"];
            far_plans.push(self.plan(far_site, &far_keys, (near_site, &near_keys, routes)));
        }
        plans.extend(far_plans);
        Ok(plans)
    }

    /// Plans for gateways a, c and b: a and c are two gateways of one site to b, so that both directions
    /// have a choice. Gateway d and its host take no part.
    pub fn replica_plans(&self) -> Result<Vec<GatewayPlan>> {
        let keys = [
            KeyPair::generate()?,
            KeyPair::generate()?,
            KeyPair::generate()?,
        ];
        let [a_keys, c_keys, b_keys] = &keys;
        let routes = ["10.3.0.0/24", "2001:db8:3::/48"];
        let a = self.plan("a", a_keys, ("b", b_keys, routes));
        let c = self.plan("c", c_keys, ("b", b_keys, routes));
        let routes = ["10.1.0.0/24", "2001:db8:1::/48"];
        let mut b = self.plan("b", b_keys, ("a", a_keys, routes));
        let mut replica = RemoteGateway::new(&c.name, config::public_key(&c_keys.public)?);
        let endpoint = self.topology.site("c").endpoint(Family::V4);
        replica.links[0].endpoints = vec![Endpoint::Address(endpoint)];
        b.configure(move |config| config.sites[0].gateways.push(replica.clone()));
        Ok(vec![a, c, b])
    }

    fn plan(
        &self,
        site: &str,
        keys: &KeyPair,
        (far, far_keys, routes): (&str, &KeyPair, [&str; 2]),
    ) -> GatewayPlan {
        let far = self.topology.site(far);
        let name = self.topology.site(site).gateway.name();
        GatewayPlan {
            site: site.to_owned(),
            peers: vec![PeerPlan {
                site: far.name.clone(),
                gateway: far.gateway.name().to_owned(),
                public_key: far_keys.public.clone(),
                endpoint: Some(far.endpoint(Family::V4)),
                routes: routes.map(str::to_owned).to_vec(),
                keepalive: None,
            }],
            ..GatewayPlan::new(name, keys.clone())
        }
    }

    /// Lets nothing pass a port of the switch any more; its cable keeps its carrier.
    pub fn cut(&self, port: &str) -> Result<()> {
        self.switch
            .run(&format!("bridge link set dev {port} state 0"))?;
        Ok(())
    }

    /// Lets everything pass again.
    pub fn heal(&self, port: &str) -> Result<()> {
        self.switch
            .run(&format!("bridge link set dev {port} state 3"))?;
        Ok(())
    }
}
