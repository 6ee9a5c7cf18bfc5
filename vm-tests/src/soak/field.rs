//! A ground with its agents, its stock peer and its traffic, all of it running.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::canary::Canary;
use super::connections::Connections;
use super::counting::{WITHOUT_AGENT, counts_of, idlest_flow, last_words};
use super::files::{self, Keys, Wanted};
use super::ground::{AGENTS, Ground, PATHS};
use super::ledger::Snapshot;
use super::streams::{Streams, Tally};
use super::vitals::Vitals;
use crate::api::LinkState;
use crate::crossway::Crossway;
use crate::host_state::{HostState, files_of};
use crate::kernel::{self, Counts};
use crate::peers::{Implementation, StockGateway};
use crate::plan::GatewayPlan;
use crate::wait;

/// A path that was cut for four seconds, hold-downs, a handshake that met nobody.
const RECOVERY: Duration = Duration::from_mins(1);
/// In which all streams must flow before they count as recovered.
const STEADY: Duration = Duration::from_secs(1);
/// What is under way arrives in milliseconds, unless it is lost.
const UNDER_WAY: Duration = Duration::from_millis(400);
const LATEST: Duration = Duration::from_secs(3);

/// The whole. Dropped, traffic ends first, then the agents, then their ground.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) connections: Connections,
    canary: Canary,
    pub(super) streams: Streams,
    pub(super) agents: Vec<Crossway>,
    pub(super) stock: Option<StockGateway>,
    pub(super) keys: Keys,
    /// Of each gateway, before its agent first started.
    hosts_before: Vec<HostState>,
    pub(super) ground: Ground,
}

impl Field {
    /// Starts everything; returns with paused traffic once all of it has flowed.
    pub(super) fn start(prefix: Option<&str>) -> Result<Self> {
        let ground = Ground::build(prefix)?;
        let keys = Keys::generate()?;
        let settled = ground.gateways().map(HostState::settled);
        let hosts_before = settled.into_iter().collect::<Result<_>>()?;
        let mut agents = Vec::new();
        for (gateway, netns) in ground.gateways().into_iter().enumerate() {
            let plan = GatewayPlan::new(netns.name(), keys.of[gateway].clone());
            let mut agent = Crossway::prepare_in(netns, ground.net.directory(), &plan)?;
            let config = files::file(&ground, &keys, gateway, Wanted::default())?;
            agent.write_config_text(&config.to_string())?;
            agent.start_again()?;
            agents.push(agent);
        }
        let mut field = Self {
            connections: Connections::start(&ground)?,
            canary: Canary::start(),
            streams: Streams::start(&ground)?,
            agents,
            stock: None,
            keys,
            hosts_before,
            ground,
        };
        field.start_stock()?;
        field.resume()?;
        field.recover()?;
        field.pause()?;
        Ok(field)
    }

    /// Starts the stock peer, with its routes.
    pub(super) fn start_stock(&mut self) -> Result<()> {
        let plan = files::stock_plan(&self.ground, &self.keys);
        let (netns, directory) = (self.ground.stock(), self.ground.net.directory());
        let stock = StockGateway::start_in(Implementation::WireguardGo, netns, directory, &plan)?;
        for route in plan.peers.iter().flat_map(|peer| &peer.routes) {
            netns.ip(&format!("route add {route} dev {}", stock.interface()))?;
        }
        self.stock = Some(stock);
        Ok(())
    }

    /// Gives a gateway another file; it is not told.
    pub(super) fn write_file(&self, gateway: usize, wanted: Wanted) -> Result<()> {
        let config = files::file(&self.ground, &self.keys, gateway, wanted)?;
        self.agents[gateway].write_config_text(&config.to_string())
    }

    /// Lets all traffic flow.
    pub(super) fn resume(&self) -> Result<()> {
        self.streams.set_flowing(true);
        self.connections.set_flowing(true)
    }

    /// Pauses all traffic, and returns when what was under way has come, or can come no more.
    pub(super) fn pause(&self) -> Result<()> {
        self.streams.set_flowing(false);
        self.connections.set_flowing(false)?;
        let begun = wait::now();
        let (mut last, mut since) = (self.streams.tallies(), begun);
        wait::until("streams to pause", RECOVERY, || {
            let now = self.streams.tallies();
            if now != last {
                (last, since) = (now, wait::now());
            }
            let quiet = since.elapsed() >= UNDER_WAY;
            (quiet || begun.elapsed() >= LATEST).then_some(())
        })
    }

    /// Waits until every link is up and every stream flows.
    pub(super) fn recover(&self) -> Result<()> {
        let mut window: (Instant, Vec<Tally>) = (wait::now(), self.streams.tallies());
        let mut wanting = String::new();
        let recovered = wait::try_until("all streams to flow", RECOVERY, || {
            if window.0.elapsed() < STEADY {
                return Ok(None);
            }
            let now = self.streams.tallies();
            let stopped = now.iter().zip(&window.1).position(|(now, then)| {
                let (sent, came) = (now.sent - then.sent, now.received - then.received);
                came * 10 < sent * 9
            });
            let down = self.links_that_are_down()?;
            window = (wait::now(), now);
            wanting = stopped.map_or_else(String::new, Streams::name) + &down.join(", ");
            Ok((stopped.is_none() && down.is_empty()).then_some(()))
        });
        recovered.with_context(|| format!("not recovered: {wanting}"))
    }

    fn links_that_are_down(&self) -> Result<Vec<String>> {
        let mut down = Vec::new();
        for agent in &self.agents {
            for link in agent.links()? {
                if link.state != LinkState::Up && !WITHOUT_AGENT.contains(&link.site.as_str()) {
                    let path = link.link.unwrap_or_default();
                    down.push(format!("{} {path}: {}", agent.name(), link.why));
                }
            }
        }
        Ok(down)
    }

    /// All counts, while traffic pauses.
    pub(super) fn snapshot(&self) -> Result<Snapshot> {
        let mut snapshot = Snapshot {
            streams: self.streams.tallies(),
            connections: self.connections.progress()?,
            held_up: self.canary.held_up(),
            ..Snapshot::default()
        };
        for agent in &self.agents {
            let name = self.short_name(agent.name());
            let counts = counts_of(name, agent)?;
            snapshot.agents.insert(name.to_owned(), counts);
        }
        for netns in self.ground.counting() {
            let name = self.short_name(netns.name());
            snapshot.kernel.extend(kernel::counts(name, netns)?);
        }
        for path in 0..PATHS {
            let name = format!("path-{} not forwarded", path + 1);
            snapshot
                .kernel
                .insert(name, self.ground.not_forwarded(path)?);
        }
        Ok(snapshot)
    }

    /// A namespace's name without what all of them begin with.
    pub(super) fn short_name<'a>(&self, name: &'a str) -> &'a str {
        let rest = name.strip_prefix(self.ground.net.prefix());
        rest.map_or(name, |rest| rest.trim_start_matches('-'))
    }

    /// For how many seconds the idlest flow of any agent's table has had no packet.
    pub(super) fn idlest_flow(&self) -> Result<u64> {
        let idlest = self.agents.iter().map(idlest_flow);
        let idlest: Vec<u64> = idlest.collect::<Result<_>>()?;
        Ok(idlest.into_iter().max().unwrap_or(0))
    }

    /// What every agent holds.
    pub(super) fn vitals(&self) -> Result<Vec<Vitals>> {
        let agents = self.agents.iter();
        agents
            .map(|agent| Vitals::of(agent.name(), agent.pid()?))
            .collect()
    }

    /// Stops an agent, which must leave its host as it was; what it said that it had dropped.
    pub(super) fn stop(&mut self, gateway: usize) -> Result<Counts> {
        let agent = &mut self.agents[gateway];
        let logged = agent.log().len();
        let ended = agent.stop()?;
        ensure!(ended.success(), "{} ended with {ended}", agent.name());
        let log = agent.log();
        let words = last_words(self.short_name(self.agents[gateway].name()), &log[logged..]);
        let left = self.left_behind(gateway)?;
        if !left.is_empty() {
            bail!("{} left behind:\n{left}", self.agents[gateway].name());
        }
        Ok(words)
    }

    fn left_behind(&self, gateway: usize) -> Result<String> {
        let after = HostState::of(self.ground.gateways()[gateway])?;
        let difference = self.hosts_before[gateway].difference(&after);
        let files = files_of(self.agents[gateway].name()).into_iter();
        let files: Vec<String> = files.map(|file| file.display().to_string()).collect();
        Ok(difference + &files.join("\n"))
    }

    /// Stops everything; what is left of it, one line each.
    pub(super) fn finish(mut self) -> Vec<String> {
        let mut left = Vec::new();
        for gateway in 0..AGENTS {
            if let Err(error) = self.stop(gateway) {
                left.push(format!("{error:#}"));
            }
        }
        let prefix = self.ground.net.prefix().to_owned();
        drop(self);
        let names = crate::netns::list().into_iter();
        left.extend(names.filter(|name| name.starts_with(&format!("{prefix}-"))));
        left
    }

    /// Where the logs are.
    pub(super) fn directory(&self) -> &Path {
        self.ground.net.directory()
    }

    /// Copies logs and files, but no keys.
    pub(super) fn keep_logs(&self, to: &Path) -> Result<PathBuf> {
        std::fs::create_dir_all(to)?;
        for entry in std::fs::read_dir(self.directory())?.flatten() {
            let path = entry.path();
            let kept = path
                .extension()
                .is_some_and(|kind| kind == "log" || kind == "toml");
            if kept {
                std::fs::copy(&path, to.join(entry.file_name()))?;
            }
        }
        Ok(to.to_owned())
    }
}
