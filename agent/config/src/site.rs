//! Reads `[[site]]`.

use std::path::Path;
use std::time::Duration;

use toml_edit::{Item, TableLike};

use super::diagnostic::shown;
use super::gateway::{prefix_problem, read_vnet};
use super::remote::RemoteDraft;
use super::section::{At, Choice, Section};
use super::{OnDown, Site, mapping, name};
use crossway_types::engine::Engine;
use crossway_types::mapping::Mapping;
use crossway_types::prefix::Prefix;

/// How long a link which came back must stay up before it may take flows from one that is up.
pub(super) const DEFAULT_HOLD_DOWN: Duration = Duration::from_secs(5);
/// Ten minutes: who wants longer drains the link.
const LONGEST_HOLD_DOWN: i64 = 600_000;

/// A `[[site]]` as far as it could be read.
pub(super) struct SiteDraft {
    pub(super) place: String,
    pub(super) name: Option<At<String>>,
    pub(super) vnet: String,
    /// As they are shown here.
    pub(super) routes: Vec<At<Prefix>>,
    pub(super) maps: Vec<At<Mapping>>,
    pub(super) tags: Vec<String>,
    pub(super) on_down: OnDown,
    pub(super) gateways: Vec<RemoteDraft>,
    hold_down: Duration,
}

impl SiteDraft {
    /// Reads the section; relative paths are taken from `base`.
    pub(super) fn read(section: &Section<'_>, base: &Path) -> Self {
        let name = name::read(section, "\"paris\"");
        let vnet = read_vnet(section);
        let mut routes = read_routes(section);
        let maps = mapping::of_site(section, &mut routes);
        Self {
            place: section.place.clone(),
            name,
            vnet,
            routes,
            maps,
            tags: read_tags(section),
            on_down: read_on_down(section),
            hold_down: section
                .number("hold_down_ms", 0..=LONGEST_HOLD_DOWN, "5000")
                .map_or(DEFAULT_HOLD_DOWN, |at| {
                    Duration::from_millis(at.value as u64)
                }),
            gateways: read_gateways(section, base),
        }
    }

    /// The section, if nothing was wrong with it; its gateways that name no engine have this one.
    pub(super) fn finish(self, engine: Engine) -> Option<Site> {
        Some(Site {
            name: self.name?.value,
            vnet: self.vnet,
            routes: self.routes.iter().map(|route| route.value).collect(),
            maps: self.maps.iter().map(|map| map.value).collect(),
            tags: self.tags,
            on_down: self.on_down,
            gateways: self
                .gateways
                .into_iter()
                .map(|gateway| gateway.finish(engine))
                .collect::<Option<_>>()?,
            hold_down: self.hold_down,
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

fn read_gateways(section: &Section<'_>, base: &Path) -> Vec<RemoteDraft> {
    if !section.has("gateway") {
        section.missing("gateway", "add a [[site.gateway]] with name and public_key");
    }
    let gateways = section.tables("gateway", "site.gateway", |table, index| {
        format!("{}, {}", section.place, place("gateway", table, index))
    });
    let gateways = gateways.iter();
    gateways
        .map(|gateway| RemoteDraft::read(gateway, base))
        .collect()
}

fn read_tags(section: &Section<'_>) -> Vec<String> {
    let mut tags: Vec<String> = Vec::new();
    for tag in section.strings("tags", "\"ci\"") {
        let fault = match crossway_types::name::problem(tag.value) {
            Some(problem) => Some((problem, crossway_types::name::mend())),
            None if tags.iter().any(|known| known == tag.value) => {
                Some(("is listed twice".to_owned(), "keep one of them".to_owned()))
            }
            None => None,
        };
        match fault {
            Some((problem, mend)) => {
                let problem = format!("{} {problem}", shown(tag.value));
                section.error("tags", tag.offset, problem, mend);
            }
            None => tags.push(tag.value.to_owned()),
        }
    }
    tags
}

fn read_on_down(section: &Section<'_>) -> OnDown {
    let choice = Choice {
        example: "\"unreachable\"",
        all: &[OnDown::Unreachable, OnDown::Drop, OnDown::NextShorter],
        word: OnDown::as_str,
        is: "not a known on_down action",
        mend: "write \"unreachable\" (the sender gets an ICMP message), \"drop\" (silently) or \
               \"next-shorter\" (a shorter prefix takes over)",
    };
    let chosen = section.choice("on_down", &choice);
    chosen.map_or_else(OnDown::default, At::into_value)
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
pub(super) fn not_routable(prefix: &Prefix) -> Option<&'static str> {
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
