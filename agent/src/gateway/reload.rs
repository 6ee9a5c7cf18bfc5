//! Putting a changed file in force. A file that does not validate, or that needs a restart, changes nothing. One
//! that the host refuses is taken back: the gateway returns to the configuration that it had.

use std::time::Instant;

use super::Gateway;
use super::desired::Desired;
use super::plan::{Difference, PlannedLink};
use super::preflight::refuse_swallowed;
use super::reconcile::Event;
use super::warnings::Source;
use crate::config::{Config, Rejected};
use crate::control::Asker;
use crate::control::message::{Outcome, Reload};
use crate::disk::Disk;
use crossway_sys::memory;

impl Gateway {
    /// SIGHUP.
    pub(super) async fn reload_and_log(&mut self, now: Instant) {
        let reload = self.reload(None, now).await;
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

    /// Reads the file again, applies what differs, and records the outcome. Without an asker it was a
    /// signal, whose sender is not known.
    pub(super) async fn reload(&mut self, asker: Option<Asker>, now: Instant) -> Reload {
        let by = asker.map_or_else(|| "SIGHUP".to_owned(), |asker| asker.to_string());
        let reload = self.read_and_apply(now).await;
        self.record_reload(&reload, &by);
        reload
    }

    async fn read_and_apply(&mut self, now: Instant) -> Reload {
        let accepted = match Config::load(&self.process.path, &Disk) {
            Ok(accepted) => accepted,
            Err(rejected) => return rejected_reload(&rejected),
        };
        let warnings: Vec<String> = accepted.warnings.iter().map(ToString::to_string).collect();
        let mut new = accepted.config;
        new.keep_unread_keys(&self.desired.config);
        let of = |outcome, errors, changes| Reload {
            outcome,
            errors,
            changes,
            warnings: warnings.clone(),
        };
        if let Err(errors) = self.check(&new).await {
            return of(Outcome::Rejected, errors, Vec::new());
        }
        // A certificate may have been renewed where the file has not changed.
        let metrics = match self.exporter.set(new.metrics.as_ref()) {
            Ok(true) => vec!["metrics".to_owned()],
            Ok(false) => Vec::new(),
            Err(error) => {
                let why = format!("metrics: {error:#}; nothing was changed");
                return of(Outcome::Failed, vec![why], Vec::new());
            }
        };
        self.warnings.remember(Source::Metrics, Vec::new());
        if new == self.desired.config {
            let outcome = if metrics.is_empty() {
                Outcome::Unchanged
            } else {
                Outcome::Applied
            };
            return of(outcome, Vec::new(), metrics);
        }
        let mtu = match self.host.choose_mtu(&new).await {
            Ok(mtu) => mtu,
            Err(error) => {
                self.metrics_as_desired();
                return of(Outcome::Rejected, vec![format!("{error:#}")], Vec::new());
            }
        };

        let numbers = self.desired.numbers.clone();
        let next = Desired::new(new, numbers, self.forwarding.lanes.count());
        let mut changes = describe(&self.desired.plan.difference(&next.plan));
        if next.config.gateway != self.desired.config.gateway {
            changes.push("gateway settings".to_owned());
        }
        if next.config.policy != self.desired.config.policy {
            changes.push("policy".to_owned());
        }
        if next.config.flows != self.desired.config.flows {
            changes.push("where finished flows go".to_owned());
        }
        if next.config.discovery != self.desired.config.discovery {
            changes.push("discovery of services".to_owned());
        }
        if mtu != self.host.tun.mtu {
            changes.push(format!("MTU of the tunnel {}", mtu.mtu));
        }
        changes.extend(metrics);
        let put = self.put_in_force(next, now).await;
        // Where it was taken back, so are they.
        self.metrics_as_desired();
        memory::give_back();
        match put {
            Ok(()) => {
                self.warnings.remember(Source::Config, warnings.clone());
                of(Outcome::Applied, Vec::new(), changes)
            }
            Err(errors) => of(Outcome::Failed, errors, Vec::new()),
        }
    }

    /// What keeps a configuration from being put in force, before anything is changed.
    async fn check(&self, new: &Config) -> Result<(), Vec<String>> {
        let running = &self.desired.config.gateway;
        let errors = running.refuse_change_while_running(&new.gateway);
        if !errors.is_empty() {
            return Err(errors);
        }
        let swallowed = refuse_swallowed(&self.host.kernel, new).await;
        swallowed.map_err(|error| format!("{error:#}").lines().map(str::to_owned).collect())
    }

    /// Makes the gateway as `next` says, or else as it was: then the errors, and whether that succeeded. What
    /// had failed before for the same reason is not held against `next`.
    async fn put_in_force(&mut self, next: Desired, now: Instant) -> Result<(), Vec<String>> {
        let before = self.agenda.failures();
        let previous = self.turn_to(next, now).await;
        if let Err(error) = self.forwarding.lanes.ended() {
            return Err(vec![format!("{error:#}")]);
        }
        let mut errors = self.agenda.new_since(&before);
        if errors.is_empty() {
            return Ok(());
        }
        self.turn_to(previous, now).await;
        errors.push(back_again(&self.agenda.new_since(&before)));
        Err(errors)
    }

    /// Wants something else from now on, and acts on it; what was wanted before.
    async fn turn_to(&mut self, next: Desired, now: Instant) -> Desired {
        let routes = self.desired.plan.difference(&next.plan).routes;
        let previous = std::mem::replace(&mut self.desired, next);
        self.mark(Event::Reloaded { routes });
        self.reconcile(now).await;
        self.configure_discovery();
        previous
    }
}

/// What a person is told of a return to the previous configuration, by what fails after it.
fn back_again(failures: &[String]) -> String {
    if failures.is_empty() {
        return "the previous configuration is in force again: mend the cause and reload"
            .to_owned();
    }
    format!(
        "the previous configuration is wanted again, but not wholly in force ({}); this is tried again until it \
         succeeds",
        failures.join("; ")
    )
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
    for link in &difference.links.added {
        changes.push(format!("link to {} begins anew", far_end(link)));
    }
    for link in &difference.links.moved {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_return_says_whether_it_succeeded() {
        assert!(back_again(&[]).starts_with("the previous configuration is in force again"));
        let failures = ["no lan0".to_owned(), "a route is taken".to_owned()];
        let said = back_again(&failures);
        assert!(
            said.contains("not wholly in force (no lan0; a route is taken)"),
            "{said}"
        );
    }
}
