//! Reads `[[site]]` with its gateways.

use std::path::{Path, PathBuf};

use toml_edit::{Item, TableLike};

use super::diagnostic::shown;
use super::gateway::{prefix_problem, read_vnet};
use super::section::{At, Section};
use super::{Endpoint, MAX_LANES, RemoteGateway, Site, endpoint, name};
use crate::keys::{KEY_BYTES, parse_public_key};
use crate::prefix::Prefix;

/// Highest `priority`: five digits are enough to leave gaps and short enough to read.
const HIGHEST_PRIORITY: i64 = 65_535;
/// Priority of a gateway that names none.
const DEFAULT_PRIORITY: u32 = 100;

/// A `[[site]]` as far as it could be read.
pub(super) struct SiteDraft {
    pub(super) place: String,
    pub(super) name: Option<At<String>>,
    pub(super) vnet: String,
    pub(super) routes: Vec<At<Prefix>>,
    pub(super) gateways: Vec<RemoteDraft>,
}

/// A `[[site.gateway]]` as far as it could be read.
pub(super) struct RemoteDraft {
    pub(super) place: String,
    pub(super) name: Option<At<String>>,
    pub(super) public_key: Option<At<[u8; KEY_BYTES]>>,
    pub(super) preshared_key_file: Option<At<PathBuf>>,
    pub(super) endpoints: Vec<At<Endpoint>>,
    lanes: u16,
    priority: u32,
    persistent_keepalive: Option<u16>,
}

impl SiteDraft {
    /// Reads the section; relative paths are taken from `base`.
    pub(super) fn read(section: &Section<'_>, base: &Path) -> Self {
        section.refuse_unknown_keys(&["name", "vnet", "routes", "gateway"]);
        let gateways = section.tables("gateway", "site.gateway", |table, index| {
            format!("{}, {}", section.place, place("gateway", table, index))
        });
        if gateways.is_empty() && !section.has("gateway") {
            section.missing("gateway", "add a [[site.gateway]] with name and public_key");
        }
        if let Some(second) = gateways.get(1) {
            section.report.error(
                second.offset,
                second.place.clone(),
                format!(
                    "{} gateways for one site are not possible: this version uses one",
                    gateways.len()
                ),
                "keep one [[site.gateway]]; it may have several endpoints",
            );
        }
        Self {
            place: section.place.clone(),
            name: name::read(section, "\"paris\""),
            vnet: read_vnet(section),
            routes: read_routes(section),
            gateways: gateways
                .iter()
                .map(|gateway| RemoteDraft::read(gateway, base))
                .collect(),
        }
    }

    /// The section, if nothing was wrong with it.
    pub(super) fn finish(self) -> Option<Site> {
        Some(Site {
            name: self.name?.value,
            vnet: self.vnet,
            routes: self.routes.iter().map(|route| route.value).collect(),
            gateways: self
                .gateways
                .into_iter()
                .map(RemoteDraft::finish)
                .collect::<Option<_>>()?,
        })
    }
}

impl RemoteDraft {
    fn read(section: &Section<'_>, base: &Path) -> Self {
        section.refuse_unknown_keys(&[
            "name",
            "public_key",
            "preshared_key_file",
            "endpoints",
            "lanes",
            "priority",
            "persistent_keepalive",
        ]);
        Self {
            place: section.place.clone(),
            name: name::read(section, "\"paris-1\""),
            public_key: read_public_key(section),
            preshared_key_file: section
                .string("preshared_key_file", "\"/etc/crossway/paris-1.psk\"")
                .map(|path| path.map(|path| base.join(path))),
            endpoints: read_endpoints(section),
            lanes: section
                .number("lanes", 1..=i64::from(MAX_LANES), "1")
                .map_or(1, |lanes| lanes.value as u16),
            priority: section
                .number("priority", 0..=HIGHEST_PRIORITY, "100")
                .map_or(DEFAULT_PRIORITY, |priority| priority.value as u32),
            persistent_keepalive: section
                .number("persistent_keepalive", 0..=65_535, "25")
                .map(|seconds| seconds.value as u16),
        }
    }

    fn finish(self) -> Option<RemoteGateway> {
        Some(RemoteGateway {
            name: self.name?.value,
            public_key: self.public_key?.value,
            preshared_key_file: self.preshared_key_file.map(|path| path.value),
            endpoints: self.endpoints.into_iter().map(|at| at.value).collect(),
            lanes: self.lanes,
            priority: self.priority,
            persistent_keepalive: self.persistent_keepalive,
        })
    }
}

/// `site "paris"`, or `site #2` where it has no name.
pub(super) fn place(kind: &str, table: &dyn TableLike, index: usize) -> String {
    match table.get("name").and_then(Item::as_str) {
        Some(name) => format!("{kind} {name:?}"),
        None => format!("{kind} #{}", index + 1),
    }
}

fn read_routes(section: &Section<'_>) -> Vec<At<Prefix>> {
    let example = "\"10.2.0.0/24\"";
    let texts = section.strings("routes", example);
    if !section.has("routes") {
        section.missing("routes", format!("write routes = [{example}]"));
    } else if let Some(list) = section.item("routes")
        && list
            .value
            .as_array()
            .is_some_and(toml_edit::Array::is_empty)
    {
        section.error(
            "routes",
            list.offset,
            "the list is empty",
            format!("write routes = [{example}], or remove the site"),
        );
    }
    let read = |text: At<&str>| {
        let parsed = text.value.parse::<Prefix>();
        let problem = match parsed {
            Ok(prefix) => match not_routable(&prefix) {
                None => return Some(text.map(|_| prefix)),
                Some(what) => (
                    format!("{} is {what}", shown(text.value)),
                    "write the unicast networks behind the site".to_owned(),
                ),
            },
            Err(error) => prefix_problem(&error),
        };
        section.error("routes", text.offset, problem.0, problem.1);
        None
    };
    texts.into_iter().filter_map(read).collect()
}

/// Networks that no router forwards to another site.
fn not_routable(prefix: &Prefix) -> Option<&'static str> {
    let networks = [
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local"),
        ("224.0.0.0/4", "multicast"),
        ("::1/128", "loopback"),
        ("fe80::/10", "link-local"),
        ("ff00::/8", "multicast"),
    ];
    networks
        .into_iter()
        .find(|(network, _)| {
            network
                .parse::<Prefix>()
                .is_ok_and(|network| network.covers(prefix))
        })
        .map(|(_, what)| what)
}

fn read_public_key(section: &Section<'_>) -> Option<At<[u8; KEY_BYTES]>> {
    let text = section.required_string("public_key", "what `crossway pubkey` prints there")?;
    let problem = match parse_public_key(text.value) {
        Ok(key) if key == [0; KEY_BYTES] => "is all zero".to_owned(),
        Ok(key) => return Some(text.map(|_| key)),
        Err(error) => error.to_string(),
    };
    section.error(
        "public_key",
        text.offset,
        format!("{} {problem}", shown(text.value)),
        "write what `crossway pubkey < KEYFILE` prints on that gateway",
    );
    None
}

fn read_endpoints(section: &Section<'_>) -> Vec<At<Endpoint>> {
    let mut read: Vec<At<Endpoint>> = Vec::new();
    for text in section.strings("endpoints", "\"203.0.113.7:51820\"") {
        let problem = match endpoint::parse_endpoint(text.value) {
            Ok(found) => match read.iter().find(|at| at.value == found) {
                None => {
                    read.push(text.map(|_| found));
                    continue;
                }
                Some(first) => (
                    format!(
                        "{} is listed twice (line {})",
                        shown(text.value),
                        section.report.line(first.offset)
                    ),
                    "keep one of them".to_owned(),
                ),
            },
            Err(problem) => problem,
        };
        section.error("endpoints", text.offset, problem.0, problem.1);
    }
    read
}
