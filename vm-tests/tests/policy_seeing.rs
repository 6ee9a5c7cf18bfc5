//! What the commands say of the policy, on real traffic: rules and what they have allowed, what shadow rules would change,
//! shadow rules that are put in force, and why a packet does not pass.
//!
//! ```text
//!  host a ── [gateway a: its rules] ═══ WAN ═══ [gateway b] ── host b: two servers
//! ```

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use vm_tests::api::{
    DropsReply, End, Explained, FinishedFlow, FinishedRecord, Flow, FlowEnd, FlowVerdict,
    FlowsReply, PolicyDiff, PolicyReply, PolicyRule, RuleSet, ServicesReply,
};
use vm_tests::config::{Discovery, FlowFile};
use vm_tests::crossway::Crossway;
use vm_tests::netns::Netns;
use vm_tests::pair::Pair;
use vm_tests::plan::GatewayPlan;
use vm_tests::topology::Family;
use vm_tests::{traffic, wait};

const DEADLINE: Duration = Duration::from_secs(20);
/// For an answer where there should be none.
const PATIENCE: Duration = Duration::from_millis(500);
const HTTPS: u16 = 443;
const SSH: u16 = 22;

const SHADOW: &str = "
[[shadow]]
name = \"shop\"
from = [\"lan\"]
to = [\"10.2.0.10\"]
ports = [\"tcp/443\"]
";

/// Two gateways, and servers at host b.
struct Stage {
    pair: Pair,
    far: IpAddr,
}

impl Stage {
    fn new(fast_path: bool) -> Self {
        Self::with(|plans| {
            for plan in plans {
                plan.configure(move |config| {
                    config.gateway.fast_path = fast_path;
                });
            }
        })
    }

    fn with(adjust: impl FnOnce(&mut [GatewayPlan])) -> Self {
        let pair = Pair::start(adjust).unwrap();
        let far = pair.far(Family::V4);
        for port in [HTTPS, SSH] {
            serve(&pair.site_b().host, SocketAddr::new(far, port));
        }
        Self { pair, far }
    }

    fn a(&self) -> &Crossway {
        &self.pair.a
    }

    fn near(&self) -> IpAddr {
        self.pair.site_a().host_address(Family::V4)
    }

    /// Adds to the file of gateway a, and has it read.
    fn add(&self, rules: &str) {
        let before = fs::read_to_string(self.a().config()).unwrap();
        self.a().write_config_text(&(before + rules)).unwrap();
        self.a().command(&["reload"]).unwrap();
    }

    /// Whether host a is greeted at a port of host b.
    fn passes(&self, port: u16) -> bool {
        let at = SocketAddr::new(self.far, port);
        let host = &self.pair.site_a().host;
        host.enter(|| greeted(at, PATIENCE)).unwrap()
    }

    /// The same of what must pass, on a machine that is busy as well.
    fn must_pass(&self, port: u16) {
        let at = SocketAddr::new(self.far, port);
        let host = &self.pair.site_a().host;
        assert!(host.enter(|| greeted(at, DEADLINE)).unwrap(), "{port}");
    }

    fn rules(&self) -> Vec<PolicyRule> {
        let reply: PolicyReply = self.a().ask(&["policy", "show"]).unwrap();
        reply.rules
    }

    fn new_flows(&self, set: RuleSet, name: &str) -> u64 {
        let rules = self.rules();
        let mut rules = rules.iter();
        let rule = rules.find(|rule| rule.set == set && rule.name == name);
        rule.unwrap_or_else(|| panic!("no rule {name}")).new_flows
    }

    fn diff(&self) -> PolicyDiff {
        self.a().ask(&["policy", "diff"]).unwrap()
    }

    fn explain(&self, words: &[&str]) -> Explained {
        let (near, far) = (self.near().to_string(), self.far.to_string());
        let words = [&["explain", &near, &far], words].concat();
        self.a().ask(&words).unwrap()
    }

    fn denied(&self) -> Vec<Flow> {
        let reply: FlowsReply = self.a().ask(&["flows", "--verdict", "denied"]).unwrap();
        reply.flows
    }

    fn policy_denied(&self) -> u64 {
        let reply: DropsReply = self.a().ask(&["drops"]).unwrap();
        let mut drops = reply.drops.into_iter();
        let drop = drops.find(|drop| drop.reason == "policy-denied");
        drop.unwrap().packets
    }
}

/// A server that greets whoever connects.
fn serve(host: &Netns, at: SocketAddr) {
    let listener = host.enter(|| TcpListener::bind(at)).unwrap().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            drop(stream.write_all(b"!"));
        }
    });
}

fn greeted(at: SocketAddr, patience: Duration) -> bool {
    let Ok(mut stream) = TcpStream::connect_timeout(&at, patience) else {
        return false;
    };
    stream.set_read_timeout(Some(patience)).unwrap();
    stream.read_exact(&mut [0]).is_ok()
}

#[test]
fn shadow_rules_show_what_they_would_change_and_are_promoted() {
    let stage = Stage::new(true);
    let open: PolicyReply = stage.a().ask(&["policy", "show"]).unwrap();
    assert_eq!(open.vnets[0].policy, "open");
    let (code, said) = stage.a().failing_command(&["policy", "diff"]).unwrap();
    assert_eq!(code, 2);
    assert!(said.contains("there are no shadow rules"), "{said}");

    stage.add(SHADOW);
    stage.must_pass(HTTPS);
    stage.must_pass(SSH);
    assert_eq!(stage.new_flows(RuleSet::Shadow, "shop"), 1);
    let diff = stage.diff();
    let ssh = diff.would_drop.iter().find(|line| line.port == SSH);
    let ssh = ssh.unwrap_or_else(|| panic!("{diff:?}"));
    assert_eq!((ssh.from, ssh.to, ssh.flows), (stage.near(), stage.far, 1));
    assert!(ssh.bytes > 0 && ssh.rule.is_none() && ssh.shadow_rule.is_none());
    assert!(diff.would_drop.iter().all(|line| line.port != HTTPS));
    assert_eq!(diff.would_pass, []);

    promote(&stage);
    stage.must_pass(HTTPS);
    assert!(!stage.passes(SSH));
    let rules = stage.rules();
    assert!(
        rules.iter().all(|rule| rule.set == RuleSet::Active),
        "{rules:?}"
    );
    assert_eq!(stage.new_flows(RuleSet::Active, "shop"), 1);

    // The other way round: what is denied now, and would pass.
    stage.add(&SHADOW.replace("tcp/443", "tcp/22"));
    assert!(!stage.passes(SSH));
    let diff = stage.diff();
    let ssh = &diff.would_pass[0];
    assert_eq!((ssh.port, ssh.shadow_rule.as_deref()), (SSH, Some("shop")));
    let text = stage.a().command(&["policy", "diff"]).unwrap();
    assert!(text.contains("would let pass what is denied now"), "{text}");
}

/// Promotes the shadow rules, first without doing it.
fn promote(stage: &Stage) {
    let file = stage.a().config();
    fs::set_permissions(file, fs::Permissions::from_mode(0o640)).unwrap();
    let before = fs::read_to_string(file).unwrap();
    let name = file.display().to_string();
    let told = stage
        .a()
        .command(&["policy", "promote", &name, "--dry-run"])
        .unwrap();
    assert!(told.contains("\n-[[shadow]]\n+[[allow]]\n"), "{told}");
    assert_eq!(fs::read_to_string(file).unwrap(), before);
    assert!(stage.passes(SSH));
    let told = stage.a().command(&["policy", "promote", &name]).unwrap();
    assert!(
        told.contains("The new configuration is in force."),
        "{told}"
    );
    let after = fs::read_to_string(file).unwrap();
    assert_eq!(after, before.replace("[[shadow]]", "[[allow]]"));
    assert_eq!(
        file.metadata().unwrap().permissions().mode() & 0o7777,
        0o640
    );
}

#[test]
fn rules_that_break_a_promise_or_a_file_of_another_gateway_are_not_promoted() {
    let stage = Stage::new(true);
    let never = "\n[[never]]\nfrom = [\"any\"]\nto = [\"10.2.0.10\"]\nports = [\"tcp/443\"]\n";
    stage.add(&SHADOW.replace("tcp/443", "tcp/22"));
    let file = stage.a().config().to_owned();
    let name = file.display().to_string();
    let good = fs::read_to_string(&file).unwrap();
    let bad = good.replace("tcp/22", "tcp/443") + never;
    fs::write(&file, &bad).unwrap();
    let (code, said) = stage
        .a()
        .failing_command(&["policy", "promote", &name])
        .unwrap();
    assert_eq!(code, 2, "{said}");
    assert_eq!(fs::read_to_string(&file).unwrap(), bad);
    // A file that the gateway does not read.
    let other = file.with_extension("other.toml");
    fs::write(&other, &good).unwrap();
    let name = other.display().to_string();
    fs::write(&file, &good).unwrap();
    let (code, said) = stage
        .a()
        .failing_command(&["policy", "promote", &name])
        .unwrap();
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("it reads another file"), "{said}");
    assert_eq!(fs::read_to_string(&other).unwrap(), good);
    assert!(stage.passes(HTTPS) && stage.passes(SSH));
}

#[test]
fn a_denied_packet_is_explained_and_listed() {
    denied_is_explained(&Stage::new(true));
}

#[test]
fn without_the_fast_path_it_is_as_well() {
    denied_is_explained(&Stage::new(false));
}

fn denied_is_explained(stage: &Stage) {
    let allow = SHADOW.replace("shadow", "allow");
    stage.add(&allow);
    stage.must_pass(HTTPS);
    let way = stage.explain(&["tcp", "40000", "443"]);
    let policy = way.policy.unwrap();
    assert_eq!(way.end, End::ToSite, "{:?}", way.steps);
    assert_eq!(policy.rule.as_deref(), Some("shop"));
    assert_eq!(policy.opened_by, Some(FlowEnd::Local));

    assert!(!stage.passes(SSH));
    let way = stage.explain(&["tcp", "40000", "22"]);
    assert_eq!(way.end, End::Dropped, "{:?}", way.steps);
    assert_eq!(way.reason.as_deref(), Some("policy-denied"));
    assert_eq!(way.policy.unwrap().verdict, FlowVerdict::Denied);
    let last = &way.steps.last().unwrap().what;
    let expected = "the nearest is shop: tcp/22 is not in its ports (tcp/443)";
    assert!(last.contains(expected), "{last}");

    let denied = stage.denied();
    let ssh = denied.iter().find(|flow| flow.remote_port == SSH).unwrap();
    assert_eq!((ssh.local, ssh.remote), (stage.near(), stage.far));
    assert_eq!(ssh.site, "b");
    assert_eq!(ssh.policy.opened_by, Some(FlowEnd::Local));
    assert!(ssh.to_site_packets > 0 && ssh.from_site_packets == 0);
    assert!(stage.policy_denied() > 0);

    // An answer of what host b opens is explained by who opened it.
    let ping = traffic::ping(&stage.pair.site_a().host, stage.far, 1).unwrap();
    assert_eq!(ping.received, 0);
    let way = stage.explain(&[]);
    let last = &way.steps.last().unwrap().what;
    assert!(
        last.contains("icmp is not in its ports (tcp/443)"),
        "{last}"
    );
    let (code, said) = stage
        .a()
        .failing_command(&["policy", "show", "shpo"])
        .unwrap();
    assert_eq!(code, 2);
    assert!(said.contains("did you mean shop?"), "{said}");
}

#[test]
fn flows_that_live_and_flows_that_are_over_have_their_rule() {
    let stage = Stage::new(true);
    stage.add(&SHADOW.replace("shadow", "allow"));
    stage.must_pass(HTTPS);
    let flows: FlowsReply = stage.a().ask(&["flows", "--rule", "shop"]).unwrap();
    assert_eq!(flows.flows.len(), 1);
    assert_eq!(flows.flows[0].policy.rule.as_deref(), Some("shop"));
    let (code, said) = stage
        .a()
        .failing_command(&["flows", "--rule", "shopp"])
        .unwrap();
    assert_eq!(code, 2);
    assert!(said.contains("did you mean shop?"), "{said}");
}

#[test]
fn the_records_of_flows_say_which_rule_allowed_them_or_that_none_did() {
    let name = format!("crossway-policy-{}.jsonl", std::process::id());
    let file = std::env::temp_dir().join(name);
    let path = file.clone();
    let mut stage = Stage::with(move |plans| {
        plans[0].configure(move |config| {
            config.flows.file = Some(FlowFile {
                path: path.clone(),
                size_mib: 1,
                count: 1,
            });
        });
    });
    stage.add(&SHADOW.replace("shadow", "allow"));
    stage.must_pass(HTTPS);
    assert!(!stage.passes(SSH));
    assert!(stage.pair.a.stop().unwrap().success());
    let text = fs::read_to_string(&file).unwrap();
    fs::remove_file(&file).unwrap();
    let records = text.lines().map(|line| serde_json::from_str(line).unwrap());
    let flows: Vec<Box<FinishedFlow>> = records
        .filter_map(|record| match record {
            FinishedRecord::Flow(flow) => Some(flow),
            FinishedRecord::Evicted(_) => None,
        })
        .collect();
    let at = |port| {
        let mut flows = flows.iter().filter(|flow| flow.remote_port == port);
        flows.next().unwrap_or_else(|| panic!("{port}: {text}"))
    };
    let (https, ssh) = (&at(HTTPS).policy, at(SSH));
    assert_eq!(https.verdict, FlowVerdict::Allowed);
    assert_eq!(https.rule.as_deref(), Some("shop"));
    assert_eq!(ssh.policy.verdict, FlowVerdict::Denied);
    assert!(ssh.to_site_packets > 0 && ssh.links.is_empty(), "{ssh:?}");
}

#[test]
fn rules_that_are_suggested_pass_what_was_seen_and_nothing_else() {
    let stage = Stage::with(|plans| {
        let database =
            std::env::temp_dir().join(format!("crossway-suggest-{}", std::process::id()));
        plans[0].configure(move |config| {
            config.discovery = Some(Discovery {
                database: Some(database.join("services.db")),
                ..Discovery::default()
            });
        });
    });
    stage.must_pass(HTTPS);
    wait::until("the service to be seen", DEADLINE, || {
        let reply: ServicesReply = stage.a().ask(&["services"]).ok()?;
        (reply.services.len() == 1).then_some(())
    })
    .unwrap();
    let suggested = stage
        .a()
        .command(&["policy", "suggest", "--from-services"])
        .unwrap();
    stage.add(&suggested);
    stage.must_pass(HTTPS);
    assert!(!stage.passes(SSH));
}
