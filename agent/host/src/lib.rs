//! The host around the connector: interfaces, addresses, routes and sysctls, by rtnetlink and
//! `/proc/sys`; never by running `ip`.
//!
//! [`Host`] makes the host as [`Wanted`] says and puts everything back at a clean stop. What it
//! changes it first writes into a state file ([`state`]), so after kill -9 the next start takes
//! over: it touches only what differs, and its clean stop restores what the first start found.
//!
//! In the order of a start: [`tunnel_mtu`] (how large packets may be), [`guard`] (which routes must
//! not be), [`Host::claim_tun`], opening the TUN (`io::tun`), [`Host::apply`] ([`forwarding`] says
//! which sysctls, [`site_routes`] which routes), [`mirror`] (what the datapath must leave to the
//! kernel), and then [`watch`] for all that others change.
//!
//! An interface that the configuration names may be away at any time: [`Host::find`] looks for it, and what is
//! for it waits until it comes.
//!
//! A `Host` belongs to the control task; nothing here is for the packet path. Everything acts on
//! the network namespace of the thread that called [`Host::connect`], and must go on there.

pub mod addresses;
pub mod apply;
pub mod decision;
mod drift;
pub mod error;
pub mod firewall;
pub mod forwarding;
pub mod guard;
mod kept_features;
pub mod kept_sysctls;
pub mod kernel_routes;
pub mod links;
pub mod mirror;
pub mod neighbours;
mod route_socket;
pub mod site_routes;
pub mod state;
pub mod sysctl;
mod tunnel;
pub mod tunnel_mtu;
mod turn_back;
pub mod virtual_mac;
pub mod watch;
mod way_out;
pub mod ways;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rtnetlink::Handle;
use tokio::task::JoinHandle;

use self::addresses::HostAddress;
use self::error::HostError;
use self::kernel_routes::KernelRoute;
use self::links::Interface;
use self::route_socket::RouteSocket;
use self::state::StateFile;
use self::virtual_mac::{VirtualMac, WantedVirtualMac};
use crossway_types::ids::IfIndex;
use crossway_types::interface::{InterfaceAddress, OnDown};
use crossway_types::prefix::Prefix;

/// The connection to the kernel, and the memory of what was changed.
pub struct Host {
    handle: Handle,
    connection: JoinHandle<()>,
    routes: Routes,
    /// See [`Host::take_other_routes`].
    other_routes: Option<Vec<KernelRoute>>,
    file: StateFile,
    warning: Option<String>,
    seen: drift::Seen,
    /// `None` until the first [`Host::apply`].
    virtual_macs: Option<Vec<VirtualMac>>,
    /// No route of ours is left, and none is made any more: see [`Host::close_tunnel`].
    closed: bool,
}

/// The socket for routes, for threads that may block.
struct Routes(Arc<Mutex<RouteSocket>>);

/// How the host is to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Name of the TUN, which exists.
    pub tun: String,
    /// Its MTU, bytes; see [`tunnel_mtu::choose`].
    pub mtu: u16,
    /// Its addresses.
    pub addresses: Vec<InterfaceAddress>,
    /// Prefixes to route into it.
    pub routes: Vec<Prefix>,
    /// Prefixes of sites that are down, none of them in `routes`.
    pub down: Vec<(Prefix, OnDown)>,
    /// LAN interfaces.
    pub lan: Vec<String>,
    /// WAN interfaces.
    pub wan: Vec<String>,
    /// Those of them that links are bound to.
    pub bound_wans: Vec<String>,
    /// The prefixes of each site. With more than one, packets may go from site to site through this gateway.
    pub sites: Vec<Vec<Prefix>>,
    /// Whether the kernel stack forwards everything, without eBPF.
    pub by_stack: bool,
    /// Devices that virtual routers need.
    pub virtual_macs: Vec<WantedVirtualMac>,
}

/// What has been done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// A line for each change made; empty if all was as wanted.
    pub changes: Vec<String>,
    /// What a person should look at.
    pub warnings: Vec<String>,
    /// What should have been done and could not be; the rest is done.
    pub failures: Vec<String>,
}

impl Host {
    /// Connects to the kernel and reads what a killed agent of the gateway called `name` left.
    pub async fn connect(name: &str) -> Result<Self, HostError> {
        Self::connect_with_state(StateFile::path_of(name)).await
    }

    /// As [`Host::connect`], with the state file at `path`.
    pub async fn connect_with_state(path: PathBuf) -> Result<Self, HostError> {
        let (file, warning) = StateFile::open(path)?;
        let failed = |error| HostError::Netlink {
            what: "to open a netlink socket".to_owned(),
            error,
        };
        let (connection, handle, _) = rtnetlink::new_connection().map_err(failed)?;
        let routes = RouteSocket::open().map_err(failed)?;
        let host = Self {
            handle,
            connection: tokio::spawn(connection),
            routes: Routes(Arc::new(Mutex::new(routes))),
            other_routes: None,
            file,
            warning,
            seen: drift::Seen::default(),
            virtual_macs: None,
            closed: false,
        };
        // One request, so that a kernel that does not answer shows here.
        host.interface("lo").await?;
        Ok(host)
    }

    /// The interface called `name`, if there is one: whoever names it in a file may have to wait for it.
    pub async fn find(&self, name: &str) -> Result<Option<Interface>, HostError> {
        links::find(&self.handle, name).await
    }

    /// The interface called `name`, which must be there.
    pub async fn interface(&self, name: &str) -> Result<Interface, HostError> {
        links::get(&self.handle, name).await
    }

    /// Packets for an interface that the kernel has dropped there (`ip -s link`), for want of room or because it is
    /// down: forgotten with the interface.
    pub fn dropped_in(&self, interface: &str) -> u64 {
        let table = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap_or_default();
        links::dropped_to(&table, interface).unwrap_or(0)
    }

    /// All interfaces.
    pub async fn interfaces(&self) -> Result<Vec<Interface>, HostError> {
        links::list(&self.handle).await
    }

    /// All addresses.
    pub async fn addresses(&self) -> Result<Vec<HostAddress>, HostError> {
        addresses::list(&self.handle).await
    }

    /// All routes; [`site_routes::is_ours`] tells which are ours.
    pub async fn kernel_routes(&self) -> Result<Vec<KernelRoute>, HostError> {
        let all = self
            .routes
            .blocking(|socket| kernel_routes::list(socket, None));
        Ok(all.await?.others)
    }

    /// All routes but ours, of which some lead into the TUN `tun`.
    pub async fn other_routes(&self, tun: IfIndex) -> Result<Vec<KernelRoute>, HostError> {
        let ours = tunnel::ours(&self.file, tun);
        let all = self
            .routes
            .blocking(move |socket| kernel_routes::list(socket, Some(&ours)));
        Ok(all.await?.others)
    }

    /// All routes but ours as the last [`Host::apply`] found them, once; `None` if they could not be read.
    pub fn take_other_routes(&mut self) -> Option<Vec<KernelRoute>> {
        self.other_routes.take()
    }

    /// What the kernel names as the cause of changes of routes made here; see [`watch`].
    pub fn route_port(&self) -> u32 {
        self.routes.lock().port()
    }

    /// The sysctls and device features that are changed, a line each, for `status`. Where another value is there
    /// now, the line says so.
    pub fn changes(&self) -> Vec<String> {
        let sysctls = self.file.state.sysctls.iter();
        let sysctls = sysctls
            .filter(|change| change.before != change.set)
            .map(kept_sysctls::describe);
        let features = self.file.state.features.iter();
        sysctls
            .chain(features.map(kept_features::describe))
            .collect()
    }

    /// The devices of virtual routers, as the last [`Host::apply`] left them.
    pub fn virtual_macs(&self) -> &[VirtualMac] {
        self.virtual_macs.as_deref().unwrap_or(&[])
    }

    /// Has the first [`Host::apply`] keep the devices of virtual routers that an agent left, up as they are:
    /// it has just handed over. Without, they are made anew.
    pub fn keep_virtual_macs(&mut self) {
        self.virtual_macs.get_or_insert_default();
    }

    /// Notes whether the TUN called `name` exists. Call it before the TUN is opened: only one that
    /// was not there is deleted at the clean stop. One that another program holds is refused: its
    /// queues would share the packets.
    pub async fn claim_tun(&mut self, name: &str) -> Result<(), HostError> {
        let there = links::find(&self.handle, name).await?;
        if there.is_some_and(|tun| tun.open_queues > 0) {
            return Err(HostError::TunInUse {
                name: name.to_owned(),
            });
        }
        tunnel::claim(&self.handle, &self.routes, &mut self.file, name).await
    }

    /// Goes on where another agent of this gateway has left off: reads again what it remembered, for it
    /// may have changed the host since [`Host::connect`].
    pub fn take_over(&mut self) -> Result<(), HostError> {
        let (file, warning) = StateFile::open(self.file.path().to_owned())?;
        self.file = file;
        self.warning = warning;
        Ok(())
    }

    /// Lets nothing more be routed into the tunnel; what is in it can still be read. [`Host::restore`] is to follow.
    pub async fn close_tunnel(&mut self) -> Result<(), HostError> {
        self.closed = tunnel::close(&self.handle, &self.routes, &mut self.file).await?;
        Ok(())
    }

    /// Puts everything back as it was before the first [`Host::apply`], and forgets it. What fails keeps the
    /// rest from nothing, and stays remembered for the next start.
    pub async fn restore(&mut self) -> Result<Report, HostError> {
        let closed = std::mem::take(&mut self.closed);
        let released = tunnel::release(&self.handle, &self.routes, &mut self.file, closed).await;
        let mut report = Report::default();
        report.note(released);
        let file = &mut self.file;
        virtual_mac::reconcile(&self.handle, file, &[], true, &mut report).await;
        self.virtual_macs = None;
        kept_features::reconcile(&mut self.file, &[], &mut report);
        kept_sysctls::reconcile(&mut self.file, Vec::new(), &mut report);
        if report.failures.is_empty() {
            report.note(self.file.clear());
        }
        Ok(report)
    }
}

impl Routes {
    /// Runs `work` on a thread of its own, since the kernel takes seconds over a million routes.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut RouteSocket) -> T + Send + 'static,
    ) -> T {
        let routes = Self(Arc::clone(&self.0));
        let done = tokio::task::spawn_blocking(move || work(&mut routes.lock()));
        done.await
            .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, RouteSocket> {
        // Each call begins with a request of its own, whatever became of the one before.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Wanted {
    /// Whether IPv6 goes through the tunnel: a route or an address of it is IPv6. (An IPv6 address
    /// on a LAN alone brings none in.)
    pub fn uses_ipv6(&self) -> bool {
        let down = self.down.iter().map(|(prefix, _)| prefix);
        let routes = self.routes.iter().chain(down).map(Prefix::is_ipv4);
        let addresses = self.addresses.iter().map(|own| own.address.is_ipv4());
        routes.chain(addresses).any(|ipv4| !ipv4)
    }

    /// The prefixes that must not leave this host but through the tunnel, whatever becomes of the routes into it:
    /// all but those that a site gives up while it is down.
    fn backstops(&self) -> Vec<Prefix> {
        let kept = |(prefix, on_down): &(Prefix, OnDown)| {
            (*on_down != OnDown::NextShorter).then_some(*prefix)
        };
        let down = self.down.iter().filter_map(kept);
        let all: Vec<Prefix> = self.routes.iter().copied().chain(down).collect();
        if all.len() > site_routes::MOST_BACKSTOPS {
            return Vec::new();
        }
        all
    }
}

impl Report {
    fn changed(&mut self, line: String) {
        self.changes.push(line);
    }

    /// Takes down what could not be done.
    fn note(&mut self, outcome: Result<(), HostError>) {
        self.failures
            .extend(outcome.err().map(|error| error.to_string()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_may_run_in_any_task() {
        fn is_send(_: &impl Send) {}
        let path = std::env::temp_dir().join("crossway-never-made.state.json");
        is_send(&async {
            let mut host = Host::connect_with_state(path).await?;
            host.claim_tun("cw-a").await?;
            host.apply(&Wanted::default()).await?;
            host.kernel_routes().await?;
            host.restore().await
        });
    }
}
