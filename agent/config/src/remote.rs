//! Reads `[[site.gateway]]` with its links, and `[[gateway.replica]]`.

pub(super) mod replica;

use std::path::{Path, PathBuf};

use super::diagnostic::shown;
use super::section::{At, Section};
use super::site::place;
use super::{Endpoint, Link, Liveness, MAX_LANES, RemoteGateway, endpoint, engine, liveness, name};
use crossway_types::engine::Engine;
use crossway_types::keys::{KEY_BYTES, parse_public_key};

/// Highest `priority`: five digits are enough to leave gaps and short enough to read.
const HIGHEST_PRIORITY: i64 = 65_535;
/// Priority of a gateway that names none.
pub(super) const DEFAULT_PRIORITY: u32 = 100;

/// A `[[site.gateway]]` as far as it could be read.
pub(super) struct RemoteDraft {
    pub(super) place: String,
    pub(super) name: Option<At<String>>,
    pub(super) public_key: Option<At<[u8; KEY_BYTES]>>,
    pub(super) preshared_key_file: Option<At<PathBuf>>,
    pub(super) links: Vec<LinkDraft>,
    engine: Option<Engine>,
    lanes: u16,
    persistent_keepalive: Option<u16>,
}

/// A `[[site.gateway.link]]` as far as it could be read, or the one link of a gateway that lists none.
pub(super) struct LinkDraft {
    pub(super) place: String,
    /// `None` for the link of a gateway that lists none.
    pub(super) name: Option<At<String>>,
    pub(super) endpoints: Vec<At<Endpoint>>,
    /// The key that they stand at.
    endpoint_key: &'static str,
    pub(super) wan: Option<At<String>>,
    priority: u32,
    pub(super) liveness: At<Liveness>,
    /// Whether its name is missing or wrong.
    nameless: bool,
}

impl RemoteDraft {
    /// Reads the section; relative paths are taken from `base`.
    pub(super) fn read(section: &Section<'_>, base: &Path) -> Self {
        let name = name::read(section, "\"paris-1\"");
        let public_key = read_public_key(section);
        let preshared_key_file = section
            .string("preshared_key_file", "\"/etc/crossway/paris-1.psk\"")
            .map(|path| path.map(|path| base.join(path)));
        let endpoints = read_endpoints(section);
        let engine = engine::read(section);
        let lanes = section.number("lanes", 1..=i64::from(MAX_LANES), "1");
        let priority = read_priority(section);
        let keepalive = section.number("persistent_keepalive", 0..=65_535, "25");
        let own = LinkDraft {
            place: section.place.clone(),
            name: None,
            endpoints,
            endpoint_key: "endpoints",
            wan: None,
            priority: priority.unwrap_or(DEFAULT_PRIORITY),
            liveness: liveness::read(section, &Liveness::default()),
            nameless: false,
        };
        Self {
            place: section.place.clone(),
            name,
            public_key,
            preshared_key_file,
            links: read_links(section, own),
            engine,
            lanes: lanes.map_or(1, |lanes| lanes.value as u16),
            persistent_keepalive: keepalive.map(|seconds| seconds.value as u16),
        }
    }

    /// The section, if nothing was wrong with it, with `engine` where it names none.
    pub(super) fn finish(self, engine: Engine) -> Option<RemoteGateway> {
        Some(RemoteGateway {
            name: self.name?.value,
            public_key: self.public_key?.value,
            preshared_key_file: self.preshared_key_file.map(|path| path.value.into()),
            engine: self.engine.unwrap_or(engine),
            lanes: self.lanes,
            persistent_keepalive: self.persistent_keepalive,
            links: self
                .links
                .into_iter()
                .map(LinkDraft::finish)
                .collect::<Option<_>>()?,
        })
    }

    /// Where it is reached.
    pub(super) fn endpoints(&self) -> impl Iterator<Item = (&LinkDraft, &At<Endpoint>)> {
        let links = self.links.iter();
        links.flat_map(|link| link.endpoints.iter().map(move |endpoint| (link, endpoint)))
    }
}

impl LinkDraft {
    /// What the link does not say is as with `gateway`, the link of a gateway that lists none.
    fn read(section: &Section<'_>, gateway: &Self) -> Self {
        let name = name::read(section, "\"isp-a\"");
        Self {
            place: section.place.clone(),
            nameless: name.is_none(),
            name,
            endpoints: read_endpoint(section).into_iter().collect(),
            endpoint_key: "endpoint",
            wan: section
                .string("wan", "\"eth0\"")
                .map(|wan| wan.map(str::to_owned)),
            priority: read_priority(section).unwrap_or(gateway.priority),
            liveness: liveness::read(section, &gateway.liveness.value),
        }
    }

    /// How messages speak of its endpoint.
    pub(super) fn place_of_endpoint(&self) -> String {
        format!("{}, {}", self.place, self.endpoint_key)
    }

    fn finish(self) -> Option<Link> {
        if self.nameless {
            return None;
        }
        Some(Link {
            name: self.name.map(|name| name.value),
            endpoints: self.endpoints.into_iter().map(|at| at.value).collect(),
            wan: self.wan.map(|wan| wan.value),
            priority: self.priority,
            liveness: self.liveness.value,
        })
    }
}

/// The links of a gateway: those that it lists, or `own`.
fn read_links(section: &Section<'_>, own: LinkDraft) -> Vec<LinkDraft> {
    let listed = section.tables("link", "site.gateway.link", |table, index| {
        format!("{}, {}", section.place, place("link", table, index))
    });
    if listed.is_empty() {
        return vec![own];
    }
    if let Some(endpoints) = section.item("endpoints") {
        section.error(
            "endpoints",
            endpoints.offset,
            "the gateway lists its links as well",
            "write each endpoint in its [[site.gateway.link]]",
        );
    }
    if let Some(priority) = section.item("priority")
        && listed.iter().all(|link| link.has("priority"))
    {
        section.report.warning(
            priority.offset,
            section.place_of("priority"),
            "it has no effect: every link of the gateway has a priority of its own",
            "keep either this one or those of the links",
        );
    }
    let links = listed.iter();
    links
        .map(|section| LinkDraft::read(section, &own))
        .collect()
}

fn read_priority(section: &Section<'_>) -> Option<u32> {
    section
        .number("priority", 0..=HIGHEST_PRIORITY, "100")
        .map(|priority| priority.value as u32)
}

fn read_endpoint(section: &Section<'_>) -> Option<At<Endpoint>> {
    let text = section.string("endpoint", "\"203.0.113.7:51820\"")?;
    match endpoint::parse_endpoint(text.value) {
        Ok(endpoint) => Some(text.map(|_| endpoint)),
        Err((problem, mend)) => {
            section.error("endpoint", text.offset, problem, mend);
            None
        }
    }
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
