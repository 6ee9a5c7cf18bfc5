//! Stock WireGuard as the gateway of a site: what Crossway must interoperate with and is measured against.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::netns::{self, Netns};
use crate::plan::GatewayPlan;
use crate::process::{self, ProcessGuard};
use crate::topology::Topology;

/// Until the tunnel interface exists and its socket answers.
const START_LIMIT: Duration = Duration::from_secs(10);
/// What WireGuard's own tools set for an uplink of 1500 bytes.
const DEFAULT_MTU: u16 = 1420;
/// Where user-space WireGuard keeps its control sockets; not part of a network namespace, so
/// interface names must be unique on the whole machine.
const SOCKETS: &str = "/var/run/wireguard";

/// A WireGuard implementation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Implementation {
    /// `wireguard-go`, of Debian's package of the same name.
    WireguardGo,
    /// The newest `wireguard-go` that Debian has, under a name of its own: that of Debian 12 (2022) is
    /// older than its segmentation offloads (2023).
    WireguardGoNewest,
    /// `boringtun-cli`, of crates.io.
    BoringtunCli,
    /// `gotatun`, of the crate gotatun-cli.
    GotatunCli,
    /// The kernel's own.
    Kernel,
}

impl Implementation {
    /// Name of the program; `None` for the kernel.
    pub fn program(self) -> Option<&'static str> {
        match self {
            Self::WireguardGo => Some("wireguard-go"),
            Self::WireguardGoNewest => Some("wireguard-go-newest"),
            Self::BoringtunCli => Some("boringtun-cli"),
            Self::GotatunCli => Some("gotatun"),
            Self::Kernel => None,
        }
    }

    /// What its program or the kernel calls its version.
    ///
    /// # Errors
    /// Why it cannot run here: not installed, or a kernel without it.
    pub fn version(self) -> Result<String> {
        let Some(program) = self.find()? else {
            return kernel_version();
        };
        let text = process::run(Command::new(program).arg("--version"))?;
        let line = text.lines().next().unwrap_or_default();
        let word = line.split_whitespace().nth(1).unwrap_or(line);
        Ok(word.trim_start_matches('v').to_owned())
    }

    /// Where the program is, or how to get it; `None` for the kernel.
    fn find(self) -> Result<Option<PathBuf>> {
        let Some(program) = self.program() else {
            return Ok(None);
        };
        if process::in_path(program) {
            return Ok(Some(program.into()));
        }
        let home = std::env::var_os("CARGO_HOME").map_or_else(
            || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cargo"),
            PathBuf::from,
        );
        let installed = home.join("bin").join(program);
        if installed.is_file() {
            return Ok(Some(installed));
        }
        bail!("{program} is not installed: run `cargo xtask setup bench`")
    }
}

/// The kernel's release, if it can make a WireGuard device.
fn kernel_version() -> Result<String> {
    let netns = Netns::create(&netns::unique_prefix())?;
    netns
        .ip("link add probe type wireguard")
        .context("this kernel has no WireGuard")?;
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    Ok(release.trim().to_owned())
}

/// A gateway that runs a stock WireGuard. Dropped, it is gone with its interface and routes; the
/// namespace's forwarding stays on.
#[derive(Debug)]
pub struct StockGateway {
    /// `None` for the kernel's.
    process: Option<ProcessGuard>,
    interface: String,
    netns: String,
}

impl StockGateway {
    /// Starts the program in the gateway's namespace and gives it addresses, peers and routes.
    pub fn start(
        implementation: Implementation,
        topology: &Topology,
        plan: &GatewayPlan,
    ) -> Result<Self> {
        let netns = &topology.site(&plan.site).gateway;
        let gateway = Self::start_in(implementation, netns, topology.directory(), plan)?;
        for peer in &plan.peers {
            for route in &peer.routes {
                netns.ip(&format!("route add {route} dev {}", gateway.interface))?;
            }
        }
        Ok(gateway)
    }

    /// Starts the program in a namespace, its files in `directory`, and gives it addresses and peers. Routes
    /// are somebody else's.
    pub fn start_in(
        implementation: Implementation,
        netns: &Netns,
        directory: &Path,
        plan: &GatewayPlan,
    ) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let interface = format!("wg{}x{number}", std::process::id());
        let process = if let Some(program) = implementation.find()? {
            let log = directory.join(format!("{}.log", plan.name));
            let mut command = command(implementation, &program, netns, &interface);
            let mut process = ProcessGuard::spawn(&plan.name, &mut command, &log)?;
            process.wait_until("answer", START_LIMIT, || {
                netns.run(&format!("wg show {interface} public-key")).ok()
            })?;
            Some(process)
        } else {
            netns.ip(&format!("link add {interface} type wireguard"))?;
            None
        };
        let gateway = Self {
            process,
            interface,
            netns: netns.name().to_owned(),
        };
        gateway.configure(netns, directory, plan)?;
        Ok(gateway)
    }

    /// Name of its tunnel interface.
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// `wg set` on its interface, such as `peer KEY remove`.
    pub fn set(&self, words: &str) -> Result<()> {
        self.wg("set", words)?;
        Ok(())
    }

    /// `wg show` of its interface, such as `endpoints`: a line for each peer, its key first.
    pub fn show(&self, what: &str) -> Result<String> {
        self.wg("show", what)
    }

    /// When its only peer and it agreed on keys last, in seconds since 1970; 0 if they never did.
    pub fn handshake(&self) -> Result<u64> {
        let said = self.show("latest-handshakes")?;
        let word = said.split_whitespace().nth(1);
        let word = word.with_context(|| format!("no peer in {said:?}"))?;
        Ok(word.parse()?)
    }

    fn wg(&self, verb: &str, words: &str) -> Result<String> {
        let mut command = Command::new("nsenter");
        let netns = Path::new(netns::NETNS_DIR).join(&self.netns);
        command.arg(format!("--net={}", netns.display()));
        command.args(["wg", verb, &self.interface]);
        process::run(command.args(words.split_whitespace()))
    }

    /// The process; `None` for the kernel's.
    pub fn process(&mut self) -> Option<&mut ProcessGuard> {
        self.process.as_mut()
    }

    fn configure(&self, netns: &Netns, directory: &Path, plan: &GatewayPlan) -> Result<()> {
        let Self { interface, .. } = self;
        let file = directory.join(format!("{}.conf", plan.name));
        fs::write(&file, config_text(plan))
            .with_context(|| format!("cannot write {}", file.display()))?;
        process::run(netns.command("wg").args(["setconf", interface]).arg(&file))?;
        for address in &plan.tunnel_addresses {
            netns.ip(&format!("address add {address} dev {interface} nodad"))?;
        }
        let mtu = plan.mtu.unwrap_or(DEFAULT_MTU);
        netns.ip(&format!("link set {interface} mtu {mtu} up"))?;
        netns.set_sysctl("net/ipv4/ip_forward", "1")?;
        netns.set_sysctl("net/ipv6/conf/all/forwarding", "1")
    }
}

impl Drop for StockGateway {
    fn drop(&mut self) {
        // Killed or terminated, the interface goes with the process; its socket may stay.
        match &mut self.process {
            Some(process) => drop(process.terminate(Duration::from_secs(2))),
            None => drop(process::ip(&format!(
                "-n {} link delete {}",
                self.netns, self.interface
            ))),
        }
        let _ = fs::remove_file(format!("{SOCKETS}/{}.sock", self.interface));
    }
}

/// The program in the foreground, inside the namespace.
fn command(
    implementation: Implementation,
    program: &Path,
    netns: &Netns,
    interface: &str,
) -> Command {
    let mut command = netns.command("env");
    command.arg("WG_PROCESS_FOREGROUND=1");
    command.arg(program).arg("--foreground");
    if matches!(
        implementation,
        Implementation::BoringtunCli | Implementation::GotatunCli
    ) {
        // They would become an unprivileged user that cannot reopen its socket.
        command.arg("--disable-drop-privileges");
    }
    command.arg(interface);
    command
}

/// A file for `wg setconf`.
fn config_text(plan: &GatewayPlan) -> String {
    let mut lines = vec![
        "[Interface]".to_owned(),
        format!("PrivateKey = {}", plan.keys.private),
        format!("ListenPort = {}", plan.listen_port),
    ];
    for peer in &plan.peers {
        lines.push("[Peer]".to_owned());
        lines.push(format!("PublicKey = {}", peer.public_key));
        lines.push(format!("AllowedIPs = {}", peer.routes.join(", ")));
        if let Some(endpoint) = peer.endpoint {
            lines.push(format!("Endpoint = {endpoint}"));
        }
        if let Some(seconds) = peer.keepalive {
            lines.push(format!("PersistentKeepalive = {seconds}"));
        }
    }
    lines.push(String::new());
    lines.join("\n")
}

/// Removes a stale control socket of every interface whose process died with its test.
pub fn remove_stale_sockets() {
    let Ok(entries) = fs::read_dir(SOCKETS) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name
            .strip_prefix("wg")
            .and_then(|rest| rest.split_once('x'))
            .and_then(|(pid, _)| pid.parse::<u32>().ok());
        if pid.is_some_and(|pid| !PathBuf::from(format!("/proc/{pid}")).exists()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}
