//! Crossway on all gateways of a row.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
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

    /// Whether every link of every agent is up.
    fn is_up(&self) -> Result<bool> {
        for agent in &self.agents {
            let answer = agent.query(&["links"])?;
            let links = answer["links"].as_array().map_or(&[][..], Vec::as_slice);
            let up = |link: &Value| link["state"] == "Up";
            if links.is_empty() || !links.iter().all(up) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Joined for Ours {
    fn ready(&self) -> Result<()> {
        wait::try_until("every link of Crossway", UP, || {
            Ok(self.is_up()?.then_some(()))
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
