//! Sites of which the first has rules.

use std::fs;
use std::time::Duration;

use vm_tests::api::LinkState;
use vm_tests::crossway::Crossway;
use vm_tests::engine::Engine;
use vm_tests::plan::{self, Shape};
use vm_tests::topology::{Builder, Family, Site, Topology};
use vm_tests::traffic::{Packet, Recording};
use vm_tests::wait;

pub(crate) const SOON: Duration = Duration::from_secs(20);

/// What the LAN of `a` may open: echoes, TCP and UDP port 8000. Nobody may open anything there.
pub(crate) const RULES: &str = r#"
[[allow]]
name = "ping"
from = ["lan"]
to = ["b"]
ports = ["icmp"]

[[allow]]
name = "app"
from = ["lan"]
to = ["b"]
ports = ["tcp/8000", "udp/8000"]
"#;

/// Who judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Programs,
    Lanes,
}

impl Way {
    pub(crate) const ALL: [Self; 2] = [Self::Programs, Self::Lanes];
}

/// The sites with their agents.
pub(crate) struct Scene {
    // First: agents are stopped before the ground goes.
    pub(crate) gateways: Vec<Crossway>,
    /// Their files without rules.
    without: Vec<String>,
    pub(crate) topology: Topology,
}

impl Scene {
    /// Sites `a` and `b`; `a` has these rules.
    pub(crate) fn start(way: Way, rules: &str) -> Self {
        Self::with(way, "", rules, None)
    }

    /// The same, with lines for the top of the file, and another engine.
    pub(crate) fn with(way: Way, head: &str, rules: &str, engine: Option<Engine>) -> Self {
        Self::build(&["a", "b"], way, (head, rules), engine)
    }

    /// `hub` has the rules, `b` and `c` reach each other through it.
    pub(crate) fn hub(way: Way, rules: &str) -> Self {
        Self::build(&["hub", "b", "c"], way, ("", rules), None)
    }

    fn build(
        sites: &[&str],
        way: Way,
        (head, rules): (&str, &str),
        engine: Option<Engine>,
    ) -> Self {
        let topology = Builder::new(sites).build().unwrap();
        let mut plans = plan::plan(&topology, Shape::Hub, Family::V4).unwrap();
        plan::give_tunnel_addresses(&topology, &mut plans);
        let mut scene = Self {
            gateways: Vec::new(),
            without: Vec::new(),
            topology,
        };
        for (number, plan) in plans.iter_mut().enumerate() {
            plan.configure(move |config| config.gateway.fast_path = way == Way::Programs);
            if let Some(engine) = engine {
                plan.set_engine(engine);
            }
            let mut gateway = Crossway::prepare(&scene.topology, plan).unwrap();
            let text = fs::read_to_string(gateway.config()).unwrap();
            if number == 0 {
                gateway
                    .write_config_text(&joined(head, &text, rules))
                    .unwrap();
            }
            gateway.start_again().unwrap();
            scene.gateways.push(gateway);
            scene.without.push(text);
        }
        scene.wait_until_up();
        scene
    }

    /// Waits until every link of every agent is up.
    pub(crate) fn wait_until_up(&self) {
        wait::try_until("every link to be up", SOON, || {
            for gateway in &self.gateways {
                let links = gateway.links()?;
                if links.is_empty() || links.iter().any(|link| link.state != LinkState::Up) {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        })
        .unwrap();
        let fast_path = self.first().status().unwrap().fast_path;
        wait::try_until("the programs to judge, if there are any", SOON, || {
            let policy = self.first().status()?.policy;
            Ok((policy.by_programs == fast_path).then_some(()))
        })
        .unwrap();
    }

    /// The gateway with the rules.
    pub(crate) fn first(&self) -> &Crossway {
        &self.gateways[0]
    }

    /// Puts other rules in force there.
    pub(crate) fn set_rules(&self, head: &str, rules: &str) {
        let text = joined(head, &self.without[0], rules);
        self.first().write_config_text(&text).unwrap();
        self.first().command(&["reload"]).unwrap();
    }

    pub(crate) fn site(&self, name: &str) -> &Site {
        self.topology.site(name)
    }

    /// The first two sites.
    pub(crate) fn ends(&self) -> [&Site; 2] {
        [&self.topology.sites[0], &self.topology.sites[1]]
    }

    /// Packets that no rule allowed, so far.
    pub(crate) fn denied(&self) -> u64 {
        let dropped = self.first().dropped().unwrap();
        let denied = dropped.iter().find(|(word, _)| word == "policy-denied");
        denied.map_or(0, |(_, count)| *count)
    }

    /// Has `send` send packets of which at least `count` are to be denied, and waits until they were; whatever the host of
    /// `site` received meanwhile.
    pub(crate) fn denied_on_the_way_to(
        &self,
        site: &Site,
        count: u64,
        send: impl FnOnce(),
    ) -> Vec<Packet> {
        let wire = Recording::start(&self.topology, &site.host, "eth0").unwrap();
        let before = self.denied();
        send();
        wait::until("the packets to be denied", SOON, || {
            (self.denied() >= before + count).then_some(())
        })
        .unwrap();
        wire.finish().unwrap()
    }
}

fn joined(head: &str, text: &str, rules: &str) -> String {
    format!("{head}\n{text}\n{rules}")
}

/// Packets of a protocol to a port, or to any.
pub(crate) fn of(packets: &[Packet], protocol: u8, port: Option<u16>) -> usize {
    let fits = |packet: &&Packet| {
        let at = if packet.source.is_ipv4() { 20 } else { 40 };
        let word = packet.content.get(at + 2..at + 4);
        let port_of = word.map(|word| u16::from_be_bytes([word[0], word[1]]));
        packet.protocol == protocol && port.is_none_or(|port| port_of == Some(port))
    };
    packets.iter().filter(fits).count()
}
