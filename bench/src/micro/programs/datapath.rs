//! The eBPF object, loaded but attached to nothing.

use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;

use anyhow::{Context, Result, bail};
use aya::maps::{Array, LpmTrie, Map, MapError, lpm_trie::Key};
use aya::programs::{Program, ProgramError};
use aya::{Ebpf, EbpfLoader};
use datapath_abi::ABI_VERSION;
use datapath_abi::local::LocalKey;
use datapath_abi::maps;
use datapath_abi::policy::Line;
use datapath_abi::route::{Route, RouteKey4, VNET_BITS};
use datapath_abi::settings::{DEFAULT_VNET, Interface, Role, Settings};
use datapath_abi::site::{Site, SiteState};
use datapath_abi::user::{Interfaces, RuleSets, Sessions};

use super::frames;

/// Those that judge packets.
const PROGRAMS: [&str; 4] = [
    maps::LAN_INGRESS,
    maps::TUN_EGRESS,
    maps::TUN_INGRESS,
    maps::WAN_GUARD,
];
/// The loopback device, on which BPF_PROG_TEST_RUN lets packets arrive; it plays LAN or TUN.
const LOOPBACK: u32 = 1;
const SITE: u32 = 1;
const LAN_MTU: u32 = 1500;
const TUNNEL_MTU: u32 = 1420;

pub(super) struct Datapath {
    ebpf: Ebpf,
    interfaces: Interfaces,
    sessions: Sessions,
    rules: RuleSets,
}

impl Datapath {
    /// Loads all programs, with room for `flows` flows, one site and no routes.
    pub(super) fn load(flows: usize) -> Result<Self> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../target/bpf/bpfel-unknown-none/release/datapath");
        let object = std::fs::read(&path).with_context(|| {
            format!("no eBPF object {}: run `cargo xtask build`", path.display())
        })?;
        let mut ebpf = EbpfLoader::new()
            .map_max_entries(maps::FLOWS4, flows as u32)
            .load(&object)
            .context("loading the eBPF object")?;
        for name in PROGRAMS {
            let program = ebpf.program_mut(name);
            verify(name, program.with_context(|| format!("no program {name}"))?)?;
        }
        let (all, slots) = (maps::INTERFACES, maps::INTERFACE_SLOTS);
        let interfaces = Interfaces::new(take(&mut ebpf, all)?, take(&mut ebpf, slots)?)?;
        let (map, bits) = (maps::SESSIONS, maps::SESSION_BITS);
        let sessions = Sessions::new(take(&mut ebpf, map)?, take(&mut ebpf, bits)?)?;
        let rules = RuleSets::new(take(&mut ebpf, maps::POLICY)?);
        let mut datapath = Self {
            ebpf,
            interfaces,
            sessions,
            rules,
        };
        datapath.set_up()?;
        Ok(datapath)
    }

    /// A program's descriptor.
    pub(super) fn fd(&self, name: &str) -> Result<BorrowedFd<'_>> {
        let fd = match self.ebpf.program(name) {
            Some(Program::SchedClassifier(program)) => program.fd()?,
            Some(Program::Xdp(program)) => program.fd()?,
            _ => bail!("the eBPF object has no program {name}"),
        };
        Ok(fd.as_fd())
    }

    /// From `from` routes to `to`.
    pub(super) fn grow_routes(&mut self, from: usize, to: usize) -> Result<()> {
        let map = self.ebpf.map_mut(maps::ROUTES4).context("no route map")?;
        let mut trie: LpmTrie<_, RouteKey4, Route> = LpmTrie::try_from(map)?;
        for index in from..to {
            let key = RouteKey4 {
                vnet: DEFAULT_VNET.to_be_bytes(),
                address: frames::prefix(index).octets(),
            };
            let route = Route {
                site: SITE,
                route: index as u32,
            };
            trie.insert(&Key::new(VNET_BITS + frames::PREFIX_BITS, key), route, 0)
                .with_context(|| format!("route {index}"))?;
        }
        Ok(())
    }

    fn set_up(&mut self) -> Result<()> {
        let settings = Settings {
            abi_version: ABI_VERSION,
            tun_ifindex: LOOPBACK,
            listen_port: frames::LISTEN_PORT,
            lanes: 1,
            ..Settings::default()
        };
        let map = self.ebpf.map_mut(maps::SETTINGS).context("no settings")?;
        Array::<_, Settings>::try_from(map)?.set(0, settings, 0)?;
        let site = Site {
            state: SiteState::Up as u32,
            queue_mask: 1,
            mtu: TUNNEL_MTU,
            lanes: 1,
        };
        let map = self.ebpf.map_mut(maps::SITES).context("no sites")?;
        Array::<_, Site>::try_from(map)?.set(SITE, site, 0)?;
        self.set_rules(&[])?;
        self.sessions.insert(frames::SESSION, 1)?;
        let map = self.ebpf.map_mut(maps::LOCAL_ADDRESSES);
        let mut own: LpmTrie<_, LocalKey, u32> = LpmTrie::try_from(map.context("no addresses")?)?;
        for address in frames::OWN {
            let address = address.to_ipv6_mapped().octets();
            own.insert(&Key::new(128, LocalKey { address }), 1, 0)?;
        }
        self.set_role(Role::Lan)
    }

    /// Makes this the image of the rules; no lines are open for all.
    pub(super) fn set_rules(&mut self, image: &[Line]) -> Result<()> {
        Ok(self.rules.set(maps::ACTIVE_RULES, image)?)
    }

    /// What the loopback device is.
    pub(super) fn set_role(&mut self, role: Role) -> Result<()> {
        let interface = Interface {
            role: role as u32,
            vnet: DEFAULT_VNET,
            mtu: LAN_MTU,
            flags: 0,
        };
        self.interfaces.add(LOOPBACK, interface)?;
        // Where packets out of the tunnel go.
        let lan = Interface {
            role: Role::Lan as u32,
            ..interface
        };
        Ok(self.interfaces.add(frames::lan_ifindex()?, lan)?)
    }
}

fn take<M: TryFrom<Map, Error = MapError>>(ebpf: &mut Ebpf, name: &str) -> Result<M> {
    let map = ebpf.take_map(name).with_context(|| format!("no {name}"))?;
    Ok(M::try_from(map)?)
}

/// Loads a program. The verifier gives up with EAGAIN when a signal is pending (bpf_check in
/// kernel/bpf/verifier.c); libbpf tries five times, too.
fn verify(name: &str, program: &mut Program) -> Result<()> {
    for _ in 0..5 {
        let result = match program {
            Program::SchedClassifier(program) => program.load(),
            Program::Xdp(program) => program.load(),
            _ => bail!("{name} is a program of a kind that this bench does not know"),
        };
        match result {
            Err(ProgramError::LoadError { io_error, .. })
                if io_error.raw_os_error() == Some(libc::EAGAIN) => {}
            result => return result.with_context(|| format!("the verifier refuses {name}")),
        }
    }
    bail!("the verifier was interrupted five times over {name}");
}
