//! A Crossway agent in a guest; [`crate::crossway`] is the same in a namespace.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;

use super::{Guest, Place};
use crate::api::{DropsReply, Flow, Link, LinksReply, Site, SitesReply, Status};
use crate::crossway::{Counters, replies};
use crate::plan::GatewayPlan;
use crate::wait;

/// Verifying the programs takes an emulated processor half a minute, several times that on a busy machine.
const START_LIMIT: Duration = Duration::from_mins(4);
/// A clean stop undoes what was set up.
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// Between two questions: each starts a program, which is dear for an emulated processor.
const GAP: Duration = Duration::from_millis(300);
const AGENT: &str = "/usr/bin/crossway";
const LINES: &str = "60";

/// A guest that is a gateway.
#[derive(Debug)]
pub struct GuestGateway {
    guest: Guest,
    plan: GatewayPlan,
    agent: Option<u32>,
}

impl GuestGateway {
    /// Switches the machine on and writes key and configuration into it; starts no agent.
    pub fn boot(place: &Place<'_>, plan: &GatewayPlan, directory: &Path) -> Result<Self> {
        let mut gateway = Self {
            guest: place.boot(&plan.name, directory)?,
            plan: plan.clone(),
            agent: None,
        };
        let (keys, key_file) = (&plan.keys, gateway.key_file());
        gateway.guest.write(&key_file, &keys.private, 0o600)?;
        gateway.write_config(plan)?;
        Ok(gateway)
    }

    /// [`Self::boot`], and starts the agent.
    pub fn start(place: &Place<'_>, plan: &GatewayPlan, directory: &Path) -> Result<Self> {
        let mut gateway = Self::boot(place, plan, directory)?;
        gateway.start_agent()?;
        Ok(gateway)
    }

    /// Replaces the configuration file; the agent is not told.
    pub fn write_config(&mut self, plan: &GatewayPlan) -> Result<()> {
        self.plan = plan.clone();
        let text = plan.config(Path::new(&self.key_file()))?.to_string();
        let config = self.config();
        self.guest.write(&config, &text, 0o644)
    }

    /// Starts the agent with the configuration as it is now, and waits until it answers.
    pub fn start_agent(&mut self) -> Result<()> {
        let line = format!("{AGENT} run --config {}", self.config());
        let log = self.log_file();
        let pid = self.guest.spawn(&line, &log)?;
        self.agent = Some(pid);
        let name = self.plan.name.clone();
        let status = [AGENT, "--gateway", &name, "status", "--json"];
        wait::try_until("the agent to answer", START_LIMIT, || {
            // Not `query`: a guest that does not answer is an error, an agent that does not yet is none.
            if self.guest.follow(&status, START_LIMIT, |_| ())? == 0 {
                return Ok(Some(()));
            }
            if !self.is_running(pid)? {
                bail!("the agent ended\n{}", self.log());
            }
            wait::pace(GAP);
            Ok(None)
        })
        .with_context(|| format!("starting {name}"))
    }

    /// Stops the agent by SIGTERM, which must leave the machine as it was, and waits for its end.
    pub fn stop_agent(&mut self) -> Result<()> {
        let pid = self.agent.take().context("it is not running")?;
        self.guest.run(&format!("kill -TERM {pid}"))?;
        wait::try_until("the agent to end", STOP_LIMIT, || {
            let ended = !self.is_running(pid)?;
            Ok(ended.then_some(()))
        })
    }

    /// Takes its machine's power away, as a fault does.
    pub fn kill(&mut self) -> Result<()> {
        self.guest.kill()
    }

    /// Its machine.
    pub fn guest(&mut self) -> &mut Guest {
        &mut self.guest
    }

    fn ask<T: DeserializeOwned>(&mut self, command: &[&str]) -> Result<T> {
        let name = self.plan.name.clone();
        let words = [&[AGENT, "--gateway", &name], command, &["--json"]].concat();
        Ok(serde_json::from_value(self.guest.run_json(&words)?)?)
    }

    /// As [`crate::crossway::Crossway::status`].
    pub fn status(&mut self) -> Result<Status> {
        self.ask(&["status"])
    }

    /// As [`crate::crossway::Crossway::sites`].
    pub fn sites(&mut self) -> Result<Vec<Site>> {
        self.ask(&["sites"]).map(|reply: SitesReply| reply.sites)
    }

    /// As [`crate::crossway::Crossway::links`].
    pub fn links(&mut self) -> Result<Vec<Link>> {
        self.ask(&["links"]).map(|reply: LinksReply| reply.links)
    }

    /// Runs a command of the command line against the agent, and returns what a person would read.
    pub fn command(&mut self, command: &[&str]) -> Result<String> {
        let name = self.plan.name.clone();
        self.guest
            .run_words(&[&[AGENT, "--gateway", &name], command].concat())
    }

    /// As [`crate::crossway::Crossway::dropped`].
    pub fn dropped(&mut self) -> Result<Vec<(String, u64)>> {
        let reply: DropsReply = self.ask(&["drops"])?;
        Ok(replies::dropped(reply.drops))
    }

    /// As [`crate::crossway::Crossway::flows`].
    pub fn flows(&mut self, filter: &[&str]) -> Result<Vec<(Flow, Counters)>> {
        Ok(replies::flows(self.ask(&[&["flows"], filter].concat())?))
    }

    /// As [`crate::crossway::Crossway::site`].
    pub fn site(&mut self, name: &str) -> Result<Counters> {
        replies::site(&self.sites()?, name)
    }

    /// The end of what the agent has logged since the machine was switched on.
    pub fn log(&mut self) -> String {
        let log = self.log_file();
        let text = self.guest.run(&format!("tail -n {LINES} {log}"));
        let text = text.unwrap_or_else(|error| format!("{error:#}"));
        format!("--- agent of {}:\n{}\n---", self.plan.name, text.trim_end())
    }

    fn is_running(&mut self, pid: u32) -> Result<bool> {
        let words = ["sh", "-c", &format!("[ -d /proc/{pid} ] && echo yes; true")];
        Ok(self.guest.run_words(&words)?.contains("yes"))
    }

    fn config(&self) -> String {
        format!("/etc/crossway/{}.toml", self.plan.name)
    }

    fn key_file(&self) -> String {
        format!("/etc/crossway/{}.key", self.plan.name)
    }

    fn log_file(&self) -> String {
        format!("/var/log/{}.log", self.plan.name)
    }
}

impl Drop for GuestGateway {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}
