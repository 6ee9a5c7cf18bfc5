//! Crossway on all gateways of a row.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use vm_tests::crossway::{self, Crossway};
use vm_tests::keys::KeyPair;
use vm_tests::plan::GatewayPlan;
use vm_tests::topology::{LISTEN_PORT, Redundant, Replica};
use vm_tests::{process, wait};

use super::{Bfd, Joined};

mod config;

pub(super) use config::link_address;

/// Handshakes of every link, BFD's first packets, the virtual router's election.
const UP: Duration = Duration::from_secs(20);

/// The agents, until dropped.
pub(super) struct Ours {
    agents: Vec<Crossway>,
}

pub(super) fn version() -> Result<String> {
    let text = process::run(Command::new(crossway::binary()).arg("version"))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// How its gateways are set up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) bfd: Bfd,
    /// Milliseconds; the agent's own choice without.
    pub(super) hold_down: Option<u32>,
    /// Links between the far gateway and each other one, each with addresses of its own ([`link_address`]); without,
    /// one over each path.
    pub(super) links: Option<u8>,
}

impl Ours {
    pub(super) fn start(net: &Redundant, settings: Settings) -> Result<Self> {
        let plans = net
            .gateways()
            .map(|gateway| Ok((gateway, plan(gateway)?)))
            .collect::<Result<Vec<_>>>()?;
        let mut agents = Vec::new();
        for (index, (gateway, plan)) in plans.iter().enumerate() {
            let mut agent = Crossway::prepare_in(&gateway.netns, net.directory(), plan)?;
            let text = config::of(net, &plans, index, settings, &agent.key_file());
            agent.write_config_text(&text)?;
            accepts(agent.config())?;
            agent.start_again()?;
            agents.push(agent);
        }
        Ok(Self { agents })
    }

    /// The agent of the first gateway of site a.
    pub(super) fn first(&mut self) -> &mut Crossway {
        &mut self.agents[0]
    }

    /// All agents.
    pub(super) fn agents(&self) -> &[Crossway] {
        &self.agents
    }

    /// Waits until every link of every agent is up.
    pub(super) fn up(&self) -> Result<()> {
        self.until("every link to be up", all_up)
    }

    /// Waits until `wanted` holds of the links of every agent that has any to that gateway or over that path.
    fn until(&self, what: &str, wanted: impl Fn(&[Value]) -> bool) -> Result<()> {
        wait::try_until(what, UP, || {
            for agent in &self.agents {
                let answer = agent.query(&["links"])?;
                if !wanted(rows(&answer, "links")) {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        })
    }

    /// Gives an order about the first path to both ends.
    fn order(&self, order: &str) -> Result<()> {
        for agent in &self.agents {
            let links = agent.query(&["links"])?;
            let first = rows(&links, "links").first();
            let first = first.context("a gateway without links")?;
            let word = |field: &str| first[field].as_str().unwrap_or_default();
            let target = format!("{}/{}/{}", word("site"), word("gateway"), word("link"));
            agent.command(&[order, &target])?;
        }
        Ok(())
    }
}

/// A build that does not know the keys says so, and is left out.
fn accepts(config: &Path) -> Result<()> {
    let check = Command::new(crossway::binary())
        .arg("check")
        .arg(config)
        .output()?;
    let said = [check.stdout, check.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let first = said.lines().next().unwrap_or_default();
    ensure!(
        check.status.success(),
        "this build refuses the configuration: {first}"
    );
    Ok(())
}

/// The rows of a list in an answer.
pub(super) fn rows<'a>(answer: &'a Value, list: &str) -> &'a [Value] {
    answer[list].as_array().map_or(&[], Vec::as_slice)
}

fn all_up(links: &[Value]) -> bool {
    // A link is up with its session; from its first packet on, BFD decides.
    let up = |link: &Value| link["state"] == "Up" && link["watched_by"] == "bfd";
    !links.is_empty() && links.iter().all(up)
}

fn first_carries(links: &[Value]) -> bool {
    links
        .first()
        .is_some_and(|link| link["carries_flows"] == true)
}

impl Joined for Ours {
    fn ready(&self) -> Result<()> {
        self.up()?;
        // At once, and not when its hold-down is over.
        self.order("promote")?;
        self.until("the first link to carry the flows", first_carries)?;
        wait::try_until("the first gateway to be master", UP, || {
            let status = self.agents[0].query(&["status"])?;
            let routers = rows(&status, "virtual_routers");
            let masters = routers.iter().all(|router| router["state"] == "master");
            Ok(masters.then_some(()))
        })
    }

    fn carrier(&self) -> Result<String> {
        let answer = self.agents[0].query(&["links"])?;
        let carry = rows(&answer, "links")
            .iter()
            .filter(|link| link["carries_flows"] == true);
        let names: Vec<&str> = carry.filter_map(|link| link["link"].as_str()).collect();
        Ok(names.join(","))
    }

    fn drain(&self) -> Result<()> {
        self.order("drain")
    }

    fn undrain(&self) -> Result<()> {
        self.order("undrain")
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
