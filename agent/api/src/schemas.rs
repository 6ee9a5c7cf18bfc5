//! The JSON schemas of what `--json` prints, as files in `schemas/`: the contract with other programs, in a form that
//! programs read. A change of a reply changes its file, where a reviewer sees it.
//!
//! To write them anew after a wanted change: `CROSSWAY_SCHEMAS=write cargo test -p crossway-api schemas`.

use std::fs;
use std::path::{Path, PathBuf};

use schemars::{JsonSchema, schema_for};

use crate::message;

/// Every command with `--json`, and what it prints; of events, finished flows and the log a line for each.
fn all() -> Vec<(&'static str, String)> {
    vec![
        of::<message::CaptureSummary>("capture"),
        of::<message::DoctorReport>("doctor"),
        of::<message::DropsReply>("drops"),
        of::<message::Event>("events"),
        of::<message::Explained>("explain"),
        of::<message::FlowsReply>("flows"),
        of::<message::FinishedRecord>("flows-finished"),
        of::<message::LinksReply>("links"),
        of::<message::LogLine>("log"),
        of::<message::PolicyDiff>("policy-diff"),
        of::<message::PolicyReply>("policy-show"),
        of::<message::Reload>("reload"),
        of::<message::Report>("report"),
        of::<message::RouteAnswer>("routes-get"),
        of::<message::RoutesReply>("routes-list"),
        of::<message::OverlapsReply>("routes-overlaps"),
        of::<message::ServicesReply>("services"),
        of::<message::ServicesOrdered>("services-ordered"),
        of::<message::SitesReply>("sites"),
        of::<message::Status>("status"),
    ]
}

fn of<T: JsonSchema>(command: &'static str) -> (&'static str, String) {
    let schema = serde_json::to_string_pretty(&schema_for!(T)).expect("a schema is JSON");
    (command, format!("{schema}\n"))
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas")
}

#[test]
fn the_schemas_are_those_of_the_files() {
    let write = std::env::var_os("CROSSWAY_SCHEMAS").is_some_and(|word| word == "write");
    let mut others = Vec::new();
    for (command, schema) in all() {
        let file = folder().join(format!("{command}.json"));
        if write {
            fs::create_dir_all(folder()).unwrap();
            fs::write(&file, &schema).unwrap();
        }
        if fs::read_to_string(&file).unwrap_or_default() != schema {
            others.push(command);
        }
    }
    assert!(
        others.is_empty(),
        "not as in agent/api/schemas: {others:?}; if the change is wanted, run \
         `CROSSWAY_SCHEMAS=write cargo test -p crossway-api schemas`"
    );
}

#[test]
fn every_file_is_a_schema_of_today() {
    let known: Vec<String> = all()
        .iter()
        .map(|(command, _)| format!("{command}.json"))
        .collect();
    for entry in fs::read_dir(folder()).unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        assert!(known.contains(&name), "{name} is of no command");
    }
}

#[test]
fn every_field_is_explained() {
    for (command, schema) in all() {
        let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
        let types = schema["$defs"].as_object().into_iter().flatten();
        let types = types.map(|(_, of)| of).chain([&schema]);
        for of in types {
            for (field, of_field) in of["properties"].as_object().into_iter().flatten() {
                let explained = of_field["description"].is_string();
                assert!(explained, "{command}: {field} has no description");
            }
        }
    }
}
