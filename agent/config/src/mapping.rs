//! Reads `map`: the prefixes of a site, or of a LAN, that are shown under others.

use std::collections::HashMap;

use toml_edit::{Item, TableLike};

use super::diagnostic::shown;
use super::gateway::prefix_problem;
use super::section::{At, Section};
use super::site::not_routable;
use crossway_types::mapping::Mapping;
use crossway_types::mapping::free::FreePrefixes;
use crossway_types::prefix::{Prefix, PrefixIndex};

/// Reads the mappings of a site, and shows its routes under them: `routes` are the site's own when this begins.
pub(super) fn of_site(section: &Section<'_>, routes: &mut [At<Prefix>]) -> Vec<At<Mapping>> {
    if !section.has("map") {
        return Vec::new();
    }
    let own: Vec<Prefix> = routes.iter().map(|route| route.value).collect();
    let mut maps = read(section, &Example::of(&own), &own);
    let own = PrefixIndex::new(own.into_iter().map(|route| (route, ())));
    maps.retain(|map| is_a_route(section, map, &own));
    let by_real: HashMap<Prefix, Prefix> = maps
        .iter()
        .map(|map| (map.value.real(), map.value.shown()))
        .collect();
    for route in routes.iter_mut() {
        route.value = by_real.get(&route.value).copied().unwrap_or(route.value);
    }
    let shown = PrefixIndex::new(routes.iter().map(|route| (route.value, ())));
    for map in &maps {
        for (what, prefix, all) in [
            ("", map.value.real(), &own),
            ("as shown here, ", map.value.shown(), &shown),
        ] {
            if let Some(other) = another(all, prefix) {
                section.error(
                    "map",
                    map.offset,
                    format!("{what}{prefix} overlaps {other} of this site"),
                    "which of the two an address lies in would depend on the direction: map prefixes that do not overlap",
                );
            }
        }
    }
    maps
}

/// Reads the mappings of a LAN.
pub(super) fn of_lan(section: &Section<'_>) -> Vec<At<Mapping>> {
    read(section, &Example::of(&[]), &[])
}

/// A prefix of these that overlaps `prefix` and is not the same.
pub(super) fn another<T>(all: &PrefixIndex<T>, prefix: Prefix) -> Option<Prefix> {
    let mut inside = all.inside(prefix).map(|(other, _)| *other);
    if let Some(other) = inside.find(|other| *other != prefix) {
        return Some(other);
    }
    let shorter = prefix.length().checked_sub(1)?;
    let shorter = Prefix::containing(prefix.address(), shorter);
    all.longest_cover(&shorter).map(|(cover, _)| cover)
}

/// What a right value looks like.
struct Example {
    /// A prefix and one to show it as.
    pair: (String, String),
}

impl Example {
    /// For a section with these prefixes.
    fn of(routes: &[Prefix]) -> Self {
        let first = routes.iter().find(|route| route.length() > 0);
        let pair = first.and_then(|first| {
            let proposal = FreePrefixes::besides([*first]).propose(*first)?;
            Some((first.to_string(), proposal.to_string()))
        });
        let usual = || ("10.0.0.0/24".to_owned(), "10.101.0.0/24".to_owned());
        Self {
            pair: pair.unwrap_or_else(usual),
        }
    }

    fn table(&self) -> String {
        format!("write map = {{ {:?} = {:?} }}", self.pair.0, self.pair.1)
    }
}

/// Reads either form: a table, or the prefix that the only one of `routes` of its family is shown as.
fn read(section: &Section<'_>, example: &Example, routes: &[Prefix]) -> Vec<At<Mapping>> {
    let Some(found) = section.item("map") else {
        return Vec::new();
    };
    if let Some(text) = found.value.as_str()
        && !routes.is_empty()
    {
        return read_short(section, found.map(|_| text), routes, example)
            .into_iter()
            .collect();
    }
    let Some(table) = found.value.as_table_like() else {
        let problem = section.expected("a table", found.value);
        section.error("map", found.offset, problem, example.table());
        return Vec::new();
    };
    let mut maps: Vec<At<Mapping>> = Vec::new();
    for (real, item) in table.iter() {
        if let Some(map) = read_pair(section, table, found.offset, (real, item)) {
            maps.push(map);
        }
    }
    maps
}

fn read_short(
    section: &Section<'_>,
    text: At<&str>,
    routes: &[Prefix],
    example: &Example,
) -> Option<At<Mapping>> {
    let to = read_prefix(section, text)?;
    let mut of_family = routes
        .iter()
        .filter(|route| route.is_ipv4() == to.is_ipv4());
    let (Some(real), None) = (of_family.next(), of_family.next()) else {
        let family = if to.is_ipv4() { "IPv4" } else { "IPv6" };
        section.error(
            "map",
            text.offset,
            format!("{to} does not say what it stands for: this site has not exactly one prefix of {family}"),
            example.table(),
        );
        return None;
    };
    pair_up(section, text.offset, *real, to)
}

fn read_pair(
    section: &Section<'_>,
    table: &dyn TableLike,
    fallback: usize,
    (real, item): (&str, &Item),
) -> Option<At<Mapping>> {
    let key = table.key(real).and_then(toml_edit::Key::span);
    let key = key.map_or(fallback, |span| span.start);
    let real = read_prefix(
        section,
        At {
            value: real,
            offset: key,
        },
    );
    let offset = item.span().map_or(key, |span| span.start);
    let Some(text) = item.as_str() else {
        let problem = section.expected("a string", item);
        section.error("map", offset, problem, "write \"10.101.0.0/24\"");
        return None;
    };
    let to = read_prefix(
        section,
        At {
            value: text,
            offset,
        },
    );
    pair_up(section, offset, real?, to?)
}

fn pair_up(section: &Section<'_>, offset: usize, real: Prefix, to: Prefix) -> Option<At<Mapping>> {
    let wrong = |problem: String, mend: String| {
        section.error("map", offset, problem, mend);
        None
    };
    if real == to {
        return wrong(
            format!("{real} is shown as itself"),
            "write a prefix of the same length that nobody uses, or leave it out".to_owned(),
        );
    }
    let Some(value) = Mapping::new(real, to) else {
        let alike = to.is_ipv4() == real.is_ipv4();
        let why = if alike {
            "it is not as long"
        } else {
            "it is of another family"
        };
        let mend = if alike {
            let meant = Prefix::containing(to.address(), real.length());
            format!("hosts keep their bits behind the prefix: write {meant}")
        } else {
            "both are of IPv4, or both of IPv6".to_owned()
        };
        return wrong(format!("{to} cannot stand for {real}: {why}"), mend);
    };
    Some(At { value, offset })
}

fn read_prefix(section: &Section<'_>, text: At<&str>) -> Option<Prefix> {
    let (problem, mend) = match text.value.parse::<Prefix>() {
        Ok(prefix) => match not_routable(&prefix) {
            None => return Some(prefix),
            Some(what) => (
                format!("{} is {what}", shown(text.value)),
                "write unicast networks".to_owned(),
            ),
        },
        Err(error) => prefix_problem(&error),
    };
    section.error("map", text.offset, problem, mend);
    None
}

fn is_a_route(section: &Section<'_>, map: &At<Mapping>, own: &PrefixIndex<()>) -> bool {
    let real = map.value.real();
    let is = own.get(&real).is_some();
    if !is {
        section.error(
            "map",
            map.offset,
            format!("{real} is not in routes of this site"),
            format!(
                "write in routes what the site itself has: add {real}, or take it out of the map"
            ),
        );
    }
    is
}
