//! `crossway links`.

use super::failure::Failure;
use super::output::{Colour, Look};
use super::table::{Cell, Table};
use super::units::{bytes, duration};
use super::{Options, Watch, reading};
use crate::control::message::{Link, LinkState, LinksReply, Messages, PathMtuState};
use crate::control::{Request, Response};

/// Shows the links.
pub(super) fn links(options: &Options, watch: Watch) -> Result<(), Failure> {
    let pick = |response| match response {
        Response::Links(reply) => Some(reply),
        _ => None,
    };
    reading::watch(options, watch, &Request::Links, pick, text)
}

pub(super) fn colour(state: LinkState) -> Colour {
    match state {
        LinkState::Up => Colour::Green,
        LinkState::Connecting | LinkState::Drained => Colour::Yellow,
        LinkState::Down => Colour::Red,
    }
}

pub(super) fn text(reply: &LinksReply, look: Look) -> String {
    let mut table = Table::new([
        "SITE",
        "LINK",
        ">LANE",
        "ENGINE",
        "STATE",
        ">SINCE",
        "ROLE",
        "WATCHED BY",
        "ENDPOINT",
        "FROM",
        "PATH MTU",
        ">HANDSHAKE",
        ">SENT",
        ">RECEIVED",
        ">LOSS",
        ">KEEPALIVE",
        ">PRIORITY",
        "WHY",
    ])
    .spare(&[
        "ENGINE",
        "LANE",
        "KEEPALIVE",
        "PRIORITY",
        "FROM",
        "PATH MTU",
        "WATCHED BY",
        "RECEIVED",
        "SENT",
        "HANDSHAKE",
        "LOSS",
        "ENDPOINT",
        "SINCE",
    ]);
    for link in &reply.links {
        let name = match &link.link {
            Some(path) => format!("{}/{path}", link.gateway),
            None => link.gateway.clone(),
        };
        let site = if link.replica.is_some() {
            "(replica)"
        } else {
            link.site.as_str()
        };
        let role = match (link.carries_flows, link.state) {
            (_, LinkState::Up) if link.replica.is_some() => "in step",
            (true, _) => "carries",
            (false, LinkState::Up) => "spare",
            (false, _) => "-",
        };
        let priority = match link.replica {
            Some(_) => "-".to_owned(),
            None => link.priority.to_string(),
        };
        let watch = match link.detection_milliseconds {
            Some(milliseconds) => format!("{} {milliseconds}ms", link.watched_by.as_str()),
            None => link.watched_by.as_str().to_owned(),
        };
        let watch = match link.probe {
            Some(probe) => format!("{watch}, {probe}"),
            None => watch,
        };
        let handshake = link.last_handshake_seconds.map_or_else(
            || "never".to_owned(),
            |ago| format!("{} ago", duration(ago)),
        );
        let keepalive = link
            .keepalive_seconds
            .map_or_else(|| "-".to_owned(), |seconds| format!("{seconds}s"));
        let local = link
            .local_address
            .map_or_else(|| "-".to_owned(), |address| address.to_string());
        table.row([
            site.into(),
            name.into(),
            link.lane.to_string().into(),
            link.engine.as_str().into(),
            Cell::coloured(link.state.as_str(), colour(link.state)),
            duration(link.since_seconds).into(),
            role.into(),
            watch.into(),
            link.endpoint.as_deref().unwrap_or("-").into(),
            local.into(),
            path_mtu(link).into(),
            handshake.into(),
            bytes(link.tx_bytes).into(),
            bytes(link.rx_bytes).into(),
            loss(&link.messages).into(),
            keepalive.into(),
            priority.into(),
            link.why.as_str().into(),
        ]);
    }
    table.text(look, "No link is configured.")
}

/// The size, how it is known where that is not by what passes, and what was lost.
fn path_mtu(link: &Link) -> String {
    let Some(path) = &link.path_mtu else {
        return "-".to_owned();
    };
    let state = match path.state {
        PathMtuState::Found => String::new(),
        other => format!(" {}", other.as_str()),
    };
    let lost = match path.black_holes {
        0 => String::new(),
        1 => ", 1 black hole".to_owned(),
        several => format!(", {several} black holes"),
    };
    format!("{}{state}{lost}", path.mtu_bytes)
}

/// The share of the far end's messages that has not come.
fn loss(messages: &Messages) -> String {
    let sent = messages.received + messages.missing;
    if sent == 0 {
        return "-".to_owned();
    }
    match messages.missing as f64 * 100.0 / sent as f64 {
        0.0 => "0%".to_owned(),
        small if small < 0.1 => "<0.1%".to_owned(),
        some if some < 10.0 => format!("{some:.1}%"),
        much => format!("{much:.0}%"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_is_the_share_that_has_not_come() {
        let of = |received, missing| {
            loss(&Messages {
                received,
                missing,
                ..Messages::default()
            })
        };
        assert_eq!(of(0, 0), "-");
        assert_eq!(of(5, 0), "0%");
        assert_eq!(of(1_000_000, 1), "<0.1%");
        assert_eq!(of(998, 2), "0.2%");
        assert_eq!(of(3, 1), "25%");
        assert_eq!(of(0, 7), "100%");
    }
}
