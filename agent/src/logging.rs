//! The agent's log: to standard error or the journal, and into a ring that the command line reads.
//!
//! What is logged is decided once, for all readers, by a filter that can be changed while the agent runs. Everything
//! goes the same way: the agent's own words, those of its libraries, and what the eBPF programs say.

mod journald;
mod layer;
mod ring;

use std::io::{self, IsTerminal};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use tokio::sync::watch;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

use self::journald::Journald;
use self::layer::{Lines, Sink};
pub use self::ring::{CAPACITY, Ring};
use crate::control::Wrong;

/// What is logged without [`FILTER_VARIABLE`]. boringtun logs each handshake that nobody answers as a warning; what that
/// means for a link is told by the link's state.
const USUAL: &str = "info,boringtun=off";
/// In place of a level: what the environment says, or without that what is usual.
const AS_BEGUN: &str = "default";
/// Environment variable that sets what is logged, such as `debug` or `crossway::host=debug`.
const FILTER_VARIABLE: &str = "CROSSWAY_LOG";
/// Environment variable that sets where and how.
const FORMAT_VARIABLE: &str = "CROSSWAY_LOG_FORMAT";

/// The log of this process, to be read and turned up or down.
#[derive(Clone, Debug)]
pub struct Log {
    ring: Arc<watch::Sender<Ring>>,
    filter: Option<reload::Handle<EnvFilter, Registry>>,
    /// What was logged at the start.
    begun_with: String,
}

/// Where and how lines are written beside the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// For people, to standard error.
    Text,
    /// A line of JSON for each, to standard error.
    Json,
    /// To the journal of systemd, with fields.
    Journal,
}

impl Log {
    /// Begins to log, for the whole process.
    ///
    /// # Errors
    /// What the environment says makes no sense.
    pub fn begin() -> Result<Self> {
        let wanted = std::env::var(FILTER_VARIABLE).unwrap_or_else(|_| USUAL.to_owned());
        let filter = parse(&wanted).with_context(|| format!("{FILTER_VARIABLE}={wanted}"))?;
        let (filter, handle) = reload::Layer::new(filter);
        let log = Self {
            ring: Arc::default(),
            filter: Some(handle),
            begun_with: wanted,
        };
        let format = Format::wanted(std::env::var(FORMAT_VARIABLE).ok().as_deref())?;
        let sink = match format {
            Format::Text => None,
            Format::Json => Some(Sink::Json),
            Format::Journal => Some(Sink::Journal(
                Journald::connect().context("the journal of systemd")?,
            )),
        };
        let text = (format == Format::Text).then(|| {
            fmt::layer()
                .with_writer(io::stderr)
                .with_ansi(io::stderr().is_terminal())
                .boxed()
        });
        let lines = Lines::new(Arc::clone(&log.ring), sink);
        tracing_subscriber::registry()
            .with(filter)
            .with(lines)
            .with(text)
            .try_init()
            .context("to begin the log")?;
        Ok(log)
    }

    /// To be read.
    pub fn subscribe(&self) -> watch::Receiver<Ring> {
        self.ring.subscribe()
    }

    /// What is logged now.
    pub fn filter(&self) -> String {
        let current = self.filter.as_ref();
        current
            .and_then(|handle| handle.with_current(ToString::to_string).ok())
            .unwrap_or_default()
    }

    /// Logs this from now on, until the agent ends; with [`AS_BEGUN`] what it logged at its start.
    ///
    /// # Errors
    /// It is no filter.
    pub fn set_filter(&self, wanted: &str) -> Result<()> {
        let wanted = if wanted == AS_BEGUN {
            &self.begun_with
        } else {
            wanted
        };
        let filter = parse(wanted).map_err(|error| Wrong(format!("{error:#}")))?;
        let handle = self.filter.as_ref().context("this process logs nothing")?;
        handle.reload(filter).context("the log has ended")
    }
}

impl Default for Log {
    /// Of a process that logs nothing, such as a test's.
    fn default() -> Self {
        Self {
            ring: Arc::default(),
            filter: None,
            begun_with: USUAL.to_owned(),
        }
    }
}

impl Format {
    /// By its name; without one, the journal where standard error leads there.
    fn wanted(name: Option<&str>) -> Result<Self> {
        Ok(match name {
            None | Some("" | "auto") if journald::takes_stderr() => Self::Journal,
            None | Some("" | "auto" | "text") => Self::Text,
            Some("json") => Self::Json,
            Some("journal") => Self::Journal,
            Some(other) => bail!("{FORMAT_VARIABLE}={other}: write text, json, journal or auto"),
        })
    }
}

fn parse(filter: &str) -> Result<EnvFilter> {
    // Anything else is the name of a target to it, of which everything would be logged.
    let is_known = |directive: &str| {
        directive.contains(['=', ':', '[']) || LEVELS.contains(&directive.to_lowercase().as_str())
    };
    if let Some(unknown) = filter.split(',').find(|part| !is_known(part.trim())) {
        bail!("{unknown:?} is no level: {MEND}");
    }
    EnvFilter::try_new(filter).with_context(|| format!("{filter:?} is no filter: {MEND}"))
}

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
const MEND: &str = "write error, warn, info, debug or trace, or for a part of the agent info,crossway::host=debug; \
     default is what the agent was started with";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_and_filters_that_make_no_sense_are_refused_with_the_mend() {
        let refused = Format::wanted(Some("xml")).unwrap_err().to_string();
        assert!(
            refused.contains("write text, json, journal or auto"),
            "{refused}"
        );
        assert_eq!(Format::wanted(Some("json")).unwrap(), Format::Json);
        for wrong in ["loud", "info,loud", "", "crossway=loud"] {
            let refused = format!("{:#}", parse(wrong).unwrap_err());
            assert!(refused.contains("write error, warn, info"), "{refused}");
        }
        for right in [
            "debug",
            "INFO",
            "info,boringtun=off",
            "crossway::host=trace",
        ] {
            parse(right).unwrap();
        }
    }
}
