//! Makes configurations that keep the rules of the file.

mod policy;

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crossway::config::{
    BfdAddresses, Collector, Config, Discovery, Endpoint, FlowExport, FlowFile, Gateway,
    HealthKind, HealthTarget, InterfaceAddress, Lan, Lanes, Link, Liveness, LivenessMode, Metrics,
    MetricsDoor, MetricsTls, OnDown, PathMtuMode, RemoteGateway, Site, VirtualRouter, Wan,
    XdpChoice,
};
use crossway::engine::Engine;
use crossway::liveness::bfd::Pace;
use crossway::prefix::Prefix;
use crossway_liveness::vrrp::Interval;
use crossway_types::address::Family;
use crossway_types::mapping::Mapping;
use crossway_types::marks::DscpModel;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// By the numbers of a seed.
pub(super) struct Generator {
    random: StdRng,
    /// For what must be unique: numbers go up.
    next: u32,
}

impl Generator {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed),
            next: 0,
        }
    }

    pub(super) fn config(&mut self) -> Config {
        let gateway = self.gateway();
        let sites = self.random.random_range(0..4);
        let sites: Vec<Site> = (0..sites).map(|_| self.site(&gateway)).collect();
        let policy = self.policy(&gateway, &sites);
        let flows = FlowExport {
            file: self.maybe(Self::flow_file),
            collector: self.maybe(Self::collector),
        };
        Config {
            gateway,
            metrics: self.maybe(Self::metrics),
            sites,
            flows,
            discovery: self.maybe(Self::discovery),
            policy,
        }
    }

    fn discovery(&mut self) -> Discovery {
        Discovery {
            database: self.maybe(Self::path),
            services: self.one_of(&[1, 16_384, 65_536]),
            networks: self.several(0, 3, Self::prefix),
        }
    }

    fn flow_file(&mut self) -> FlowFile {
        FlowFile {
            path: self.path(),
            size_mib: self.one_of(&[1, 64, 65_536]),
            count: self.one_of(&[1, 4, 100]),
        }
    }

    fn collector(&mut self) -> Collector {
        Collector {
            address: self
                .one_of(&["192.0.2.9:4739", "[2001:db8::9]:1"])
                .parse()
                .unwrap(),
            domain: self.one_of(&[0, 1, u32::MAX]),
            enterprise: self.one_of(&[0, 32_473, u32::MAX]),
            template_pace: Duration::from_secs(self.one_of(&[1, 60, 86_400])),
        }
    }

    fn metrics(&mut self) -> Metrics {
        let door = if self.random.random() {
            let address = self.address();
            MetricsDoor::Address {
                listen: SocketAddr::new(address, self.port()),
                tls: self.maybe(|it| MetricsTls {
                    certificate_file: it.path(),
                    key_file: it.path(),
                    client_ca_file: it.maybe(Self::path),
                }),
            }
        } else {
            MetricsDoor::Socket {
                path: self.path(),
                group: self.maybe(|it| it.one_of(&["prometheus", "a b"]).to_owned()),
            }
        };
        Metrics { door }
    }

    fn gateway(&mut self) -> Gateway {
        let lan = self.several(1, 3, |it| Lan {
            interface: it.interface(),
            vnet: "default".to_owned(),
            xdp: it.one_of(&[XdpChoice::Auto, XdpChoice::Off]),
            maps: it.several(0, 2, |it| {
                let shown = it.prefix();
                it.mapping(shown)
            }),
        });
        let mut health = self.several(0, 3, |it| it.health(&lan));
        let mut seen = HashSet::new();
        health.retain(|target| seen.insert(target.to_string()));
        let tables = self.random.random_range(0..3);
        let vrrp = (0..tables)
            .flat_map(|_| self.virtual_routers(&lan))
            .collect();
        Gateway {
            name: self.name(),
            private_key_file: self.path().into(),
            listen: SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), self.port()),
            tunnel_addresses: self.several(0, 3, |it| {
                let address = it.address();
                let longest = if address.is_ipv4() { 32 } else { 128 };
                InterfaceAddress {
                    address,
                    length: it.random.random_range(0..=longest),
                }
            }),
            engine: self.one_of(&Engine::ALL),
            dscp: self.one_of(&DscpModel::ALL),
            lanes: match self.random.random_range(0..33) {
                0 => Lanes::Auto,
                lanes => Lanes::Count(lanes),
            },
            mtu: self.maybe(|it| it.random.random_range(1280..=65_455)),
            path_mtu: self.one_of(&PathMtuMode::ALL),
            flows: self.one_of(&[262_144, 16_384, 16_777_216]),
            fast_path: self.random.random(),
            history_mib: self.random.random_range(0..=1024),
            seccomp: self.random.random(),
            control_group: self.maybe(|it| {
                it.one_of(&["crossway", "a \"b\" \\c\u{1}ü\n", "'"])
                    .to_owned()
            }),
            wan: self.several(1, 3, |it| Wan {
                interface: it.interface(),
                xdp: it.one_of(&[
                    XdpChoice::Auto,
                    XdpChoice::Native,
                    XdpChoice::Generic,
                    XdpChoice::Off,
                ]),
            }),
            replicas: self.several(0, 3, Self::replica),
            lan,
            health,
            vrrp,
        }
    }

    fn health(&mut self, lan: &[Lan]) -> HealthTarget {
        let interval = self.random.random_range(100..=60_000);
        let timeout = self.random.random_range(10..=interval);
        HealthTarget {
            address: self.address(),
            kind: if self.random.random() {
                HealthKind::Icmp
            } else {
                HealthKind::Tcp(self.port())
            },
            interface: self.one_of(lan).interface,
            interval: Duration::from_millis(self.one_of(&[interval, 1000.max(timeout)])),
            timeout: Duration::from_millis(timeout),
            failures: self.one_of(&[1, 3, 100]),
            successes: self.one_of(&[1, 2, 100]),
        }
    }

    /// One table, or two, of one interface and id.
    fn virtual_routers(&mut self, lan: &[Lan]) -> Vec<VirtualRouter> {
        let priority = self.one_of(&[1, 2, 100, 254, 255]);
        let tracks = priority > 1 && priority < 255;
        let default = Some(priority - 1).filter(|_| tracks);
        let own = Some(1).filter(|_| tracks);
        let router = VirtualRouter {
            interface: self.one_of(lan).interface,
            id: self.random.random_range(1..=200),
            family: Family::Ipv4,
            addresses: self.several(1, 3, |it| it.address_v4().into()),
            priority,
            track_weight: self.one_of(&[None, default, own]),
            advertisement_interval: Interval::from_centiseconds(self.one_of(&[10, 20, 4095]))
                .unwrap(),
            preempt: priority == 255 || self.random.random(),
        };
        let mut second = VirtualRouter {
            family: Family::Ipv6,
            addresses: vec!["fe80::254".parse().unwrap(), self.address_v6().into()],
            ..router.clone()
        };
        if self.random.random() {
            second.id += 50;
        }
        match self.random.random_range(0..4) {
            0 => vec![router],
            1 => vec![second],
            2 => vec![second, router],
            _ => vec![router, second],
        }
    }

    fn replica(&mut self) -> RemoteGateway {
        let endpoint = self.maybe(Self::endpoint);
        RemoteGateway {
            name: self.name(),
            public_key: self.random.random(),
            preshared_key_file: self.maybe(|own| own.path().into()),
            engine: self.one_of(&Engine::ALL),
            lanes: 1,
            persistent_keepalive: None,
            links: vec![Link {
                name: None,
                endpoints: endpoint.into_iter().collect(),
                wan: None,
                priority: 100,
                liveness: Liveness {
                    pace: self.pace(),
                    addresses: self.maybe(Self::bfd_addresses),
                    mode: LivenessMode::Bfd,
                    probe: None,
                },
            }],
        }
    }

    fn site(&mut self, gateway: &Gateway) -> Site {
        let routes = self.several(1, 20, Self::prefix);
        let mapped: Vec<Prefix> = routes
            .iter()
            .copied()
            .filter(|_| self.random.random_bool(0.2))
            .collect();
        Site {
            name: self.name(),
            vnet: "default".to_owned(),
            routes,
            maps: mapped
                .into_iter()
                .map(|route| self.mapping(route))
                .collect(),
            tags: self.several(0, 3, Self::name),
            on_down: self.one_of(&[OnDown::Unreachable, OnDown::Drop, OnDown::NextShorter]),
            gateways: self.several(1, 3, |it| it.site_gateway(gateway)),
            hold_down: Duration::from_millis(self.one_of(&[0, 5_000, 600_000])),
        }
    }

    fn site_gateway(&mut self, gateway: &Gateway) -> RemoteGateway {
        let links = if self.random.random() {
            vec![Link {
                endpoints: self.several(0, 3, Self::endpoint),
                ..self.link(gateway)
            }]
        } else {
            self.several(1, 4, |it| Link {
                name: Some(it.name()),
                endpoints: it.maybe(Self::endpoint).into_iter().collect(),
                wan: it.maybe(|it| it.one_of(&gateway.wan).interface),
                ..it.link(gateway)
            })
        };
        RemoteGateway {
            name: self.name(),
            public_key: self.random.random(),
            preshared_key_file: self.maybe(|own| own.path().into()),
            engine: self.one_of(&Engine::ALL),
            lanes: self.one_of(&[1, 2, 32]),
            persistent_keepalive: self.maybe(|it| it.one_of(&[0, 25, 65_535])),
            links,
        }
    }

    /// Without name, endpoint and WAN.
    fn link(&mut self, gateway: &Gateway) -> Link {
        let mode = self.one_of(&[
            LivenessMode::Auto,
            LivenessMode::Bfd,
            LivenessMode::WireGuard,
        ]);
        let bfd = mode != LivenessMode::WireGuard;
        let probe = self.address();
        let mut own = gateway.tunnel_addresses.iter();
        let can_probe = own.any(|own| own.address.is_ipv4() == probe.is_ipv4());
        Link {
            name: None,
            endpoints: Vec::new(),
            wan: None,
            priority: self.one_of(&[0, 100, 65_535]),
            liveness: Liveness {
                mode,
                pace: if bfd { self.pace() } else { Pace::default() },
                probe: self.maybe(|_| probe).filter(|_| can_probe),
                addresses: self.maybe(Self::bfd_addresses).filter(|_| bfd),
            },
        }
    }

    fn pace(&mut self) -> Pace {
        Pace {
            interval: Duration::from_millis(self.one_of(&[10, 100, 60_000])),
            multiplier: self.one_of(&[1, 3, 50]),
        }
    }

    fn bfd_addresses(&mut self) -> BfdAddresses {
        BfdAddresses {
            local: self.address_v4().into(),
            remote: self.address_v4().into(),
        }
    }

    /// Of a prefix that nothing else overlaps.
    fn mapping(&mut self, shown: Prefix) -> Mapping {
        loop {
            let real = self.prefix();
            if let Some(mapping) = Mapping::new(real, shown) {
                return mapping;
            }
        }
    }

    fn prefix(&mut self) -> Prefix {
        let address = self.address();
        let longest = if address.is_ipv4() { 32 } else { 128 };
        Prefix::containing(address, longest)
    }

    fn endpoint(&mut self) -> Endpoint {
        let port = self.port();
        if self.random.random() {
            Endpoint::Address((self.address(), port).into())
        } else {
            Endpoint::Name {
                host: format!("gw-{}.example.net", self.number()),
                port,
            }
        }
    }

    /// Never the same twice, as all that have a number.
    fn address(&mut self) -> IpAddr {
        if self.random.random() {
            self.address_v4().into()
        } else {
            self.address_v6().into()
        }
    }

    fn address_v4(&mut self) -> Ipv4Addr {
        Ipv4Addr::from_bits(Ipv4Addr::new(10, 0, 0, 0).to_bits() + self.number())
    }

    fn address_v6(&mut self) -> Ipv6Addr {
        let network: Ipv6Addr = "2001:db8::".parse().unwrap();
        Ipv6Addr::from_bits(network.to_bits() + u128::from(self.number()))
    }

    fn name(&mut self) -> String {
        format!("N.{}_{}-x", self.random.random::<u16>(), self.number())
    }

    /// All that Linux takes, quotation marks as well.
    fn interface(&mut self) -> String {
        let odd = self.one_of(&["eth", "a\"b", "a'b", "\\n", "ü#="]);
        format!("{odd}{}", self.number())
    }

    fn path(&mut self) -> PathBuf {
        let folder = self.one_of(&["", "/etc/crossway/", "../keys of \"mine\"/"]);
        format!("{folder}{}.key", self.number()).into()
    }

    fn port(&mut self) -> u16 {
        self.random.random_range(1..=65_535)
    }

    fn number(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    fn several<T>(
        &mut self,
        fewest: usize,
        beyond: usize,
        mut make: impl FnMut(&mut Self) -> T,
    ) -> Vec<T> {
        let count = self.random.random_range(fewest..beyond);
        (0..count).map(|_| make(self)).collect()
    }

    fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        let there = self.random.random();
        if there { Some(make(self)) } else { None }
    }

    fn one_of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.random.random_range(0..choices.len())].clone()
    }
}
