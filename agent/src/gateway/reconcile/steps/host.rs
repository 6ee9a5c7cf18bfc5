//! Steps that have to do with the host.

use anyhow::Result;

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
        let mtu = self.host.look_at_tunnel(&self.desired.config).await?;
        let other_index = self.host.tun.index != index;
        let on_index = Step::Host | Step::KernelRoutes | Step::InterfaceRoles | Step::Programs;
        Ok(self.set_mtu(mtu)? | on_index.when(other_index))
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
        Ok(Step::Sites | Step::Host)
    }

    /// TUN, addresses, routes, sysctls, and the devices of virtual routers.
    pub(in super::super) async fn apply_host(&mut self) -> Result<Dirty> {
        let down = &self.forwarding.down;
        let report = self.host.apply(&self.desired, down).await?;
        for change in &report.changes {
            tracing::info!("host: {change}");
        }
        let mut warnings = report.warnings;
        warnings.extend(self.host.tun.mtu.warning.clone());
        self.warnings.replace(Source::Host, warnings);
        Ok(Step::FastPathRoutes.into())
    }

    /// For sites that go down and come back, and while the host as a whole cannot be brought in order.
    pub(in super::super) async fn apply_kernel_routes(&mut self) -> Result<Dirty> {
        let down = &self.forwarding.down;
        let report = self.host.apply_routes(&self.desired, down).await?;
        for change in &report.changes {
            tracing::info!("host: {change}");
        }
        Ok(Step::FastPathRoutes.into())
    }
}
