//! Reads `[gateway]`, but for its interfaces.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use datapath_abi::maps::DEFAULT_FLOWS;
use toml_edit::Item;

use super::diagnostic::shown;
use super::endpoint::Problem;
use super::remote::{RemoteDraft, replica};
use super::section::{At, Section};
use super::{
    Gateway, HealthTarget, InterfaceAddress, Lan, Lanes, MAX_LANES, PathMtuMode, VirtualRouter,
    Wan, dscp, endpoint, engine, health, interface, name, path_mtu, vrrp,
};
use crossway_types::engine::Engine;
use crossway_types::mapping::Mapping;
use crossway_types::marks::DscpModel;
use crossway_types::prefix::PrefixError;

/// Smallest MTU: what every IPv4 host must take (RFC 791), as `SMALLEST_MTU_V6` for IPv6 (RFC 8200).
const SMALLEST_MTU: u16 = 576;
pub(super) const SMALLEST_MTU_V6: u16 = 1280;
/// Largest MTU: 65,535 less IPv6, UDP and WireGuard headers (40 + 8 + 32).
const LARGEST_MTU: u16 = 65_455;

/// The kernel keeps up to 128 free entries for each CPU, so a table must have more (`LOCAL_FREE_TARGET`).
const FEWEST_FLOWS: i64 = 1024 * 16;
/// Some 3 GB of kernel memory.
const MOST_FLOWS: i64 = 1 << 24;

/// What a day of some thirty sites with a link each takes.
pub(super) const DEFAULT_HISTORY_MIB: u32 = 8;
/// Enough for thousands.
const MOST_HISTORY: i64 = 1024;

/// `[gateway]` as far as it could be read.
pub(super) struct GatewayDraft {
    pub(super) name: Option<At<String>>,
    pub(super) private_key_file: Option<At<PathBuf>>,
    pub(super) listen: Option<At<SocketAddr>>,
    pub(super) tunnel_addresses: Vec<At<InterfaceAddress>>,
    pub(super) mtu: Option<At<u16>>,
    path_mtu: PathMtuMode,
    pub(super) replicas: Vec<RemoteDraft>,
    engine: Engine,
    dscp: DscpModel,
    lanes: Lanes,
    flows: usize,
    fast_path: bool,
    history_mib: u32,
    seccomp: bool,
    control_group: Option<String>,
    lan: Vec<Option<Lan>>,
    /// Of all LANs.
    pub(super) lan_maps: Vec<At<Mapping>>,
    wan: Vec<Option<Wan>>,
    health: Vec<Option<HealthTarget>>,
    vrrp: Vec<Option<VirtualRouter>>,
}

impl GatewayDraft {
    /// Reads the section; relative paths are taken from `base`.
    pub(super) fn read(section: &Section<'_>, base: &Path) -> Self {
        let name = name::read(section, "\"berlin-1\"");
        let private_key_file = section
            .required_string("private_key_file", "\"/etc/crossway/gateway.key\"")
            .map(|path| path.map(|path| base.join(path)));
        let listen = read_listen(section);
        let tunnel_addresses = read_tunnel_addresses(section);
        let engine = engine::read(section);
        let dscp = dscp::read(section);
        let lanes = read_lanes(section);
        let mtu = section.number("mtu", SMALLEST_MTU.into()..=LARGEST_MTU.into(), "1420");
        let path_mtu = path_mtu::read(section);
        let flows = section.number("flows", FEWEST_FLOWS..=MOST_FLOWS, "262144");
        let fast_path = section.boolean("fast_path");
        let history = section.number("history_mib", 0..=MOST_HISTORY, "8");
        let seccomp = section.boolean("seccomp");
        let control_group = section.string("control_group", "\"crossway\"");
        let tun = name.as_ref().map(|name| super::tun_name(&name.value));
        let (lan, lan_maps, wan) = interface::read(section, &tun.unwrap_or_default());
        Self {
            health: health::read(section, &lan),
            vrrp: vrrp::read(section, &lan, wan.len(), &tunnel_addresses),
            replicas: replica::read(section, base),
            name,
            private_key_file,
            listen,
            tunnel_addresses,
            engine: engine.unwrap_or_default(),
            dscp: dscp.unwrap_or_default(),
            lanes,
            mtu: mtu.map(|mtu| mtu.map(|mtu| mtu as u16)),
            path_mtu: path_mtu.unwrap_or_default(),
            flows: flows.map_or(DEFAULT_FLOWS, |flows| flows.value as usize),
            fast_path: fast_path.is_none_or(|on| on.value),
            history_mib: history.map_or(DEFAULT_HISTORY_MIB, |mib| mib.value as u32),
            seccomp: seccomp.is_none_or(|on| on.value),
            control_group: control_group.map(|group| group.value.to_owned()),
            lan,
            lan_maps,
            wan,
        }
    }

    /// Names of the WAN interfaces that could be read.
    pub(super) fn wan_interfaces(&self) -> impl Iterator<Item = &str> {
        self.wan.iter().flatten().map(|wan| wan.interface.as_str())
    }

    /// The section, if nothing was wrong with it.
    pub(super) fn finish(self) -> Option<Gateway> {
        Some(Gateway {
            name: self.name?.value,
            private_key_file: self.private_key_file?.value.into(),
            listen: self.listen?.value,
            tunnel_addresses: self.tunnel_addresses.iter().map(|at| at.value).collect(),
            engine: self.engine,
            dscp: self.dscp,
            lanes: self.lanes,
            mtu: self.mtu.map(|mtu| mtu.value),
            path_mtu: self.path_mtu,
            flows: self.flows,
            fast_path: self.fast_path,
            history_mib: self.history_mib,
            seccomp: self.seccomp,
            control_group: self.control_group,
            lan: self.lan.into_iter().collect::<Option<_>>()?,
            wan: self.wan.into_iter().collect::<Option<_>>()?,
            health: self.health.into_iter().collect::<Option<_>>()?,
            vrrp: self.vrrp.into_iter().collect::<Option<_>>()?,
            replicas: self
                .replicas
                .into_iter()
                .map(|replica| replica.finish(self.engine))
                .collect::<Option<_>>()?,
        })
    }
}

/// Reads `lanes` of this gateway.
fn read_lanes(section: &Section<'_>) -> Lanes {
    let Some(found) = section.item("lanes") else {
        return Lanes::Auto;
    };
    let mend = format!("write a number from 1 to {MAX_LANES}, or lanes = \"auto\"");
    let problem = match found.value {
        item if item.as_str() == Some("auto") => return Lanes::Auto,
        Item::Value(toml_edit::Value::Integer(number)) => {
            let number = *number.value();
            match u16::try_from(number)
                .ok()
                .filter(|lanes| (1..=MAX_LANES).contains(lanes))
            {
                Some(lanes) => return Lanes::Count(lanes),
                None => format!("{number} is not possible"),
            }
        }
        Item::Value(toml_edit::Value::String(text)) => {
            format!("{} is not a number of lanes", shown(text.value()))
        }
        other => section.expected("a number or \"auto\"", other),
    };
    section.error("lanes", found.offset, problem, mend);
    Lanes::Auto
}

/// Reads `vnet`: the key is there for later versions, which know more than one.
pub(super) fn read_vnet(section: &Section<'_>) -> String {
    if let Some(vnet) = section.string("vnet", "\"default\"")
        && vnet.value != "default"
    {
        section.error(
            "vnet",
            vnet.offset,
            format!(
                "{} is not possible: this version has one virtual network",
                shown(vnet.value)
            ),
            "write vnet = \"default\" or leave the key out",
        );
    }
    "default".to_owned()
}

/// Splits a prefix error into problem and mend.
pub(super) fn prefix_problem(error: &PrefixError) -> Problem {
    match error {
        PrefixError::Address(text) => (
            format!("{} is not an IP prefix", shown(text)),
            "write it as 10.2.0.0/24 or 2001:db8:2::/48".to_owned(),
        ),
        PrefixError::Length { text, max } => (
            format!("{} has no usable prefix length", shown(text)),
            format!("write a number from 0 to {max} behind the slash"),
        ),
        PrefixError::HostBits { text, meant } => (
            format!("{} has host bits set", shown(text)),
            format!("did you mean {meant}?"),
        ),
    }
}

fn read_listen(section: &Section<'_>) -> Option<At<SocketAddr>> {
    let text = section.required_string("listen", "\"0.0.0.0:51820\"")?;
    match endpoint::parse_listen(text.value) {
        Ok(address) => Some(text.map(|_| address)),
        Err((problem, mend)) => {
            section.error("listen", text.offset, problem, mend);
            None
        }
    }
}

fn read_tunnel_addresses(section: &Section<'_>) -> Vec<At<InterfaceAddress>> {
    let mut read: Vec<At<InterfaceAddress>> = Vec::new();
    for text in section.strings("tunnel_addresses", "\"10.255.0.1/32\"") {
        let parsed = parse_interface_address(text.value).and_then(|found| {
            match read.iter().find(|at| at.value.address == found.address) {
                Some(first) => Err((
                    format!(
                        "{} is listed twice (line {})",
                        found.address,
                        section.report.line(first.offset)
                    ),
                    "keep one of them".to_owned(),
                )),
                None => Ok(found),
            }
        });
        match parsed {
            Ok(value) => read.push(text.map(|_| value)),
            Err((problem, mend)) => {
                section.error("tunnel_addresses", text.offset, problem, mend);
            }
        }
    }
    read
}

fn parse_interface_address(text: &str) -> Result<InterfaceAddress, Problem> {
    let (address_text, length_text) = text.split_once('/').unwrap_or((text, ""));
    let Ok(address) = address_text.parse::<IpAddr>() else {
        return Err((
            format!("{} is not an IP address", shown(text)),
            "write it as 10.255.0.1/32 or 2001:db8::1/128".to_owned(),
        ));
    };
    let max = if address.is_ipv4() { 32 } else { 128 };
    let length = if text.contains('/') {
        length_text
            .parse()
            .ok()
            .filter(|length| *length <= max && !length_text.starts_with('+'))
    } else {
        Some(max)
    };
    let Some(length) = length else {
        let (problem, mend) = prefix_problem(&PrefixError::Length {
            text: text.to_owned(),
            max,
        });
        return Err((problem, mend));
    };
    if address.is_unspecified() || address.is_multicast() || address.is_loopback() {
        return Err((
            format!("{} cannot be an address of an interface", shown(text)),
            "write a unicast address, such as 10.255.0.1/32".to_owned(),
        ));
    }
    Ok(InterfaceAddress { address, length })
}
