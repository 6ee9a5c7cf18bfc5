use std::path::Path;

use super::*;
use crate::config::Config;

const FILE: &str = "\
[gateway]
name = \"berlin-1\"
private_key_file = \"berlin-1.key\"
listen = \"[::]:51820\"
[[gateway.lan]]
interface = \"lan0\"
[[gateway.wan]]
interface = \"wan0\"
[[site]]
name = \"paris\"
routes = [\"10.2.0.0/16\"]
[[site.gateway]]
name = \"paris-1\"
public_key = \"hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=\"
";

const RULES: &str = "\
[[allow]]
name = \"web\"
from = [\"lan\"]
to = [\"10.2.0.10\"]
ports = [\"tcp/443\"]
[[allow]]
name = \"ssh\"
from = [\"paris\"]
to = [\"10.1.0.10\"]
ports = [\"tcp/22\"]
[[shadow]]
name = \"secure\"
from = [\"10.1.0.0/24\"]
to = [\"paris\"]
ports = [\"tcp/443\"]
";

fn policy(rules: &str) -> Policy {
    let text = format!("{FILE}{rules}");
    let accepted = Config::parse(&text, Path::new("/etc/crossway/berlin-1.toml"));
    accepted.unwrap().config.policy
}

/// A flow of TCP from 10.1.x.x to 10.2.x.x.
fn flow(local: [u8; 2], local_port: u16, remote: [u8; 2], remote_port: u16) -> FlowKey {
    let of =
        |site: u8, [high, low]: [u8; 2]| address::to_bytes(address::mapped([10, site, high, low]));
    FlowKey {
        local: of(1, local),
        remote: of(2, remote),
        local_port: local_port.to_be_bytes(),
        remote_port: remote_port.to_be_bytes(),
        protocol: protocol::TCP,
        family: 4,
        ..FlowKey::default()
    }
}

#[test]
fn a_flow_is_told_with_the_rules_of_who_opened_it() {
    let policy = policy(RULES);
    let judge = Judge::of(&policy);
    let tell = |key: &FlowKey, opened_by| {
        let said = judge.tell(judge.ask_of_flow(key, opened_by), opened_by);
        (said.verdict, said.rule, said.shadow_rule)
    };
    let (local, remote) = (Some(FlowEnd::Local), Some(FlowEnd::Remote));
    let name = |name: &str| Some(name.to_owned());
    let web = flow([0, 7], 40_000, [0, 10], 443);
    let allowed = FlowVerdict::Allowed;
    assert_eq!(tell(&web, local), (allowed, name("web"), name("secure")));
    assert_eq!(tell(&web, None), (allowed, name("web"), name("secure")));
    assert_eq!(tell(&web, remote), (FlowVerdict::Denied, None, None));
    let ssh = flow([0, 10], 22, [0, 7], 40_000);
    assert_eq!(tell(&ssh, remote), (allowed, name("ssh"), None));
    assert_eq!(tell(&ssh, local), (FlowVerdict::Denied, None, None));
    let said = judge.ask_of_flow(&ssh, remote);
    assert_eq!(judge.view(said).shadow_verdict, Some(FlowVerdict::Denied));
}

#[test]
fn without_rules_everything_passes_and_nothing_is_said_of_shadow_rules() {
    let policy = policy("");
    let judge = Judge::of(&policy);
    let entry = FlowCounters::default();
    assert_eq!(
        judge.flow(&flow([0, 7], 1, [0, 7], 2), &entry),
        FlowPolicy::default()
    );
}

#[test]
fn a_later_fragment_is_of_any_port() {
    let policy = policy(RULES);
    let judge = Judge::of(&policy);
    let said = judge.ask_of_flow(&flow([0, 7], 0, [0, 10], 0), None);
    assert_eq!(judge.name(said.active), Some("web"));
    let other = judge.ask_of_flow(&flow([0, 7], 0, [0, 11], 0), None);
    assert_eq!(other.active, NO_RULE);
}

#[test]
fn the_nearest_rule_is_told_with_what_it_lacks() {
    let policy = policy(RULES);
    let judge = Judge::of(&policy);
    let near = |key: &FlowKey| {
        let ends = [key.local, key.remote].map(address::from_bytes);
        judge.nearest(&Question {
            vnet: key.vnet,
            family: Family::V4,
            source: &ends[0],
            destination: &ends[1],
            protocol: key.protocol,
            ports: ports(key.protocol, key.local_port, key.remote_port),
            opener: Opener::Sender,
        })
    };
    let of = |rule, [from, to, ports]: [bool; 3]| {
        Some(Near {
            rule,
            from,
            to,
            ports,
        })
    };
    let port = flow([0, 7], 40_000, [0, 10], 80);
    assert_eq!(near(&port), of(0, [true, true, false]));
    let address = flow([0, 7], 40_000, [0, 11], 443);
    assert_eq!(near(&address), of(0, [true, false, true]));
    // Of neither rule the addresses, of the second the port.
    let all = flow([0, 7], 40_000, [0, 11], 80);
    assert_eq!(near(&all), of(0, [true, false, false]));
}

#[test]
fn where_nothing_of_any_rule_holds_none_is_near() {
    let policy = policy(RULES);
    let nobody = address::mapped([10, 2, 0, 77]);
    let question = Question {
        vnet: 0,
        family: Family::V4,
        // Of paris, to paris, by GRE: from of the second rule holds, and that is all.
        source: &nobody,
        destination: &nobody,
        protocol: 47,
        ports: Some(Ports::of_word(0)),
        opener: Opener::Sender,
    };
    let judge = Judge::of(&policy);
    assert_eq!(judge.nearest(&question).map(|near| near.rule), Some(1));
    // The first alone is as far as can be.
    assert_eq!(nearest(&policy.image(), &question, 1), None);
}
