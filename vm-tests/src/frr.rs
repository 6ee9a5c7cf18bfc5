//! FRRouting beside a tunnel: BGP for the routes, BFD to notice dead paths (Debian's package `frr`).
//!
//! Each instance has a run directory of its own: FRR's daemons give up root, and reach only what their
//! user may.

use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::netns::Netns;
use crate::process::{self, ProcessGuard};

/// Where Debian has the daemons.
const DAEMONS: &str = "/usr/lib/frr";
/// Run directories, one for each instance.
pub const DIRECTORY: &str = "/run/crossway-frr";
/// The user that the daemons become.
const USER: &str = "frr";
const START_LIMIT: Duration = Duration::from_secs(10);
const STOP_LIMIT: Duration = Duration::from_secs(3);

/// What one router announces and to whom it talks.
#[derive(Clone, Debug)]
pub struct Router {
    /// Its autonomous system; neighbours have others.
    pub system: u32,
    /// Its name among routers.
    pub id: String,
    /// Prefixes that it announces.
    pub announces: Vec<String>,
    /// Those it talks with.
    pub neighbours: Vec<Neighbour>,
    /// Peers that it has a BFD session with, and nothing else.
    pub bfd_peers: Vec<BfdPeer>,
    /// Milliseconds between two BFD packets.
    pub bfd_interval: u32,
    /// BFD packets that must be missing.
    pub bfd_multiplier: u32,
}

/// A router at the far end of a tunnel.
#[derive(Clone, Debug)]
pub struct Neighbour {
    /// Its address inside the tunnel.
    pub address: IpAddr,
    /// Its autonomous system.
    pub system: u32,
    /// Routes of the neighbour with the highest are taken.
    pub preference: u32,
    /// Times that this router's own number is prepended in what it announces here: the neighbour then prefers
    /// another way.
    pub prepend: u32,
}

/// The far end of a BFD session over one hop.
#[derive(Clone, Debug)]
pub struct BfdPeer {
    /// Its address.
    pub address: IpAddr,
    /// Ours.
    pub local: IpAddr,
    /// The interface between them.
    pub interface: String,
}

/// zebra, bfdd and bgpd of one router. Dropped, they are gone.
#[derive(Debug)]
pub struct Frr {
    // In the order of their end.
    daemons: Vec<ProcessGuard>,
    directory: PathBuf,
    netns: String,
}

/// The version of the installed package's daemons.
///
/// # Errors
/// It is not installed.
pub fn version() -> Result<String> {
    let program = Path::new(DAEMONS).join("bgpd");
    ensure!(
        program.exists(),
        "FRR is not installed: run `cargo xtask setup test`"
    );
    let text = process::run(Command::new(program).arg("--version"))?;
    let first = text.lines().next().unwrap_or_default();
    Ok(first.trim_start_matches("bgpd version ").to_owned())
}

impl Frr {
    /// Starts the daemons in a namespace and waits until they answer.
    pub fn start(netns: &Netns, router: &Router) -> Result<Self> {
        let directory = Path::new(DIRECTORY).join(netns.name());
        fs::create_dir_all(&directory)
            .with_context(|| format!("cannot create {}", directory.display()))?;
        give_away(&directory)?;
        let mut frr = Self {
            daemons: Vec::new(),
            directory,
            netns: netns.name().to_owned(),
        };
        frr.daemon(netns, "zebra", "", &[])?;
        let socket = frr.directory.join("bfdd.sock").display().to_string();
        frr.daemon(netns, "bfdd", &bfd_config(router), &["--bfdctl", &socket])?;
        frr.daemon(netns, "bgpd", &bgp_config(router), &[])?;
        // They end in the opposite order of their start.
        frr.daemons.reverse();
        Ok(frr)
    }

    /// Name of the namespace that it runs in.
    pub fn netns(&self) -> &str {
        &self.netns
    }

    /// What `vtysh` answers to a command that ends in `json`.
    pub fn query(&self, command: &str) -> Result<Value> {
        let mut vtysh = Command::new("vtysh");
        vtysh.arg("--vty_socket").arg(&self.directory);
        let text = process::run(vtysh.args(["-c", command]))?;
        serde_json::from_str(&text).with_context(|| format!("vtysh: {command}: {text}"))
    }

    /// Gives the routes of a neighbour, counted from 0, another preference.
    pub fn prefer(&self, neighbour: usize, preference: u32) -> Result<()> {
        let mut vtysh = Command::new("vtysh");
        vtysh.arg("--vty_socket").arg(&self.directory);
        let map = format!("route-map in-{neighbour} permit 10");
        let set = format!("set local-preference {preference}");
        process::run(vtysh.args(["-c", "configure terminal", "-c", &map, "-c", &set]))?;
        Ok(())
    }

    /// How many BFD sessions are up.
    pub fn bfd_up(&self) -> Result<usize> {
        let peers = self.query("show bfd peers json")?;
        let peers = peers.as_array().map_or(&[][..], Vec::as_slice);
        Ok(peers.iter().filter(|peer| peer["status"] == "up").count())
    }

    /// Holds the session with a peer down, or lets it come up again.
    pub fn set_bfd_shutdown(&self, peer: &BfdPeer, down: bool) -> Result<()> {
        let BfdPeer {
            address,
            local,
            interface,
        } = peer;
        let no = if down { "" } else { "no " };
        let words = [
            "configure terminal".to_owned(),
            "bfd".to_owned(),
            format!("peer {address} local-address {local} interface {interface}"),
            format!("{no}shutdown"),
        ];
        let mut vtysh = Command::new("vtysh");
        vtysh.arg("--vty_socket").arg(&self.directory);
        for word in &words {
            vtysh.args(["-c", word]);
        }
        process::run(&mut vtysh).map(drop)
    }

    /// How many BGP sessions are established.
    pub fn bgp_established(&self) -> Result<usize> {
        let summary = self.query("show bgp ipv4 unicast summary json")?;
        let Some(peers) = summary["peers"].as_object() else {
            return Ok(0);
        };
        Ok(peers
            .values()
            .filter(|peer| peer["state"] == "Established")
            .count())
    }

    fn daemon(&mut self, netns: &Netns, name: &str, config: &str, words: &[&str]) -> Result<()> {
        let file = |suffix: &str| self.directory.join(format!("{name}.{suffix}"));
        let config_file = file("conf");
        fs::write(&config_file, config)?;
        give_away(&config_file)?;
        let mut command = netns.command(&format!("{DAEMONS}/{name}"));
        // No port for telnet; the socket alone.
        command.args(["--log", "stdout", "-P", "0"]);
        command.arg("--vty_socket").arg(&self.directory);
        command.arg("-z").arg(self.directory.join("zserv.api"));
        command
            .arg("-i")
            .arg(file("pid"))
            .arg("-f")
            .arg(config_file);
        let mut daemon = ProcessGuard::spawn(name, command.args(words), &file("log"))?;
        let socket = file("vty");
        daemon.wait_until("answer", START_LIMIT, || socket.exists().then_some(()))?;
        self.daemons.push(daemon);
        Ok(())
    }
}

impl Drop for Frr {
    fn drop(&mut self) {
        for daemon in &mut self.daemons {
            // The guard kills what does not end.
            let _ = daemon.terminate(STOP_LIMIT);
        }
        let _ = fs::remove_dir_all(&self.directory);
        // Succeeds when this was the last one in it.
        let _ = fs::remove_dir(DIRECTORY);
    }
}

fn bfd_config(router: &Router) -> String {
    let (interval, multiplier) = (router.bfd_interval, router.bfd_multiplier);
    let mut text = format!(
        "bfd\n profile tunnel\n  transmit-interval {interval}\n  receive-interval {interval}\n  \
         detect-multiplier {multiplier}\n exit\n"
    );
    for BfdPeer {
        address,
        local,
        interface,
    } in &router.bfd_peers
    {
        let _ = write!(
            text,
            " peer {address} local-address {local} interface {interface}\n  profile tunnel\n exit\n"
        );
    }
    text + "exit\n"
}

/// Sessions are tried again after a second, and end with their BFD session at once.
fn bgp_config(router: &Router) -> String {
    let Router { system, id, .. } = router;
    let mut lines = vec![
        // A changed preference counts at once.
        "bgp route-map delay-timer 0".to_owned(),
        format!("router bgp {system}"),
        format!(" bgp router-id {id}"),
        " no bgp ebgp-requires-policy".to_owned(),
        " no bgp network import-check".to_owned(),
        " timers bgp 1 3".to_owned(),
    ];
    for Neighbour {
        address, system, ..
    } in &router.neighbours
    {
        lines.extend([
            format!(" neighbor {address} remote-as {system}"),
            format!(" neighbor {address} timers connect 1"),
            format!(" neighbor {address} advertisement-interval 0"),
            format!(" neighbor {address} bfd"),
            format!(" neighbor {address} bfd profile tunnel"),
        ]);
    }
    lines.push(" address-family ipv4 unicast".to_owned());
    let announces = router.announces.iter();
    lines.extend(announces.map(|prefix| format!("  network {prefix}")));
    for (number, Neighbour { address, .. }) in router.neighbours.iter().enumerate() {
        lines.push(format!("  neighbor {address} route-map in-{number} in"));
        lines.push(format!("  neighbor {address} route-map out-{number} out"));
    }
    lines.extend([" exit-address-family".to_owned(), "exit".to_owned()]);
    for (number, neighbour) in router.neighbours.iter().enumerate() {
        let own = vec![system.to_string(); neighbour.prepend as usize].join(" ");
        lines.extend([
            format!("route-map in-{number} permit 10"),
            format!(" set local-preference {}", neighbour.preference),
            "exit".to_owned(),
            format!("route-map out-{number} permit 10"),
        ]);
        if !own.is_empty() {
            lines.push(format!(" set as-path prepend {own}"));
        }
        lines.push("exit".to_owned());
    }
    lines.push(String::new());
    lines.join("\n")
}

/// To the user that the daemons become.
fn give_away(path: &Path) -> Result<()> {
    let (user, group) = ids_of(USER).context("there is no user frr: is FRR installed?")?;
    chown(path, Some(user), Some(group))
        .with_context(|| format!("cannot give {} to {USER}", path.display()))
}

fn ids_of(user: &str) -> Option<(u32, u32)> {
    let text = fs::read_to_string("/etc/passwd").ok()?;
    let line = text
        .lines()
        .find(|line| line.split(':').next() == Some(user))?;
    let mut fields = line.split(':').skip(2);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_neighbour_has_a_session_with_bfd_and_a_preference() {
        let neighbour = |last, preference, prepend| Neighbour {
            address: [10, 255, last, 2].into(),
            system: 65002,
            preference,
            prepend,
        };
        let router = Router {
            system: 65001,
            id: "10.255.0.1".to_owned(),
            announces: vec!["10.1.0.0/24".to_owned()],
            neighbours: vec![neighbour(1, 200, 0), neighbour(2, 100, 2)],
            bfd_peers: Vec::new(),
            bfd_interval: 30,
            bfd_multiplier: 3,
        };
        let text = bgp_config(&router);
        for line in [
            " neighbor 10.255.1.2 bfd profile tunnel\n",
            " neighbor 10.255.2.2 remote-as 65002\n",
            "  network 10.1.0.0/24\n",
            "route-map in-0 permit 10\n set local-preference 200\n",
            "route-map out-1 permit 10\n set as-path prepend 65001 65001\n",
        ] {
            assert!(text.contains(line), "{line:?} in\n{text}");
        }
        assert!(bfd_config(&router).contains("  transmit-interval 30\n"));
    }
}
