//! Applying a changed file. A file that does not validate, or that cannot be put in force without a
//! restart, changes nothing.

use anyhow::Result;

use super::Gateway;
use super::ground::{choose_mtu, refuse_swallowed};
use super::plan::{Difference, Plan, PlannedLink};
use crate::config::{Config, Rejected};
use crate::control::Asker;
use crate::control::message::{Outcome, Reload};
use crate::disk::Disk;
use crate::host::tunnel_mtu::TunnelMtu;
use crossway_sys::memory;

impl Gateway {
    /// SIGHUP.
    pub(super) async fn reload_and_log(&mut self) {
        let reload = self.reload(None).await;
        for error in &reload.errors {
            tracing::error!("reload: {error}");
        }
        for warning in &reload.warnings {
            tracing::warn!("reload: {warning}");
        }
        for change in &reload.changes {
            tracing::info!("reload: {change}");
        }
    }

    /// Reads the file again, applies what differs, and records what came of it. Without an asker it was a
    /// signal, of which nobody knows the sender.
    pub(super) async fn reload(&mut self, asker: Option<Asker>) -> Reload {
        let by = asker.map_or_else(|| "SIGHUP".to_owned(), |asker| asker.to_string());
        let reload = self.read_and_apply().await;
        self.record_reload(&reload, &by);
        reload
    }

    async fn read_and_apply(&mut self) -> Reload {
        let accepted = match Config::load(&self.path, &Disk) {
            Ok(accepted) => accepted,
            Err(rejected) => return rejected_reload(&rejected),
        };
        let warnings: Vec<String> = accepted.warnings.iter().map(ToString::to_string).collect();
        let new = accepted.config;
        let mut errors = self
            .config
            .gateway
            .refuse_change_while_running(&new.gateway);
        if errors.is_empty()
            && let Err(error) = refuse_swallowed(&self.host, &new).await
        {
            errors.extend(format!("{error:#}").lines().map(str::to_owned));
        }
        if !errors.is_empty() {
            return Reload {
                outcome: Outcome::Rejected,
                errors,
                warnings,
                ..Reload::default()
            };
        }
        if new == self.config {
            return Reload {
                outcome: Outcome::Unchanged,
                warnings,
                ..Reload::default()
            };
        }
        self.put_in_force(new, warnings).await
    }

    async fn put_in_force(&mut self, new: Config, warnings: Vec<String>) -> Reload {
        let plan = self.numbers.plan(&new, self.lanes.count());
        let mtu = match choose_mtu(&self.host, &new).await {
            Ok(mtu) => mtu,
            Err(error) => {
                self.numbers.plan(&self.config, self.lanes.count());
                let errors = vec![format!("{error:#}")];
                return Reload {
                    outcome: Outcome::Rejected,
                    errors,
                    warnings,
                    ..Reload::default()
                };
            }
        };
        let difference = self.plan.difference(&plan);
        let mut changes = describe(&difference);
        if new.gateway != self.config.gateway {
            changes.push("gateway settings".to_owned());
        }
        self.config = new;
        self.warnings.config.clone_from(&warnings);
        if mtu != self.tun.mtu {
            changes.push(format!("MTU of the tunnel {}", mtu.mtu));
        }
        let applied = self.put_plan_in_force(plan, difference, mtu).await;
        memory::give_back();
        match applied {
            Ok(()) => Reload {
                outcome: Outcome::Applied,
                changes,
                warnings,
                ..Reload::default()
            },
            Err(error) => Reload {
                outcome: Outcome::Failed,
                errors: vec![format!(
                    "{error:#}: part of the file is in force; mend the cause and reload again"
                )],
                changes,
                warnings,
            },
        }
    }
}

impl Gateway {
    async fn put_plan_in_force(
        &mut self,
        plan: Plan,
        difference: Difference,
        mtu: TunnelMtu,
    ) -> Result<()> {
        self.stop_unwanted_virtual_routers().await;
        self.set_mtu(mtu)?;
        self.follow_health_targets();
        self.apply(plan, difference).await?;
        self.record_interfaces().await;
        self.follow_interfaces().await
    }
}

/// The answer to a file that is wrong.
fn rejected_reload(rejected: &Rejected) -> Reload {
    Reload {
        outcome: Outcome::Rejected,
        warnings: rejected.warnings.iter().map(ToString::to_string).collect(),
        errors: rejected.errors.iter().map(ToString::to_string).collect(),
        ..Reload::default()
    }
}

fn describe(difference: &Difference) -> Vec<String> {
    let mut changes = Vec::new();
    for site in &difference.sites_removed {
        changes.push(format!("site {} removed", site.config.name));
    }
    for site in &difference.sites_added {
        changes.push(format!("site {} added", site.config.name));
    }
    for link in &difference.links_added {
        changes.push(format!("link to {} begins anew", far_end(link)));
    }
    for link in &difference.links_moved {
        changes.push(format!("link to {} dialled anew", far_end(link)));
    }
    if difference.routes {
        changes.push("routes".to_owned());
    }
    changes
}

fn far_end(link: &PlannedLink) -> String {
    match link.site {
        Some(_) => format!("{} of site {}", link.gateway.name, link.site_name),
        None => format!("replica {}", link.gateway.name),
    }
}
