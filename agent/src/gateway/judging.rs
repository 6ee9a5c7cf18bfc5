//! Who judges by the policy: the eBPF programs on the tunnel device, or else the lanes. And what becomes of packets that either
//! has denied: an answer, where the file wants one, and an event.

mod events;
mod order;

use std::time::Instant;

use super::Gateway;
use super::reconcile::{Dirty, Step};
use super::warnings::Source;
use crate::control::message::{EventKind, PolicyState};
use crate::journal::Change;
use crossway_lane::policy::Refused;
use crossway_lane::refusal::Refuser;
use crossway_policy::Denied;
use crossway_sys::bpf_link::Attached;
pub(super) use events::DeniedEvents;
pub(super) use order::LanePolicy;

/// What this gateway does about denied packets, and who denies them.
pub(super) struct Judging {
    refuser: Refuser,
    events: DeniedEvents,
    /// The programs that judge, while they do.
    programs: Option<Attached>,
}

impl Judging {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            refuser: Refuser::open(now),
            events: DeniedEvents::default(),
            programs: None,
        }
    }

    /// Whether it is the programs that judge.
    pub(super) fn is_by_programs(&self) -> bool {
        self.programs.is_some()
    }
}

impl Gateway {
    /// Puts the rules in force, in the programs and in the lanes.
    pub(super) async fn set_policy(&mut self) -> anyhow::Result<Dirty> {
        let policy = &self.desired.config.policy;
        self.forwarding.set_policy(policy).await?;
        Ok(Dirty::NONE)
    }

    /// Leaves judging to the programs if they are on the tunnel device, to the lanes if they are not.
    pub(super) fn choose_judges(&mut self, now: Instant) -> anyhow::Result<Dirty> {
        let datapath = self.forwarding.datapath.as_ref();
        let found = datapath.map_or(Ok(None), crate::datapath::Datapath::programs_on_tunnel);
        let (programs, error) = match found {
            Ok(programs) => (programs, None),
            Err(error) => (None, Some(error)),
        };
        match programs {
            Some(programs) => {
                self.forwarding.lanes.set_programs(Some(&programs))?;
                self.judging.programs = Some(programs);
            }
            None => self.judge_in_lanes(now)?,
        }
        self.warn_of_judges();
        error.map_or(Ok(Dirty::NONE), Err)
    }

    /// Has the lanes judge, with the flows that the programs know: these are about to go, or have gone.
    pub(super) fn judge_in_lanes(&mut self, now: Instant) -> anyhow::Result<()> {
        if self.judging.programs.take().is_some() {
            self.forwarding.tell_lanes_of_flows(now);
        }
        self.forwarding.lanes.set_programs(None)
    }

    /// Notices that somebody has detached the programs. Where these have links, the lanes have noticed
    /// by themselves; they are told of the flows that the programs knew.
    pub(super) fn look_at_judges(&mut self, now: Instant) {
        let (Some(programs), Some(datapath)) = (&self.judging.programs, &self.forwarding.datapath)
        else {
            return;
        };
        match datapath.are_on_tunnel(programs) {
            Ok(true) => return,
            Ok(false) => {}
            Err(_) => {
                // The lanes judge until it is known.
                self.agenda.mark(Step::Judges.into());
                return;
            }
        }
        // A lane that has ended is noticed at the end of the turn.
        drop(self.judge_in_lanes(now));
        let tun = self.host.tun.name.clone();
        self.record(Change {
            kind: EventKind::FastPath,
            subject: tun,
            from: Some("attached".to_owned()),
            to: "detached".to_owned(),
            cause: "not by this agent; the lanes judge by the policy instead".to_owned(),
        });
        self.warn_of_judges();
    }

    fn warn_of_judges(&mut self) {
        let config = &self.desired.config;
        let lanes = !self.judging.is_by_programs();
        let wanted = lanes && config.gateway.fast_path && !config.policy.is_open();
        let warning = wanted.then(|| {
            format!(
                "the eBPF programs on {} are not attached: the lanes judge by the policy instead, more slowly; \
                 restart the agent to have them back",
                self.host.tun.name
            )
        });
        self.warnings
            .replace(Source::Policy, warning.into_iter().collect());
    }

    /// For `status`.
    pub(super) fn policy_state(&self) -> PolicyState {
        let policy = &self.desired.config.policy;
        PolicyState {
            closed: !policy.is_open(),
            rules: policy.rules.len() as u64,
            shadow_rules: policy.shadow.len() as u64,
            by_programs: self.judging.is_by_programs(),
        }
    }

    /// A packet was denied.
    pub(super) fn on_refused(&mut self, head: &[u8], now: Instant) {
        if self.desired.config.policy.denied == Denied::Reject
            && let Some(answer) = self.judging.refuser.answer(head, now)
        {
            let receiver = answer.receiver();
            let plan = &self.desired.plan;
            let sent = if self.forwarding.is_of_site(receiver, plan) {
                self.forwarding.answer_by_lane(answer)
            } else {
                self.judging.refuser.send(&answer).map_err(Into::into)
            };
            if let Err(error) = sent {
                tracing::debug!(%receiver, "a denied packet was not answered: {error:#}");
            }
        }
        if let Some(change) = self.judging.events.change(head, now) {
            self.record(change);
        }
    }

    /// All that wait.
    pub(super) fn on_all_refused(&mut self, refused: &[Refused], now: Instant) {
        for refused in refused {
            self.on_refused(refused.head(), now);
        }
    }
}
