//! What is made of a message that another router of the LAN sent.

use std::net::IpAddr;
use std::time::Instant;

use tokio::sync::watch;

use super::packet::{self, Advertisement, Refusal};
use super::router::Router;
use super::socket::Received;
use super::status::{Key, NOTE_LASTS, Setup, Status};
use crossway_sys::clock;

/// Judges a message, and shows it to the state machine if it is for this virtual router.
pub(super) fn hear(
    router: &mut Router,
    setup: &Setup,
    status: &watch::Sender<Status>,
    received: Received<'_>,
) {
    let Received {
        source,
        hops,
        message,
    } = received;
    let now = clock::now();
    if packet::id_of(message) != Some(setup.key.id) {
        return;
    }
    let group = setup.key.family.group();
    let note = match Advertisement::decode(message, source, group, hops) {
        Err(refusal) => Some(refused(source, refusal)),
        Ok(advertisement) => {
            router.handle_advertisement(now, source, &advertisement);
            misfit(router, setup, source, &advertisement)
        }
    };
    if let Some(text) = note {
        write_note(setup, status, now, text);
    }
}

fn refused(source: IpAddr, refusal: Refusal) -> String {
    format!("ignored an advertisement from {source}: {refusal}")
}

/// What is taken, but will not do.
fn misfit(router: &Router, setup: &Setup, source: IpAddr, heard: &Advertisement) -> Option<String> {
    let differs = heard.addresses.len() != setup.addresses.len()
        || heard
            .addresses
            .iter()
            .any(|it| !setup.addresses.contains(it));
    if differs {
        let theirs: Vec<String> = heard.addresses.iter().map(ToString::to_string).collect();
        return Some(format!(
            "{source} advertises other addresses ({}): both gateways need the same",
            theirs.join(", ")
        ));
    }
    let equal = heard.priority == router.settings().priority && heard.priority == setup.priority;
    equal.then(|| {
        format!(
            "{source} has the same priority {}: give one of the two a higher one",
            heard.priority
        )
    })
}

/// Told once in the log, and by `status` as long as it goes on.
fn write_note(setup: &Setup, status: &watch::Sender<Status>, now: Instant, text: String) {
    let fresh = |at: Instant| now.saturating_duration_since(at) < NOTE_LASTS;
    status.send_modify(|status| {
        status.notes.retain(|(at, _)| fresh(*at));
        if let Some((at, _)) = status.notes.iter_mut().find(|(_, known)| *known == text) {
            *at = now;
        } else if status.notes.len() < 4 {
            // More than that is noise by somebody who wants to be heard.
            let Key { interface, id, .. } = &setup.key;
            tracing::warn!(interface, id, "VRRP: {text}");
            status.notes.push((now, text));
        }
    });
}
