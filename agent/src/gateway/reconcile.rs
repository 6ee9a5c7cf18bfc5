//! How the gateway becomes what it should be, whatever has happened.
//!
//! What happens only marks steps as due ([`Event`]). At the end of each turn of the loop, and before an answer
//! that must show the result, [`Gateway::reconcile`] takes the due steps in the one order of [`Step`]. A step
//! compares what is wanted (the configuration and its plan) with what is there, and changes what differs,
//! so it may be taken once too often. What it finds may make other steps due; an earlier one is then taken
//! next.
//!
//! A step that fails stays due and is tried again ([`Agenda`]); the others go on. `status` warns of it until
//! it succeeds. Only a lane that has ended ends the agent.

pub mod agenda;
pub mod event;
pub mod step;
mod steps;

use std::time::Instant;

use anyhow::Result;

use super::Gateway;
pub use agenda::Agenda;
pub use event::Event;
pub use step::{Dirty, Step};

/// Steps that one turn may take. Each makes others due only by a change that it has found, so that a turn comes
/// to rest long before; what is left after so many is the next turn's.
const MOST_STEPS: usize = 4 * Step::RULES.len();

impl Gateway {
    /// Notes what has happened, for the next [`Self::reconcile`].
    pub(super) fn mark(&mut self, event: Event) {
        self.agenda.mark(event.dirty());
    }

    /// Takes all steps that are due.
    pub(super) async fn reconcile(&mut self, now: Instant) {
        for _ in 0..MOST_STEPS {
            let Some(step) = self.agenda.next(now) else {
                return;
            };
            if let Err(error) = self.reconcile_step(step, now).await {
                let why = format!("{error:#}");
                if self.agenda.on_failed(step, why.clone(), now) {
                    tracing::warn!("{}", agenda::describe(step, &why));
                }
            }
            if self.forwarding.lanes.ended().is_err() {
                // All is over: there is nothing to bring in order.
                return;
            }
        }
    }

    /// Takes all steps that are due, up to the first that fails.
    ///
    /// # Errors
    /// Why it failed.
    pub(super) async fn reconcile_or_refuse(&mut self, now: Instant) -> Result<()> {
        while let Some(step) = self.agenda.next(now) {
            self.reconcile_step(step, now).await?;
        }
        Ok(())
    }

    async fn reconcile_step(&mut self, step: Step, now: Instant) -> Result<()> {
        let effects = self.take_step(step, now).await?;
        if self.agenda.on_done(step, effects) {
            tracing::info!("{}: in order again", step.rule().name);
        }
        Ok(())
    }

    /// Takes a step; the steps that have become due by what it found.
    async fn take_step(&mut self, step: Step, now: Instant) -> Result<Dirty> {
        match step {
            Step::FormerRouters => Ok(self.leave_former_routers().await),
            Step::Policy => self.set_policy().await,
            Step::Tunnel => self.follow_tunnel().await,
            Step::Sessions => self.set_sessions(),
            Step::Links => self.set_links(now),
            Step::Wans => self.follow_wans(now).await,
            Step::Sources => self.follow_sources().await,
            Step::Service => Ok(self.judge_service()),
            Step::Ranks => self.tell_ranks(now),
            Step::States => Ok(self.follow_states(now)),
            Step::LaneRoutes => self.set_lane_routes().await,
            Step::ReusedSites => self.forget_reused_sites(),
            Step::Sites => self.write_sites(),
            Step::Dials => self.dial_due(now),
            Step::Interfaces => Ok(self.follow_interfaces(now).await),
            Step::HealthTargets => Ok(self.set_health_targets(now)),
            Step::Host => self.apply_host().await,
            Step::KernelRoutes => self.apply_kernel_routes().await,
            Step::Reached => Ok(self.tell_reached()),
            Step::Routers => self.run_routers().await,
            Step::FastPathRoutes => {
                self.guard_own_packets(now).await;
                self.write_fast_path_routes().await
            }
            Step::FreeSites => self.forget_free_sites(),
            Step::InterfaceRoles => self.write_roles().await,
            Step::Programs => Ok(self.attach_programs(now)),
            Step::Judges => self.choose_judges(now),
            Step::Steering => self.steer(),
        }
    }
}
