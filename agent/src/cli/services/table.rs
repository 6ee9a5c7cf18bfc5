//! Services for people.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use humantime::format_rfc3339_seconds;

use super::super::output::{Colour, Look};
use super::super::table::{Cell, Table};
use super::super::units::{bytes, count, counted};
use crate::control::message::{ReviewState, Service, ServiceGroup, ServicesOrdered, ServicesReply};

/// One line for each service, and what there is to say of the catalogue.
pub(super) fn list(reply: &ServicesReply, look: Look) -> String {
    let nothing = if reply.present == 0 {
        "No service has answered yet."
    } else {
        "No service."
    };
    format!("{}\n{}", rows(&reply.services, look, nothing), foot(reply))
}

/// What an order has come to.
pub(super) fn ordered(reply: &ServicesOrdered, look: Look) -> String {
    let group = reply
        .group
        .as_ref()
        .map(|group| line_of_group(group) + "\n");
    let services = if reply.services.is_empty() {
        String::new()
    } else {
        rows(&reply.services, look, "")
    };
    let done = group.unwrap_or_default() + &services;
    if done.is_empty() {
        "Done.\n".to_owned()
    } else {
        done
    }
}

/// The groups.
pub(super) fn groups(reply: &ServicesReply, look: Look) -> String {
    let mut table = Table::new(["GROUP", ">SERVICES", "NOTE"]);
    for group in &reply.groups {
        table.row([
            group.name.as_str().into(),
            count(group.services).into(),
            group.note.as_str().into(),
        ]);
    }
    table.text(look, "No group: `crossway services group NAME` makes one.")
}

fn line_of_group(group: &ServiceGroup) -> String {
    let services = counted(group.services, "service", "services");
    let mut line = format!("group {}: {services}", group.name);
    if !group.note.is_empty() {
        let _ = write!(line, ": {}", group.note);
    }
    line
}

fn rows(services: &[Service], look: Look, nothing: &str) -> String {
    let mut table = Table::new([
        "SERVICE",
        "IN",
        "STATE",
        "GROUP",
        ">CLIENTS",
        ">FLOWS",
        ">TO IT",
        ">FROM IT",
        "LAST SEEN",
        "NOTE",
    ])
    .spare(&["LAST SEEN", "FLOWS", "TO IT", "FROM IT", "GROUP"]);
    for service in services {
        let colour = match service.state {
            ReviewState::Approved => Colour::Green,
            ReviewState::Unreviewed | ReviewState::InReview => Colour::Yellow,
            ReviewState::Unapproved => Colour::Red,
        };
        table.row([
            match service.real {
                Some(real) => format!("{} ({real})", service.name()).into(),
                None => service.name().to_string().into(),
            },
            place(service).into(),
            Cell::coloured(service.state.as_str(), colour),
            service.group.clone().unwrap_or_default().into(),
            clients(service).into(),
            count(service.flows).into(),
            bytes(service.to_service_bytes).into(),
            bytes(service.from_service_bytes).into(),
            time(service.last_seen_unix_milliseconds).into(),
            note(service).into(),
        ]);
    }
    table.text(look, nothing)
}

/// All that is known of services.
pub(super) fn whole(reply: &ServicesReply) -> String {
    let blocks: Vec<String> = reply.services.iter().map(block).collect();
    blocks.join("\n")
}

fn block(service: &Service) -> String {
    let decided = match service.changed_unix_milliseconds {
        Some(at) => format!(
            "{}, last changed {} by {}",
            service.state.as_str(),
            time(at),
            service.changed_by
        ),
        None => service.state.as_str().to_owned(),
    };
    let group = service.group.clone().unwrap_or_default();
    let lines = [
        ("in", place(service).to_owned()),
        ("vnet", service.vnet.clone()),
        ("state", decided),
        ("group", group),
        ("note", note(service)),
        (
            "clients",
            format!("{}, {}", clients(service), from(service)),
        ),
        ("flows", count(service.flows)),
        ("to it", bytes(service.to_service_bytes)),
        ("from it", bytes(service.from_service_bytes)),
        ("first seen", time(service.first_seen_unix_milliseconds)),
        ("last seen", time(service.last_seen_unix_milliseconds)),
    ];
    let mut text = format!("{}\n", service.name());
    for (word, value) in lines.iter().filter(|(_, value)| !value.is_empty()) {
        let _ = writeln!(text, "  {word:10}  {value}");
    }
    text
}

fn foot(reply: &ServicesReply) -> String {
    let mut text = format!(
        "{} of {} shown",
        count(reply.services.len() as u64),
        counted(reply.matched, "service", "services")
    );
    let filter = reply.filter.to_string();
    if !filter.is_empty() {
        let _ = write!(text, " that match {filter}");
    }
    let _ = writeln!(
        text,
        "; the catalogue holds {} of {}",
        count(reply.present),
        count(reply.capacity)
    );
    let unanswered = counted(reply.unanswered_flows, "flow was", "flows were");
    let _ = write!(text, "{unanswered} answered by nobody");
    if reply.not_entered_flows > 0 {
        let more = counted(reply.not_entered_flows, "flow was", "flows were");
        let _ = write!(text, ", {more} to services for which there was no room");
    }
    let _ = match (reply.kept, reply.database.as_str()) {
        (true, database) => writeln!(text, "; kept in {database}"),
        (false, database) => writeln!(text, "; NOT kept in {database}: `crossway status` says why"),
    };
    text
}

fn place(service: &Service) -> &str {
    service.site.as_deref().unwrap_or("this side")
}

pub(in crate::cli) fn clients(service: &Service) -> String {
    if service.clients_exact {
        count(service.clients)
    } else {
        format!("~{}", count(service.clients))
    }
}

/// Where they are.
fn from(service: &Service) -> String {
    let here = service.clients_here.then_some("this side");
    let sites = service.client_sites.iter().map(String::as_str);
    let more = (!service.client_sites_complete).then_some("other sites");
    let from: Vec<&str> = here.into_iter().chain(sites).chain(more).collect();
    format!("from {}", from.join(", "))
}

fn note(service: &Service) -> String {
    match (service.guessed, service.note.as_str()) {
        (false, note) => note.to_owned(),
        (true, "") => "a guess by its port".to_owned(),
        (true, note) => format!("a guess by its port; {note}"),
    }
}

pub(in crate::cli) fn time(unix_milliseconds: u64) -> String {
    let at = SystemTime::UNIX_EPOCH + Duration::from_millis(unix_milliseconds);
    format_rfc3339_seconds(at).to_string()
}
