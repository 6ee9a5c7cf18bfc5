//! Reads `[discovery]`: the catalogue of services that are seen in the flow table.

use std::path::{Path, PathBuf};

use super::diagnostic::shown;
use super::gateway::prefix_problem;
use super::section::Section;
use crossway_types::prefix::Prefix;

const DATABASE: &str = "\"/var/lib/crossway/berlin-1.services.db\"";
/// Where the database is unless the file says otherwise; of systemd's `StateDirectory=crossway`.
const FOLDER: &str = "/var/lib/crossway";
/// Services of a catalogue; an answer with the most of them is 40 MB of JSON.
const BOUNDS: std::ops::RangeInclusive<i64> = 1..=65_536;
pub(super) const DEFAULT_BOUND: u32 = 16_384;

/// `[discovery]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovery {
    /// Where the catalogue is kept; see [`Self::database_of`].
    pub database: Option<PathBuf>,
    /// Services that the catalogue takes, at least 1.
    pub services: u32,
    /// Where services are looked for beside the private ranges.
    pub networks: Vec<Prefix>,
}

impl Default for Discovery {
    fn default() -> Self {
        Self {
            database: None,
            services: DEFAULT_BOUND,
            networks: Vec::new(),
        }
    }
}

impl Discovery {
    /// The database of the gateway with this name.
    pub fn database_of(&self, gateway: &str) -> PathBuf {
        let usual = || Path::new(FOLDER).join(format!("{gateway}.services.db"));
        self.database.clone().unwrap_or_else(usual)
    }
}

/// Reads the section, if it is there; a relative path is taken from `base`. `Err` where something is wrong with it.
pub(super) fn read(root: &Section<'_>, base: &Path) -> Result<Option<Discovery>, ()> {
    let Some(section) = root.table("discovery", "{ services = 16384 }") else {
        return if root.has("discovery") {
            Err(())
        } else {
            Ok(None)
        };
    };
    let database = read_database(&section, base);
    let services = section.number("services", BOUNDS, &DEFAULT_BOUND.to_string());
    let services = match services {
        Some(services) => Ok(services.value as u32),
        None if section.has("services") => Err(()),
        None => Ok(DEFAULT_BOUND),
    };
    let networks = read_networks(&section);
    Ok(Some(Discovery {
        database: database?,
        services: services?,
        networks: networks?,
    }))
}

fn read_database(section: &Section<'_>, base: &Path) -> Result<Option<PathBuf>, ()> {
    let Some(path) = section.string("database", DATABASE) else {
        return if section.has("database") {
            Err(())
        } else {
            Ok(None)
        };
    };
    if path.value.is_empty() || path.value.ends_with('/') {
        let problem = format!("{} is not the name of a file", shown(path.value));
        let mend = format!("write one such as {DATABASE}");
        section.error("database", path.offset, problem, mend);
        return Err(());
    }
    Ok(Some(base.join(path.value)))
}

fn read_networks(section: &Section<'_>) -> Result<Vec<Prefix>, ()> {
    let texts = section.strings("networks", "\"100.64.0.0/10\"");
    let mut networks = Vec::new();
    let mut faults = false;
    for text in &texts {
        match text.value.parse::<Prefix>() {
            Ok(prefix) => networks.push(prefix),
            Err(error) => {
                let (problem, mend) = prefix_problem(&error);
                section.error("networks", text.offset, problem, mend);
                faults = true;
            }
        }
    }
    let listed = section.item("networks");
    let whole = listed.is_none_or(|found| {
        let list = found.value.as_array();
        list.is_some_and(|list| list.len() == texts.len())
    });
    if faults || !whole {
        return Err(());
    }
    Ok(networks)
}
