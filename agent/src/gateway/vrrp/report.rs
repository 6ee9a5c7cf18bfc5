//! Virtual routers for people: `status`, and the journal.

use std::time::Instant;

use crate::control::message::{self, EventKind};
use crate::journal::Change;
use crate::vrrp::router::State;
use crate::vrrp::status::{Event, Key, Status, What};
use crossway_types::address::Mac;

/// A line for each warning.
pub(in crate::gateway) fn warnings_of(
    routers: &[message::VirtualRouter],
) -> impl Iterator<Item = String> {
    routers.iter().flat_map(|router| {
        let name = format!("{} {} {}", router.interface, router.id, router.family);
        let warnings = router.warnings.iter();
        warnings.map(move |text| format!("virtual router {name}: {text}"))
    })
}

/// What happened to a virtual router, for the journal.
pub(in crate::gateway) fn change(event: &Event) -> Change {
    let Key {
        interface,
        id,
        family,
    } = &event.key;
    let (from, to, cause) = match &event.what {
        What::Changed(change) => (
            Some(change.from.as_str().to_owned()),
            change.to.as_str(),
            change.why.to_string(),
        ),
        What::SilentMate(mate) => (
            None,
            "split",
            format!("{mate} answers on the LAN, but its advertisements do not arrive"),
        ),
        What::Split(rival) => (
            None,
            "split",
            format!(
                "{} with priority {} is also master",
                rival.address, rival.priority
            ),
        ),
    };
    Change {
        kind: EventKind::VirtualRouter,
        subject: format!("{interface} {id} {family}"),
        from,
        to: to.to_owned(),
        cause,
    }
}

pub(super) fn describe(status: Status, now: Instant) -> message::VirtualRouter {
    let other = status.other_master(now).copied();
    let master = match (status.state, &status.setup.place) {
        (State::Master, Ok(place)) => Some((place.local, status.priority)),
        _ => other.map(|other| (other.address, other.priority)),
    };
    let warnings = status.warnings(now);
    let setup = status.setup;
    message::VirtualRouter {
        interface: setup.key.interface,
        id: setup.key.id,
        family: setup.key.family.as_str().to_owned(),
        virtual_mac: Mac::of_router(setup.key.family, setup.key.id).to_string(),
        addresses: setup.addresses,
        state: status.state.as_str().to_owned(),
        since_seconds: now.saturating_duration_since(status.since).as_secs(),
        why: status.why,
        priority: status.priority,
        configured_priority: setup.priority,
        advertisement_interval_ms: setup.interval.duration().as_millis() as u64,
        master_address: master.map(|(address, _)| address),
        master_priority: master.map(|(_, priority)| priority),
        warnings,
    }
}
