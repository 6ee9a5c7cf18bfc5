//! Reads `[[gateway.replica]]`: another gateway on the same LANs, which stands in for this one.

use std::path::Path;

use super::{DEFAULT_PRIORITY, LinkDraft, RemoteDraft, read_endpoint, read_public_key};
use crate::liveness;
use crate::section::Section;
use crate::site::place;
use crate::{Liveness, LivenessMode, engine, name};

/// More gateways than that seldom share a LAN, and every flow is told to each of them.
const MOST: usize = 8;

/// Reads every `[[gateway.replica]]` of the section `gateway`; relative paths are taken from `base`.
pub(crate) fn read(gateway: &Section<'_>, base: &Path) -> Vec<RemoteDraft> {
    let tables = gateway.tables("replica", "gateway.replica", |table, index| {
        place("gateway.replica", table, index)
    });
    if let Some(first) = tables.get(MOST) {
        let problem = format!("{} replicas are too many", tables.len());
        let mend = format!("one gateway takes {MOST}");
        gateway.error("replica", first.offset, problem, mend);
    }
    let replicas = tables.iter();
    replicas.map(|table| read_one(table, base)).collect()
}

fn read_one(section: &Section<'_>, base: &Path) -> RemoteDraft {
    let name = name::read(section, "\"berlin-2\"");
    let public_key = read_public_key(section);
    let preshared_key_file = section
        .string("preshared_key_file", "\"/etc/crossway/berlin-2.psk\"")
        .map(|path| path.map(|path| base.join(path)));
    let watched = Liveness {
        // The far end is one of ours.
        mode: LivenessMode::Bfd,
        ..Liveness::default()
    };
    let link = LinkDraft {
        place: section.place.clone(),
        name: None,
        endpoints: read_endpoint(section).into_iter().collect(),
        endpoint_key: "endpoint",
        wan: None,
        priority: DEFAULT_PRIORITY,
        liveness: liveness::read_bfd(section, watched),
        nameless: false,
    };
    if !section.has("endpoint") {
        section.report.warning(
            section.offset,
            section.place.clone(),
            "this replica has no endpoint: flows are replicated only while it connects to this gateway",
            "write where it is reached on the LAN, or on a cable of its own, such as endpoint = \"10.1.0.3:51820\"",
        );
    }
    RemoteDraft {
        place: section.place.clone(),
        name,
        public_key,
        preshared_key_file,
        links: vec![link],
        engine: engine::read(section),
        lanes: 1,
        persistent_keepalive: None,
    }
}
