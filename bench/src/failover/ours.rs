//! Crossway on all gateways of a row.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use vm_tests::crossway::{self, Crossway};
use vm_tests::keys::KeyPair;
use vm_tests::plan::GatewayPlan;
use vm_tests::topology::{LISTEN_PORT, Near, Redundant, Replica};
use vm_tests::{process, wait};

use super::{Bfd, Joined};

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

impl Ours {
    pub(super) fn start(net: &Redundant, bfd: Bfd) -> Result<Self> {
        let mut plans = Vec::new();
        for gateway in net.gateways() {
            plans.push((gateway, plan(gateway)?));
        }
        let mut agents = Vec::new();
        for index in 0..plans.len() {
            let (gateway, plan) = &plans[index];
            let mut agent = Crossway::prepare_in(&gateway.netns, net.directory(), plan)?;
            let key = agent.key_file();
            agent.write_config_text(&config(net, &plans, index, bfd, &key))?;
            let check = Command::new(crossway::binary())
                .arg("check")
                .arg(agent.config())
                .output()?;
            if !check.status.success() {
                let said = [check.stdout, check.stderr].concat();
                anyhow::bail!(
                    "this build refuses the configuration: {}",
                    String::from_utf8_lossy(&said)
                        .lines()
                        .next()
                        .unwrap_or_default()
                );
            }
            agent.start_again()?;
            agents.push(agent);
        }
        Ok(Self { agents })
    }

    /// Waits until `wanted` holds of the links of every agent that has any to that gateway or over that path.
    fn until(&self, what: &str, wanted: impl Fn(&[Value]) -> bool) -> Result<()> {
        wait::try_until(what, UP, || {
            for agent in &self.agents {
                let answer = agent.query(&["links"])?;
                if !wanted(answer["links"].as_array().map_or(&[][..], Vec::as_slice)) {
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
            let first = links["links"].as_array().and_then(|links| links.first());
            let first = first.context("a gateway without links")?;
            let word = |field: &str| first[field].as_str().unwrap_or_default().to_owned();
            let target = format!("{}/{}/{}", word("site"), word("gateway"), word("link"));
            agent.command(&[order, &target])?;
        }
        Ok(())
    }
}

fn all_up(links: &[Value]) -> bool {
    !links.is_empty() && links.iter().all(|link| link["state"] == "Up")
}

fn first_carries(links: &[Value]) -> bool {
    links
        .first()
        .is_some_and(|link| link["carries_flows"] == true)
}

impl Joined for Ours {
    fn ready(&self) -> Result<()> {
        self.until("every link to be up", all_up)?;
        // At once, and not when its hold-down is over.
        self.order("promote")?;
        self.until("the first link to carry the flows", first_carries)
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

fn config(
    net: &Redundant,
    plans: &[(&Replica, GatewayPlan)],
    own: usize,
    bfd: Bfd,
    key: &Path,
) -> String {
    let far = plans.len() - 1;
    let (gateway, plan) = &plans[own];
    let wans = gateway.wan.len();
    let mut text = format!(
        "[gateway]\nname = {:?}\nprivate_key_file = {:?}\nlisten = \"[::]:{LISTEN_PORT}\"\n[[gateway.lan]]\ninterface = \"lan0\"\n",
        plan.name,
        key.display().to_string()
    );
    for wan in 0..wans {
        let _ = writeln!(text, "[[gateway.wan]]\ninterface = \"wan{wan}\"");
    }
    let (site, side, peers) = if own == far {
        ("a", Near::A, 0..far)
    } else {
        ("b", Near::B, far..far + 1)
    };
    let _ = writeln!(
        text,
        "[[site]]\nname = {site:?}\nroutes = [{:?}]",
        net.route(side)
    );
    for peer in peers {
        let (replica, plan) = &plans[peer];
        let _ = writeln!(
            text,
            "  [[site.gateway]]\n  name = {:?}\n  public_key = {:?}\n  priority = {}\n  bfd = {{ interval_ms = {}, multiplier = {} }}",
            plan.name,
            plan.keys.public,
            100 - peer,
            bfd.interval_ms,
            bfd.multiplier
        );
        for wan in 0..wans {
            let _ = writeln!(
                text,
                "    [[site.gateway.link]]\n    name = \"path-{}\"\n    endpoint = \"{}\"\n    wan = \"wan{wan}\"\n    priority = {}",
                wan + 1,
                replica.endpoint(wan),
                100 - wan
            );
        }
    }
    text
}
