//! The scenario `policy`: rules are tried out on real traffic, put in force, and asked why something does not pass.
//!
//! ```text
//!   host a ── gateway a ── WAN ── gateway b ── host b: https, ssh
//!                 └ the rules
//! ```

use std::fmt::Write as _;
use std::fs;
use std::io::Read;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use vm_tests::crossway::Crossway;
use vm_tests::topology::{Builder, Family, Topology};
use vm_tests::traffic;
use vm_tests::{sys, wait};

use super::super::{PREFIX, hints, start_gateways, status};

const HTTPS: u16 = 443;
const SSH: u16 = 22;
/// What a server says to whoever comes.
const GREETING: u8 = b'!';
/// From the agents' start to the first packet through.
const UP: Duration = Duration::from_secs(20);
/// For an answer: what is dropped gets none.
const PATIENCE: Duration = Duration::from_secs(1);
/// For who reads along.
const PAUSE: Duration = Duration::from_secs(3);
const TOLD: &str = "The rules were tried, put in force, and did what the trial had said.";

/// Plays it, and shows the live status as the lab does.
pub(super) fn play(duration: Option<Duration>) -> Result<()> {
    println!("Building two sites: host a - gateway a - WAN - gateway b - host b");
    let topology = Builder::new(&["a", "b"]).prefix(PREFIX).build()?;
    let gateways = start_gateways(&topology)?;
    let far = topology.sites[1].host_address(Family::V4);
    traffic::wait_for_ping(&topology.sites[0].host, far, UP)?;
    for port in [HTTPS, SSH] {
        serve(&topology, SocketAddr::new(far, port))?;
    }
    let stage = Stage {
        topology: &topology,
        gateway: &gateways[0],
        far,
        start: wait::now(),
    };
    stage.try_out()?;
    stage.enforce()?;
    println!("\n{TOLD}\n");
    if duration != Some(Duration::ZERO) {
        let names: Vec<&str> = gateways.iter().map(Crossway::name).collect();
        status::show(&names, TOLD, &hints::of(&topology), duration);
    }
    Ok(())
}

/// A server that greets.
fn serve(topology: &Topology, at: SocketAddr) -> Result<()> {
    let host = &topology.sites[1].host;
    let listener = host.enter(|| TcpListener::bind(at))??;
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            // Who hung up wants no greeting.
            let _ = std::io::Write::write_all(&mut stream, &[GREETING]);
        }
    });
    Ok(())
}

struct Stage<'a> {
    topology: &'a Topology,
    /// The one with the rules.
    gateway: &'a Crossway,
    /// Host b.
    far: IpAddr,
    start: Instant,
}

impl Stage<'_> {
    /// Shadow rules, until they allow what they should.
    fn try_out(&self) -> Result<()> {
        self.step("gateway a has no rules yet: everything passes")?;
        self.show(&["policy", "show"])?;
        self.expect([true, true, true])?;

        self.step(
            "a rule is tried out: host a's side may reach https at host b. It is a shadow rule, so \
             nothing changes",
        )?;
        self.add_rule("shop", HTTPS)?;
        self.expect([true, true, true])?;
        println!("\n           What would be dropped if it were in force:");
        self.show(&["policy", "diff"])?;

        self.step("ssh was forgotten: a second shadow rule. The ping is not meant to pass")?;
        self.add_rule("admins", SSH)?;
        self.expect([true, true, true])?;
        self.show(&["policy", "diff"])
    }

    /// The rules in force.
    fn enforce(&self) -> Result<()> {
        self.step("the shadow rules become the rules")?;
        let file = self.gateway.config().display().to_string();
        self.show(&["policy", "promote", &file])?;
        self.show(&["policy", "show"])?;
        self.expect([true, true, false])?;

        self.step("why does the ping not pass?")?;
        let near = self.topology.sites[0].host_address(Family::V4).to_string();
        self.show(&["explain", &near, &self.far.to_string()])?;
        self.show(&["flows", "--verdict", "denied"])?;
        self.show(&["drops"])
    }

    fn step(&self, what: &str) -> Result<()> {
        wait::pace(PAUSE);
        ensure!(!sys::stop_requested(), "interrupted");
        println!("\n{:6.1} s  ==> {what}", self.start.elapsed().as_secs_f64());
        Ok(())
    }

    /// A command of gateway a, as one would type it, with what it prints.
    fn show(&self, words: &[&str]) -> Result<()> {
        let printed = self.gateway.command(words)?;
        let mut text = format!("\n           $ crossway {}\n", words.join(" "));
        for line in printed.lines() {
            let _ = writeln!(text, "           {line}");
        }
        print!("{text}");
        Ok(())
    }

    /// Adds a shadow rule to the file, and has it read.
    fn add_rule(&self, name: &str, port: u16) -> Result<()> {
        let rule = format!(
            "\n[[shadow]]\nname = {name:?}\nfrom = [\"lan\"]\nto = [\"{}\"]\nports = [\"tcp/{port}\"]\n",
            self.far
        );
        for line in rule.lines() {
            println!("           {line}");
        }
        let before = fs::read_to_string(self.gateway.config())?;
        self.gateway.write_config_text(&(before + &rule))?;
        self.show(&["reload"])
    }

    /// Has https, ssh and a ping go from host a to host b: whether each passes is as expected.
    fn expect(&self, expected: [bool; 3]) -> Result<()> {
        let host = &self.topology.sites[0].host;
        let greeted = |port| -> Result<bool> {
            let at = SocketAddr::new(self.far, port);
            let greeting = host.enter(|| greeting(at))?;
            Ok(greeting.is_ok_and(|greeting| greeting == GREETING))
        };
        let ping = traffic::ping(host, self.far, 1)?.received > 0;
        let passes = [greeted(HTTPS)?, greeted(SSH)?, ping];
        println!();
        for (name, passes) in ["https", "ssh", "ping"].into_iter().zip(passes) {
            let what = if passes { "passes" } else { "does NOT pass" };
            println!("           host a -> host b  {name:<6}  {what}");
        }
        ensure!(
            passes == expected,
            "https, ssh and ping: {passes:?} instead of {expected:?}"
        );
        Ok(())
    }
}

fn greeting(at: SocketAddr) -> std::io::Result<u8> {
    let mut stream = TcpStream::connect_timeout(&at, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut greeting = [0];
    stream.read_exact(&mut greeting)?;
    Ok(greeting[0])
}
