//! `crossway events`.

use std::time::{Duration, SystemTime};

use clap::Args;
use humantime::format_rfc3339_millis;

use super::failure::Failure;
use super::output::{Colour, Look, print};
use super::{Options, following, reading};
use crate::control::message::{Event, EventKind, EventsReply, EventsRequest};
use crate::control::{Request, Response};

/// Widths of the columns: lines come one by one, so none can wait for the widest.
const KIND_WIDTH: usize = 14;
const SUBJECT_WIDTH: usize = 18;

/// What `crossway events` takes.
#[derive(Args, Debug)]
#[command(
    long_about = "Show what has changed, oldest first: states of sites, links, virtual routers and \
                  health targets, reloads, interfaces of this host, and the fast path. Each line is \
                  the time (UTC), the kind, the name, the old and the new state, and the cause.\n\n\
                  The gateway keeps the last 1,024 events since its start.",
    after_help = "With --json each event is one line of JSON (NDJSON): sequence, unix_milliseconds, \
                  kind, subject, from (or null), to, cause. A line {\"missed\":N} means that N events were discarded before this reader had read them.\n\n\
                  With --follow the exit code is 1 when the gateway ends.\n\n\
                  Examples:\n  \
                  crossway events --last 20\n  \
                  crossway events --follow\n  \
                  crossway events --follow --json | jq -c 'select(.kind == \"site\")'"
)]
pub(super) struct Events {
    /// Show the last N events only; with --follow, 10 where nothing is said
    #[arg(long, value_name = "N")]
    last: Option<usize>,
    /// Go on and show each new event as it comes, until Ctrl-C
    #[arg(long)]
    follow: bool,
}

/// Shows events.
pub(super) fn events(options: &Options, wanted: &Events) -> Result<(), Failure> {
    let look = Look::of_stdout(options);
    let request = Request::Events(EventsRequest {
        last: wanted
            .last
            .or_else(|| wanted.follow.then_some(following::BEFORE)),
        follow: wanted.follow,
    });
    if !wanted.follow {
        let reply = reading::ask(options, &request, pick)?;
        if reply.events.is_empty() && !options.json {
            return print("Nothing has changed yet.\n");
        }
        return show(options, &reply, look);
    }
    following::follow(options, &request, pick, |reply| show(options, reply, look))
}

fn pick(response: Response) -> Option<EventsReply> {
    match response {
        Response::Events(reply) => Some(reply),
        _ => None,
    }
}

fn show(options: &Options, reply: &EventsReply, look: Look) -> Result<(), Failure> {
    let missed = (reply.missed, ["event was", "events were"]);
    following::print_records(options, look, missed, reply.events.iter(), |event| {
        line(event, look)
    })
}

fn line(event: &Event, look: Look) -> String {
    let at = SystemTime::UNIX_EPOCH + Duration::from_millis(event.unix_milliseconds);
    let to = look.paint(&event.to, colour(event));
    let change = match &event.from {
        Some(from) => format!("{from} -> {to}"),
        None => to,
    };
    format!(
        "{}  {:KIND_WIDTH$}  {:SUBJECT_WIDTH$}  {change}: {}\n",
        format_rfc3339_millis(at),
        event.kind.as_str(),
        event.subject,
        event.cause,
    )
}

/// Only words whose meaning is beyond doubt have a colour.
fn colour(event: &Event) -> Option<Colour> {
    match event.to.as_str() {
        "Active" | "Up" | "up" | "alive" | "applied" | "on" => Some(Colour::Green),
        "Degraded" | "Connecting" | "no carrier" => Some(Colour::Yellow),
        "Down" | "down" | "dead" | "gone" | "rejected" | "failed" => Some(Colour::Red),
        "off" if event.kind == EventKind::FastPath => Some(Colour::Red),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_with_time_states_and_cause() {
        let event = Event {
            sequence: 7,
            unix_milliseconds: 1_800_000_000_123,
            kind: EventKind::Site,
            subject: "paris".to_owned(),
            from: Some("Active".to_owned()),
            to: "Down".to_owned(),
            cause: "paris-1: no answer from 203.0.113.7:51820".to_owned(),
        };
        assert_eq!(
            line(&event, Look::PLAIN),
            "2027-01-15T08:00:00.123Z  site            paris               Active -> Down: \
             paris-1: no answer from 203.0.113.7:51820\n"
        );
        let first = Event {
            from: None,
            ..event
        };
        assert!(line(&first, Look::PLAIN).contains("  Down: paris-1"));
    }
}
