//! This machine was restored from a snapshot, cloned, or asleep: its sessions begin anew, and the journal says so.
//!
//! The kernel tells of a copy, where the hypervisor tells it. Elsewhere the clocks do: the lanes look at them by
//! themselves, ten times a second, and what is seen here is for the journal.

use std::io;
use std::time::Duration;

use tokio::io::unix::AsyncFd;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::Gateway;
use crate::control::message::EventKind;
use crate::journal::Change;
use crate::lane::gaps::Gaps;
use crate::tunnel::forgetting::Gap;
use crossway_sys::uevents::Uevents;

/// How often the clocks are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What is known of the machine.
pub(super) struct Machine {
    uevents: Option<AsyncFd<Uevents>>,
    gaps: Gaps,
    look: Interval,
}

/// What has become of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The kernel says that it is a copy.
    Copied,
    /// The clocks say that time has passed without it.
    Gap(Gap),
}

impl Machine {
    /// Watches it, inside a tokio runtime.
    pub(super) fn watch() -> Self {
        let opened = Uevents::open().and_then(|uevents| {
            // SAFETY: `Uevents` gives the same open descriptor as long as it lives.
            unsafe { AsyncFd::register(uevents) }.map_err(io::Error::from)
        });
        let uevents = opened
            .inspect_err(
                |error| tracing::debug!(%error, "the kernel's notes of devices cannot be read"),
            )
            .ok();
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            uevents,
            gaps: Gaps::default(),
            look,
        }
    }

    /// Waits until something has become of it. Safe to cancel.
    pub(super) async fn changed(&mut self) -> Fate {
        loop {
            tokio::select! {
                () = copied(self.uevents.as_ref()) => return Fate::Copied,
                _ = self.look.tick() => {
                    if let Some(gap) = self.gaps.look() {
                        return Fate::Gap(gap);
                    }
                }
            }
        }
    }
}

/// Waits until the kernel tells of a copy; for ever where it tells nothing.
async fn copied(uevents: Option<&AsyncFd<Uevents>>) {
    let Some(uevents) = uevents else {
        return std::future::pending().await;
    };
    loop {
        let Ok(mut ready) = uevents.readable().await else {
            return std::future::pending().await;
        };
        match ready.try_io(|uevents| uevents.get_ref().take()) {
            Ok(Ok(true)) => return,
            // Another note, or none.
            Ok(Ok(false)) | Err(_) => {}
            Ok(Err(error)) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                tracing::debug!("some of the kernel's notes of devices were lost");
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "the kernel's notes of devices cannot be read any more");
                return std::future::pending().await;
            }
        }
    }
}

impl Gateway {
    /// Begins the sessions anew, unless the lanes do so by themselves, and records it.
    pub(super) fn on_fate(&mut self, fate: Fate) {
        if fate == Fate::Copied {
            // A lane that has ended is noticed at the end of the turn.
            let _ = self.forwarding.lanes.forget_sending_keys();
        }
        self.record(Change {
            kind: EventKind::Gateway,
            subject: self.desired.config.gateway.name.clone(),
            from: None,
            to: "sessions begun anew".to_owned(),
            cause: cause(fate),
        });
    }
}

/// Why, in words for a person.
fn cause(fate: Fate) -> String {
    match fate {
        Fate::Copied => "this virtual machine was restored from a snapshot or cloned".to_owned(),
        Fate::Gap(Gap::Asleep(time)) => format!("this machine was asleep for {} s", time.as_secs()),
        Fate::Gap(Gap::SetForward(time)) => format!(
            "the clock was set forward by {} s, as it is after a snapshot was restored",
            time.as_secs()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_tells_what_has_become_of_the_machine() {
        let hour = Duration::from_hours(1);
        assert!(cause(Fate::Copied).contains("restored"));
        assert_eq!(
            cause(Fate::Gap(Gap::Asleep(hour))),
            "this machine was asleep for 3600 s"
        );
        assert!(cause(Fate::Gap(Gap::SetForward(hour))).contains("forward by 3600 s"));
    }
}
