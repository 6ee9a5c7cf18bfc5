//! Takes each event of `tracing` as a line: into the ring, and to where there is no layer of others for it.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::io::Write;
use std::sync::Arc;

use tokio::sync::watch;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::journald::Journald;
use super::ring::Ring;
use crate::clock;
use crate::control::message::{LogLevel, LogLine};

/// Longest message or value: a line that is longer says no more.
const LONGEST: usize = 4096;
/// Field that holds the message.
const MESSAGE: &str = "message";

/// The layer.
pub(super) struct Lines {
    ring: Arc<watch::Sender<Ring>>,
    sink: Option<Sink>,
}

/// Where lines go beside the ring.
pub(super) enum Sink {
    /// Standard error, a line of JSON each.
    Json,
    Journal(Journald),
}

impl Lines {
    pub(super) fn new(ring: Arc<watch::Sender<Ring>>, sink: Option<Sink>) -> Self {
        Self { ring, sink }
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = line_of(event);
        self.ring
            .send_modify(|ring| line.sequence = ring.push(line.clone()));
        match &self.sink {
            None => {}
            // Nobody is left to tell where that fails.
            Some(Sink::Json) => {
                if let Ok(mut text) = serde_json::to_vec(&line) {
                    text.push(b'\n');
                    let _ = std::io::stderr().lock().write_all(&text);
                }
            }
            Some(Sink::Journal(journal)) => journal.write(&line),
        }
    }
}

fn line_of(event: &Event<'_>) -> LogLine {
    let mut fields = Fields::default();
    event.record(&mut fields);
    let metadata = event.metadata();
    let Fields { message, others } = fields;
    LogLine {
        sequence: 0,
        unix_milliseconds: clock::since_epoch().as_millis() as u64,
        level: match *metadata.level() {
            Level::ERROR => LogLevel::Error,
            Level::WARN => LogLevel::Warn,
            Level::INFO => LogLevel::Info,
            Level::DEBUG => LogLevel::Debug,
            Level::TRACE => LogLevel::Trace,
        },
        target: metadata.target().to_owned(),
        message,
        fields: others,
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    others: BTreeMap<String, String>,
}

impl Fields {
    fn take(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        let mut text = Bounded(String::new());
        // Cut where it is too long.
        let _ = text.write_fmt(value);
        if field.name() == MESSAGE {
            self.message = text.0;
        } else {
            self.others.insert(field.name().to_owned(), text.0);
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.take(field, format_args!("{value:?}"));
    }
}

/// A text that ends at [`LONGEST`].
struct Bounded(String);

impl fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = LONGEST.saturating_sub(self.0.len());
        let end = text.floor_char_boundary(room);
        self.0.push_str(&text[..end]);
        if end < text.len() {
            Err(fmt::Error)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::message::LogRequest;
    use tracing_subscriber::layer::SubscriberExt;

    #[test]
    fn an_event_is_a_line_with_its_fields_and_bounded() {
        let ring = Arc::new(watch::Sender::new(Ring::default()));
        let layer = Lines::new(Arc::clone(&ring), None);
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(subject = "paris", tries = 3, error = %"no room", "refused {}", 7);
            tracing::info!("{}", "ü".repeat(LONGEST));
        });
        let lines = ring.borrow().last(&LogRequest::default()).lines;
        assert_eq!(
            (lines[0].level, lines[0].message.as_str()),
            (LogLevel::Warn, "refused 7")
        );
        let fields: Vec<_> = lines[0]
            .fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let expected = [("error", "no room"), ("subject", "paris"), ("tries", "3")];
        assert_eq!(fields, expected);
        assert!(lines[0].target.starts_with("crossway::logging"));
        assert_eq!(lines[1].message.len(), LONGEST);
    }
}
