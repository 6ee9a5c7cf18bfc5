//! What the gateway notes of its changes: one line of the log and one event of the journal each.

use super::Gateway;
use crate::control::message::{EventKind, Outcome, Reload};
use crate::host::error::HostError;
use crate::journal::{Change, Journal};
use crossway_sys::clock;

/// A journal that others may read while the gateway writes it.
pub(super) type SharedJournal = tokio::sync::watch::Sender<Journal>;

impl Gateway {
    /// Records a change of state.
    pub(super) fn record(&mut self, change: Change) {
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

    /// Records what has changed of links and sites since the last call. To be called after
    /// everything that may have changed them.
    pub(super) fn record_states(&mut self) {
        for change in self
            .states
            .follow(&self.plan, &mut self.links, clock::now())
        {
            self.record(change);
        }
    }

    /// Records what has changed of the interfaces that the file names.
    pub(super) async fn record_interfaces(&mut self) {
        let gateway = &self.config.gateway;
        let lan = gateway.lan.iter().map(|lan| &lan.interface);
        let wan = gateway.wan.iter().map(|wan| &wan.interface);
        let names: Vec<String> = lan.chain(wan).cloned().collect();
        let mut changes = Vec::new();
        for name in &names {
            match self.host.interface(name).await {
                Ok(found) => changes.extend(self.states.follow_interface(name, Some(&found))),
                Err(HostError::NoSuchInterface { .. }) => {
                    changes.extend(self.states.follow_interface(name, None));
                }
                Err(error) => tracing::warn!("{error}"),
            }
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.states.keep_interfaces(&names);
        for change in changes {
            self.record(change);
        }
        self.follow_lan_interfaces();
    }

    /// Records what came of a reload; one that changes nothing is none.
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
            subject: self.path.display().to_string(),
            from: None,
            to: to.to_owned(),
            cause: format!("{cause} (by {by})"),
        });
    }

    /// Records that this gateway runs, or stops.
    pub(super) fn record_run(&mut self, from: Option<&str>, to: &str, cause: String) {
        self.record(Change {
            kind: EventKind::Gateway,
            subject: self.config.gateway.name.clone(),
            from: from.map(str::to_owned),
            to: to.to_owned(),
            cause,
        });
    }
}
