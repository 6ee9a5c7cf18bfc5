//! SIGUSR2: the program at our own path, which may be a newer one by now, is started to take over.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

/// The upgrade under way, if any.
pub(super) struct Upgrade {
    /// Where this program was started from; `/proc/self/exe` would follow the old file.
    program: io::Result<PathBuf>,
    child: Option<Child>,
}

impl Upgrade {
    /// To be asked for at the start, while our program is where it was.
    pub(super) fn new() -> Self {
        Self {
            program: std::env::current_exe(),
            child: None,
        }
    }

    /// Starts the agent that is to take over. It asks us for everything when it is ready; when it
    /// cannot take over, it ends, and nothing has happened.
    pub(super) fn begin(&mut self, config: &Path) {
        self.look();
        if self.child.is_some() {
            tracing::warn!("upgrade: another one is under way");
            return;
        }
        let arguments = ["run", "--take-over", "--config"].map(OsStr::new);
        let started = match &self.program {
            Ok(program) => Command::new(program).args(arguments).arg(config).spawn(),
            Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
        };
        match started {
            Ok(child) => {
                tracing::info!(pid = child.id(), "upgrade: another agent is starting");
                self.child = Some(child);
            }
            Err(error) => tracing::error!(
                "upgrade: {} does not start: {error}; this agent goes on",
                self.program
                    .as_deref()
                    .unwrap_or(Path::new("the program"))
                    .display()
            ),
        }
    }

    /// Notices an agent that has ended instead of taking over.
    pub(super) fn look(&mut self) {
        if let Some(child) = &mut self.child
            && let Ok(Some(status)) = child.try_wait()
        {
            tracing::error!("upgrade: the other agent ended ({status}); this one goes on");
            self.child = None;
        }
    }
}
