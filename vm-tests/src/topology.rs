//! Sites and the network between them.
//!
//! ```text
//!   site a                                                                          site b
//!  ┌────────────┐      ┌─────────────────┐                  ┌─────────────────┐      ┌────────────┐
//!  │ host a     │      │ gateway a       │   WAN (direct)   │ gateway b       │      │ host b     │
//!  │ eth0 ──────┼──────┼── lan0   wan0 ──┼──────────────────┼── wan0   lan0 ──┼──────┼── eth0     │
//!  │ 10.1.0.10  │      │ 10.1.0.1        │                  │        10.2.0.1 │      │  10.2.0.10 │
//!  │ 2001:db8:  │      │  203.0.113.1    │                  │    203.0.113.2  │      │  2001:db8: │
//!  │    1::10   │      │  fd00:113::1    │                  │    fd00:113::2  │      │     2::10  │
//!  └────────────┘      └─────────────────┘                  └─────────────────┘      └────────────┘
//!
//!   WAN (router), any number of sites; site n:      gateway n                    wan
//!                                                   wan0 ─────────────────────── wan<n>
//!                                                   203.0.113.(4n+1)/30          203.0.113.(4n+2)
//!                                                   fd00:113:0:<n>::1/64         fd00:113:0:<n>::2
//!
//!   WAN (router) with a middle cable:   gateway 1 ── wan ── middle ── wan-far ── gateway 2, 3, …
//!                                               198.51.100.1    198.51.100.2
//!                                               fd00:100::1     fd00:100::2
//! ```
//! Each box is a network namespace, `<prefix>-host-<site>`, `<prefix>-gw-<site>`, `<prefix>-wan` and `<prefix>-wan-far`.
//! Hosts have a default route to their gateway, gateways behind a router one to the router, which
//! forwards. Nothing else is there: no forwarding in the gateways, no route to a far site.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::netns::{self, Netns};

mod build;
mod detour;
mod plain;
mod redundant;

pub(crate) use build::{Wire, add_wire, address_after};
pub use detour::Detour;
pub use plain::PlainForwarding;
pub use redundant::{Near, Redundant, Replica};

/// UDP port of every gateway.
pub const LISTEN_PORT: u16 = 51820;

/// 4 or 6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both, for loops over the four nestings.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];
}

/// What lies between the gateways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wan {
    /// One cable; two sites only.
    Direct,
    /// A router with one cable to each gateway.
    Router,
}

/// What to build.
#[derive(Clone, Debug)]
pub struct Builder {
    prefix: String,
    sites: Vec<String>,
    wan: Wan,
    wan_mtu: u16,
    middle_mtu: Option<u16>,
    lan_mtu: u16,
    host_checksums: bool,
    alike: Vec<String>,
}

impl Builder {
    /// Sites of these names (at most 60, each a few letters), a direct WAN for two and a router for more,
    /// MTU 1500 everywhere, names under a unique prefix.
    pub fn new(sites: &[&str]) -> Self {
        Self {
            prefix: netns::unique_prefix(),
            sites: sites.iter().map(|&name| name.to_owned()).collect(),
            wan: if sites.len() == 2 {
                Wan::Direct
            } else {
                Wan::Router
            },
            wan_mtu: 1500,
            middle_mtu: None,
            lan_mtu: 1500,
            host_checksums: false,
            alike: Vec::new(),
        }
    }

    /// Names of namespaces, gateways and the directory start with this instead of a unique prefix.
    #[must_use]
    pub fn prefix(mut self, prefix: &str) -> Self {
        prefix.clone_into(&mut self.prefix);
        self
    }

    /// What lies between the gateways.
    #[must_use]
    pub fn wan(mut self, wan: Wan) -> Self {
        self.wan = wan;
        self
    }

    /// MTU of the WAN in bytes. With a router, the cable of the first site keeps 1500, so that its gateway
    /// must discover what the others have.
    #[must_use]
    pub fn wan_mtu(mut self, mtu: u16) -> Self {
        self.wan_mtu = mtu;
        self
    }

    /// Two routers on the WAN, the first site at one, the others at the other, and between them a cable of
    /// this MTU in bytes: what neither gateway sees on its own interface.
    #[must_use]
    pub fn middle_mtu(mut self, mtu: u16) -> Self {
        self.wan = Wan::Router;
        self.middle_mtu = Some(mtu);
        self
    }

    /// MTU of the LANs in bytes.
    #[must_use]
    pub fn lan_mtu(mut self, mtu: u16) -> Self {
        self.lan_mtu = mtu;
        self
    }

    /// These sites have the same prefixes and addresses on their LANs: those of the first of them.
    #[must_use]
    pub fn alike(mut self, sites: &[&str]) -> Self {
        self.alike = sites.iter().map(|&name| name.to_owned()).collect();
        self
    }

    /// Hosts compute checksums before they send (`tx off`), for programs that read raw frames. Without,
    /// veth hands over frames with partial checksums.
    #[must_use]
    pub fn host_checksums(mut self) -> Self {
        self.host_checksums = true;
        self
    }

    /// Builds it.
    pub fn build(self) -> Result<Topology> {
        ensure!(
            crate::sys::is_root(),
            "network namespaces need root: run this through `cargo xtask`, which asks for it"
        );
        ensure!(
            self.sites.len() <= 60,
            "{} sites do not fit into the WAN's addresses: at most 60",
            self.sites.len()
        );
        ensure!(
            self.wan == Wan::Router || self.sites.len() == 2,
            "a direct WAN joins two sites, not {}",
            self.sites.len()
        );
        build::build(&self)
    }
}

/// Sites that stand. Dropped, nothing of them is left.
#[derive(Debug)]
pub struct Topology {
    /// Its sites, in the order of the builder.
    pub sites: Vec<Site>,
    /// The namespace between the gateways, if it is a router.
    pub router: Option<Netns>,
    /// The second router, at which all sites but the first are, if the builder was asked for one.
    pub far_router: Option<Netns>,
    prefix: String,
    directory: Directory,
}

impl Topology {
    /// A site by name.
    pub fn site(&self, name: &str) -> &Site {
        self.sites
            .iter()
            .find(|site| site.name == name)
            .unwrap_or_else(|| panic!("the topology has no site {name}"))
    }

    /// What all its names start with.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// A directory for configurations, keys and logs, removed with the topology.
    pub fn directory(&self) -> &Path {
        &self.directory.0
    }

    /// Kernel routes through the gateways instead of a tunnel, until the guard is dropped.
    pub fn forward_plainly(&self) -> Result<PlainForwarding<'_>> {
        PlainForwarding::start(self)
    }
}

/// One site: a host, a gateway, their addresses.
#[derive(Debug)]
pub struct Site {
    /// Name given to the builder.
    pub name: String,
    /// Counted from 1; a number of most addresses.
    pub number: u8,
    /// As `number`, in the addresses of the LAN: sites may be alike.
    pub lan: u8,
    /// Namespace of the host, whose interface is `eth0`.
    pub host: Netns,
    /// Namespace of the gateway, whose interfaces are `lan0` and `wan0`.
    pub gateway: Netns,
    wan: Wan,
}

impl Site {
    /// Address of the host.
    pub fn host_address(&self, family: Family) -> IpAddr {
        self.lan_address(family, 0x10)
    }

    /// Address of the gateway on the LAN.
    pub fn gateway_address(&self, family: Family) -> IpAddr {
        self.lan_address(family, 1)
    }

    /// Address of the gateway on the WAN.
    pub fn wan_address(&self, family: Family) -> IpAddr {
        let n = self.number;
        match (self.wan, family) {
            (Wan::Direct, Family::V4) => Ipv4Addr::new(203, 0, 113, n).into(),
            (Wan::Direct, Family::V6) => {
                Ipv6Addr::new(0xfd00, 0x113, 0, 0, 0, 0, 0, n.into()).into()
            }
            (Wan::Router, Family::V4) => Ipv4Addr::new(203, 0, 113, 4 * n + 1).into(),
            (Wan::Router, Family::V6) => {
                Ipv6Addr::new(0xfd00, 0x113, 0, n.into(), 0, 0, 0, 1).into()
            }
        }
    }

    /// Address of the gateway inside the tunnel; see [`crate::plan::give_tunnel_addresses`].
    pub fn tunnel_address(&self, family: Family) -> IpAddr {
        match family {
            Family::V4 => Ipv4Addr::new(10, 255, 0, self.number).into(),
            Family::V6 => Ipv6Addr::new(0x2001, 0xdb8, self.lan.into(), 0xffff, 0, 0, 0, 1).into(),
        }
    }

    /// Where the gateway is dialled.
    pub fn endpoint(&self, family: Family) -> SocketAddr {
        SocketAddr::new(self.wan_address(family), LISTEN_PORT)
    }

    /// The site's prefix of one family.
    pub fn route(&self, family: Family) -> String {
        match family {
            Family::V4 => format!("10.{}.0.0/24", self.lan),
            Family::V6 => format!("2001:db8:{}::/48", self.lan),
        }
    }

    /// The site's prefixes.
    pub fn routes(&self) -> Vec<String> {
        Family::ALL.map(|family| self.route(family)).to_vec()
    }

    /// In IPv4 the last number is written as people read it: 0x10 gives `.10`.
    fn lan_address(&self, family: Family, last: u16) -> IpAddr {
        match family {
            Family::V4 => {
                let last = (last >> 4) * 10 + (last & 0xf);
                Ipv4Addr::new(10, self.lan, 0, last as u8).into()
            }
            Family::V6 => Ipv6Addr::new(0x2001, 0xdb8, self.lan.into(), 0, 0, 0, 0, last).into(),
        }
    }
}

/// A directory that only root reads, removed on drop.
#[derive(Debug)]
struct Directory(PathBuf);

impl Directory {
    fn create(name: &str) -> Result<Self> {
        let path = Path::new(crate::cleanup::DIRECTORY).join(name);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // The next one of the same name starts from it; nothing else to do about a failure.
        let _ = fs::remove_dir_all(&self.0);
        // Succeeds when this was the last one in it.
        let _ = fs::remove_dir(crate::cleanup::DIRECTORY);
    }
}
