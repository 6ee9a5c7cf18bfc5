//! Links: one WireGuard session each, told apart by site, far gateway, name and lane.

use std::fmt;

use crossway_api::message::{Link, LinkState};

use super::{BYTES, Labels, Page, SECONDS, of};
use crate::liveness::bfd::packet::State;

const STATES: [&str; 4] = ["Up", "Connecting", "Down", "Drained"];

const PATH_MTU_STATES: [&str; 4] = ["fixed", "unanswered", "searching", "found"];

/// A link with its lane's number as text.
type Told<'a> = (&'a Link, String);

pub(super) fn write(page: &mut Page<'_>, links: &[&Link]) -> fmt::Result {
    let links: Vec<Told<'_>> = links
        .iter()
        .map(|link| (*link, link.lane.to_string()))
        .collect();
    states(page, &links)?;
    traffic(page, &links)?;
    messages(page, &links)?;
    path_mtu(page, &links)?;
    liveness(page, &links)
}

fn labels<'a>((link, lane): &'a Told<'_>) -> Labels<'a> {
    vec![
        ("site", link.site.as_str()),
        ("gateway", &link.gateway),
        ("link", link.link.as_deref().unwrap_or_default()),
        ("lane", lane),
    ]
}

fn each<'a>(
    links: &'a [Told<'_>],
    value: impl Fn(&Link) -> u64 + 'a,
) -> impl Iterator<Item = (Labels<'a>, u64)> {
    links.iter().map(move |told| (labels(told), value(told.0)))
}

fn states(page: &mut Page<'_>, links: &[Told<'_>]) -> fmt::Result {
    page.gauges(
        ("crossway_link_up", "1 while a link can carry traffic", None),
        each(links, |link| u64::from(link.state == LinkState::Up)),
    )?;
    page.states(
        ("crossway_link_state", "1 for the state that a link is in"),
        &STATES,
        links
            .iter()
            .map(|told| (labels(told), told.0.state.as_str())),
    )?;
    page.gauges(
        (
            "crossway_link_carries_flows",
            "1 while a link carries flows of its site, 0 while it is a spare",
            None,
        ),
        each(links, |link| u64::from(link.carries_flows)),
    )
}

fn traffic(page: &mut Page<'_>, links: &[Told<'_>]) -> fmt::Result {
    page.counters(
        (
            "crossway_link_transmit",
            "Inner packets sent over a link",
            Some(of("packets")),
        ),
        each(links, |link| link.tx_packets),
    )?;
    page.counters(
        (
            "crossway_link_transmit",
            "Inner bytes sent over a link",
            BYTES,
        ),
        each(links, |link| link.tx_bytes),
    )?;
    page.counters(
        (
            "crossway_link_receive",
            "Inner packets received over a link",
            Some(of("packets")),
        ),
        each(links, |link| link.rx_packets),
    )?;
    page.counters(
        (
            "crossway_link_receive",
            "Inner bytes received over a link",
            BYTES,
        ),
        each(links, |link| link.rx_bytes),
    )
}

fn messages(page: &mut Page<'_>, links: &[Told<'_>]) -> fmt::Result {
    let unit = || Some(of("messages"));
    page.counters(
        (
            "crossway_link_expected",
            "Data messages of WireGuard that the far end is known to have sent, by its own count",
            unit(),
        ),
        each(links, |link| link.messages.received + link.messages.missing),
    )?;
    page.counters(
        (
            "crossway_link_received",
            "Of those expected, the ones that came; the rest is lost, or still on its way",
            unit(),
        ),
        each(links, |link| link.messages.received),
    )?;
    page.counters(
        (
            "crossway_link_reordered",
            "Of those that came, the ones that came behind one sent later (RFC 4737)",
            unit(),
        ),
        each(links, |link| link.messages.reordered),
    )?;
    page.counters(
        (
            "crossway_link_duplicate",
            "Data messages that came once more and were dropped",
            unit(),
        ),
        each(links, |link| link.messages.duplicate),
    )?;
    page.counters(
        (
            "crossway_link_outdated",
            "Data messages that came behind the replay window and were dropped",
            unit(),
        ),
        each(links, |link| link.messages.outdated),
    )
}

fn path_mtu(page: &mut Page<'_>, links: &[Told<'_>]) -> fmt::Result {
    let paths = || {
        links
            .iter()
            .filter_map(|told| Some((labels(told), told.0.path_mtu.as_ref()?)))
    };
    page.gauges(
        (
            "crossway_link_path_mtu",
            "Largest inner packet that is sent over a link",
            BYTES,
        ),
        paths().map(|(labels, path)| (labels, u64::from(path.mtu_bytes))),
    )?;
    page.states(
        (
            "crossway_link_path_mtu_state",
            "1 for how the path MTU of a link is known",
        ),
        &PATH_MTU_STATES,
        paths().map(|(labels, path)| (labels, path.state.as_str())),
    )?;
    page.counters(
        (
            "crossway_link_black_holes",
            "Times that packets which had passed by their size did not pass any more",
            None,
        ),
        paths().map(|(labels, path)| (labels, path.black_holes)),
    )?;
    page.counters(
        (
            "crossway_link_path_probes",
            "Probes sent to find the path MTU of a link, or to confirm it",
            None,
        ),
        paths().map(|(labels, path)| (labels, path.probes)),
    )
}

fn liveness(page: &mut Page<'_>, links: &[Told<'_>]) -> fmt::Result {
    page.counters(
        (
            "crossway_link_handshakes",
            "Handshakes that gave a session: the first, and a rekey every two minutes",
            None,
        ),
        each(links, |link| link.handshakes),
    )?;
    let ages = links.iter().filter_map(|told| {
        let age = told.0.last_handshake_seconds?;
        Some((labels(told), age))
    });
    page.gauges(
        (
            "crossway_link_handshake_age",
            "Time since the session in use was agreed; absent without one",
            SECONDS,
        ),
        ages,
    )?;
    let words = State::ALL.map(State::as_str);
    let with_bfd = links.iter().filter_map(|told| {
        let state = told.0.bfd_state.as_deref()?;
        Some((labels(told), state))
    });
    page.states(
        (
            "crossway_link_bfd_state",
            "1 for the state that the BFD session of a link is in",
        ),
        &words,
        with_bfd,
    )
}
