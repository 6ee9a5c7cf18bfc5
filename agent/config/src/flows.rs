//! Reads `[flows]`: where the records of finished flows go.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::diagnostic::shown;
use super::section::Section;

/// A file's size, MiB.
const SIZES: std::ops::RangeInclusive<i64> = 1..=65_536;
pub(super) const DEFAULT_SIZE: u32 = 64;
const COUNTS: std::ops::RangeInclusive<i64> = 1..=100;
pub(super) const DEFAULT_COUNT: u32 = 4;
/// Seconds: a collector that has just been started understands nothing until then.
const TEMPLATE_PACES: std::ops::RangeInclusive<i64> = 1..=86_400;
pub(super) const DEFAULT_TEMPLATE_PACE: u32 = 60;
const NUMBERS: std::ops::RangeInclusive<i64> = 0..=0xffff_ffff;
/// The number that RFC 5612 keeps for examples: no organisation's elements are mistaken for others.
pub(super) const DEFAULT_ENTERPRISE: u32 = 32_473;

/// `[flows]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlowExport {
    /// JSON lines.
    pub file: Option<FlowFile>,
    /// IPFIX over UDP.
    pub collector: Option<Collector>,
}

/// The file that finished flows are written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowFile {
    /// Where it is.
    pub path: PathBuf,
    /// MiB after which another one is begun, at least 1.
    pub size_mib: u32,
    /// Files that are kept, the present one among them; at least 1.
    pub count: u32,
}

/// Who takes IPFIX.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collector {
    /// Where it listens, UDP.
    pub address: SocketAddr,
    /// Observation domain id.
    pub domain: u32,
    /// Private enterprise number of our elements.
    pub enterprise: u32,
    /// From one sending of the templates to the next.
    pub template_pace: Duration,
}

/// Reads the section; `None` if it has a fault.
pub(super) fn read(root: &Section<'_>, base: &Path) -> Option<FlowExport> {
    let Some(found) = root.item("flows") else {
        return Some(FlowExport::default());
    };
    let Some(table) = found.value.as_table_like() else {
        let problem = root.expected("a table", found.value);
        root.error("flows", found.offset, problem, "write [flows]");
        return None;
    };
    let section = Section::new(root.report, "flows", found.offset, table);
    let file = read_file(&section, base);
    let collector = read_collector(&section);
    Some(FlowExport {
        file: file.ok()?,
        collector: collector.ok()?,
    })
}

fn read_file(section: &Section<'_>, base: &Path) -> Result<Option<FlowFile>, ()> {
    let path = section.string("file", "\"/var/log/crossway/flows.jsonl\"");
    let size = number(section, "file_mib", SIZES, DEFAULT_SIZE);
    let count = number(section, "files", COUNTS, DEFAULT_COUNT);
    let Some(path) = path else {
        needs(section, &["file_mib", "files"], "file");
        return if section.has("file") {
            Err(())
        } else {
            Ok(None)
        };
    };
    if path.value.is_empty() || path.value.ends_with('/') {
        let problem = format!("{} is not the name of a file", shown(path.value));
        let mend = "write one such as \"/var/log/crossway/flows.jsonl\"";
        section.error("file", path.offset, problem, mend);
        return Err(());
    }
    Ok(Some(FlowFile {
        path: base.join(path.value),
        size_mib: size.ok_or(())?,
        count: count.ok_or(())?,
    }))
}

fn read_collector(section: &Section<'_>) -> Result<Option<Collector>, ()> {
    let text = section.string("collector", "\"192.0.2.9:4739\"");
    let domain = number(section, "domain", NUMBERS, 0);
    let enterprise = number(section, "enterprise", NUMBERS, DEFAULT_ENTERPRISE);
    let pace = number(
        section,
        "template_seconds",
        TEMPLATE_PACES,
        DEFAULT_TEMPLATE_PACE,
    );
    let Some(text) = text else {
        needs(
            section,
            &["domain", "enterprise", "template_seconds"],
            "collector",
        );
        return if section.has("collector") {
            Err(())
        } else {
            Ok(None)
        };
    };
    let address = text.value.parse::<SocketAddr>().ok();
    let usable = |address: &SocketAddr| {
        let ip = address.ip();
        address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast()
    };
    let Some(address) = address.filter(usable) else {
        let problem = format!("{} is not an address and a port", shown(text.value));
        let mend = "write those of the collector, such as \"192.0.2.9:4739\" (no host name: a name \
                    server that does not answer must not hide what happened meanwhile)";
        section.error("collector", text.offset, problem, mend);
        return Err(());
    };
    Ok(Some(Collector {
        address,
        domain: domain.ok_or(())?,
        enterprise: enterprise.ok_or(())?,
        template_pace: Duration::from_secs(pace.ok_or(())?.into()),
    }))
}

/// Keys that mean nothing without another.
fn needs(section: &Section<'_>, keys: &[&'static str], other: &'static str) {
    for key in keys {
        if let Some(found) = section.item(key).filter(|_| !section.has(other)) {
            let mend = format!("add {other}, or take it out");
            let problem = format!("it means nothing without {other}");
            section.error(key, found.offset, problem, mend);
        }
    }
}

fn number(
    section: &Section<'_>,
    key: &'static str,
    range: std::ops::RangeInclusive<i64>,
    default: u32,
) -> Option<u32> {
    if !section.has(key) {
        return Some(default);
    }
    let found = section.number(key, range, &default.to_string())?;
    u32::try_from(found.value).ok()
}
