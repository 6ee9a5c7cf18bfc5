//! Steps that have to do with the host.

use anyhow::{Result, ensure};

use crate::control::message::EventKind;
use crate::gateway::Gateway;
use crate::gateway::reconcile::{Dirty, Step};
use crate::gateway::warnings::Source;
use crate::host::tunnel_mtu::TunnelMtu;
use crate::journal::Change;

impl Gateway {
    /// The WAN may have another MTU, the device another index.
    pub(in super::super) async fn follow_tunnel(&mut self) -> Result<Dirty> {
        let index = self.host.tun.index;
        self.host.look_at_tunnel().await?;
        let on_index = Step::Host | Step::KernelRoutes | Step::InterfaceRoles | Step::Programs;
        // Also where no MTU fits.
        self.agenda
            .mark(on_index.when(self.host.tun.index != index));
        let mtu = self.host.choose_mtu(&self.desired.config).await?;
        self.set_mtu(mtu)
    }

    /// Holds the lanes to an MTU of the tunnel.
    fn set_mtu(&mut self, mtu: TunnelMtu) -> Result<Dirty> {
        let tun = &mut self.host.tun;
        if mtu == tun.mtu {
            return Ok(Dirty::NONE);
        }
        self.forwarding.lanes.set_mtu(mtu.mtu)?;
        let before = std::mem::replace(&mut tun.mtu, mtu.clone());
        let subject = tun.name.clone();
        self.record(Change {
            kind: EventKind::Host,
            subject,
            from: Some(format!("MTU {}", before.mtu)),
            to: format!("MTU {}", mtu.mtu),
            cause: mtu.reason,
        });
        Ok(Step::Wans | Step::Sites | Step::Host)
    }

    /// TUN, addresses, routes, sysctls, and the devices of virtual routers.
    pub(in super::super) async fn apply_host(&mut self) -> Result<Dirty> {
        let down = &self.forwarding.down;
        let by_stack = self.forwarding.datapath.is_none();
        let report = self.host.apply(&self.desired, down, by_stack).await?;
        let mut warnings = report.warnings;
        warnings.extend(self.host.tun.mtu.warning.clone());
        warnings.extend(self.host.why_deaf(&self.desired.config).await);
        self.warnings.replace(Source::Host, warnings);
        self.take_report(&report.changes, &report.failures)
    }

    /// Whatever has failed, the fast path follows the routes of others.
    fn take_report(&mut self, changes: &[String], failures: &[String]) -> Result<Dirty> {
        for change in changes {
            tracing::info!("host: {change}");
        }
        self.agenda.mark(Step::FastPathRoutes.into());
        ensure!(failures.is_empty(), "{}", failures.join("; "));
        Ok(Dirty::NONE)
    }

    /// For sites that go down and come back, and while the host as a whole cannot be brought in order.
    pub(in super::super) async fn apply_kernel_routes(&mut self) -> Result<Dirty> {
        let down = &self.forwarding.down;
        let report = self.host.apply_routes(&self.desired, down).await?;
        self.take_report(&report.changes, &report.failures)
    }
}
