//! `crossway status`.

use std::fmt::Write;

use super::failure::Failure;
use super::output::{Colour, Look};
use super::table::{Cell, Table};
use super::units::{bytes, count, counted, duration, rate};
use super::{Options, Watch, links, reading, sites, vrrp};
use crate::control::message::{
    Attachment, HealthTarget, Link, Offload, PolicyState, Posture, Status,
};
use crate::control::{Request, Response};
use crate::engine::Engine;

/// Shows the whole gateway.
pub(super) fn status(options: &Options, watch: Watch) -> Result<(), Failure> {
    let pick = |response| match response {
        Response::Status(status) => Some(*status),
        _ => None,
    };
    reading::watch(options, watch, &Request::Status, pick, text)
}

fn text(status: &Status, look: Look) -> String {
    let mut text = head(status, look);
    if !status.health.targets.is_empty() {
        let _ = write!(text, "\n{}", targets(&status.health.targets, look));
    }
    let _ = write!(text, "\n{}", sites::table(&status.sites, look));
    if !status.virtual_routers.is_empty() {
        let _ = write!(text, "\n{}", vrrp::table(&status.virtual_routers, look));
    }
    if !status.replicas.is_empty() {
        let _ = write!(text, "\n{}", replicas(&status.replicas, look));
    }
    if !status.attachments.is_empty() {
        let _ = write!(text, "\n{}", attachments(&status.attachments, look));
    }
    if !status.offloads.is_empty() {
        let _ = write!(text, "\n{}", offloads(&status.offloads, look));
    }
    list(
        &mut text,
        "Changed on this host, restored when the gateway stops",
        &status.host_changes,
    );
    let warnings = look.paint("Warnings", Some(Colour::Yellow));
    list(&mut text, &warnings, &status.warnings);
    text
}

fn head(status: &Status, look: Look) -> String {
    let name = look.paint(&status.gateway, Some(Colour::Bold));
    let fast_path = if status.fast_path {
        "on: eBPF forwards"
    } else {
        "off: the kernel stack forwards"
    };
    let lan = if status.health.lan_alive {
        look.paint("alive", Some(Colour::Green))
    } else {
        look.paint("dead", Some(Colour::Red))
    };
    let pins = match status.pins.as_str() {
        "" => String::new(),
        folder => format!("  pins        {folder}\n"),
    };
    let totals = &status.totals;
    format!(
        "{name}  up {}  crossway {} (abi {})  pid {}  memory {}\n\
         \x20 listen      {}, {}\n\
         \x20 tunnel      {}, MTU {} ({})\n{}\
         \x20 engine      {}\n\
         \x20 fast path   {fast_path}\n\
         \x20 policy      {}\n\
         \x20 LAN         {lan} for {}, {}\n\
         \x20 to sites    {}, {}\n\
         \x20 from sites  {}, {}\n\
         \x20 public key  {}\n\
         \x20 config      {}\n{pins}\
         \x20 posture     {}\n",
        duration(status.uptime_seconds),
        status.version,
        status.abi_version,
        status.pid,
        bytes(status.memory_rss_bytes),
        status.listen,
        counted(status.lanes.into(), "lane", "lanes"),
        status.tun.name,
        status.tun.mtu_bytes,
        status.tun.why,
        paths(status),
        engines(status),
        policy(&status.policy),
        duration(status.health.since_seconds),
        status.health.why,
        bytes(totals.to_site_bytes),
        now(totals.to_site_bytes_per_second),
        bytes(totals.from_site_bytes),
        now(totals.from_site_bytes_per_second),
        status.public_key,
        status.config_file,
        posture(&status.posture),
    )
}

/// Whether there are rules, and who goes by them.
fn policy(policy: &PolicyState) -> String {
    let shadow = match policy.shadow_rules {
        0 => String::new(),
        shadow => format!(", {} tried out", counted(shadow, "rule", "rules")),
    };
    if !policy.closed {
        return format!("open: everything passes{shadow}");
    }
    let rules = counted(policy.rules, "rule", "rules");
    let judges = if policy.by_programs {
        "the eBPF programs"
    } else {
        "the lanes"
    };
    format!("closed: {rules}{shadow}, judged by {judges}")
}

/// How large packets are on the links, where a path takes less than the tunnel.
fn paths(status: &Status) -> String {
    let links = status.sites.iter().flat_map(|site| &site.links);
    let sizes = links.filter_map(|link| Some(u32::from(link.path_mtu.as_ref()?.mtu_bytes)));
    let sizes: Vec<u32> = sizes.collect();
    match (sizes.iter().min(), sizes.iter().max()) {
        (Some(least), Some(most)) if *most < status.tun.mtu_bytes && least == most => {
            format!("  paths       take packets of {least} bytes\n")
        }
        (Some(least), Some(most)) if *least < status.tun.mtu_bytes => {
            format!("  paths       take packets of {least} to {most} bytes, by link\n")
        }
        _ => String::new(),
    }
}

/// What runs the sessions, and what those cannot do.
fn engines(status: &Status) -> String {
    let links = status.sites.iter().flat_map(|site| &site.links);
    let links: Vec<&Link> = links.chain(&status.replicas).collect();
    let described = Engine::ALL.into_iter().filter_map(|engine| {
        let run = links.iter().filter(|link| link.engine == engine);
        let mut run: Vec<&str> = run.map(|link| link.gateway.as_str()).collect();
        run.dedup();
        let name = match (engine == status.engine, run.is_empty()) {
            (true, _) => engine.to_string(),
            (false, true) => return None,
            (false, false) => format!("{engine} for {}", run.join(", ")),
        };
        Some(match engine.limits().filter(|_| !run.is_empty()) {
            Some(limits) => format!("{name} ({limits})"),
            None => name,
        })
    });
    described.collect::<Vec<_>>().join("; ")
}

fn posture(posture: &Posture) -> String {
    let capabilities = match posture.capabilities.as_slice() {
        [] => "no capabilities".to_owned(),
        held => held.join(" "),
    };
    let lanes = posture.threads.iter();
    let mut lanes = lanes.filter(|thread| thread.name.starts_with("lane-"));
    let lanes = if lanes.all(|lane| lane.capabilities.is_empty()) {
        "none in lanes"
    } else {
        "in lanes too"
    };
    let new = if posture.no_new_privileges {
        "no"
    } else {
        "may gain"
    };
    let seccomp = if posture.seccomp { "on" } else { "off" };
    format!("{capabilities} ({lanes}), {new} new privileges, seccomp {seccomp}")
}

fn now(bytes_per_second: u64) -> String {
    match bytes_per_second {
        0 => "nothing now".to_owned(),
        moving => format!("{} now", rate(moving)),
    }
}

fn targets(targets: &[HealthTarget], look: Look) -> String {
    let mut table = Table::new(["HEALTH TARGET", "KIND", "BY", "STATE", ">FOR", "WHY"])
        .spare(&["KIND", "BY", "FOR"]);
    for target in targets {
        let colour = match target.state.as_str() {
            "up" => Colour::Green,
            "down" => Colour::Red,
            _ => Colour::Yellow,
        };
        table.row([
            target.target.as_str().into(),
            target.kind.as_str().into(),
            target.interface.as_str().into(),
            Cell::coloured(target.state.as_str(), colour),
            duration(target.since_seconds).into(),
            target.why.as_str().into(),
        ]);
    }
    table.text(look, "")
}

fn replicas(links: &[Link], look: Look) -> String {
    let mut table = Table::new([
        "REPLICA",
        "STATE",
        ">FOR",
        ">FLOWS TOLD",
        ">HEARD",
        ">ENTERED",
        ">UPDATED",
        "WHY",
    ])
    .spare(&["UPDATED", "ENTERED", "HEARD", "FLOWS TOLD", "FOR"]);
    for link in links {
        let flows = link.replica.unwrap_or_default();
        table.row([
            link.gateway.as_str().into(),
            Cell::coloured(link.state.as_str(), links::colour(link.state)),
            duration(link.since_seconds).into(),
            count(flows.flows_sent).into(),
            count(flows.flows_received).into(),
            count(flows.flows_entered).into(),
            count(flows.flows_updated).into(),
            link.why.as_str().into(),
        ]);
    }
    table.text(look, "")
}

fn attachments(attachments: &[Attachment], look: Look) -> String {
    let mut table = Table::new(["INTERFACE", "PROGRAM", "MODE", "WHY"]);
    for attachment in attachments {
        table.row([
            attachment.interface.as_str().into(),
            attachment.hook.as_str().into(),
            attachment.mode.as_str().into(),
            attachment.reason.as_str().into(),
        ]);
    }
    table.text(look, "")
}

fn offloads(offloads: &[Offload], look: Look) -> String {
    let mut table = Table::new(["OFFLOAD", "STATE", ">FOR", "WHY"]).spare(&["FOR"]);
    for offload in offloads {
        let state = if offload.on {
            Cell::coloured("on", Colour::Green)
        } else {
            Cell::coloured("off", Colour::Yellow)
        };
        table.row([
            offload.name.as_str().into(),
            state,
            duration(offload.since_seconds).into(),
            offload.why.as_str().into(),
        ]);
    }
    table.text(look, "")
}

fn list(text: &mut String, head: &str, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n{head}:");
    for line in lines {
        let _ = writeln!(text, "  {line}");
    }
}
