//! A running Crossway agent and its command line.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::de::IgnoredAny;

use crate::netns::Netns;
use crate::plan::GatewayPlan;
use crate::process::{self, ProcessGuard};
use crate::topology::Topology;
use crate::{cleanup, sys};

mod counters;
pub(crate) mod replies;
mod succession;

pub use counters::Counters;
pub use replies::{ask, link_name};
pub use succession::Gap;

/// A start with loading and verifying the programs takes under a second, with a million routes ten; the
/// rest is for a busy machine.
const START_LIMIT: Duration = Duration::from_mins(1);
/// A clean stop undoes what was set up.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// What [`choose_binary`] was given.
static CHOSEN: OnceLock<PathBuf> = OnceLock::new();

/// Which binary this process starts where `$CROSSWAY_BIN` names none. The first choice stays.
pub fn choose_binary(path: PathBuf) {
    CHOSEN.get_or_init(|| path);
}

/// The agent's binary: `$CROSSWAY_BIN`, else the chosen one, else what `cargo xtask build` made.
pub fn binary() -> PathBuf {
    if let Some(path) = env::var_os("CROSSWAY_BIN") {
        return path.into();
    }
    if let Some(path) = CHOSEN.get() {
        return path.clone();
    }
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    workspace
        .canonicalize()
        .unwrap_or(workspace)
        .join("target/release/crossway")
}

/// One agent. Dropped, it is stopped; what it pinned goes with it.
#[derive(Debug)]
pub struct Crossway {
    plan: GatewayPlan,
    netns: String,
    config: PathBuf,
    log: PathBuf,
    /// Files that it sees in the place of others.
    seen: Vec<(PathBuf, &'static str)>,
    variables: Vec<(String, String)>,
    wrapper: Vec<String>,
    process: Option<ProcessGuard>,
}

impl Crossway {
    /// Writes key and configuration, starts the agent in its gateway's namespace, and waits until it
    /// answers on its socket.
    pub fn start(topology: &Topology, plan: &GatewayPlan) -> Result<Self> {
        let mut gateway = Self::prepare(topology, plan)?;
        gateway.start_again()?;
        Ok(gateway)
    }

    /// Writes key and configuration, and starts nothing.
    pub fn prepare(topology: &Topology, plan: &GatewayPlan) -> Result<Self> {
        let netns = &topology.site(&plan.site).gateway;
        Self::prepare_in(netns, topology.directory(), plan)
    }

    /// As [`Self::prepare`], in any namespace, with its files in `directory`.
    pub fn prepare_in(netns: &Netns, directory: &Path, plan: &GatewayPlan) -> Result<Self> {
        let mut gateway = Self {
            plan: plan.clone(),
            netns: netns.name().to_owned(),
            config: directory.join(format!("{}.toml", plan.name)),
            log: directory.join(format!("{}.log", plan.name)),
            seen: Vec::new(),
            variables: Vec::new(),
            wrapper: Vec::new(),
            process: None,
        };
        plan.keys.write_private(&gateway.key_file())?;
        gateway.write_config(plan)?;
        Ok(gateway)
    }

    /// Replaces the configuration file by a text of any form; the agent is not told.
    pub fn write_config_text(&self, text: &str) -> Result<()> {
        fs::write(&self.config, text)
            .with_context(|| format!("cannot write {}", self.config.display()))
    }

    /// From the next start on, the agent sees `file` as `/etc/hosts`.
    pub fn set_hosts(&mut self, file: &Path) {
        self.see(file, "/etc/hosts");
    }

    /// From the next start on, the agent sees `file` as `/etc/resolv.conf`.
    pub fn set_resolv_conf(&mut self, file: &Path) {
        self.see(file, "/etc/resolv.conf");
    }

    fn see(&mut self, file: &Path, place: &'static str) {
        self.seen.retain(|(_, other)| *other != place);
        self.seen.push((file.to_owned(), place));
    }

    /// From the next start on, the agent has this environment variable.
    pub fn set_variable(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// From the next start on, these words stand before the agent's command.
    pub fn set_wrapper(&mut self, words: &[&str]) {
        self.wrapper = words.iter().map(ToString::to_string).collect();
    }

    /// Starts the agent with the configuration as it is now; it must not be running.
    pub fn start_again(&mut self) -> Result<()> {
        let mut process = self.spawn(&[])?;
        let name = &self.plan.name;
        process.wait_until("answer", START_LIMIT, || {
            ask::<IgnoredAny>(name, &["status"]).ok()
        })?;
        self.process = Some(process);
        Ok(())
    }

    /// Starts the agent, which must refuse, and returns its exit code and what it said.
    pub fn refused(&self) -> Result<(i32, String)> {
        self.refused_with(&[])
    }

    fn refused_with(&self, options: &[&str]) -> Result<(i32, String)> {
        let before = self.log().len();
        let status = self.spawn(options)?.wait(START_LIMIT)?;
        let code = status.code().context("ended by a signal")?;
        Ok((code, self.log()[before..].to_owned()))
    }

    fn spawn(&self, options: &[&str]) -> Result<ProcessGuard> {
        let binary = binary();
        if !binary.exists() {
            bail!(
                "{} does not exist: run `cargo xtask build` first",
                binary.display()
            );
        }
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}/{}", crate::netns::NETNS_DIR, self.netns));
        for (file, place) in &self.seen {
            let script = r#"mount --bind "$0" "$1" && shift && exec "$@""#;
            command.args(["unshare", "--mount", "sh", "-c", script]);
            command.arg(file).arg(place);
        }
        // By relative names, as one would in the configuration's folder.
        let folder = self.config.parent().context("a file in a folder")?;
        command
            .current_dir(folder)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .args(&self.wrapper)
            .arg(&binary)
            .args(["run", "--config"])
            .args(self.config.file_name())
            .args(options);
        ProcessGuard::spawn(&self.plan.name, &mut command, &self.log)
    }

    /// Stops the agent by SIGTERM, which must leave the host as it was, and waits for its end.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        let mut process = self.process.take().context("it is not running")?;
        process.terminate(STOP_LIMIT)
    }

    /// Stops the agent by SIGINT, as Ctrl-C does.
    pub fn interrupt(&mut self) -> Result<ExitStatus> {
        let mut process = self.process.take().context("it is not running")?;
        sys::interrupt(process.pid())?;
        process.wait(STOP_LIMIT)
    }

    /// Waits until the agent ends by itself.
    pub fn wait_for_end(&mut self, limit: Duration) -> Result<ExitStatus> {
        let mut process = self.process.take().context("it is not running")?;
        process.wait(limit)
    }

    /// Ends the agent by SIGKILL; what it set up stays for the next start to take over.
    pub fn kill(&mut self) -> Result<()> {
        let mut process = self.process.take().context("it is not running")?;
        process.kill()?;
        Ok(())
    }

    /// Sends SIGHUP: read the configuration again.
    pub fn hang_up(&self) -> Result<()> {
        Ok(sys::hang_up(self.pid()?)?)
    }

    /// Replaces the configuration file; the agent is not told.
    pub fn write_config(&mut self, plan: &GatewayPlan) -> Result<()> {
        self.plan = plan.clone();
        let config = plan.config(Path::new(&self.key_name()))?;
        self.write_config_text(&config.to_string())
    }

    /// Path of the configuration file.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// The gateway's name.
    pub fn name(&self) -> &str {
        &self.plan.name
    }

    /// Whether its process is there.
    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(ProcessGuard::is_running)
    }

    /// Takes note that it has ended by itself.
    pub fn forget(&mut self) -> Result<()> {
        self.wait_for_end(STOP_LIMIT)?;
        Ok(())
    }

    /// Process id.
    pub fn pid(&self) -> Result<u32> {
        Ok(self.process.as_ref().context("it is not running")?.pid())
    }

    /// Everything the agent has logged since the first start.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Runs a command of the command line against this agent and returns what a person would read.
    pub fn command(&self, command: &[&str]) -> Result<String> {
        process::run(
            Command::new(binary())
                .args(["--gateway", self.name()])
                .args(command),
        )
    }

    /// Runs a command that must fail, and returns its exit code and what it said.
    pub fn failing_command(&self, command: &[&str]) -> Result<(i32, String)> {
        let output = Command::new(binary())
            .args(["--gateway", self.name()])
            .args(command)
            .output()?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        if output.status.success() {
            bail!("`crossway {}` succeeded: {said}", command.join(" "));
        }
        Ok((output.status.code().context("ended by a signal")?, said))
    }

    /// Path of the private key's file.
    pub fn key_file(&self) -> PathBuf {
        self.config.with_file_name(self.key_name())
    }

    fn key_name(&self) -> String {
        format!("{}.key", self.plan.name)
    }
}

impl Drop for Crossway {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process
            && let Err(error) = process.terminate(STOP_LIMIT)
        {
            eprintln!("{error:#}");
        }
        // A panic's own message comes first, then the log by the process guard.
        self.process = None;
        cleanup::remove_gateway_state(&self.plan.name);
    }
}

/// Starts an agent for each plan.
pub fn start_all(topology: &Topology, plans: &[GatewayPlan]) -> Result<Vec<Crossway>> {
    plans
        .iter()
        .map(|plan| Crossway::start(topology, plan))
        .collect()
}
