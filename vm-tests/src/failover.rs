//! Crossway on every gateway of a [`Redundant`] topology.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use serde_json::Value;

use crate::crossway::Crossway;
use crate::keys::KeyPair;
use crate::plan::GatewayPlan;
use crate::topology::{LISTEN_PORT, Near, Redundant, Replica};
use crate::wait;

/// Handshakes of every link and BFD's first packets.
const UP: Duration = Duration::from_secs(20);

/// What differs from row to row.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Milliseconds between two BFD packets.
    pub interval_ms: u32,
    /// Lost packets after which a link is dead.
    pub multiplier: u32,
    /// Milliseconds that a link must be up again before it takes flows back.
    pub hold_down_ms: u32,
    /// More lines for the `[gateway]` table of every replica of site `a`.
    pub replica_lines: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            interval_ms: 100,
            multiplier: 3,
            hold_down_ms: 5000,
            replica_lines: Vec::new(),
        }
    }
}

/// The agents, until dropped.
#[derive(Debug)]
pub struct Gateways {
    agents: Vec<Crossway>,
}

impl Gateways {
    /// Starts an agent on every gateway, and waits until all links are up.
    pub fn start(net: &Redundant, settings: &Settings) -> Result<Self> {
        let mut plans = Vec::new();
        for gateway in net.gateways() {
            plans.push((gateway, plan(gateway)?));
        }
        let mut agents = Vec::new();
        for (own, (gateway, plan)) in plans.iter().enumerate() {
            let mut agent = Crossway::prepare_in(&gateway.netns, net.directory(), plan)?;
            let text = config(net, &plans, own, settings, &agent.key_file());
            agent.write_config_text(&text)?;
            agent.start_again()?;
            agents.push(agent);
        }
        let gateways = Self { agents };
        gateways.wait_until_up()?;
        Ok(gateways)
    }

    /// All of them: those of site `a`, then that of site `b`.
    pub fn all(&self) -> impl Iterator<Item = &Crossway> {
        self.agents.iter()
    }

    /// A gateway of site `a`.
    pub fn replica(&mut self, index: usize) -> &mut Crossway {
        &mut self.agents[index]
    }

    /// The gateway of site `b`.
    pub fn far(&self) -> &Crossway {
        &self.agents[self.agents.len() - 1]
    }

    /// What the gateway of site `b` calls its link over a path to the first gateway of site `a`.
    pub fn name_of_link(&self, path: usize) -> String {
        format!("a/{}/path-{}", self.agents[0].name(), path + 1)
    }

    /// Waits until every link of every agent is up, and watched by BFD.
    pub fn wait_until_up(&self) -> Result<()> {
        wait::try_until("every link to be up", UP, || {
            for agent in &self.agents {
                let answer = agent.query(&["links"])?;
                let links = answer["links"].as_array().map_or(&[][..], Vec::as_slice);
                let up = |link: &Value| link["state"] == "Up" && link["watched_by"] == "bfd";
                if links.is_empty() || !links.iter().all(up) {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        })
    }
}

fn plan(gateway: &Replica) -> Result<GatewayPlan> {
    Ok(GatewayPlan {
        name: gateway.name().to_owned(),
        site: String::new(),
        keys: KeyPair::generate()?,
        listen_port: LISTEN_PORT,
        mtu: None,
        tunnel_addresses: Vec::new(),
        peers: Vec::new(),
        gateway_lines: Vec::new(),
        wan_lines: Vec::new(),
    })
}

/// The first path and the first replica have the highest priority.
fn config(
    net: &Redundant,
    plans: &[(&Replica, GatewayPlan)],
    own: usize,
    settings: &Settings,
    key: &Path,
) -> String {
    let far = plans.len() - 1;
    let (gateway, plan) = &plans[own];
    let wans = gateway.wan.len();
    let mut text = String::new();
    let mut line = |words: String| {
        let _ = writeln!(text, "{words}");
    };
    line("[gateway]".to_owned());
    line(format!("name = {:?}", plan.name));
    line(format!(
        "private_key_file = {:?}",
        key.display().to_string()
    ));
    line(format!("listen = \"[::]:{LISTEN_PORT}\""));
    line("[[gateway.lan]]\ninterface = \"lan0\"".to_owned());
    for wan in 0..wans {
        line(format!("[[gateway.wan]]\ninterface = \"wan{wan}\""));
    }
    let (site, side, peers) = if own == far {
        ("a", Near::A, 0..far)
    } else {
        settings.replica_lines.iter().cloned().for_each(&mut line);
        ("b", Near::B, far..far + 1)
    };
    line(format!("[[site]]\nname = {site:?}"));
    line(format!("routes = [{:?}]", net.route(side)));
    line(format!("hold_down_ms = {}", settings.hold_down_ms));
    for peer in peers {
        let (replica, plan) = &plans[peer];
        line(format!("  [[site.gateway]]\n  name = {:?}", plan.name));
        line(format!("  public_key = {:?}", plan.keys.public));
        line(format!(
            "  bfd = {{ interval_ms = {}, multiplier = {} }}",
            settings.interval_ms, settings.multiplier
        ));
        for wan in 0..wans {
            line(format!(
                "    [[site.gateway.link]]\n    name = \"path-{}\"\n    endpoint = \"{}\"\n    wan = \"wan{wan}\"\n    priority = {}",
                wan + 1,
                replica.endpoint(wan),
                1000 - 100 * peer - wan
            ));
        }
    }
    text
}
