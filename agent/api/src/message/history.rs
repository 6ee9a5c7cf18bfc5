//! What was measured over the last hours, and the report that `crossway report` makes of it.

use serde::{Deserialize, Serialize};

use super::{Event, FinishedFlow, Flow};

/// Which part of the history is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HistoryRequest {
    /// From so many seconds ago on; null for all that is kept.
    pub since_seconds: Option<u64>,
    /// Only this site and its links.
    pub site: Option<String>,
    /// Sites and links from this number on: the `next` of the page before.
    pub after: usize,
}

/// Answer of `history`: a page of it. Lists of numbers have one for each interval; a list that would hold nothing but
/// zeroes is empty.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct HistoryReply {
    /// Name of the gateway.
    pub gateway: String,
    /// Version of the agent.
    pub version: String,
    /// When the gateway was started.
    pub started_unix_milliseconds: u64,
    /// Usual length of an interval.
    pub interval_milliseconds: u64,
    /// When each interval begins. It ends where the next one begins.
    pub begins_unix_milliseconds: Vec<u64>,
    /// When the last interval ends: now.
    pub until_unix_milliseconds: u64,
    /// Sites, and the links that reach them.
    pub series: Vec<Series>,
    /// Sites and links for which there is no room.
    pub series_left_out: usize,
    /// What was dropped, by reason; reasons for which nothing was are left out.
    pub drops: Vec<DropSeries>,
    /// When sites and links were out, oldest first.
    pub outages: Vec<Outage>,
    /// Outages for which there was no room; their time is in `out_milliseconds` all the same.
    pub outages_left_out: u64,
    /// What `status` warned of.
    pub warnings: Vec<WarningSpan>,
    /// Warnings for which there was no room.
    pub warnings_left_out: u64,
    /// Of the conversations that ended, those with the most bytes.
    pub finished: Vec<FinishedFlow>,
    /// When somebody set the clock of this host.
    pub clock_steps: Vec<ClockStep>,
    /// What all intervals of all sites and links take in the gateway's memory.
    pub memory_bytes: u64,
    /// What they may take.
    pub memory_limit_bytes: u64,
    /// The next page is behind this number; null on the last one.
    #[serde(default)]
    pub next: Option<usize>,
}

/// What a series is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum SeriesKind {
    /// A site.
    #[default]
    Site,
    /// A link of one.
    Link,
}

/// A site or a link, interval by interval.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Series {
    /// What it is of.
    pub kind: SeriesKind,
    /// Name as in `events`: a site's own, or `site/gateway/link` with the lane.
    pub name: String,
    /// The site.
    pub site: String,
    /// The worst state in each interval, a letter each: `U` up, `G` degraded (some link of the site is down), `R` drained
    /// by a person, `C` connecting, `D` down, `-` not watched.
    pub states: String,
    /// Milliseconds of each interval in which it was watched.
    pub watched_milliseconds: Vec<u32>,
    /// Milliseconds of each interval in which it was out: down, or not up again since.
    pub out_milliseconds: Vec<u32>,
    /// Bytes towards the site.
    pub to_site_bytes: Vec<u64>,
    /// Bytes from the site.
    pub from_site_bytes: Vec<u64>,
    /// Bytes per second towards the site in the fastest second of each interval.
    pub to_site_peak: Vec<u64>,
    /// The same from the site.
    pub from_site_peak: Vec<u64>,
    /// Of a link: data messages of WireGuard that came.
    pub received_messages: Vec<u32>,
    /// Of a link: data messages that have not come though later ones did.
    pub missing_messages: Vec<u32>,
    /// Of a link: the loss in the worst ten seconds of each interval, in hundredths of a percent.
    pub worst_loss: Vec<u16>,
    /// Of a link: the shortest round trip; 0 where none was measured.
    pub round_trip_min_microseconds: Vec<u32>,
    /// The mean.
    pub round_trip_mean_microseconds: Vec<u32>,
    /// The longest.
    pub round_trip_max_microseconds: Vec<u32>,
}

impl Series {
    /// Of each interval, whether anybody looked.
    pub fn watched(&self) -> impl Iterator<Item = bool> {
        self.states.chars().map(|state| state != '-')
    }
}

/// Packets that were dropped for one reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DropSeries {
    /// The word, as in `drops`.
    pub reason: String,
    /// Packets in each interval.
    pub packets: Vec<u64>,
}

/// A time in which a site could not be reached, or a link could not carry traffic though it was not drained.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Outage {
    /// What was out.
    pub kind: SeriesKind,
    /// Its name, as of its series.
    pub name: String,
    /// The site.
    pub site: String,
    /// When it began.
    pub began_unix_milliseconds: u64,
    /// When it ended; null while it goes on.
    pub ended_unix_milliseconds: Option<u64>,
    /// Why, in words for a person.
    pub cause: String,
}

/// A warning of `status`, and when it was there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct WarningSpan {
    /// Where it comes from, as in `status`.
    pub source: String,
    /// What it says.
    pub text: String,
    /// Since when it was there.
    pub began_unix_milliseconds: u64,
    /// Until when; null while it is.
    pub ended_unix_milliseconds: Option<u64>,
}

/// The clock of this host was set. Times before it are told by the clock as it is now, but for those of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ClockStep {
    /// When.
    pub unix_milliseconds: u64,
    /// By how much; negative where it was set back.
    pub by_milliseconds: i64,
}

/// What `crossway report` is made of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Report {
    /// All pages of the history.
    #[serde(flatten)]
    pub history: HistoryReply,
    /// What has changed in its time, as in `events`.
    pub events: Vec<Event>,
    /// Of the conversations of now, those with the most bytes.
    pub flows: Vec<Flow>,
    /// Why the conversations of now are not known; null where they are.
    pub flows_unknown: Option<String>,
}
