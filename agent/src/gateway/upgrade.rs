//! SIGUSR2: the program at our own path, which may be a newer one by now, is started to take over. The
//! starter does that, which the agent set aside when it began: see [`posture`](crate::posture).

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use crate::posture::{Starter, Told};

/// The upgrade under way, if any.
#[derive(Default)]
pub(super) struct Upgrade {
    starter: Option<Starter>,
    under_way: bool,
}

impl Upgrade {
    pub(super) fn new(starter: Starter) -> Self {
        Self {
            starter: Some(starter),
            under_way: false,
        }
    }

    /// Has the agent started that is to take over. It asks us for everything when it is ready; when it
    /// cannot take over, it ends, and nothing has happened.
    pub(super) fn begin(&mut self) {
        self.look();
        if self.under_way {
            tracing::warn!("upgrade: another one is under way");
            return;
        }
        match self.starter.as_mut().map(Starter::order) {
            Some(Ok(())) => self.under_way = true,
            Some(Err(error)) => self.lose(&error),
            None => self.lose(&io::ErrorKind::NotConnected.into()),
        }
    }

    /// Notices what has become of it, as that the agent has ended instead of taking over.
    pub(super) fn look(&mut self) {
        while let Some(starter) = &mut self.starter {
            match starter.told() {
                Ok(Some(told)) => self.on_told(told),
                Ok(None) => return,
                Err(error) => self.lose(&error),
            }
        }
    }

    fn on_told(&mut self, told: Told) {
        self.under_way = matches!(told, Told::Started(_));
        match told {
            Told::Started(pid) => tracing::info!(pid, "upgrade: another agent is starting"),
            Told::Failed(errno) => {
                let program = self.starter.as_ref().map(Starter::program);
                let error = io::Error::from_raw_os_error(errno);
                tracing::error!(
                    "upgrade: {} does not start: {error}; this agent goes on",
                    program.unwrap_or("the program".as_ref()).display()
                );
            }
            Told::Ended(status) => tracing::error!(
                "upgrade: the other agent ended ({}); this one goes on",
                ExitStatus::from_raw(status)
            ),
        }
    }

    fn lose(&mut self, error: &io::Error) {
        self.starter = None;
        self.under_way = false;
        tracing::error!(
            "upgrade: the process crossway-next, which starts successors, is gone ({error}): this agent goes \
             on; start one by hand with `crossway run --take-over --config FILE`"
        );
    }
}
