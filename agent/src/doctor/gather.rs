//! Collects the facts: of the gateway by its socket, of its file, and of the host. Nothing is changed.

mod host;
mod path;
mod ways;

use std::io;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use thiserror::Error;

use super::facts::{Facts, Running};
use crate::config::{Accepted, Config, Files, Rejected};
use crate::control::client::{self, ClientError};
use crate::control::message::{EventsRequest, NotChecked};
use crate::control::{Request, Response, run_dir};
use crate::disk::Disk;
use crossway_api::message::FlowsRequest;

/// What is to be looked at.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Name of a running gateway; not needed where only one runs.
    pub gateway: Option<&'a str>,
    /// Its file, which need not be in force.
    pub file: Option<&'a Path>,
}

/// Why nothing could be looked at.
#[derive(Debug, Error)]
pub enum GatherError {
    /// The gateway does not answer.
    #[error("{0}; or look at a file: `crossway doctor --config FILE`")]
    Gateway(ClientError),
    /// The file cannot be understood, and no gateway runs by it.
    #[error("{0}")]
    File(Rejected),
    /// The gateway runs somewhere else.
    #[error(
        "gateway {gateway} runs in another network namespace (its tunnel device {tun} is not here): \
         `nsenter --net --target {pid} {program} --gateway {gateway} doctor`"
    )]
    Elsewhere {
        /// Its name.
        gateway: String,
        /// Its tunnel device.
        tun: String,
        /// Its process.
        pid: u32,
        /// This program.
        program: String,
    },
    /// Anything else.
    #[error("{0:#}")]
    Other(#[from] anyhow::Error),
}

/// Collects all of them. It takes a second or two, and some more where something is wrong.
pub fn gather(target: Target<'_>) -> Result<Facts, GatherError> {
    let mut facts = begin(target)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start a runtime")?;
    runtime.block_on(host::look(&mut facts))?;
    Ok(facts)
}

/// The gateway's answers and its file.
fn begin(target: Target<'_>) -> Result<Facts, GatherError> {
    let mut facts = Facts::default();
    let of_file = target.file.map(load);
    let name = match &of_file {
        Some(Ok(accepted)) => Some(accepted.config.gateway.name.clone()),
        _ => target.gateway.map(str::to_owned),
    };
    match ask_all(name.as_deref(), &mut facts.not_checked) {
        Ok(running) => facts.running = Some(running),
        Err(AskError::Client(
            ClientError::NotRunning { .. } | ClientError::NoneRuns(_) | ClientError::SeveralRun(_),
        )) if of_file.is_some() => {}
        Err(AskError::Client(error)) => return Err(GatherError::Gateway(error)),
        Err(AskError::Strange(error)) => return Err(error.into()),
    }
    match (of_file, target.file) {
        (Some(Err(rejected)), _) if facts.running.is_none() => {
            return Err(GatherError::File(rejected));
        }
        (Some(loaded), Some(file)) => {
            file.clone_into(&mut facts.file);
            facts.config = Some(loaded);
        }
        _ => load_of_running(&mut facts),
    }
    facts.gateway = match (&facts.running, &facts.config) {
        (Some(running), _) => running.status.gateway.clone(),
        (None, Some(Ok(accepted))) => accepted.config.gateway.name.clone(),
        (None, _) => String::new(),
    };
    Ok(facts)
}

fn load(file: &Path) -> Result<Accepted, Rejected> {
    Config::load(file, &Disk)
}

/// The file of the gateway that runs, if this user may read it.
fn load_of_running(facts: &mut Facts) {
    let Some(running) = &facts.running else {
        return;
    };
    facts.file = running.status.config_file.clone().into();
    if Disk
        .text(&facts.file)
        .is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    {
        facts.not_checked.push(NotChecked {
            check: "config".to_owned(),
            why: format!("this user may not read {}", facts.file.display()),
        });
        return;
    }
    facts.config = Some(load(&facts.file));
}

enum AskError {
    Client(ClientError),
    Strange(anyhow::Error),
}

impl From<ClientError> for AskError {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}

fn ask_all(gateway: Option<&str>, not_checked: &mut Vec<NotChecked>) -> Result<Running, AskError> {
    let folder = run_dir();
    let ask = |request: Request| client::ask(&folder, gateway, &request);
    let all_flows = FlowsRequest {
        without_rates: true,
        ..FlowsRequest::default()
    };
    let mut running = Running::default();
    for request in [
        Request::Status,
        Request::Links,
        Request::Flows(all_flows),
        Request::Drops,
        Request::Events(EventsRequest::default()),
    ] {
        let asked_for_flows = matches!(request, Request::Flows(_));
        let response = match ask(request) {
            // Without the fast path there are none.
            Err(ClientError::Refused(why)) if asked_for_flows => {
                not_checked.push(NotChecked {
                    check: "one-way".to_owned(),
                    why,
                });
                continue;
            }
            response => response?,
        };
        match response {
            Response::Status(status) => running.status = *status,
            Response::Links(reply) => running.links = reply.links,
            Response::Flows(reply) => running.flows = reply,
            Response::Drops(reply) => running.drops = reply,
            Response::Events(reply) => running.events = reply.events,
            _ => {
                let strange = anyhow!(
                    "unexpected answer from the gateway: use the same version of crossway as the gateway"
                );
                return Err(AskError::Strange(strange));
            }
        }
    }
    Ok(running)
}
