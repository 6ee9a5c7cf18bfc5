//! The gateway's journal: each change is one line of the log and one event.

use std::time::Instant;

use super::Gateway;
use crate::control::message::{EventKind, Outcome, Reload};
use crate::journal::{Change, Journal};
use crossway_sys::clock;

/// A journal that others may read while the gateway writes it.
pub(super) type SharedJournal = tokio::sync::watch::Sender<Journal>;

impl Gateway {
    /// Records a change of state, unless there are too many of its like.
    pub(super) fn record(&mut self, change: Change) {
        self.tell_history(&change);
        if let Some(change) = self.damper.admit(change, clock::now()) {
            self.write(change);
        }
    }

    /// Records what has become of those of which there were too many.
    pub(super) fn record_suppressed(&mut self, now: Instant) {
        for change in self.damper.poll(now) {
            self.write(change);
        }
    }

    fn write(&mut self, change: Change) {
        tracing::info!(
            kind = change.kind.as_str(),
            subject = change.subject,
            from = change.from,
            to = change.to,
            cause = change.cause,
            "event"
        );
        self.journal
            .send_modify(|journal| journal.record(clock::since_epoch(), change));
    }

    /// Records a reload's outcome; a reload without changes is not recorded.
    pub(super) fn record_reload(&mut self, reload: &Reload, by: &str) {
        let (to, lines) = match reload.outcome {
            Outcome::Unchanged => return,
            Outcome::Applied => ("applied", &reload.changes),
            Outcome::Rejected => ("rejected", &reload.errors),
            Outcome::Failed => ("failed", &reload.errors),
        };
        let cause = match lines.as_slice() {
            [] => "nothing that the gateway acts on".to_owned(),
            [only] => only.clone(),
            [first, rest @ ..] => format!("{first}; and {} more", rest.len()),
        };
        self.record(Change {
            kind: EventKind::Configuration,
            subject: self.process.path.display().to_string(),
            from: None,
            to: to.to_owned(),
            cause: format!("{cause} (by {by})"),
        });
    }

    /// Records that this gateway runs, or stops.
    pub(super) fn record_run(&mut self, from: Option<&str>, to: &str, cause: String) {
        self.record(Change {
            kind: EventKind::Gateway,
            subject: self.desired.config.gateway.name.clone(),
            from: from.map(str::to_owned),
            to: to.to_owned(),
            cause,
        });
    }
}
