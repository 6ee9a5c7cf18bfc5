//! What a session owes by the clock: retries, renewals, keepalives (whitepaper 6).

use std::time::{Duration, Instant};

use super::super::keypair::{Keypair, REJECT_AFTER};
use super::super::timers::{
    KEEPALIVE_TIMEOUT, REKEY_AFTER, REKEY_AFTER_AS_RESPONDER, REKEY_ATTEMPT_TIME, REKEY_TIMEOUT,
    Traffic,
};
use super::{Local, Session};

/// Age at which the side that began a session renews it even if it only listens (whitepaper 6.2).
const REKEY_AFTER_AS_LISTENER: Duration = Duration::from_secs(
    REJECT_AFTER.as_secs() - KEEPALIVE_TIMEOUT.as_secs() - REKEY_TIMEOUT.as_secs(),
);

impl Session {
    /// Whether [`Self::handle_timeout`] has anything to do.
    #[inline]
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.timers.has_traffic() || self.look_at.is_some_and(|at| now >= at)
    }

    /// Writes a rekey, retry or keepalive that is due; its length.
    pub(crate) fn handle_timeout(
        &mut self,
        local: &Local,
        now: Instant,
        to: &mut [u8],
    ) -> Option<usize> {
        let traffic = self.timers.take_traffic(now);
        self.keypairs.expire(now);
        self.answers.expire(now);
        let written = self
            .handle_attempt(local, now, to)
            .or_else(|| self.renew_if_due(traffic, local, now, to))
            .or_else(|| self.keep_alive_if_due(local, now, to));
        self.look_at = self.next_look(now);
        written
    }

    /// Retries or gives up the handshake under way.
    fn handle_attempt(&mut self, local: &Local, now: Instant, to: &mut [u8]) -> Option<usize> {
        let attempt = self.attempt.as_ref()?;
        if now < attempt.retry_at {
            return None;
        }
        let began = attempt.began;
        if self
            .keypairs
            .peek()
            .is_some_and(|current| current.created > began)
        {
            // The peer began one as well, and that was enough.
            self.attempt = None;
            return None;
        }
        if now < began + REKEY_ATTEMPT_TIME {
            return self.send_initiation(local, began, now, to);
        }
        self.attempt = None;
        self.given_up += self.queue.clear();
        if self.kept_alive {
            self.initiate(local, now, to)
        } else {
            None
        }
    }

    fn renew_if_due(
        &mut self,
        traffic: Traffic,
        local: &Local,
        now: Instant,
        to: &mut [u8],
    ) -> Option<usize> {
        let due = match self.keypairs.peek() {
            Some(current) => self.is_renewal_due(current, traffic, now),
            None => !self.queue.is_empty() && self.may_begin(now),
        };
        let doubted = self.timers.take_doubt(now);
        let unheard = self.answers.ignored_for(now).is_some();
        if doubted || due || unheard {
            self.initiate(local, now, to)
        } else {
            None
        }
    }

    /// Whether the session in use is to be renewed (whitepaper 6.2 and, on a link that is kept
    /// alive, before it ends unused: a keepalive is no reason to WireGuard).
    fn is_renewal_due(&self, current: &Keypair, traffic: Traffic, now: Instant) -> bool {
        let age = now.saturating_duration_since(current.created);
        let by_age = if current.initiator {
            (age >= REKEY_AFTER && (traffic.sent || self.kept_alive))
                || (age >= REKEY_AFTER_AS_LISTENER && traffic.heard)
        } else {
            age >= REKEY_AFTER_AS_RESPONDER && self.kept_alive
        };
        by_age || (current.is_worn() && traffic.sent)
    }

    fn keep_alive_if_due(&mut self, local: &Local, now: Instant, to: &mut [u8]) -> Option<usize> {
        if !self.timers.take_keepalive(now) {
            return None;
        }
        if self.keypairs.peek().is_some() {
            self.send_keepalive(to)
        } else if self.may_begin(now) {
            self.initiate(local, now, to)
        } else {
            None
        }
    }

    fn next_look(&self, now: Instant) -> Option<Instant> {
        let retry = self.attempt.as_ref().map(|attempt| attempt.retry_at);
        let renewal = self.keypairs.peek().and_then(|current| {
            let after = if current.initiator {
                REKEY_AFTER
            } else {
                REKEY_AFTER_AS_RESPONDER
            };
            (self.kept_alive && retry.is_none()).then(|| current.created + after)
        });
        let waiting = (!self.queue.is_empty()).then_some(now);
        [
            self.timers.next(),
            self.keypairs.next_end(),
            retry,
            renewal,
            waiting,
        ]
        .into_iter()
        .flatten()
        .min()
    }
}
